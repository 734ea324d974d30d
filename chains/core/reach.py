"""What no guest can reach any more: data of frozen layers that every leaf above hides."""

from collections.abc import Iterable, Mapping

import numpy as np

from chains.core.extents import ExtentMap, Int64s, Kind

# Sorted, disjoint stretches of a disk: where they start, where they end; bytes.
_Stretches = tuple[Int64s, Int64s]


def unreachable(maps: Mapping[str, ExtentMap], backing: Mapping[str, str | None]) -> dict[str, int]:
    """Return for each volume of a family the bytes of its data that no leaf reads.

    `maps` has every volume that reads through another of the family, and these themselves;
    `backing` names the backing file of each, None (or a path that is not in `maps`) at the root.
    Volumes of a loop, which no leaf reads, are left out.
    """
    waiting = dict.fromkeys(maps, 0)
    for path in maps:
        below = backing.get(path)
        if below in waiting:
            waiting[below] += 1
    asked: dict[str, list[_Stretches]] = {path: [] for path in maps}
    ready = [path for path, overlays in waiting.items() if overlays == 0]
    found = {}
    while ready:
        path = ready.pop()
        layer = maps[path]
        is_leaf = not asked[path]
        reads = _whole(layer.size) if is_leaf else _union(asked.pop(path))
        data = layer.kinds == Kind.DATA
        stored = (layer.starts[data], layer.starts[data] + layer.lengths[data])
        found[path] = layer.allocated - _total(_both(stored, reads))
        below = backing.get(path)
        if below in waiting:
            asked[below].append(_both(reads, _gaps(layer)))
            waiting[below] -= 1
            if waiting[below] == 0:
                ready.append(below)
    return found


def _whole(size: int) -> _Stretches:
    return np.array([0], np.int64), np.array([size], np.int64)


def _gaps(layer: ExtentMap) -> _Stretches:
    """The bytes that a layer asks its backing file for: none beyond its own end."""
    starts = np.concatenate(([0], layer.starts + layer.lengths))
    ends = np.append(layer.starts, layer.size)
    open_ = starts < ends
    return starts[open_], ends[open_]


def _total(stretches: _Stretches) -> int:
    return int((stretches[1] - stretches[0]).sum())


def _both(one: _Stretches, other: _Stretches) -> _Stretches:
    return _covered([one, other], 2)


def _union(parts: Iterable[_Stretches]) -> _Stretches:
    return _covered(list(parts), 1)


def _covered(parts: list[_Stretches], times: int) -> _Stretches:
    """Return what at least `times` of the parts cover."""
    edges = np.concatenate([edge for part in parts for edge in part])
    steps = np.concatenate([np.repeat((1, -1), len(part[0])) for part in parts])
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
    return edges[0::2], edges[1::2]
