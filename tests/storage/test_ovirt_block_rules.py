"""What the driver of block domains says is wrong, in headers, tags, records and groups."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.errors import ReadError
from chains.core.findings import Code
from chains.storage.ovirt_tags import domain_keys, read_tags
from project.builders.lvm import BLANK, SD, Group, hyphens
from tests.images import MIB, qemu_img
from tests.storage import blocks
from tests.storage.blocks import BASE, IMAGE, MIDDLE, SIZE, TOP, codes, driver, forest


def test_a_raw_volume_is_never_probed(group, originals):
    group.fill(BASE, originals[1].read_bytes()[:MIB])
    linked, _ = forest(str(group.folder))
    layer = linked.layers[BASE]
    assert (layer.format, layer.header, layer.virtual_size) == ("raw", None, SIZE)
    assert {f.code for f in layer.findings} == {Code.RAW_LOOKS_FORMATTED}
    assert driver.reader(str(group.folder), driver.list(str(group.folder), {}, lambda: None)).read(
        BASE, None
    ).format == "raw"  # fmt: skip


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


@given(st.lists(st.text(alphabet="IU_PMD&0159ab\udc80\0-", max_size=20), max_size=5))
def test_any_tags_are_fit_to_be_stored(tags):
    found = json.dumps([read_tags(tuple(tags)), domain_keys([f"MDT_{tag}=&0&" for tag in tags])])
    assert "\\u0000" not in found
    assert not any("\ud800" <= char <= "\udfff" for char in str(json.loads(found)))
