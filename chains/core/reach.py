"""What no guest can reach any more: data of frozen layers that every leaf above hides."""

from collections.abc import Mapping

from chains.core.extents import ExtentMap, Kind
from chains.core.ranges import Ranges, gaps, held, union


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
    asked: dict[str, list[Ranges]] = {path: [] for path in maps}
    ready = [path for path, overlays in waiting.items() if overlays == 0]
    found = {}
    while ready:
        path = ready.pop()
        layer = maps[path]
        is_leaf = not asked[path]
        reads = Ranges.whole(layer.size) if is_leaf else union(asked.pop(path))
        found[path] = held(layer, Kind.DATA).minus(reads).total
        below = backing.get(path)
        if below in waiting:
            asked[below].append(reads.both(gaps(layer)))
            waiting[below] -= 1
            if waiting[below] == 0:
                ready.append(below)
    return found
