"""Sets of bytes of a disk, as sorted, disjoint stretches: what plans and findings are counted with."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chains.core.extents import ExtentMap, Int64s, Kind
from chains.core.readmap import ReadMap


class Ranges(NamedTuple):
    """Sorted, disjoint stretches [starts[i], ends[i]); bytes. Neighbours may touch."""

    starts: Int64s
    ends: Int64s

    @classmethod
    def whole(cls, size: int) -> "Ranges":
        """[0, size)."""
        return cls(np.array([0], np.int64), np.array([size], np.int64))

    @classmethod
    def none(cls) -> "Ranges":
        """Nothing."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @property
    def total(self) -> int:
        """Bytes in all."""
        return int((self.ends - self.starts).sum())

    def both(self, other: "Ranges") -> "Ranges":
        """What is in this and in the other."""
        return _covered([self, other], 2)

    def minus(self, other: "Ranges") -> "Ranges":
        """What is in this and not in the other."""
        if not len(self.starts):
            return self
        edges = np.concatenate(([0], other.ends)), np.append(other.starts, self.ends[-1])
        open_ = edges[0] < edges[1]
        return self.both(Ranges(edges[0][open_], edges[1][open_]))

    def in_units(self, unit: int) -> "Ranges":
        """The same, widened to whole units of that many bytes: the clusters that a write touches."""
        return _covered([Ranges(self.starts // unit * unit, -(-self.ends // unit) * unit)], 1)

    def only(self, chosen: NDArray[np.bool_] | slice) -> "Ranges":
        """Some of the stretches."""
        return Ranges(self.starts[chosen], self.ends[chosen])

    def cut(self, edges: Int64s) -> "Ranges":
        """The same stretches, cut where there are edges inside; those that touch stay apart."""
        marks = np.unique(np.concatenate((self.starts, self.ends, edges)))
        return Ranges(marks[:-1], marks[1:]).within(self)

    def within(self, other: "Ranges") -> "Ranges":
        """Those stretches that begin inside of another set."""
        at = np.searchsorted(other.starts, self.starts, side="right") - 1
        if not len(other.starts):
            return Ranges.none()
        return self.only((at >= 0) & (self.starts < other.ends[at]))

    def in_steps(self, length: int) -> Int64s:
        """All edges, and those of steps of that many bytes from the start of each stretch."""
        steps = (self.ends - self.starts - 1) // length + 1
        number = np.arange(int(steps.sum())) - np.repeat(np.cumsum(steps) - steps, steps)
        return np.append(np.repeat(self.starts, steps) + number * length, self.ends)

    def inner_units(self, unit: int) -> "Ranges":
        """The whole units of that many bytes that lie within single stretches."""
        starts, ends = -(-self.starts // unit) * unit, self.ends // unit * unit
        solid = starts < ends
        return Ranges(starts[solid], ends[solid])


def union(parts: Sequence[Ranges]) -> Ranges:
    """What is in any of them."""
    return _covered(parts, 1) if parts else Ranges.none()


def held(layer: ExtentMap, *kinds: Kind) -> Ranges:
    """What a layer holds of these kinds."""
    chosen = np.isin(layer.kinds, kinds)
    starts = layer.starts[chosen]
    return Ranges(starts, starts + layer.lengths[chosen])


def gaps(layer: ExtentMap) -> Ranges:
    """The bytes that a layer asks its backing file for: none beyond its own end."""
    starts = np.concatenate(([0], layer.starts + layer.lengths))
    ends = np.append(layer.starts, layer.size)
    open_ = starts < ends
    return Ranges(starts[open_], ends[open_])


def shown(view: ReadMap, kind: Kind) -> Ranges:
    """What a view reads as data, as zeroes, or (UNALLOCATED) from nobody."""
    chosen = view.kinds == kind
    starts = view.starts[chosen]
    return Ranges(starts, starts + view.lengths[chosen])


def _covered(parts: Sequence[Ranges], times: int) -> Ranges:
    """What at least `times` of the parts cover; stretches of one part may overlap."""
    edges = np.concatenate([edge for part in parts for edge in part])
    steps = np.concatenate([np.repeat((1, -1), len(part.starts)) for part in parts])
    order = np.argsort(edges, kind="stable")
    edges, depth = edges[order], np.cumsum(steps[order])
    # Of equal edges only the last tells how many cover what follows.
    last = np.ones(len(edges), bool)
    last[:-1] = edges[1:] != edges[:-1]
    edges, inside = edges[last], depth[last] >= times
    changed = np.ones(len(inside), bool)
    changed[1:] = inside[1:] != inside[:-1]
    changed[:1] &= inside[:1]
    edges = edges[changed]
    return Ranges(edges[0::2], edges[1::2])
