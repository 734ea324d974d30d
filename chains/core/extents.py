"""What one layer holds: runs of data and of zeroes; what lies between them falls through."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chains.core import packing
from chains.core.errors import StoredMapError

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]
# The maps of a chain with so many runs, resolved, take about 300 MB; a few megabytes of forged tables
# could claim any number.
MAX_RUNS = 2**21
_HALF = 28
_LOW_HALF = (1 << _HALF) - 1


class Kind(IntEnum):
    """What a layer says of a byte: nothing (ask the backing file), that it reads zero, or data."""

    UNALLOCATED = 0
    ZERO = 1
    DATA = 2


@dataclass(frozen=True, eq=False)
class ExtentMap:
    """What one layer holds: sorted, disjoint, joined runs of ZERO and DATA; gaps are unallocated.

    `size` is the virtual size in bytes, and so are `starts` and `lengths`. `compressed` counts the
    guest bytes in compressed clusters (part of DATA), `l2_bytes` the L2 tables that were read.
    """

    size: int
    starts: Int64s
    lengths: Int64s
    kinds: Bytes
    compressed: int = 0
    l2_bytes: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExtentMap):
            return NotImplemented
        return (
            (self.size, self.compressed, self.l2_bytes)
            == (other.size, other.compressed, other.l2_bytes)
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.lengths, other.lengths)
            and np.array_equal(self.kinds, other.kinds)
        )

    # Arrays can change; None is how Python itself says «not hashable».
    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, size: int, runs: Sequence[tuple[int, int, int]]) -> "ExtentMap":
        """Build a map from (start, length, kind) in any order; for small maps and tests."""
        table = np.array(sorted(runs), dtype=np.int64).reshape(-1, 3)
        return joined(size, table[:, 0], table[:, 1], table[:, 2].astype(np.uint8))

    @property
    def allocated(self) -> int:
        """Bytes of DATA."""
        return self._index[Kind.DATA].total

    @property
    def zeroed(self) -> int:
        """Bytes of ZERO."""
        return self._index[Kind.ZERO].total

    def bytes_in(self, edges: Int64s, kind: Kind | None = None) -> Int64s:
        """Return the bytes of `kind` in each [edges[i], edges[i+1]); None is DATA plus ZERO.

        UNALLOCATED counts only what lies inside the virtual size.
        """
        data = self._index[Kind.DATA].before(edges)
        zero = self._index[Kind.ZERO].before(edges)
        if kind is Kind.DATA:
            return np.diff(data)
        if kind is Kind.ZERO:
            return np.diff(zero)
        if kind is Kind.UNALLOCATED:
            return np.diff(np.clip(edges, 0, self.size) - data - zero)
        return np.diff(data + zero)

    def to_bytes(self) -> bytes:
        """Pack the map for storage: versioned, compressed."""
        facts = (self.size, self.compressed, self.l2_bytes)
        gaps = np.diff(self.starts + self.lengths, prepend=0) - self.lengths
        return packing.pack(b"SEM1", facts, (gaps, self.lengths, self.kinds))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "ExtentMap":
        """Unpack what `to_bytes` made. Raises StoredMapError for anything else."""
        facts, columns = packing.unpack(b"SEM1", packed, (np.int64, np.int64, np.uint8))
        if len(facts) != 3:
            raise StoredMapError("The stored block map is damaged: read the layer again.")
        size, compressed, l2_bytes = facts
        gaps, lengths, kinds = columns
        packing.check_tiling(size, gaps, lengths, exact=False)
        if not np.isin(kinds, (Kind.ZERO, Kind.DATA)).all():
            raise StoredMapError("The stored block map is damaged: read the layer again.")
        starts = np.cumsum(gaps + lengths) - lengths
        return cls(size, starts, lengths, kinds, compressed, l2_bytes)

    @cached_property
    def _index(self) -> dict[Kind, "Cumulative"]:
        index = {}
        for kind in (Kind.ZERO, Kind.DATA):
            chosen = self.kinds == kind
            index[kind] = Cumulative(self.starts[chosen], self.lengths[chosen])
        return index


class Cumulative:
    """Sorted disjoint runs, ready to say how many of their bytes lie before any position."""

    def __init__(self, starts: Int64s, lengths: Int64s) -> None:
        self.starts = starts
        self.lengths = lengths
        self.sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))

    @property
    def total(self) -> int:
        """Bytes of all runs."""
        return int(self.sums[-1])

    def before(self, positions: Int64s) -> Int64s:
        """Return the bytes of the runs below each position."""
        if not len(self.starts):
            return np.zeros(len(positions), np.int64)
        run = np.searchsorted(self.starts, positions, side="right") - 1
        inside = np.clip(positions - self.starts[run], 0, self.lengths[run])
        return np.where(run < 0, 0, self.sums[run] + inside)


def sums_by(groups: NDArray[Any], lengths: Int64s, count: int) -> Int64s:
    """Add `lengths` up by group, exactly: groups are 0 to count - 1, lengths not negative.

    numpy's fast sum by group counts in float64, which is exact below 2^53: larger totals are added
    up in two halves.
    """
    if int(np.sum(lengths, dtype=np.float64)) < 2**52:
        return np.bincount(groups, lengths, count).astype(np.int64)
    low = np.bincount(groups, lengths & _LOW_HALF, count).astype(np.int64)
    high = np.bincount(groups, lengths >> _HALF, count).astype(np.int64)
    return low + (high << _HALF)


def joined(
    size: int,
    starts: Int64s,
    lengths: Int64s,
    kinds: Bytes,
    *,
    compressed: int = 0,
    l2_bytes: int = 0,
) -> ExtentMap:
    """Make an ExtentMap of sorted disjoint runs: clip them to `size`, join equal neighbours."""
    inside = int(np.searchsorted(starts, size))
    starts, lengths, kinds = starts[:inside], lengths[:inside], kinds[:inside]
    if not inside:
        return ExtentMap(size, starts, lengths, kinds, compressed, l2_bytes)
    ends = starts + lengths
    first = np.ones(inside, bool)
    first[1:] = (starts[1:] != ends[:-1]) | (kinds[1:] != kinds[:-1])
    at = np.flatnonzero(first)
    ends = ends[np.append(at[1:], inside) - 1]
    ends[-1] = min(int(ends[-1]), size)
    starts = starts[at]
    return ExtentMap(size, starts, ends - starts, kinds[at], compressed, l2_bytes)
