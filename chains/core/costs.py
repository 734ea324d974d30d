"""What a merge reads, copies, writes and needs, by strategy: counted from the maps of its layers.

The model was measured (tests and benchmarks/predictions.py hold it against qemu-img 7.2). commit is a
mirror job: it copies what the layers above base hold, in granules, wherever base has it already; rebase
reads what lies below top twice and writes what top lacks; convert copies what base…top show, and over a
layer below base is a rebase of an empty overlay. What clusters and tables add see clusters.py.

Maps tell where data lies, not what it is: rebase passes over data that layers hold alike, and convert
over zeroes that are stored as data. So what is predicted for them is the most that they do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chains.core.clusters import Target, peak
from chains.core.extents import ExtentMap, Kind
from chains.core.ranges import Ranges, held, shown, union
from chains.core.readmap import resolve

# What takes time besides bytes, as the bytes that could be read or written meanwhile (measured, see
# benchmarks/recommendations.py): each stretch that is copied, more so where a tool waits for one before
# it asks for the next; what a rebase onto nothing looks through, bytes of the disk for one.
STRETCH, WAITED_STRETCH, LOOKED_AT = 256 * 1024, 768 * 1024, 4
# What a mirror job copies at once, at the least: clusters of the target, within these bounds.
MIN_GRANULE, MAX_GRANULE = 4096, 65536
MIRROR_BUFFER, MIRROR_REQUEST = 10 * 1024**2, 1024**2


class Strategy(StrEnum):
    """How layers are joined."""

    COMMIT = "commit"  # the data of the layers above base, down into base
    REBASE = "rebase"  # what lies below top, up into top
    CONVERT = "convert"  # what base…top show, into a new volume


@dataclass(frozen=True)
class Costs:
    """Bytes: read from the old layers, data copied, written, and needed beside them at the peak.

    `overhead` is what takes time besides: the bytes that could be read or written meanwhile.
    """

    read: int
    copied: int
    written: int
    extra: int
    overhead: int = 0


@dataclass(frozen=True)
class Work:
    """What a merge moves: the ranges of the disk whose bytes change their place.

    `data` is copied, `zeroes` are written as zeroes (or unmapped). Both are read as `source` shows
    them: the layers (top first) that hold them before the merge.
    """

    data: Ranges
    zeroes: Ranges
    source: tuple[int, ...]


def work(maps: Sequence[ExtentMap], count: int, strategy: Strategy) -> Work:
    """Say what a merge of the upper `count` layers moves; `maps` run from top to the chain's root."""
    if strategy is Strategy.CONVERT:
        view = resolve(maps[:count])
        return Work(shown(view, Kind.DATA), Ranges.none(), tuple(range(count)))
    if strategy is Strategy.COMMIT:
        view = resolve(maps[: count - 1])
        covered = union([held(layer, Kind.ZERO) for layer in maps[: count - 1]])
        zeroes = shown(view, Kind.ZERO).both(covered)
        return Work(shown(view, Kind.DATA), zeroes, tuple(range(count - 1)))
    view = resolve(maps[1:count])
    mine = held(maps[0], Kind.DATA, Kind.ZERO)
    inside = Ranges.whole(maps[0].size)
    data = shown(view, Kind.DATA).minus(mine).both(inside)
    # Zeroes are written only where the layers below would now show something else, also beyond the
    # end of a layer that hid them.
    blank = union([shown(view, Kind.ZERO), inside.minus(Ranges.whole(maps[1].size))])
    zeroes = blank.minus(mine).both(inside).both(_below(maps, count))
    return Work(data, zeroes, tuple(range(1, count)))


def costs(
    maps: Sequence[ExtentMap],
    count: int,
    strategy: Strategy,
    cluster: int | None,
    *,
    shares_blocks: bool = False,
) -> Costs:
    """Count a merge of the upper `count` layers; `cluster` is that of the volume written, None is raw.

    `shares_blocks` is for file systems where a convert to a volume without a backing file takes the
    old blocks over by reference instead of copying them (qemu-img convert -C).
    """
    if strategy is Strategy.COMMIT:
        return _commit(maps, count, cluster)
    if strategy is Strategy.REBASE:
        return _rebase(maps, count, Target(maps[0], cluster, maps[0].size))
    size = maps[0].size
    target = Target(size, cluster, size)
    if len(maps) > count:
        return _rebase([target.layer, *maps], count + 1, target)
    return _convert(maps, target, shares_blocks=shares_blocks)


def _convert(maps: Sequence[ExtentMap], target: Target, *, shares_blocks: bool) -> Costs:
    data = work(maps, len(maps), Strategy.CONVERT).data
    new = target.new(data)
    tables = target.metadata(new.total, new)
    if shares_blocks and not any(layer.compressed for layer in maps):
        # A cluster that is shared in part alone is filled up with stored zeroes.
        filled = target.filling(data, Ranges.none(), skips=False)
        return Costs(filled, data.total, filled + tables.written, filled + tables.on_disk)
    return Costs(
        data.total,
        data.total,
        data.total + tables.written,
        new.total + tables.on_disk,
        # What is new lies in the cache when it is compared, and costs next to nothing to read.
        len(data.starts) * STRETCH - data.total,
    )


