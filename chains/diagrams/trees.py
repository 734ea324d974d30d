"""From the shape of trees to what is drawn of them: what folds, what is open, what fits.

A forest may hold a hundred thousand volumes, so its shape comes in two parts: every volume that has
overlays is a ``Node`` of its own, and the leaves over one volume are counted together, as ``Clones``.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MOST_LEAVES: Final = 12
"""More leaves than this over one volume are drawn as one node, and so are more branches."""
WINDOW: Final = 40
"""How many of a fold are drawn when it is opened; the rest is on its next pages."""
_LONGEST_RUN: Final = 8
_RUN_ENDS: Final = 2


@dataclass(frozen=True)
class Node:
    """A volume: its key, that of its backing file, its bytes on disk and its worst finding."""

    key: str
    below: str | None
    on_disk: int | None = None
    severity: str = ""


@dataclass(frozen=True)
class Clones:
    """The leaves over one volume, all told; ``shown`` are those of them that can be drawn.

    ``first`` is the place of the first one shown among all of them, where they are a page.
    """

    below: str
    count: int
    shown: Sequence[Node] = ()
    on_disk: int = 0
    severities: Mapping[str, int] = field(default_factory=dict)
    first: int = 0


@dataclass(frozen=True)
class Wish:
    """What the reader asked for: a fold to open, at a page, and a volume to be lit."""

    opened: str = ""
    page: int = 1
    found: str = ""


@dataclass(frozen=True)
class Fold:
    """Volumes that are drawn as one node; ``token`` and ``page`` are what opens it."""

    key: str
    count: int
    noun: str
    token: str
    page: int = 1
    volumes: int = 0
    on_disk: int | None = None
    severities: Mapping[str, int] = field(default_factory=dict)
    more: bool = False
    """Whether it is the rest of a fold that stands open beside it."""


@dataclass
class Tree:
    """What is drawn of one tree; ``arrows`` are (overlay, backing) pairs of keys, the root's first."""

    root: str
    keys: list[str] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    arrows: list[tuple[str, str]] = field(default_factory=list)
    lit: set[str] = field(default_factory=set)
    left_out: int = 0
    """Nodes that did not fit."""

    @property
    def size(self) -> int:
        """How many nodes it has."""
        return len(self.keys) + len(self.folds)

    @property
    def breadth(self) -> int:
        """How many nodes its fullest level has."""
        depth: dict[str, int] = {}
        for upper, lower in self.arrows:
            depth[upper] = depth.setdefault(lower, 0) + 1
        return max(Counter(depth.values()).values(), default=1)


class Shape:
    """Who lies over whom, below some roots."""

    def __init__(
        self, nodes: Iterable[Node], clones: Iterable[Clones], roots: Iterable[str]
    ) -> None:
        self.nodes = {node.key: node for node in nodes}
        self.clones = {group.below: group for group in clones if group.below in self.nodes}
        self.over: defaultdict[str, list[str]] = defaultdict(list)
        starts = set(roots)
        for node in self.nodes.values():
            if node.below is not None and node.key not in starts:
                self.over[node.below].append(node.key)

    def overlays(self, key: str) -> int:
        """How many overlays a volume has."""
        clones = self.clones.get(key)
        return len(self.over[key]) + (clones.count if clones else 0)

    def path(self, key: str) -> list[str]:
        """From a volume down to its root; of no volume none."""
        if not key:
            return []
        found: dict[str, None] = {}
        at: str | None = self._lower(key)
        found[key] = None
        while at is not None and at not in found:
            found[at] = None
            at = self._lower(at)
        return list(found)

    def _lower(self, key: str) -> str | None:
        if key in self.nodes:
            below = self.nodes[key].below
            return below if below in self.nodes else None
        for group in self.clones.values():
            if any(leaf.key == key for leaf in group.shown):
                return group.below
        return None

    def above(self, key: str) -> list[str]:
        """A volume and every node that reads through it, lowest first."""
        found = [key]
        for at in found:
            found.extend(self.over[at])
        return found

    def run(self, key: str) -> list[str]:
        """From here up, the volumes with exactly one overlay each."""
        found: list[str] = []
        while self.overlays(key) == 1 and key not in found[:1]:
            found.append(key)
            if not self.over[key]:
                break
            key = self.over[key][0]
        return found

    def size_of(self, token: str) -> int:
        """How many a fold with this token stands for when nothing of it is open; 0 for none."""
        kind, key = token[:1], token[1:]
        if key not in self.nodes:
            return 0
        if kind == "c":
            return self.clones[key].count if key in self.clones else 0
        return len(self.over[key]) if kind == "b" else max(0, len(self.run(key)) - _RUN_ENDS)

    def weigh(self, keys: Iterable[str]) -> tuple[int, int, Counter[str]]:
        """Volumes, bytes on disk and findings by severity of the trees that stand on these."""
        volumes, on_disk, severities = 0, 0, Counter[str]()
        for start in keys:
            for key in self.above(start):
                node, group = self.nodes[key], self.clones.get(key)
                volumes += 1
                on_disk += node.on_disk or 0
                severities[node.severity] += 1
                if group is not None:
                    volumes += group.count
                    on_disk += group.on_disk
                    severities.update(group.severities)
        return volumes, on_disk, severities


def grow(roots: Sequence[str], shape: Shape, wish: Wish, max_nodes: int) -> list[Tree]:
    """Draw the trees of these roots in their order, until ``max_nodes`` nodes are drawn.

    A tree that does not fit any more ends it, but the first one, which is cut.
    """
    grower = _Grower(shape, wish, _lit(shape, wish.found))
    trees: list[Tree] = []
    room = max_nodes
    for root in roots:
        if root not in shape.nodes:
            continue
        tree = grower.tree(root)
        if tree.size > room:
            if trees:
                break
            _cut(tree, room)
        trees.append(tree)
        room -= tree.size
    return trees


