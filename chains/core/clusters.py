"""What QEMU stores around the data that it is given: whole clusters, tables, reference counts.

Facts of the format are from QEMU's docs/interop/qcow2; what is written when was seen with qemu-img
7.2 (tests hold every figure against it).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chains.core.extents import Cumulative, ExtentMap, Int64s, Kind
from chains.core.ranges import Ranges, held

MIB = 1024**2
# What file systems give room in, and how many stretches of a file a block of their own lists.
BLOCK, STRETCHES_A_BLOCK = 4096, 340
L1_SECTOR = 512
# The parts of a cluster that are stored on their own in an image with extended L2 entries.
SUBCLUSTERS = 32


@dataclass(frozen=True)
class Stored:
    """What a volume takes beside the data itself; bytes, in the system calls and on disk."""

    written: int
    on_disk: int


class Target:
    """The volume that a merge writes, as it is before: `layer`, or a new one of that many bytes.

    `cluster` is bytes, None is raw. `size` is the virtual size that it has afterwards, in bytes.
    """

    def __init__(self, layer: ExtentMap | int, cluster: int | None, size: int) -> None:
        self.is_new = isinstance(layer, int)
        self.layer = ExtentMap.of(layer, []) if isinstance(layer, int) else layer
        self.cluster = cluster
        self.size = size
        extended = cluster is not None and _has_subclusters(self.layer, cluster)
        # The piece that is filled up when a part of it is written, and the one that takes room.
        self.unit = (cluster or BLOCK) // (SUBCLUSTERS if extended else 1)
        self.room = max(self.unit, BLOCK) if cluster is None or extended else self.unit
        self._entry = 16 if extended else 8

    @property
    def data(self) -> Ranges:
        """The clusters that hold data already, whole."""
        return held(self.layer, Kind.DATA).in_units(self.room)

    def new(self, pieces: Ranges) -> Ranges:
        """The clusters (raw: file system blocks) that take up room once the pieces are written."""
        return pieces.in_units(self.room).minus(self.data)

    def filling(self, pieces: Ranges, blank: Ranges, *, skips: bool) -> int:
        """Bytes written to fill up new clusters of which a piece covers a part alone.

        The first piece in a cluster decides: what it leaves at either side is read and written too,
        unless each side lies within one stretch of `blank`; then the file system is told to clear it.
        With `skips` a cluster that is there is passed over afterwards: later pieces in it count less.
        """
        if self.cluster is None or not len(pieces.starts):
            return 0
        starts, ends = _fragments(pieces, self.unit)
        homes = starts // self.unit * self.unit
        old = Cumulative(*_lengths(held(self.layer, Kind.DATA).in_units(self.unit)))
        fresh = old.before(homes + 1) == old.before(homes)
        starts, ends, homes = starts[fresh], ends[fresh], homes[fresh]
        homes, first, counts = np.unique(homes, return_index=True, return_counts=True)
        cleared = _within(blank, homes, starts[first]) & _within(
            blank, ends[first], homes + self.unit
        )
        lengths = ends - starts
        rest = int((self.unit - lengths[first])[~cleared].sum())
        if not skips:
            return rest
        sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        return rest - int((sums[first + counts] - sums[first] - lengths[first]).sum())

    def metadata(self, new: int, touched: Ranges) -> Stored:
        """Count the tables that new data clusters (bytes) and changes of `touched` come to."""
        if self.cluster is None:
            return Stored(0, BLOCK * (1 + len(touched.starts) // STRETCHES_A_BLOCK))
        cluster = self.cluster
        span = cluster * (cluster // self._entry)
        there = held(self.layer, Kind.DATA, Kind.ZERO).in_units(span)
        asked = touched.in_units(span)
        tables = asked.minus(there).total // span
        again = asked.both(there).total // span
        l1 = -(-self.size // span) * 8
        grows = self.is_new or l1 > -(-self.layer.size // span) * 8
        l1_clusters = -(-l1 // cluster) if grows else 0
        head = 2 if self.is_new else 0  # the header and the table of the reference counts
        blocks, listing = self._counts(new // cluster + tables + l1_clusters + head, there, span)
        stored = (head + tables + blocks + listing) * cluster + _whole(l1 if grows else 0, BLOCK)
        # A new table is stored empty; before it the one that was filled last is stored, and the
        # reference counts; so are they at the end.
        calls = (3 if self.is_new else 0) + 3 * tables + again + 1 + 2 * blocks + 2 * listing
        written = calls * cluster + _whole(l1 if grows else 0, L1_SECTOR) + tables * L1_SECTOR
        return Stored(written if tables or again or self.is_new else 0, stored)

    def _counts(self, clusters: int, there: Ranges, span: int) -> tuple[int, int]:
        """New blocks of reference counts (two bytes a cluster), and new clusters of their table."""
        assert self.cluster is not None
        per_block, per_table = self.cluster // 2, self.cluster // 8
        before = 0
        if not self.is_new:
            before = 3 + (self.data.total + there.total // span * self.cluster) // self.cluster
            before += -(-before // per_block)
        blocks = -(-before // per_block)
        had = blocks
        while blocks * per_block < before + clusters + blocks - had:
            blocks += 1
        tables_before = -(-had // per_table) if had else 1
        tables = -(-blocks // per_table)
        # A table that is too small is written anew, half as large again as it was.
        listing = 0 if tables <= tables_before else tables + tables // 2 + 1
        return blocks - had, listing


def reserve(needed: int, cluster: int | None) -> int:
    """Bytes to have free beyond what is predicted to be needed.

    A mebibyte, four clusters and 0.5 %: metadata that lies in holes of the file yet, tables
    that take twice the room (extended L2 entries of which the map shows no trace), a few clusters that
    QEMU copies because it asks for the kinds of zeroes one by one.
    """
    return MIB + 4 * (cluster or 0) + needed // 200


def peak(new: Ranges, freed: Ranges) -> int:
    """The most bytes taken up at any time, when both happen in the order of the disk."""
    takes, gives = Cumulative(*_lengths(new)), Cumulative(*_lengths(freed))
    if not len(new.ends):
        return 0
    return max(0, int((takes.before(new.ends) - gives.before(new.ends)).max()))


def _has_subclusters(layer: ExtentMap, cluster: int) -> bool:
    """Extended L2 entries show where a run begins or ends inside a cluster."""
    ends = layer.starts + layer.lengths
    edges = np.concatenate((layer.starts, ends[ends < layer.size]))
    return bool((edges % cluster).any())


def _fragments(pieces: Ranges, unit: int) -> tuple[Int64s, Int64s]:
    """The parts of the pieces that cover a unit in part alone, in the order of the disk."""
    head_end = np.minimum(-(-pieces.starts // unit) * unit, pieces.ends)
    tail_start = np.maximum(pieces.ends // unit * unit, head_end)
    starts = np.column_stack((pieces.starts, tail_start)).ravel()
    ends = np.column_stack((head_end, pieces.ends)).ravel()
    solid = starts < ends
    return starts[solid], ends[solid]


def _within(stretches: Ranges, starts: Int64s, ends: Int64s) -> NDArray[np.bool_]:
    """Say of each [starts[i], ends[i]) whether it is empty, or lies within one of the stretches."""
    if not len(stretches.starts):
        return starts >= ends
    last = np.searchsorted(stretches.starts, starts, side="right") - 1
    inside: NDArray[np.bool_] = (last >= 0) & (stretches.ends[last] >= ends)
    return inside | (starts >= ends)


def _lengths(ranges: Ranges) -> tuple[Int64s, Int64s]:
    return ranges.starts, ranges.ends - ranges.starts


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit
