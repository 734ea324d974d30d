"""One byte of a disk: how its address is written, and who answers it, against qemu-img map."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.extents import ExtentMap, Kind
from chains.core.lens import AddressError, answer_at, extents_in, parse_address
from chains.core.reads import entries, resolve
from tests import images
from tests.core.images import qemu_map, read_map

GIB = 1024**3


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0", 0),
        ("0x1F000", 0x1F000),
        (" 0xffff_ffff ", 2**32 - 1),
        ("1048576", 1048576),
        ("1,048,576 B", 1048576),
        ("9223372036854775807", 2**63 - 1),
        ("1.5G", 3 * GIB // 2),
        ("12 MiB", 12 * 1024**2),
        ("166,400 KiB", 166400 * 1024),
        ("s12345", 12345 * 512),
        ("S 2048", 2048 * 512),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, address: int) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "x", "0x", "0xg", "-1", "1e6", "s", "s-1", "12 parsecs", "1.5", "1.5 B", "0x" + "f" * 17],
)
def test_what_is_no_address_says_how_one_is_written(text: str) -> None:
    with pytest.raises(AddressError, match="0x1f000"):
        parse_address(text)


LAYERS = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.lists(st.sampled_from([0, 1, 2]), min_size=12, max_size=12),
    ),
    min_size=1,
    max_size=5,
)


@given(LAYERS)
def test_every_byte_is_told_as_the_whole_map_tells_it(
    layers: list[tuple[int, list[int]]],
) -> None:
    unit = 512
    maps = [
        ExtentMap.of(
            size * unit, [(n * unit, unit, kind) for n, kind in enumerate(kinds[:size]) if kind]
        )
        for size, kinds in layers
    ]
    resolved = resolve(maps)
    for entry in entries(resolved):
        for at in (entry["start"], entry["start"] + entry["length"] - 1):
            found = answer_at(resolved, at)
            assert found.start <= at < found.start + found.length
            told = (found.start, found.length, found.depth, found.present, found.data)
            names = ("start", "length", "depth", "present", "data")
            assert told == tuple(entry[name] for name in names)
    with pytest.raises(AddressError, match="the last one is"):
        answer_at(resolved, resolved.size)


def test_real_chains_are_told_as_qemu_img_map_tells_them(tmp_path) -> None:
    luck = random.Random(7)  # noqa: S311
    for number in range(4):
        root = tmp_path / str(number)
        size = 16 * images.MIB
        below, below_format = images.raw(root / "base.img", size, "write -P 1 1M 3M"), "raw"
        for depth in range(luck.randint(1, 4)):
            writes = [
                f"write {luck.choice(['-P 5', '-z'])} {luck.randrange(200) * 64}k {luck.randint(1, 9) * 64}k"
                for _ in range(6)
            ]
            # One that was grown: its end hides nothing, and nobody answers beyond the layers below.
            size += luck.choice([0, images.MIB])
            path = root / f"snap{depth}.qcow2"
            images.overlay(path, below.name, below_format, *writes, size=size)
            below, below_format = path, "qcow2"
        resolved = read_map(below)
        for start, length, depth, present, data, _ in qemu_map(below):
            for at in (start, luck.randrange(start, start + length), start + length - 1):
                found = answer_at(resolved, at)
                assert (found.depth, found.present, found.data) == (depth, present, data)
                assert (found.start, found.length) == (start, length)


def test_extents_are_cut_at_the_ends_of_what_is_asked_for() -> None:
    upper = ExtentMap.of(4096, [(1024, 1024, Kind.DATA)])
    lower = ExtentMap.of(4096, [(0, 2048, Kind.ZERO)])
    resolved = resolve([upper, lower])
    found = extents_in(resolved, 512, 3072, 10)
    assert found is not None
    assert [(e.start, e.length, e.owner, e.data) for e in found] == [
        (512, 512, 1, False), (1024, 1024, 0, True), (2048, 1024, None, False),
    ]  # fmt: skip
    assert extents_in(resolved, 512, 3072, 2) is None
    assert extents_in(resolved, 1024, 2048, 1) is not None
