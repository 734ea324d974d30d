"""A stretch of a disk in columns: exact bytes by column and layer, for drawing at any zoom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chains.core.errors import StrataError
from chains.core.extents import ExtentMap, Int64s, Kind, sums_by
from chains.core.readmap import NOBODY, ReadMap

GRANULARITY = 65536  # the cluster size that qemu-img creates unless told otherwise


@dataclass(frozen=True, eq=False)
class Slice:
    """Columns over [start, start + length) of a disk; everything is bytes.

    Column i is [edges[i], edges[i+1]). `answered[layer, i]` is what the layer answers there (data
    and zeroes), `allocated[layer, i]` what it holds there, shadowed or not, `shadowed[layer, i]` the
    data of that which the disk does not see, `unanswered[i]` what no layer holds: answered and
    unanswered of a column add up to its width.
    """

    start: int
    length: int
    edges: Int64s
    answered: Int64s
    allocated: Int64s
    shadowed: Int64s
    unanswered: Int64s


def slice_view(  # noqa: PLR0917 - called as positions along the disk: start, length, columns
    maps: Sequence[ExtentMap],
    read_map: ReadMap,
    start: int,
    length: int,
    columns: int,
    granularity: int = GRANULARITY,
) -> Slice:
    """Cut [start, start + length) of a disk into at most `columns` columns of nearly equal width.

    The stretch is widened to whole clusters of `granularity` bytes and clipped to the disk; column
    edges lie between clusters, so there are fewer columns where there are fewer clusters. Nothing
    inside the disk gives no columns. Raises StrataError for numbers that make no sense.
    """
    if columns < 1 or granularity < 1 or start < 0 or length < 0:
        raise StrataError("A slice needs a start, a length and at least one column.")
    edges = _edges(read_map.size, start, length, columns, granularity)
    by_owner, data = _by_owner(read_map, edges)
    held = np.array([layer.bytes_in(edges, Kind.DATA) for layer in maps], np.int64)
    return Slice(
        start=int(edges[0]),
        length=int(edges[-1] - edges[0]),
        edges=edges,
        answered=by_owner[1:],
        allocated=np.array([layer.bytes_in(edges) for layer in maps], np.int64),
        shadowed=held - data[1:],
        unanswered=by_owner[0],
    )


def _by_owner(read_map: ReadMap, edges: Int64s) -> tuple[Int64s, Int64s]:
    """Sum up each column by owner, NOBODY first: bytes in all and of data, one row an owner."""
    owners = read_map.depth_count + 1
    columns = len(edges) - 1
    if columns == 0:
        nothing = np.zeros((owners, 0), np.int64)
        return nothing, nothing
    first = int(np.searchsorted(read_map.starts, edges[0], side="right")) - 1
    last = int(np.searchsorted(read_map.starts, edges[-1]))
    # Every run is cut where a column ends inside it; a cut at its very start leaves an empty one.
    starts = np.maximum(read_map.starts[first:last], edges[0])
    cuts = np.searchsorted(starts, edges[1:-1])
    starts = np.insert(starts, cuts, edges[1:-1])
    part = slice(first, last)
    owner = np.insert(read_map.owners[part], cuts, read_map.owners[part][cuts - 1])
    data = np.insert(read_map.kinds[part], cuts, read_map.kinds[part][cuts - 1]) == Kind.DATA
    lengths = np.diff(starts, append=edges[-1])
    bounds = np.concatenate(([0], cuts + np.arange(columns - 1), [len(starts)]))
    column = np.repeat(np.arange(columns), np.diff(bounds))
    groups = (column * owners + (owner - NOBODY)) * 2 + data
    sums = sums_by(groups, lengths, columns * owners * 2).reshape(columns, owners, 2)
    return sums.sum(axis=2).T, sums[:, :, 1].T


def _edges(size: int, start: int, length: int, columns: int, granularity: int) -> Int64s:
    start = min(start, size)
    end = min(start + length, size)
    first = start // granularity
    clusters = -(-end // granularity) - first
    if end <= start:
        return np.array([start], np.int64)
    columns = min(columns, clusters)
    index = np.arange(columns + 1, dtype=np.int64)
    # Whole and rest apart: their product with the index can not overflow.
    steps = index * (clusters // columns) + index * (clusters % columns) // columns
    edges: Int64s = (first + steps[:-1]) * granularity
    return np.append(edges, end if end == size else min((first + clusters) * granularity, size))
