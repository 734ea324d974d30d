"""Which layer answers each byte of a disk: what `qemu-img map` says, computed from the tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chains.core import packing
from chains.core.errors import StoredMapError, StrataError
from chains.core.extents import Bytes, ExtentMap, Int64s, Kind

Int16s = NDArray[np.int16]
NOBODY = -1
MAX_LAYERS = 2**13


@dataclass(frozen=True, eq=False)
class ReadMap:
    """Runs that cover [0, size) without a gap, each with the layer that answers it and how.

    `owners` are layer indexes, 0 is the active layer and NOBODY (-1) none. `kinds` are values of
    Kind; where nobody answers UNALLOCATED means that the chain ends there, and ZERO that a layer
    does: one that is shorter than the layers above hides all that lies below it, and reads zero.
    Neighbours differ. `sizes` are the virtual sizes of the layers. All sizes are bytes.
    """

    size: int
    sizes: tuple[int, ...]
    starts: Int64s
    lengths: Int64s
    owners: Int16s
    kinds: Bytes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReadMap):
            return NotImplemented
        return (
            (self.size, self.sizes) == (other.size, other.sizes)
            and np.array_equal(self.lengths, other.lengths)
            and np.array_equal(self.owners, other.owners)
            and np.array_equal(self.kinds, other.kinds)
        )

    # Arrays can change; None is how Python itself says «not hashable».
    __hash__ = None  # type: ignore[assignment]

    @property
    def depth_count(self) -> int:
        """The number of layers."""
        return len(self.sizes)

    def to_bytes(self) -> bytes:
        """Pack the map for storage: versioned, compressed."""
        return packing.pack(b"SRM1", self.sizes, (self.lengths, self.owners, self.kinds))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "ReadMap":
        """Unpack what `to_bytes` made. Raises StoredMapError for anything else."""
        dtypes = (np.int64, np.int16, np.uint8)
        sizes, (lengths, owners, kinds) = packing.unpack(b"SRM1", packed, dtypes)
        size = sizes[0] if sizes else -1
        packing.check_tiling(size, np.zeros(1, np.int64), lengths, exact=True)
        if len(owners) and not (
            len(sizes) <= MAX_LAYERS
            and int(owners.min()) >= NOBODY
            and int(owners.max()) < len(sizes)
            and int(kinds.max()) <= Kind.DATA
            and not (kinds[owners != NOBODY] == Kind.UNALLOCATED).any()
            and not (kinds[owners == NOBODY] == Kind.DATA).any()
        ):
            raise StoredMapError("The stored block map is damaged: read the chain again.")
        return cls(size, tuple(sizes), np.cumsum(lengths) - lengths, lengths, owners, kinds)


def resolve(maps: Sequence[ExtentMap]) -> ReadMap:
    """Resolve a chain, active layer first, into which layer answers each byte of its disk.

    The semantics are those of `qemu-img map`: the first layer that holds a byte answers; from the
    end of a layer on, everything below it is hidden; what lies beyond the disk does not count.
    Raises StrataError without layers, or with more than MAX_LAYERS.
    """
    if not 0 < len(maps) <= MAX_LAYERS:
        raise StrataError(f"A chain has 1 to {MAX_LAYERS} layers, not {len(maps)}.")
    size = maps[0].size
    windows = [_resolve_window(maps, first, last) for first, last in pairwise(borders(maps, size))]
    codes = np.concatenate([codes for _, codes in windows])
    starts = np.concatenate([edges[:-1] for edges, _ in windows])
    # Runs that go on over a border are one run again.
    seams = np.cumsum([len(codes) for _, codes in windows[:-1]], dtype=np.int64)
    seams = seams[(seams > 0) & (seams < len(codes))]
    whole = seams[codes[seams] == codes[seams - 1]]
    if len(whole):
        starts, codes = np.delete(starts, whole), np.delete(codes, whole)
    owners = (codes >> 1).astype(np.int16)
    kinds = np.where(codes == _OPEN, 0, (codes & 1) + 1).astype(np.uint8)
    sizes = tuple(layer.size for layer in maps)
    return ReadMap(size, sizes, starts, np.diff(starts, append=size), owners, kinds)


# A cover is (edges, codes): codes[i] is what [edges[i], edges[i+1]) reads: the layer's index twice
# plus one for data, or one of these two, which stand for NOBODY and kinds UNALLOCATED and ZERO when
# they are taken apart the same way. One small number instead of two columns halves the work.
_OPEN = -1  # ask the layer below
_CLOSED = -2  # beyond the end of a layer: nothing below counts
Cover = tuple[Int64s, Int16s]
# Runs that are resolved at once: few enough for the processor's cache, and for little memory
# beside the result; many enough that each layer of a deep chain has some.
WINDOW_RUNS = 2**16
WINDOW_RUNS_A_LAYER = 2**8


def borders(maps: Sequence[ExtentMap], size: int) -> list[int]:
    """Cut [0, size) into windows of about as many runs each, by the layer that has the most."""
    most = max(maps, key=lambda layer: len(layer.starts)).starts
    runs = sum(len(layer.starts) for layer in maps)
    windows = runs // max(WINDOW_RUNS, WINDOW_RUNS_A_LAYER * len(maps)) + 1
    inner = most[:: max(1, len(most) // windows)][1:]
    return [0, *inner[(inner > 0) & (inner < size)].tolist(), size]


def _resolve_window(maps: Sequence[ExtentMap], first: int, last: int) -> Cover:
    """Resolve [first, last) of the disk."""
    covers = [cover(layer, depth, first, last) for depth, layer in enumerate(maps)]
    while len(covers) > 1:
        pairs = [over(*covers[at : at + 2]) for at in range(0, len(covers) - 1, 2)]
        covers = pairs + covers[len(pairs) * 2 :]
    return covers[0]


def cover(layer: ExtentMap, depth: int, first: int, last: int) -> Cover:
    """Lay one layer's runs out over [first, last), with the gaps between them."""
    low, high = np.searchsorted(layer.starts, (first, last)).tolist()
    if low and layer.starts[low - 1] + layer.lengths[low - 1] > first:
        low -= 1  # this one began before
    part = slice(low, high)
    runs = high - low
    # Gaps and runs take turns; then come the gap up to the layer's end, and what lies beyond it.
    edges = np.empty(2 * runs + 3, np.int64)
    codes = np.full(2 * runs + 2, _OPEN, np.int16)
    edges[0] = first
    edges[1 : 2 * runs : 2] = layer.starts[part]
    edges[2 : 2 * runs + 1 : 2] = layer.starts[part] + layer.lengths[part]
    edges[2 * runs + 1] = layer.size
    edges[2 * runs + 2] = last
    np.clip(edges, first, last, out=edges)
    codes[1 : 2 * runs : 2] = 2 * depth + (layer.kinds[part] == Kind.DATA)
    codes[-1] = _CLOSED
    solid = np.diff(edges) > 0
    return np.append(edges[:-1][solid], last), codes[solid]


