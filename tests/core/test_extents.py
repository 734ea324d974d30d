"""Maps of extents and of reads against plain models, and their stored form."""

import dataclasses
import zlib
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.core import readmap
from chains.core.errors import StoredMapError, StrataError
from chains.core.extents import ExtentMap, Kind
from chains.core.readmap import NOBODY, ReadMap, entries, resolve
from chains.core.reads import figures, slice_view

CELLS = st.lists(st.sampled_from(list(Kind)), max_size=24)
CHAINS = st.lists(CELLS, min_size=1, max_size=6)
UNIT = 512


def extent_map(cells: list[Kind], **facts: int) -> ExtentMap:
    runs = [(i * UNIT, UNIT, kind) for i, kind in enumerate(cells) if kind]
    return dataclasses.replace(ExtentMap.of(len(cells) * UNIT, runs), **facts)


def answer(chain: list[list[Kind]], cell: int) -> tuple[int, Kind]:
    """Ask the layers one by one, as a guest's read does."""
    for depth, cells in enumerate(chain):
        if cell >= len(cells):
            return NOBODY, Kind.ZERO
        if cells[cell]:
            return depth, cells[cell]
    return NOBODY, Kind.UNALLOCATED


def cells_of(read_map: ReadMap) -> list[tuple[int, Kind]]:
    return [
        (owner, Kind(kind))
        for owner, kind, length in zip(
            read_map.owners.tolist(), read_map.kinds, read_map.lengths.tolist(), strict=True
        )
        for _ in range(length // UNIT)
    ]


@pytest.mark.parametrize("window", [1, 2**16])
@given(chain=CHAINS)
def test_resolving_is_asking_the_layers_one_by_one(window: int, chain: list[list[Kind]]) -> None:
    with (
        mock.patch.object(readmap, "WINDOW_RUNS", window),
        mock.patch.object(readmap, "WINDOW_RUNS_A_LAYER", 1),
    ):
        read_map = resolve([extent_map(cells) for cells in chain])
    assert cells_of(read_map) == [answer(chain, cell) for cell in range(len(chain[0]))]
    same = (np.diff(read_map.owners) == 0) & (np.diff(read_map.kinds.astype(int)) == 0)
    assert not same.any(), "neighbours are joined"
    assert sum(int(entry["length"]) for entry in entries(read_map)) == read_map.size
    assert ReadMap.from_bytes(read_map.to_bytes()) == read_map


@given(CHAINS)
def test_figures_add_up(chain: list[list[Kind]]) -> None:
    maps = [extent_map(cells, l2_bytes=7) for cells in chain]
    read_map = resolve(maps)
    seen = [answer(chain, cell) for cell in range(len(chain[0]))]
    found = figures(maps, read_map)
    for depth, (layer, cells) in enumerate(zip(found.layers, chain, strict=True)):
        data = seen.count((depth, Kind.DATA)) * UNIT
        assert layer.allocated == cells.count(Kind.DATA) * UNIT
        assert layer.zeroed == cells.count(Kind.ZERO) * UNIT
        assert layer.answered_data == data
        assert layer.answered == data + seen.count((depth, Kind.ZERO)) * UNIT
        assert layer.shadowed == layer.allocated - data
        assert layer.l2_bytes == 7
    hops = [depth for depth, _ in seen if depth != NOBODY]
    assert found.unanswered == (len(seen) - len(hops)) * UNIT
    assert found.max_hops == max(hops, default=0)
    assert found.mean_hops == pytest.approx(sum(hops) / len(hops) if hops else 0.0)


@given(
    CHAINS, st.integers(0, 30 * UNIT), st.integers(0, 30 * UNIT), st.integers(1, 9),
    st.sampled_from([UNIT, 2 * UNIT, 5 * UNIT]),
)  # fmt: skip
def test_slices_are_exact(
    chain: list[list[Kind]], start: int, length: int, columns: int, granularity: int
) -> None:
    maps = [extent_map(cells) for cells in chain]
    size = maps[0].size
    view = slice_view(maps, resolve(maps), start, length, columns, granularity)
    edges = view.edges.tolist()
    assert view.start == edges[0]
    assert view.length == edges[-1] - edges[0]
    assert len(edges) - 1 <= columns
    assert all(edge % granularity == 0 or edge == size for edge in edges if len(edges) > 1)
    if start < size and length:
        assert edges[0] <= start
        assert edges[-1] >= min(start + length, size)
    widths = np.diff(view.edges)[:-1]  # the last one may be cut by the end of the disk
    assert not len(widths) or int(widths.max() - widths.min()) <= granularity
    if len(edges) > 2:
        assert edges[-1] - edges[-2] <= int(widths.min()) + granularity
    assert view.answered.shape == view.allocated.shape == (len(chain), len(edges) - 1)
    assert (view.answered.sum(axis=0) + view.unanswered == np.diff(view.edges)).all()
    for column, (first, last) in enumerate(pairwise(edges)):
        answers = [answer(chain, cell) for cell in range(first // UNIT, last // UNIT)]
        seen = [depth for depth, _ in answers]
        for depth, cells in enumerate(chain):
            held = [kind for kind in cells[first // UNIT : last // UNIT] if kind]
            assert view.answered[depth, column] == seen.count(depth) * UNIT
            assert view.allocated[depth, column] == len(held) * UNIT
            hidden = held.count(Kind.DATA) - answers.count((depth, Kind.DATA))
            assert view.shadowed[depth, column] == hidden * UNIT


def test_a_slice_of_few_clusters_has_few_columns_and_a_short_last_one() -> None:
    maps = [ExtentMap.of(5 * 65536 + 512, [(0, 70000, Kind.DATA)])]
    view = slice_view(maps, resolve(maps), 0, maps[0].size, 1000)
    assert view.edges.tolist() == [0, 65536, 131072, 196608, 262144, 327680, 328192]
    for bad in ((-1, 5, 5), (0, -1, 5), (0, 5, 0)):
        with pytest.raises(StrataError):
            slice_view(maps, resolve(maps), *bad)


def test_columns_are_nearly_equal() -> None:
    maps = [ExtentMap.of(17 * UNIT, [])]
    widths = np.diff(slice_view(maps, resolve(maps), 0, 17 * UNIT, 9, UNIT).edges) // UNIT
    assert sorted(widths.tolist()) == [1] + [2] * 8


@given(CELLS, st.lists(st.integers(-2 * UNIT, 30 * UNIT), min_size=2, max_size=9))
def test_bytes_in(cells: list[Kind], positions: list[int]) -> None:
    edges = np.array(sorted(positions), np.int64)
    found = extent_map(cells)
    bytes_of = [kind for kind in cells for _ in range(UNIT)]
    for kind in (None, *Kind):
        wanted = [Kind.ZERO, Kind.DATA] if kind is None else [kind]
        expected = [
            sum(k in wanted for k in bytes_of[max(0, first) : max(0, last)])
            for first, last in pairwise(edges.tolist())
        ]
        assert found.bytes_in(edges, kind).tolist() == expected


def test_an_empty_disk_and_too_many_or_no_layers() -> None:
    empty = ExtentMap.of(0, [])
    read_map = resolve([empty, ExtentMap.of(512, [(0, 512, Kind.DATA)])])
    assert list(entries(read_map)) == []
    assert ReadMap.from_bytes(read_map.to_bytes()) == read_map
    assert figures([empty], resolve([empty])).mean_hops == 0.0
    for count in (0, 2**13 + 1):
        with pytest.raises(StrataError):
            resolve([empty] * count)


def test_sizes_near_the_limit_stay_exact() -> None:
    size = 2**61
    maps = [
        ExtentMap.of(size, [(size - 4096, 4096, Kind.DATA)]),
        ExtentMap.of(size, [(0, size, 1)]),
    ]
    read_map = resolve(maps)
    view = slice_view(maps, read_map, 0, size, 997, 512)
    assert int(view.answered.sum()) == size
    assert figures(maps, read_map).layers[1].answered == size - 4096
    assert ExtentMap.from_bytes(maps[0].to_bytes()) == maps[0]


@given(CELLS)
def test_extent_maps_survive_storage(cells: list[Kind]) -> None:
    found = extent_map(cells, compressed=512, l2_bytes=1024)
    assert ExtentMap.from_bytes(found.to_bytes()) == found


@settings(max_examples=300)
@given(CELLS, st.data())
def test_damaged_storage_is_refused_or_harmless(cells: list[Kind], data: st.DataObject) -> None:
    found = extent_map(cells)
    for kind, stored in ((ExtentMap, found.to_bytes()), (ReadMap, resolve([found]).to_bytes())):
        packed = bytearray(stored)
        for _ in range(data.draw(st.integers(1, 4))):
            packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
        cut = bytes(packed[: data.draw(st.integers(0, len(packed)))])
        for damaged in (bytes(packed), cut):
            try:
                back = kind.from_bytes(damaged)
            except StoredMapError:
                continue
            assert (np.diff(back.starts) > 0).all()
            assert (back.lengths > 0).all()


def test_a_bomb_and_a_foreign_version_are_refused() -> None:
    stored = ExtentMap.of(512, [(0, 512, Kind.DATA)]).to_bytes()
    with pytest.raises(StoredMapError):
        ExtentMap.from_bytes(b"SEM9" + stored[4:])
    with pytest.raises(StoredMapError):
        ReadMap.from_bytes(stored)
    bomb = zlib.compress(bytes(50_000_000))
    head = stored[: 28 + 24]  # tag, three numbers, three facts
    with pytest.raises(StoredMapError):
        ExtentMap.from_bytes(head + b"\x01" + len(bomb).to_bytes(8, "big") + bomb)


def test_a_block_without_its_checksum_is_refused() -> None:
    stored = ExtentMap.of(512, [(0, 512, Kind.DATA)]).to_bytes()
    last = len(zlib.compress(bytes([Kind.DATA]), 1))
    length = (last - 4).to_bytes(8, "big")
    cut = stored[: -last - 8] + length + stored[-last:-4]
    with pytest.raises(StoredMapError):
        ExtentMap.from_bytes(cut)