def _commit(maps: Sequence[ExtentMap], count: int, cluster: int | None) -> Costs:
    """Count the mirror job that a commit is: it goes by granules that a layer above base touches."""
    top, base = maps[0], maps[count - 1]
    target = Target(base, cluster, max(top.size, base.size))
    pieces, zeroes = _mirrored(maps, count, cluster)
    new, old = target.new(pieces), target.data
    # Compressed clusters can not be written in place; which they are, the map does not tell.
    unpacked = min(base.compressed, pieces.both(old).total)
    requests = pieces.cut(pieces.in_steps(MIRROR_REQUEST))
    filled = target.filling(requests, _blank(maps[count - 1 :]), skips=False)
    tables = target.metadata(new.total + unpacked, union([pieces, zeroes]))
    return Costs(
        pieces.total + filled,
        work(maps, count, Strategy.COMMIT).data.total,
        pieces.total + filled + tables.written,
        peak(new, zeroes.both(old)) + unpacked + tables.on_disk,
        len(pieces.starts) * STRETCH,
    )


def _mirrored(maps: Sequence[ExtentMap], count: int, cluster: int | None) -> tuple[Ranges, Ranges]:
    """What a mirror job copies, and what it only marks as zero, of the upper `count` layers."""
    granule = MAX_GRANULE if cluster is None else min(max(cluster, MIN_GRANULE), MAX_GRANULE)
    inside = Ranges.whole(maps[0].size)
    above = union([held(layer, Kind.DATA, Kind.ZERO) for layer in maps[: count - 1]])
    dirty = above.both(inside).in_units(granule).both(inside)
    view = resolve(maps)
    blank = Ranges(view.starts, view.starts + view.lengths).only(view.kinds != Kind.DATA)
    # It asks for the kind of what a buffer holds; what ends within a granule it copies.
    zeroes = blank.inner_units(granule).cut(dirty.in_steps(MIRROR_BUFFER)).within(dirty)
    if cluster is not None and cluster > granule:
        # So it does with zeroes that do not begin and end with clusters.
        zeroes = zeroes.only((zeroes.starts % cluster == 0) & (zeroes.ends % cluster == 0))
    return dirty.minus(zeroes), union([zeroes])


def _rebase(maps: Sequence[ExtentMap], count: int, target: Target) -> Costs:
    moved = work(maps, count, Strategy.REBASE)
    # Beyond the end of what lies below, whole clusters are only marked as zero.
    beyond = moved.zeroes.minus(Ranges.whole(maps[1].size))
    marked = beyond.inner_units(target.unit)
    pieces = union([moved.data, moved.zeroes]).minus(marked)
    new = target.new(pieces)
    filled = target.filling(pieces, _blank(maps), skips=len(maps) > count)
    tables = target.metadata(new.total, union([new, marked]))
    # In the end the header is written once more; that of a new overlay has been once already.
    header = (target.cluster or 0) * (2 if target.is_new else 1)
    again = pieces.both(_readable(maps, count)).total
    overhead = len(pieces.starts) * WAITED_STRETCH
    if len(maps) <= count:
        # Onto nothing, all that top does not hold is compared with zeroes, and holes of a raw root
        # are read like data.
        asked = Ranges.whole(maps[0].size).minus(held(maps[0], Kind.DATA, Kind.ZERO))
        overhead += asked.total // LOOKED_AT
        again = asked.both(_holes(maps[1:])).total
    return Costs(
        pieces.total + again + max(filled, 0),
        moved.data.total,
        pieces.total + filled + tables.written + header,
        new.total + tables.on_disk,
        overhead,
    )


def _below(maps: Sequence[ExtentMap], count: int) -> Ranges:
    """What the layers below base show as data."""
    return shown(resolve(maps[count:]), Kind.DATA) if len(maps) > count else Ranges.none()


def _readable(maps: Sequence[ExtentMap], count: int) -> Ranges:
    """What a read of the layers below base finds, the holes of a raw root included."""
    if len(maps) <= count:
        return Ranges.none()
    view = resolve(maps[count:])
    return union([shown(view, Kind.DATA), shown(view, Kind.ZERO)])


def _blank(maps: Sequence[ExtentMap]) -> Ranges:
    """The stretches that QEMU knows to read zero without looking: each of one layer, none of a raw one."""
    view = resolve(maps)
    known = view.kinds != Kind.DATA
    if _is_raw(maps[-1]):
        known &= view.owners != len(maps) - 1
    return Ranges(view.starts, view.starts + view.lengths).only(known)


def _holes(maps: Sequence[ExtentMap]) -> Ranges:
    """What a read of these layers finds in holes of a raw root."""
    view = resolve(maps)
    mine = (view.owners == len(maps) - 1) & (view.kinds == Kind.ZERO)
    found = Ranges(view.starts, view.starts + view.lengths).only(mine)
    return found if _is_raw(maps[-1]) else Ranges.none()


def _is_raw(layer: ExtentMap) -> bool:
    """Only a raw layer answers every byte without a table."""
    return layer.l2_bytes == 0 and int(layer.lengths.sum()) == layer.size