def over(upper: Cover, lower: Cover) -> Cover:
    """Lay one cover over another: the lower one shows where nobody answers above."""
    size = upper[0][-1:]
    both = np.concatenate((upper[0][:-1], lower[0][:-1]))
    order = np.argsort(both, kind="stable")
    edges = both[order]
    above = order < len(upper[1])
    # Where an edge is in both, the upper one comes first; the last of equals has seen both.
    last = np.ones(len(edges), bool)
    last[:-1] = edges[1:] != edges[:-1]
    seen = np.cumsum(above)[last]
    edges = edges[last]
    codes = upper[1][seen - 1]
    open_ = codes == _OPEN
    below = np.flatnonzero(last) + 1 - seen
    codes[open_] = lower[1][below[open_] - 1]
    changed = np.ones(len(codes), bool)
    changed[1:] = codes[1:] != codes[:-1]
    return np.concatenate((edges[changed], size)), codes[changed]


def entries(read_map: ReadMap) -> Iterator[dict[str, int | bool]]:
    """Yield what `qemu-img map --output=json` prints: start, length, depth, present, zero, data.

    Where no layer holds anything `present` is false, and `depth` is that of the last layer looked
    at: the root layer, or the one over the layer that ends before (seen with qemu-img 7.2).
    """
    for start, length, depth, present, data in _rows(read_map):
        yield {
            "start": start,
            "length": length,
            "depth": depth,
            "present": present,
            "zero": not data,
            "data": data,
        }


def json_lines(read_map: ReadMap) -> Iterator[str]:
    """Yield the same as JSON text, one object at a time: a fragmented disk has a million of them."""
    words = {False: "false", True: "true"}
    for start, length, depth, present, data in _rows(read_map):
        yield (
            f'{{"start": {start}, "length": {length}, "depth": {depth}, '
            f'"present": {words[present]}, "zero": {words[not data]}, "data": {words[data]}}}'
        )


def _rows(read_map: ReadMap) -> Iterator[tuple[int, int, int, bool, bool]]:
    """Yield start, length, depth, present, data."""
    columns = (read_map.starts, read_map.lengths, read_map.owners, read_map.kinds)
    bottom = read_map.depth_count - 1
    for start, length, owner, kind in zip(*(c.tolist() for c in columns), strict=True):
        if owner != NOBODY:
            yield start, length, owner, True, kind == Kind.DATA
        elif kind == Kind.ZERO:
            for first, count, depth in _beyond_ends(read_map.sizes, start, start + length):
                yield first, count, depth, False, False
        else:
            yield start, length, bottom, False, False


def _beyond_ends(sizes: tuple[int, ...], start: int, end: int) -> list[tuple[int, int, int]]:
    """Split a run beyond the ends of layers: (start, length, index of the layer over the end)."""
    pieces = []
    while start < end:
        short = next(index for index, size in enumerate(sizes) if index and size <= start)
        # An earlier layer that ends inside the run takes over from there.
        until = min([end, *(size for size in sizes[1:short] if start < size)])
        pieces.append((start, until - start, short - 1))
        start = until
    return pieces
