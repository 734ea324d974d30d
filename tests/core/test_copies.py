"""What merges copy and what nobody can reach, against plain models; and sums beyond float64."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core import readmap
from chains.core.copies import CopyTable, copy_table
from chains.core.costs import Strategy, costs
from chains.core.errors import StoredMapError, StrataError
from chains.core.extents import ExtentMap, Kind, sums_by
from chains.core.ranges import shown
from chains.core.reach import unreachable
from chains.core.reads import resolve
from tests.core.test_extents import CELLS, CHAINS, UNIT, extent_map


def shows(chain: list[list[Kind]], base: int, top: int) -> list[Kind]:
    """What the layers top…base show together; 0 is the active layer."""
    found = []
    for cell in range(len(chain[top])):
        kind = Kind.UNALLOCATED
        for cells in chain[top : base + 1]:
            if cell >= len(cells) or cells[cell]:
                kind = cells[cell] if cell < len(cells) else Kind.ZERO
                break
        found.append(kind)
    return found


@pytest.mark.parametrize("window", [1, 2**16])
@given(chain=CHAINS)
def test_every_merge_of_a_chain(window: int, chain: list[list[Kind]]) -> None:
    maps = [extent_map(cells) for cells in chain]
    with (
        mock.patch.object(readmap, "WINDOW_RUNS", window),
        mock.patch.object(readmap, "WINDOW_RUNS_A_LAYER", 1),
    ):
        table = copy_table(maps)
    assert table.depth_count == len(chain)
    assert (CopyTable.from_bytes(table.to_bytes()).seen == table.seen).all()
    for top in range(len(chain)):
        for base in range(top + 1, len(chain)):
            joint = shows(chain, base, top)
            held = chain[top]
            assert table.convert(base, top) == joint.count(Kind.DATA) * UNIT
            assert table.convert(base, top) == shown(resolve(maps[top : base + 1]), Kind.DATA).total
            above = shows(chain, base - 1, top)
            assert table.commit(base, top) == above.count(Kind.DATA) * UNIT
            pulled = [k for k, own in zip(joint, held, strict=True) if k == Kind.DATA and not own]
            assert table.rebase(base, top) == len(pulled) * UNIT
            # What a plan counts for itself is the same, whatever lies below.
            for strategy, expected in (
                (Strategy.CONVERT, table.convert), (Strategy.COMMIT, table.commit),
                (Strategy.REBASE, table.rebase),
            ):  # fmt: skip
                found = costs(maps[top:], base - top + 1, strategy, None)
                assert found.copied == expected(base, top), strategy


def test_only_runs_of_two_layers_or_more_are_merges() -> None:
    table = copy_table([extent_map([Kind.DATA])] * 3)
    for base, top in ((0, 0), (0, 1), (3, 0), (1, -1)):
        with pytest.raises(StrataError):
            table.convert(base, top)


def test_a_damaged_table_is_refused() -> None:
    packed = copy_table([extent_map([Kind.DATA, Kind.ZERO])] * 4).to_bytes()
    for forged in (b"", packed[:-1], packed + b"x", b"SRM1" + packed[4:], packed[:30]):
        with pytest.raises(StoredMapError):
            CopyTable.from_bytes(forged)
    short = copy_table([extent_map([Kind.DATA])]).to_bytes()
    head = 4 + 3 * 8
    claims_more = short[:head] + (2**13).to_bytes(8, "big") + short[head + 8 :]
    with pytest.raises(StoredMapError):
        CopyTable.from_bytes(claims_more)


@st.composite
def families(draw: st.DrawFn) -> tuple[dict[str, list[Kind]], dict[str, str | None]]:
    """A tree of volumes: each but the first lies over one of those before it."""
    cells: dict[str, list[Kind]] = {}
    backing: dict[str, str | None] = {}
    for number in range(draw(st.integers(1, 7))):
        name = f"v{number}"
        backing[name] = f"v{draw(st.integers(0, number - 1))}" if number else None
        cells[name] = draw(CELLS)
    return cells, backing


def reached(cells: dict[str, list[Kind]], backing: dict[str, str | None]) -> set[tuple[str, int]]:
    """Every (volume, cell) of data that some leaf reads, asked one by one."""
    found = set()
    for leaf in set(cells) - set(backing.values()):
        for cell in range(len(cells[leaf])):
            place: str | None = leaf
            while place is not None and cell < len(cells[place]) and not cells[place][cell]:
                place = backing[place]
            if place is not None and cell < len(cells[place]) and cells[place][cell] == Kind.DATA:
                found.add((place, cell))
    return found


@given(families())
def test_what_no_leaf_reads(
    family: tuple[dict[str, list[Kind]], dict[str, str | None]],
) -> None:
    cells, backing = family
    seen = reached(cells, backing)
    lost = unreachable({name: extent_map(held) for name, held in cells.items()}, backing)
    assert lost == {
        name: sum((name, cell) not in seen for cell, kind in enumerate(held) if kind == Kind.DATA)
        * UNIT
        for name, held in cells.items()
    }


def test_a_loop_belongs_to_nobody() -> None:
    data = extent_map([Kind.DATA])
    lost = unreachable({"a": data, "b": data, "c": data}, {"a": "b", "b": "a", "c": "gone"})
    assert lost == {"c": 0}


def test_sums_are_exact_where_float64_is_not() -> None:
    groups = np.array([0, 1, 0, 2, 2], np.int64)
    lengths = np.array([2**61 + 1, 3, 2**54 + 1, 2**53, 1], np.int64)
    found = sums_by(groups, lengths, 4)
    assert found.tolist() == [2**61 + 2**54 + 2, 3, 2**53 + 1, 0]
    assert sums_by(groups, lengths // 2**20, 3).tolist() == [2**41 + 2**34, 0, 2**33]


def test_a_view_of_half_the_bytes_there_can_be() -> None:
    size = 2**62
    top = ExtentMap.of(size, [(0, UNIT, Kind.DATA)])
    base = dataclasses.replace(top, starts=np.array([0]), lengths=np.array([size - UNIT]))
    table = copy_table([top, base])
    assert table.convert(1, 0) == size - UNIT
    assert table.rebase(1, 0) == size - 2 * UNIT
