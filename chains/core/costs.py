"""What a merge reads, copies, writes and needs, by strategy: counted from the maps of its layers.

The model was measured: commit copies all data that the layers above base show, wherever base has it
already; rebase reads what lies below top twice and writes what top lacks; convert copies what base…top
show. Zeroes cost writes only where they hide data (tests hold the predictions against qemu-img).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chains.core.extents import ExtentMap, Kind
from chains.core.ranges import Ranges, held, shown, union
from chains.core.readmap import resolve

MIB = 1024**2


class Strategy(StrEnum):
    """How layers are joined."""

    COMMIT = "commit"  # the data of the layers above base, down into base
    REBASE = "rebase"  # what lies below top, up into top
    CONVERT = "convert"  # what base…top show, into a new volume


@dataclass(frozen=True)
class Costs:
    """Bytes: read from the old layers, data copied, written, and needed beside them at the peak."""

    read: int
    copied: int
    written: int
    extra: int


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
    maps: Sequence[ExtentMap], count: int, strategy: Strategy, cluster: int | None, *,
    shares_blocks: bool = False,
) -> Costs:  # fmt: skip
    """Count a merge of the upper `count` layers; `cluster` is that of the volume written, None is raw."""
    moved = work(maps, count, strategy)
    copied = moved.data.total
    unit = cluster or 1
    if strategy is Strategy.CONVERT:
        needed = moved.data.in_units(unit).total
        if shares_blocks:
            return Costs(0, copied, 0, metadata(needed, cluster))
        return Costs(copied, copied, needed, needed + metadata(needed, cluster))
    if strategy is Strategy.COMMIT:
        written, grown = _into(maps[count - 1], moved.data, unit)
        return Costs(copied, copied, written, grown + metadata(grown, cluster))
    written, grown = _into(maps[0], union([moved.data, moved.zeroes]), unit)
    again = moved.data.both(_readable(maps, count)).total
    return Costs(copied + again, copied, written, grown + metadata(grown, cluster))


def _into(layer: ExtentMap, changed: Ranges, unit: int) -> tuple[int, int]:
    """Bytes written and grown by: a cluster that a layer does not have yet is written whole."""
    had = held(layer, Kind.DATA).in_units(unit)
    new = changed.in_units(unit).minus(had).total
    return changed.both(had).total + new, new


def metadata(data: int, cluster: int | None) -> int:
    """Bytes that data needs beside itself (qcow2: 8-byte L2 entries, 16-bit reference counts)."""
    if cluster is None:
        return MIB
    return -(-data // cluster) * 10 + 8 * cluster + 4 * MIB


def _below(maps: Sequence[ExtentMap], count: int) -> Ranges:
    """What the layers below base show as data."""
    return shown(resolve(maps[count:]), Kind.DATA) if len(maps) > count else Ranges.none()


def _readable(maps: Sequence[ExtentMap], count: int) -> Ranges:
    """What a read of the layers below base finds, the holes of a raw root included."""
    if len(maps) <= count:
        return Ranges.none()
    view = resolve(maps[count:])
    return union([shown(view, Kind.DATA), shown(view, Kind.ZERO)])
