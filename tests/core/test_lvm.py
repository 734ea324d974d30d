"""LVM2's format on disk; `pvck` (of lvm2) says that the tests' own devices are what they seem."""

import os
import shutil
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.errors import StrataError
from chains.core.lvm import LABEL_BYTES, MAX_TEXT, checksum, parse_label, read_physical
from chains.core.lvm_config import parse
from chains.core.lvm_group import PhysicalVolume, VolumeGroup, group_of
from project.builders.lvm import BLANK, MDA_OFFSET, MIB, SD, SECTOR, Group, crc, hyphens, uuid_of


def look(path: Path):
    with path.open("rb") as file:
        found = read_physical(lambda length, offset: os.pread(file.fileno(), length, offset))
    if found.problem:
        raise StrataError(found.problem)
    return found


@pytest.fixture
def group(tmp_path: Path) -> Group:
    made = Group(tmp_path / "pvs", extra='some = ["text", 5, 1.5]  # a comment { = "')
    made.specials()
    made.volume("base", 10 * MIB, 1, "image", places=[(0, 60, 3), (1, 5, 2), (0, 70, 5)])
    made.write()
    return made


def test_a_device_says_what_was_written(group: Group):
    found = look(group.path(0))
    assert found.label.uuid == hyphens(group.uuid(0))
    assert found.label.device_size == group.path(0).stat().st_size
    assert found.label.metadata_areas == ((MDA_OFFSET, 128 * MIB),)
    assert found.label.data_areas == ((129 * MIB, 0),)
    read = found.group
    assert (read.name, read.uuid, read.seqno) == (SD, hyphens(uuid_of(SD)), 7)
    assert (read.extent_size, read.size) == (MIB, 400 * MIB)
    assert read.free == (400 - 38 - 10) * MIB
    assert read.tags == tuple(sorted(group.tags))
    assert [pv.uuid for pv in read.pvs] == [hyphens(group.uuid(n)) for n in range(2)]
    assert {pv.pe_start for pv in read.pvs} == {129 * MIB}
    base = read.lvs[-1]
    assert (base.name, base.tags, base.created) == (
        "base",
        ("IU_image", "MD_1", f"PU_{BLANK}"),
        1.6e9,
    )
    first, second, third = base.segments
    assert (first.start_extent, first.extent_count, first.type) == (0, 3, "linear")
    assert (second.start_extent, second.stripes[0].start_extent) == (3, 5)
    assert second.stripes[0].pv == read.pvs[1].uuid
    assert third.stripes[0].pv == read.pvs[0].uuid
    assert read.bytes_of(base) == 10 * MIB


def test_a_device_whose_area_is_not_in_use_names_no_group(group: Group):
    found = look(group.path(1))
    assert (found.group, found.mda_size) == (None, 0)
    assert found.label.uuid == hyphens(group.uuid(1))


@pytest.mark.skipif(shutil.which("pvck") is None, reason="lvm2 is not installed")
@pytest.mark.parametrize("text_at", [SECTOR, 128 * MIB - 1024])
def test_pvck_reads_the_same(group: Group, text_at: int):
    group.text_at = text_at
    group.write()
    done = subprocess.run(
        ["pvck", "--dump", "metadata", group.path(0)], capture_output=True, check=True, text=True
    )
    assert "crc" in done.stdout
    assert "error" not in done.stdout.lower() + done.stderr.lower()
    text = done.stdout.split("---\n")[1].rstrip(" ")
    assert group_of(parse(text)) == look(group.path(0)).group


def test_a_text_around_the_end_of_its_buffer(group: Group):
    before = look(group.path(0)).group
    for text_at in (128 * MIB - SECTOR, 128 * MIB - 1, 128 * MIB - len(group.text()) - 1):
        group.text_at = text_at
        group.write()
        assert look(group.path(0)).group == before


def test_the_newest_of_two_areas_counts(group: Group):
    group.in_use = (1,)
    group.seqno = 8
    group.write()
    assert look(group.path(1)).group.seqno == 8
    assert look(group.path(0)).group is None


@pytest.mark.parametrize("content", [b"", b"123456789", b"\0" * 508, bytes(range(256)) * 20])
def test_the_checksum_is_lvms(content: bytes):
    value = 0xF597A6CF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    assert checksum(content) == value == crc(content)


