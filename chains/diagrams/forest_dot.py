"""The chains of a storage domain as trees: the roots at the bottom, the overlays above them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from chains.diagrams.nodes import (
    GRAPH,
    common_width,
    count,
    edge,
    fold_node,
    hidden_detail,
    volume_node,
)
from chains.diagrams.tongue import say
from chains.diagrams.trees import Fold, Node, Shape, Tree, Wish, grow
from chains.diagrams.types import DrawnVolume

_NAME_LIMIT: Final = 24
_NARROWEST: Final = 150
_WIDEST: Final = 4
"""Boxes side by side; a tree with more lies on its side, or it would never fit a page."""

_STANDING: Final = (
    'rankdir="TB" ranksep="0.38" nodesep="0.15" splines="line"\n',
    'edge [tailport="s" headport="n"]\n',
)
_LYING: Final = (
    'rankdir="RL" ranksep="0.6" nodesep="0.15" splines="line"\n',
    'edge [tailport="w" headport="e"]\n',
)
Urls = Callable[[Fold], str]


def forest_dots(
    trees: Sequence[Tree], volumes: Mapping[str, DrawnVolume], fold_url: Urls = lambda _: ""
) -> list[str]:
    """DOT of some trees, one graph a tree, for the page to wrap like words in a line.

    ``volumes`` holds the volumes that the trees draw, by key. Every arrow points from an overlay to
    its backing file: downwards, or in a broad tree, which lies on its side with its root at the
    left, to the left as in "root ← … ← active". It is as wide as the overlay has bytes on disk.
    A fold links to its ``fold_url``.
    """
    width = common_width(volumes.values(), name_limit=_NAME_LIMIT, narrowest=_NARROWEST)
    sources = []
    for tree in trees:
        shape, ends = _LYING if tree.breadth > _WIDEST else _STANDING
        body = _body(tree, volumes, width, fold_url)
        sources.append("".join(["digraph tree {\n", shape, GRAPH, ends, *body, "}\n"]))
    return sources


def small_forest_dots(
    volumes: Sequence[DrawnVolume], edges: Sequence[tuple[str, str]]
) -> list[str]:
    """The same of a handful of volumes that are all at hand, the largest tree first.

    ``edges`` are pairs (key of the backing file, key of the overlay).
    """
    below = {overlay: backing for backing, overlay in edges}
    nodes = [Node(v.key, below.get(v.key), v.on_disk, v.severity) for v in volumes]
    roots = [node.key for node in nodes if node.below is None]
    shape = Shape(nodes, (), roots)
    roots.sort(key=lambda root: -len(shape.above(root)))
    trees = grow(roots, shape, Wish(), len(nodes))
    return forest_dots(trees, {volume.key: volume for volume in volumes})


def forest_file_dot(trees: Sequence[Tree], volumes: Mapping[str, DrawnVolume]) -> str:
    """DOT of the same trees as one graph, for a file: they all lie, packed side by side."""
    width = common_width(volumes.values(), name_limit=_NAME_LIMIT, narrowest=_NARROWEST)
    shape, ends = _LYING
    parts = ["digraph forest {\n", shape, 'pack="24" packmode="graph"\n', GRAPH, ends]
    for tree in trees:
        parts += _body(tree, volumes, width, lambda _: "")
    return "".join([*parts, "}\n"])


def _body(tree: Tree, volumes: Mapping[str, DrawnVolume], width: int, fold_url: Urls) -> list[str]:
    parts = [
        volume_node(volumes[key], name_limit=_NAME_LIMIT, width=width, lit=key in tree.lit)
        for key in tree.keys
        if key in volumes
    ]
    parts += [_fold(fold, fold_url(fold), lit=fold.key in tree.lit) for fold in tree.folds]
    drawn = {key for key in tree.keys if key in volumes} | {fold.key for fold in tree.folds}
    for overlay, backing in tree.arrows:
        if overlay in drawn and backing in drawn:
            on_disk = volumes[overlay].on_disk if overlay in volumes else None
            lit = overlay in tree.lit and backing in tree.lit
            parts.append(edge(overlay, backing, on_disk=on_disk, lit=lit))
    return parts


def fold_words(fold: Fold) -> str:
    """``400 clones``, ``120 more layers``, ``30 branches with 210 volumes``."""
    more = "more " if fold.more else ""
    if fold.noun != "branch":
        return count(fold.count, f"{more}{fold.noun}")
    branches = "branch" if fold.count == 1 else "branches"
    return say(f"{fold.count:,} {more}{branches} with {fold.volumes:,} volumes")


def _fold(fold: Fold, url: str, *, lit: bool) -> str:
    detail = hidden_detail(fold.on_disk, fold.severities)
    return fold_node(fold.key, fold_words(fold), detail=detail, url=url, lit=lit)