def _lit(shape: Shape, found: str) -> set[str]:
    """The path of a volume to its root, and all that reads through it."""
    if not found:
        return set()
    return {*shape.path(found), *(shape.above(found) if found in shape.nodes else ())}


def _cut(tree: Tree, room: int) -> None:
    """Leave the nodes that come first, which are the lowest."""
    order = {tree.root: None, **dict.fromkeys(upper for upper, _ in tree.arrows)}
    kept = set(list(order)[: max(1, room)])
    tree.left_out = tree.size - len(kept)
    tree.keys = [key for key in tree.keys if key in kept]
    tree.folds = [fold for fold in tree.folds if fold.key in kept]
    tree.arrows = [pair for pair in tree.arrows if pair[0] in kept and pair[1] in kept]


class _Grower:
    """Walks one tree from its root upwards."""

    def __init__(self, shape: Shape, wish: Wish, lit: set[str]) -> None:
        self.shape, self.wish, self.lit = shape, wish, lit
        # Below the volume that was looked for only its path is lit, above it everything.
        self.from_found = lit - set(shape.path(wish.found)[1:])

    def tree(self, root: str) -> Tree:
        tree = Tree(root)
        waiting: deque[tuple[str, str]] = deque([(root, "")])
        while waiting:
            key, lower = waiting.popleft()
            run = self.shape.run(key)
            for item in self._folded(run) if len(run) > _LONGEST_RUN else [key]:
                lower = self._add(tree, item, lower)
                key = item if isinstance(item, str) else key
            waiting.extend((branch, key) for branch in self._branches(tree, key))
            self._leaves(tree, key)
        return tree

    def _add(self, tree: Tree, item: str | Fold, lower: str, *, lit: bool = False) -> str:
        if isinstance(item, Fold):
            tree.folds.append(item)
            key = item.key
        else:
            tree.keys.append(item)
            key = item
        if lower:
            tree.arrows.append((key, lower))
        if lit or key in self.lit:
            tree.lit.add(key)
        return key

    def _folded(self, run: Sequence[str]) -> Iterable[str | Fold]:
        """A long run: its ends, and what lies between as a fold, or one page of it."""
        middle = run[_RUN_ENDS:-_RUN_ENDS]
        token = f"r{middle[0]}"
        yield from run[:_RUN_ENDS]
        if self.wish.opened == token:
            first = min(self.wish.page - 1, (len(middle) - 1) // WINDOW) * WINDOW
            shown = middle[first : first + WINDOW]
            yield from self._part(middle[:first], token, first // WINDOW, more=True)
            yield from shown
            rest = middle[first + len(shown) :]
            yield from self._part(rest, token, first // WINDOW + 2, more=True)
        elif self.wish.found in middle:
            at = middle.index(self.wish.found)
            yield from self._part(middle[:at], token, 1)
            yield middle[at]
            yield from self._part(middle[at + 1 :], token, (at + 1) // WINDOW + 1)
        else:
            yield from self._part(middle, token, 1)
        yield from run[-_RUN_ENDS:]

    def _part(
        self, keys: Sequence[str], token: str, page: int, *, more: bool = False
    ) -> Iterable[Fold]:
        if not keys:
            return
        nodes = [self.shape.nodes[key] for key in keys]
        fold = Fold(
            f"run_{keys[0]}", len(keys), "layer", token, page, len(keys),
            sum(node.on_disk or 0 for node in nodes), Counter(node.severity for node in nodes), more,
        )  # fmt: skip
        if not self.lit.isdisjoint(keys):
            self.lit.add(fold.key)
        yield fold

    def _branches(self, tree: Tree, key: str) -> list[str]:
        """The overlays that have overlays: all of them, or of many a page, or those that are lit."""
        branches = self.shape.over[key]
        if len(branches) <= MOST_LEAVES:
            return branches
        token, page = f"b{key}", 1
        if self.wish.opened == token:
            page = min(self.wish.page, (len(branches) - 1) // WINDOW + 1)
            shown = branches[(page - 1) * WINDOW : page * WINDOW]
            page = page % ((len(branches) - 1) // WINDOW + 1) + 1
        else:
            path = set(self.shape.path(self.wish.found))
            shown = [branch for branch in branches if branch in path]
        rest = [branch for branch in branches if branch not in set(shown)]
        if rest:
            volumes, on_disk, severities = self.shape.weigh(rest)
            fold = Fold(
                f"branches_{key}", len(rest), "branch", token, page, volumes, on_disk, severities,
                bool(shown),
            )  # fmt: skip
            self._add(tree, fold, key, lit=not self.lit.isdisjoint(rest))
        return list(shown)

    def _leaves(self, tree: Tree, key: str) -> None:
        group = self.shape.clones.get(key)
        if group is None:
            return
        lit = key in self.from_found
        for leaf in group.shown:
            self._add(tree, leaf.key, key, lit=lit)
        rest = group.count - len(group.shown)
        if rest <= 0:
            return
        token = f"c{key}"
        page, pages = group.first // WINDOW + 1, (group.count - 1) // WINDOW + 1
        fold = Fold(
            f"clones_{key}", rest, "clone", token,
            page % pages + 1 if self.wish.opened == token else 1, rest,
            group.on_disk - sum(leaf.on_disk or 0 for leaf in group.shown),
            Counter(group.severities) - Counter(leaf.severity for leaf in group.shown),
            bool(group.shown),
        )  # fmt: skip
        self._add(tree, fold, key, lit=lit)