def damage(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize(
    ("offset", "content", "words"),
    [
        (SECTOR, b"X", "no LVM label"),
        (SECTOR + 40, b"X", "the checksum is wrong"),
        (MDA_OFFSET, b"X", "the checksum of its header"),
        (MDA_OFFSET + 4, b"X", "does not begin like one"),
        (MDA_OFFSET + SECTOR + 9, b"X", "the checksum of its text"),
    ],
)
def test_damage_is_named(group: Group, offset: int, content: bytes, words: str):
    damage(group.path(0), offset, content)
    with pytest.raises(StrataError, match=words):
        look(group.path(0))


def header(group: Group, start: int, size: int, *location: int) -> None:
    """Write a header of the metadata area that says this, with the right checksum."""
    body = b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, start, size)
    body = (body + struct.pack("<QQII", *location)).ljust(SECTOR - 4, b"\0")
    damage(group.path(0), MDA_OFFSET, struct.pack("<I", crc(body)) + body)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ((SECTOR, 2**63, 0, 0), "lies outside"),
        ((2**63, 100, 0, 0), "lies outside"),
        ((10, 100, 0, 0), "lies outside"),
        ((SECTOR, MAX_TEXT + 1, 0, 0), "more than is read"),
        ((SECTOR, 5000, 0, 0), "checksum of its text"),
    ],
)
def test_claims_that_can_not_be(group: Group, location: tuple[int, ...], words: str):
    header(group, MDA_OFFSET, 128 * MIB, *location)
    with pytest.raises(StrataError, match=words):
        look(group.path(0))


def test_an_area_that_is_ignored(group: Group):
    header(group, MDA_OFFSET, 128 * MIB, SECTOR, 100, 0, 1)
    assert look(group.path(0)).group is None
    header(group, MDA_OFFSET + 1, 128 * MIB, SECTOR, 100, 0, 0)
    with pytest.raises(StrataError, match="tells of another area"):
        look(group.path(0))


def test_texts():
    text = """
    # a comment with "quotes" and { braces
    a { b = 5 c = "x \\" \\\\ y" d = [ ] e = ['q', 1, -2.5,] f { g = -1 } }
    h="1"#end"""
    assert parse(text) == {
        "a": {"b": 5, "c": 'x " \\ y', "d": [], "e": ["q", 1, -2.5], "f": {"g": -1}},
        "h": "1",
    }


@pytest.mark.parametrize(
    "text",
    [
        "a", "a =", "a {", "}", "a = }", "a = [1", "a = [1 2]", "a = b", 'a = "x', "a = 1 a = 2",
        "= 1", "a = {", "a = [[1]]", "a { " * 20 + "} " * 20, 'a = "\\', "a = 1.2.3", "#" * 9999 + '\n"',
    ],
)  # fmt: skip
def test_texts_that_are_none(text: str):
    with pytest.raises(StrataError, match="text of the LVM metadata is damaged"):
        parse(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("extent_size = 2048", "extent_size = 0"),
        ("extent_size = 2048", 'extent_size = "big"'),
        ("seqno = 7", "seqno = -7"),
        ("start_extent = 3", "start_extent = 4"),
        ("segment_count = 3", "segment_count = 2"),
        ("stripe_count = 1", "stripe_count = 2"),
        ('"pv0", 60', '"pv0", -60'),
        ('"pv0", 60', "60"),
        ("base {", "-base {"),
        (f"{SD} {{", "../x {"),
        ('tags = ["MD_1"', "tags = [5"),
        ("physical_volumes {", "physical_volumes = 1 x {"),
        ("extent_count = 3", f"extent_count = {2**40}"),
    ],
)
def test_groups_that_can_not_be(group: Group, old: str, new: str):
    text = group.text()
    assert old in text
    with pytest.raises(StrataError, match=r"metadata says what can not be|is damaged"):
        group_of(parse(text.replace(old, new)))


@given(st.text(alphabet='ab19{}[]=,"\\# \n.-', max_size=60))
def test_any_text_is_read_or_refused(text: str):
    with suppress(StrataError):
        group_of(parse(text))


@given(st.binary(max_size=LABEL_BYTES), st.integers(0, 3))
def test_any_label_is_read_or_refused(content: bytes, number: int):
    body = content[:492].ljust(492, b"\0")
    sector = struct.pack("<8sQI", b"LABELONE", number, crc(body)) + body
    for head in (content, bytes(number * SECTOR) + sector):
        with suppress(StrataError):
            parse_label(head)


@given(st.data())
def test_any_change_of_the_text_is_read_or_refused(data: st.DataObject):
    text = SMALL.text()
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 12))
    new = data.draw(st.text(alphabet='09a"{}[],=#\n-', max_size=3))
    with suppress(StrataError):
        found = group_of(parse(text[:at] + new + text[at + length :]))
        assert found.size >= 0
        assert found.free >= 0


SMALL = Group(Path("nowhere"))
SMALL.volume("base", 2 * MIB, 1, "image")


@pytest.mark.parametrize(
    ("pe_count", "extent_size", "free"), [(2**33, 2**30, 0), (1, 2**41, 0), (1, 2**20, 2)]
)
def test_sizes_that_no_storage_has(pe_count: int, extent_size: int, free: int):
    pv = PhysicalVolume("one", "", (), (), 0, 0, pe_count)
    with pytest.raises(StrataError, match="what can not be"):
        VolumeGroup("group", "g", 1, extent_size, (), (pv,), (), free_extents=free)
