"""The driver of oVirt's block domains, on devices that are files; qemu-img on the original images is
the oracle of what is read through extents."""

import errno
import json
import shutil

import pytest

from chains.core.direct import DirectFile
from chains.core.errors import ReadError, StrataError
from chains.core.extents import Kind
from chains.core.findings import Code
from chains.core.lv_rules import tag_findings
from chains.core.reads import entries, read_chain_maps, resolve
from chains.storage.lvm import opened, read_group
from chains.storage.ovirt_block import OvirtBlock
from project.builders.lvm import Group
from tests import images
from tests.images import MIB, qemu_img
from tests.storage import blocks
from tests.storage.blocks import BASE, IMAGE, MIDDLE, SIZE, TOP, driver, forest


def test_a_domain_is_listed(root):
    times = []
    listing = driver.list(root, {}, lambda: times.append(1))
    assert listing.paths == [BASE, MIDDLE, TOP]
    assert times
    assert listing.findings == []
    note = listing.notes[MIDDLE]
    assert (note.disk_key, note.disk_name, note.allocated) == (IMAGE, "vm1_Disk1", 16 * MIB)
    assert note.created == 1582196150
    assert note.metadata["status"] == "ok"
    assert (note.metadata["parent"], note.metadata["voltype"]) == (BASE, "INTERNAL")
    assert note.tags == {
        "image": IMAGE, "parent": BASE, "slot": 5, "raw": [f"IU_{IMAGE}", "MD_5", f"PU_{BASE}"],
    }  # fmt: skip
    assert listing.facts["seqno"] == 7
    assert listing.facts["description"] == "block domain,1"
    assert json.loads(json.dumps(listing.facts))["version"] == 5
    assert driver.is_current(root, listing)


def test_space_is_the_groups(root):
    space = driver.space(root)
    assert space.capacity == 400 * MIB
    assert space.free == (400 - 38 - 16 - 16 - 8) * MIB


def test_headers_are_what_the_tool_says_of_the_images(root, originals):
    linked, listing = forest(root)
    assert linked.findings == ()
    assert tag_findings(linked, listing.notes) == []
    assert linked.leaves == (TOP,)
    for path in originals:
        layer = linked.layers[path.name]
        told = json.loads(qemu_img("info", "-U", "--output=json", path))
        assert layer.format == told["format"]
        assert layer.virtual_size == told["virtual-size"]
        assert layer.backing_file == told.get("backing-filename")
        assert layer.on_disk == listing.notes[path.name].allocated == layer.file_size
    assert [layer.path for layer in linked.chain(TOP).layers] == [TOP, MIDDLE, BASE]


def test_bytes_are_those_of_the_images(root, originals):
    found = read_group(root)
    with opened(found) as devices:
        for path in originals:
            source = devices.source(found.lv(path.name))
            content = path.read_bytes().ljust(source.size, b"\0")
            assert source.pread(source.size, 0) == content
            assert source.pread(100, 5 * MIB - 50) == content[5 * MIB - 50 :][:100]
            assert source.pread(100, source.size - 7) == source.pread(7, source.size - 7)
            assert source.pread(1, source.size) == b""


def test_the_end_of_an_image_is_what_check_says(root, originals):
    listing = driver.list(root, {}, lambda: None)
    reader = driver.reader(root, listing)
    for path in originals[1:]:
        end = reader.read(path.name, None).end
        told = json.loads(qemu_img("check", "--output=json", "-f", "qcow2", path))
        assert end == told["image-end-offset"]


def test_block_maps_are_what_the_tool_says(root, originals):
    chain = driver.chain(root, TOP)
    assert chain.is_safe
    assert [layer.path for layer in chain.layers] == [TOP, MIDDLE, BASE]
    maps = driver.maps(root, chain)
    assert maps[2].allocated == SIZE  # a raw volume on a device is data from end to end
    ours = list(entries(resolve(maps)))
    told = json.loads(qemu_img("map", "--output=json", "-f", "qcow2", originals[2]))
    assert joined(ours) == joined(told)
    reads = read_chain_maps
    assert reads(chain, dict(zip([TOP, MIDDLE, BASE], maps, strict=True))) == maps


def joined(runs):
    """(start, end, depth, zero) of runs; what the raw image has in holes is data on a device."""
    found = []
    for run in runs:
        zero = run["zero"] and run["depth"] < 2
        entry = (run["start"], run["start"] + run["length"], run["depth"], zero)
        if found and found[-1][1] == entry[0] and found[-1][2:] == entry[2:]:
            entry = (found.pop()[0], *entry[1:])
        found.append(entry)
    return found


