"""The driver of oVirt's block domains, on devices that are files; qemu-img on the original images is
the oracle of what is read through extents."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.chain import link, outdated
from chains.core.direct import DirectFile
from chains.core.errors import ReadError, StrataError
from chains.core.extents import Kind
from chains.core.findings import Code
from chains.core.lv_rules import tag_findings
from chains.core.reads import entries, read_chain_maps, resolve
from chains.storage.lvm import opened, read_group
from chains.storage.ovirt_block import OvirtBlock
from chains.storage.ovirt_tags import domain_keys, parse_record, read_tags
from tests import images
from tests.images import MIB, qemu_img
from tests.lvm_images import BLANK, SD, Group, hyphens
from tests.storage import blocks
from tests.storage.blocks import BASE, IMAGE, MIDDLE, SIZE, TOP

driver = OvirtBlock()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("block")
    originals = blocks.files(folder / "images")
    blocks.domain(folder / "pvs", originals)
    return originals, folder / "pvs"


@pytest.fixture
def originals(made) -> list[Path]:
    return made[0]


@pytest.fixture
def root(made) -> str:
    return str(made[1])


@pytest.fixture
def group(tmp_path, originals) -> Group:
    """One that a test may change."""
    return blocks.domain(tmp_path / "pvs", originals)


def forest(root: str):
    listing = driver.list(root, {}, lambda: None)
    reader = driver.reader(root, listing)
    layers = {path: reader.read(path, None) for path in listing.paths}
    while stale := outdated(layers):
        layers |= {path: reader.read(path, hint) for path, hint in stale.items()}
    return link(layers, root), listing


def codes(group: Group) -> dict[str, set[str]]:
    """Findings by volume, those of the domain under ""."""
    linked, listing = forest(str(group.folder))
    found = [*linked.findings, *listing.findings, *tag_findings(linked, listing.notes)]
    return {
        path: {f.code.value for f in found if f.path == path} for path in {f.path for f in found}
    }


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
    assert (note.metadata["PUUID"], note.metadata["VOLTYPE"]) == (BASE, "INTERNAL")
    assert note.tags == {
        "image": IMAGE, "parent": BASE, "slot": 5, "raw": [f"IU_{IMAGE}", "MD_5", f"PU_{BASE}"],
    }  # fmt: skip
    assert listing.facts["seqno"] == 7
    assert listing.facts["name"] == "block domain,1"
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
        reader.read(path.name, None)
        told = json.loads(qemu_img("check", "--output=json", "-f", "qcow2", path))
        assert reader.ends[path.name] == told["image-end-offset"]


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


def test_a_raw_volume_is_never_probed(group, originals):
    group.fill(BASE, originals[1].read_bytes()[:MIB])
    linked, _ = forest(str(group.folder))
    layer = linked.layers[BASE]
    assert (layer.format, layer.header, layer.virtual_size) == ("raw", None, SIZE)
    assert {f.code for f in layer.findings} == {Code.RAW_LOOKS_FORMATTED}
    assert driver.reader(str(group.folder), driver.list(str(group.folder), {}, lambda: None)).read(
        BASE, None
    ).format == "raw"  # fmt: skip


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


def test_passing_volumes(group):
    group.lv("new", MIB, "OVIRT_VOL_INITIALIZING")
    group.lv("zeroed", MIB, "MD_9", f"PU_{BLANK}", f"IU__remove_me_ZERO_{IMAGE}")
    group.lv("other", MIB)
    group.write()
    listing = driver.list(str(group.folder), {}, lambda: None)
    assert listing.paths == [BASE, MIDDLE, TOP, "new", "zeroed"]
    assert listing.notes["new"].passing == "is being created"
    assert listing.notes["zeroed"].passing == "is being wiped and removed"
    assert listing.notes["zeroed"].metadata["status"] == "invalid"
    assert "new" not in codes(group)


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
    assert note.metadata["PUUID"] == MIDDLE


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({TOP: ("MD_6", f"PU_{MIDDLE}")}, TOP, "lv-tags-missing"),
        ({TOP: ("MD_x", f"PU_{MIDDLE}", f"IU_{IMAGE}")}, TOP, "lv-tags-missing"),
        ({TOP: ("MD_6", f"PU_{BASE}", f"IU_{IMAGE}")}, TOP, "tag-metadata-differ"),
        ({TOP: ("MD_99", f"PU_{BASE}", f"IU_{IMAGE}")}, TOP, "tag-header-differ"),
        ({TOP: ("MD_5", f"PU_{MIDDLE}", f"IU_{IMAGE}")}, MIDDLE, "lv-slot-shared"),
        ({MIDDLE: None}, TOP, "parent-missing"),
        ({MIDDLE: None}, TOP, "backing-missing"),
    ],
)
def test_rules_of_tags(group, change, path, code):
    for name, tags in change.items():
        if tags is None:
            del group.lvs[name]
        else:
            group.lvs[name].tags = tags
    group.write()
    assert code in codes(group)[path]


def test_a_tag_that_a_merge_left_behind_is_one_warning(group):
    group.lvs[TOP].tags = ("MD_6", "PU_99999999-3d44-4cc7-98e3-6d90626dd95f", f"IU_{IMAGE}")
    group.write()
    assert codes(group) == {TOP: {"tag-metadata-differ"}}


def test_rules_of_groups(group):
    assert codes(group) == {}
    group.tags = ("RHAT_storage_domain_UNREADY", *group.tags[1:])
    group.lvs["metadata"].places = [(0, 1, 32)]
    group.write()
    group.path(1).unlink()
    found = codes(group)
    assert found[""] == {"vg-partial", "vg-unready", "vg-metadata-misplaced"}
    assert "backing-unreadable" in found[BASE]
    assert TOP not in found


def test_small_and_full_metadata_areas(tmp_path):
    group = Group(tmp_path / "pvs", mda=8192)
    group.specials()
    group.write()
    assert codes(group)[""] == {"vg-metadata-small", "vg-metadata-full"}


@pytest.mark.parametrize("kind", ["raid1", "thin", "cache"])
def test_what_is_not_linear_is_a_finding(group, kind):
    group.lvs[TOP].kind = kind
    group.write()
    assert codes(group)[TOP] == {"lv-layout"}


def test_a_volume_shorter_than_its_image(group, originals):
    group.lvs[TOP].places = [(0, 70, 2)]
    group.write()
    assert codes(group)[TOP] == {"lv-too-short"}
    with pytest.raises(ReadError):
        driver.maps(str(group.folder), driver.chain(str(group.folder), TOP))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"../{IMAGE}/{MIDDLE}", None),
        (f"/dev/{SD}/{MIDDLE}", None),
        (f"/rhev/data-center/pool/{SD}/images/{IMAGE}/{MIDDLE}", None),
        (f"/rhev/data-center/pool/another/images/{IMAGE}/{MIDDLE}", "backing-outside"),
        (f"/dev/another/{MIDDLE}", "backing-outside"),
        (f"../../{MIDDLE}", "backing-outside"),
        ("/etc/shadow", "backing-outside"),
        ("nbd:localhost:10809", "backing-protocol"),
        ('json:{"driver":"null-co"}', "backing-protocol"),
        ("metadata", "backing-special"),
        ("nothing", "backing-missing"),
    ],
)
def test_names_of_backing_files(group, originals, tmp_path, name, expected):
    copy = tmp_path / "copy"
    shutil.copy(originals[2], copy)
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", name, "-F", "qcow2", copy)
    group.fill(TOP, copy)
    linked, _ = forest(str(group.folder))
    layer = linked.layers[TOP]
    assert layer.backing_file == name
    if expected is None:
        assert layer.backing_path == MIDDLE
        assert linked.findings == ()
    else:
        assert layer.backing_path is None
        assert {f.code.value for f in layer.findings} == {expected}


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


def test_a_chain_of_old_names(group, originals, tmp_path):
    """As vdsm up to 3.5 wrote them: each names the image's folder, which is nowhere."""
    for path, below, form in ((originals[1], BASE, "raw"), (originals[2], MIDDLE, "qcow2")):
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        qemu_img("rebase", "-u", "-f", "qcow2", "-b", f"../{IMAGE}/{below}", "-F", form, copy)
        group.fill(path.name, copy)
    linked, _ = forest(str(group.folder))
    assert linked.findings == ()
    chain = driver.chain(str(group.folder), TOP)
    assert [layer.path for layer in chain.layers] == [TOP, MIDDLE, BASE]
    assert chain.is_safe
    assert len(driver.maps(str(group.folder), chain, written=TOP)) == 3


