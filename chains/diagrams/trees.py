"""From volumes and edges to the trees that are drawn, with their folds and their limits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chains.diagrams.types import DrawnVolume, Mark

_MOST_LEAVES: Final = 12
_LONGEST_RUN: Final = 8
_RUN_ENDS: Final = 2


@dataclass(frozen=True)
class Fold:
    """Volumes that are drawn as one node."""

    key: str
    volumes: list[DrawnVolume]
    noun: str
    url: str


@dataclass
class Tree:
    """What is drawn of one tree; ``arrows`` are (overlay, backing) pairs of node keys."""

    volumes: list[DrawnVolume] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    arrows: list[tuple[str, str]] = field(default_factory=list)
    breadth: int = 1
    """How many nodes its fullest level has."""


@dataclass(frozen=True)
class Forest:
    """The trees that fit, and the number of volumes that did not."""

    trees: list[Tree]
    left_out: int


class _Links:
    """Who lies over whom; each volume has one backing file at most."""

    def __init__(self, volumes: Sequence[DrawnVolume], edges: Sequence[tuple[str, str]]) -> None:
        self.volumes = {volume.key: volume for volume in volumes}
        self.backing: dict[str, str] = {}
        self.overlays: defaultdict[str, list[str]] = defaultdict(list)
        for backing, overlay in edges:
            known = backing in self.volumes and overlay in self.volumes
            if known and overlay not in self.backing:
                self.backing[overlay] = backing
                self.overlays[backing].append(overlay)

    def members(self) -> list[list[str]]:
        """The keys of each tree, its root first and breadth first; a loop starts anywhere in it."""
        seen: set[str] = set()
        result = []
        roots = [key for key in self.volumes if key not in self.backing]
        for start in (*roots, *self.volumes):
            if start in seen:
                continue
            seen.add(start)
            tree = [start]
            for key in tree:
                fresh = [overlay for overlay in self.overlays[key] if overlay not in seen]
                seen.update(fresh)
                tree.extend(fresh)
            result.append(tree)
        return result


def grow(
    volumes: Sequence[DrawnVolume], edges: Sequence[tuple[str, str]], max_nodes: int
) -> Forest:
    """Cut volumes into trees, largest first, and stop when ``max_nodes`` nodes are drawn."""
    links = _Links(volumes, edges)
    trees: list[Tree] = []
    drawn = shown = 0
    for keys in sorted(links.members(), key=len, reverse=True):
        folds = _folds(links, keys)
        nodes = len(keys) - sum(len(fold.volumes) - 1 for fold in folds)
        room = max_nodes - drawn
        if nodes > room and trees:
            break
        tree, stands_for = _tree(links, keys, folds, room)
        trees.append(tree)
        drawn += len(tree.volumes) + len(tree.folds)
        shown += stands_for
    return Forest(trees, len(links.volumes) - shown)


def _folds(links: _Links, keys: Sequence[str]) -> list[Fold]:
    folds = []
    for key in keys:
        leaves = [o for o in links.overlays[key] if not links.overlays[o]]
        plain = [o for o in leaves if links.volumes[o].mark is Mark.NONE]
        if len(leaves) > _MOST_LEAVES and len(plain) > 1:
            clones = [links.volumes[o] for o in plain]
            folds.append(Fold(f"clones_{key}", clones, "clone", links.volumes[key].url))
    folds.extend(_long_runs(links, keys))
    return folds


def _long_runs(links: _Links, keys: Sequence[str]) -> list[Fold]:
    """Stretches in which every layer has exactly one overlay, less the ends that stay drawn."""
    folds = []
    done: set[str] = set()
    for key in keys:
        run: list[str] = []
        at: str | None = key
        while at is not None and at not in done and len(links.overlays[at]) == 1:
            done.add(at)
            run.append(at)
            at = links.overlays[at][0]
        if len(run) > _LONGEST_RUN:
            middle = [links.volumes[k] for k in reversed(run[_RUN_ENDS:-_RUN_ENDS])]
            folds.append(Fold(f"run_{middle[0].key}", middle, "layer", middle[0].url))
    return folds


def _tree(links: _Links, keys: Sequence[str], folds: Sequence[Fold], room: int) -> tuple[Tree, int]:
    """Draw the first ``room`` nodes of a tree, root first, and say how many volumes they show."""
    folded = {volume.key: fold for fold in folds for volume in fold.volumes}
    nodes: dict[str, Fold | None] = {}
    for key in keys:
        fold = folded.get(key)
        nodes.setdefault(fold.key if fold else key, fold)
    kept = dict(list(nodes.items())[: max(1, room)])
    tree = Tree()
    tree.volumes = [links.volumes[key] for key, fold in kept.items() if fold is None]
    tree.folds = [fold for fold in kept.values() if fold is not None]
    arrows: dict[tuple[str, str], None] = {}
    for key in keys:
        below = links.backing.get(key)
        if below is None:
            continue
        upper = folded[key].key if key in folded else key
        lower = folded[below].key if below in folded else below
        if upper != lower and upper in kept and lower in kept:
            arrows[upper, lower] = None
    tree.arrows = list(arrows)
    tree.breadth = _breadth(tree.arrows)
    return tree, len(tree.volumes) + sum(len(fold.volumes) for fold in tree.folds)


def _breadth(arrows: Sequence[tuple[str, str]]) -> int:
    """The fullest level of a tree whose arrows come root first."""
    depth: dict[str, int] = {}
    for upper, lower in arrows:
        depth[upper] = depth.setdefault(lower, 0) + 1
    return max(Counter(depth.values()).values(), default=1)