def test_a_fingerprint_changes_with_what_is_read(group, originals):
    root = str(group.folder)

    def prints():
        reader = driver.reader(root, driver.list(root, {}, lambda: None))
        found = {path: reader.fingerprint(path) for path in (BASE, MIDDLE, TOP)}
        assert found == {path: reader.read(path, None).fingerprint for path in found}
        assert reader.fingerprint("nothing") is None
        return found

    before = prints()
    assert prints() == before
    assert {len({mark[i] for mark in before.values()}) for i in (1, 4)} == {3}
    assert all(mark.device == 0 and 0 < mark.inode < 2**63 for mark in before.values())
    assert before[TOP].mtime_ns == 1582196150 * 10**9
    chain = driver.chain(root, TOP)
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", BASE, "-F", "raw", originals[2])
    try:
        group.fill(TOP, originals[2])
    finally:
        qemu_img("rebase", "-u", "-f", "qcow2", "-b", MIDDLE, "-F", "qcow2", originals[2])
    after = prints()
    assert after[TOP] != before[TOP]
    assert after[TOP][:4] == before[TOP][:4]
    assert after[MIDDLE] == before[MIDDLE]
    with pytest.raises(ReadError) as caught:
        driver.maps(root, chain)
    assert caught.value.finding.code is Code.CHANGED_WHILE_READ
    with pytest.raises(ReadError):
        driver.maps(root, chain, written=TOP)
    group.slot(5, blocks.metadata(BASE, GEN=2))
    assert prints()[MIDDLE] != before[MIDDLE]


def test_a_group_that_changes_is_listed_again(group, monkeypatch):
    root = str(group.folder)
    listing = driver.list(root, {}, lambda: None)
    group.seqno += 1
    group.lvs[TOP].tags = ("IU__remove_me_" + IMAGE, f"PU_{MIDDLE}", "MD_6")
    group.write()
    assert not driver.is_current(root, listing)
    again = driver.list(root, {}, lambda: None)
    assert again.notes[TOP].passing == "is being removed"
    assert again.notes[TOP].disk_key == IMAGE

    def change():
        group.seqno += 1
        group.write()

    with pytest.raises(StrataError, match="changed 3 times"):
        driver.list(root, {}, change)


@pytest.mark.parametrize(
    ("slot", "status"),
    [(b"NONE=" + b"#" * 500, "cleared"), (b"\xff" * 512, "invalid"), (b"", "invalid")],
)
def test_records_that_say_nothing(group, slot, status):
    group.slot(6, slot.ljust(512, b"\0"))
    note = driver.list(str(group.folder), {}, lambda: None).notes[TOP]
    assert note.metadata["status"] == status
    assert note.created == 1_600_000_000


def test_slots_of_version_4(tmp_path, originals):
    group = blocks.domain(tmp_path / "pvs", originals, version=4)
    note = driver.list(str(group.folder), {}, lambda: None).notes[TOP]
    assert note.metadata["parent"] == MIDDLE


def test_roots_that_hold_no_domain(tmp_path, group):
    with pytest.raises(OSError, match="No such file"):
        driver.list(str(tmp_path / "nothing"), {}, lambda: None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").write_bytes(bytes(8192))
    with pytest.raises(StrataError, match="No volume group"):
        driver.list(str(tmp_path / "empty"), {}, lambda: None)
    shutil.copy(group.path(0), group.folder / "copy")
    with pytest.raises(StrataError, match="one is a copy"):
        driver.list(str(group.folder), {}, lambda: None)
    (group.folder / "copy").unlink()
    other = Group(tmp_path / "other", name="another")
    other.write()
    other.path(0).rename(group.folder / "pv7")
    with pytest.raises(StrataError, match="several volume groups"):
        driver.list(str(group.folder), {}, lambda: None)
    (group.folder / "pv7").unlink()
    group.tags = ()
    group.write()
    with pytest.raises(StrataError, match="no storage domain of oVirt"):
        driver.list(str(group.folder), {}, lambda: None)


def test_maps_of_raw_volumes_are_all_data(root):
    maps = driver.maps(root, driver.chain(root, BASE))
    assert maps[0].kinds.tolist() == [Kind.DATA]


def test_a_volume_that_grows_shows(group, originals, tmp_path):
    """A guest's writes take new clusters; what it overwrites does not show."""
    root = str(group.folder)
    chain = driver.chain(root, TOP)
    for path in originals:
        shutil.copy(path, tmp_path)
    images.write(tmp_path / TOP, "qcow2", "write -P 9 9M 64k")
    group.fill(TOP, tmp_path / TOP)
    with pytest.raises(ReadError) as caught:
        driver.maps(root, chain)
    assert caught.value.finding.code is Code.CHANGED_WHILE_READ
    maps = driver.maps(root, chain, written=TOP)
    assert maps[0].allocated == 2 * MIB + 2 * 65536
    known = dict(zip([TOP, MIDDLE, BASE], maps, strict=True))
    assert driver.maps(root, chain, known) == maps


def test_storage_that_fails(group, monkeypatch):
    root = str(group.folder)
    listing = driver.list(root, {}, lambda: None)
    chain = driver.chain(root, TOP)
    reader = driver.reader(root, listing)
    real = DirectFile.read_into
    lists = OvirtBlock.list

    def failing(self, view, offset):
        raise OSError(errno.EIO, "Input/output error")

    def then_failing(self, *arguments):
        monkeypatch.setattr(DirectFile, "read_into", real)
        found = lists(self, *arguments)
        monkeypatch.setattr(DirectFile, "read_into", failing)
        return found

    monkeypatch.setattr(OvirtBlock, "list", then_failing)
    for written in (None, TOP):
        with pytest.raises(ReadError, match="Input/output error"):
            driver.maps(root, chain, written=written)
    assert reader.fingerprint(TOP) is None
    assert "Input/output error" in reader.read(TOP, None).findings[0].detail
    reader.close()