def test_a_loop_of_backing_files_ends(group, originals, tmp_path):
    copy = tmp_path / "copy"
    shutil.copy(originals[1], copy)
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", TOP, "-F", "qcow2", copy)
    group.fill(MIDDLE, copy)
    chain = driver.chain(str(group.folder), TOP)
    assert {f.code for f in chain.findings} == {Code.BACKING_LOOP}
    with pytest.raises(ReadError):
        driver.maps(str(group.folder), chain)


def test_metadata_that_calls_a_raw_volume_cow(group):
    group.slot(4, blocks.metadata(FORMAT="COW"))
    reader = driver.reader(str(group.folder), driver.list(str(group.folder), {}, lambda: None))
    layer = reader.read(BASE, None)
    assert {f.code for f in layer.findings} == {Code.BACKING_FORMAT_WRONG}
    assert "the domain's metadata" in layer.findings[0].detail
    assert reader.read(BASE, "raw").findings == ()
    assert reader.read("nothing", None).findings[0].code is Code.BACKING_MISSING


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


def test_a_metadata_volume_that_is_not_there(group):
    group.path(0).rename(group.folder.parent / "away")
    group.in_use = (1,)
    group.write()
    group.path(0).unlink()
    listing = driver.list(str(group.folder), {}, lambda: None)
    assert {f.code for f in listing.findings} == {Code.VG_PARTIAL, Code.BACKING_UNREADABLE}
    assert listing.notes[TOP].metadata is None
    assert codes(group)[TOP] == {"backing-unreadable"}


def test_the_reason_why_a_device_is_missing(group):
    with group.path(1).open("r+b") as file:
        file.seek(600)
        file.write(b"X")
    listing = driver.list(str(group.folder), {}, lambda: None)
    assert "pv1: Its LVM label is damaged" in listing.findings[0].detail


@pytest.mark.parametrize(("device", "misplaced"), [(0, False), (1, True)])
def test_the_first_device_is_named_by_a_tag(group, device, misplaced):
    uuid = hyphens(group.uuid(device))
    group.tags = (*group.tags, f"MDT_PV0=pv:lun&44&uuid:{uuid}&44&pestart:0")
    group.write()
    found = driver.list(str(group.folder), {}, lambda: None).findings
    assert [f.code for f in found] == [Code.VG_METADATA_MISPLACED] * misplaced


@given(st.binary(max_size=512))
def test_any_record_is_fit_to_be_stored(content):
    found = parse_record(content)
    assert found["status"] in ("ok", "invalid", "cleared")
    assert "\\u0000" not in json.dumps(found)
    json.dumps(found).encode("utf-8")


@given(st.lists(st.text(alphabet="IU_PMD&0159ab\udc80\0-", max_size=20), max_size=5))
def test_any_tags_are_fit_to_be_stored(tags):
    found = json.dumps([read_tags(tuple(tags)), domain_keys([f"MDT_{tag}=&0&" for tag in tags])])
    assert "\\u0000" not in found
    assert not any("\ud800" <= char <= "\udfff" for char in str(json.loads(found)))


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
