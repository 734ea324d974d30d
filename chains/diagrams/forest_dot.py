"""Every chain of a storage domain as trees: the roots at the bottom, the overlays above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chains.diagrams.nodes import (
    GRAPH,
    check_key,
    common_width,
    count,
    edge,
    fold_detail,
    fold_node,
    volume_node,
)
from chains.diagrams.tongue import say
from chains.diagrams.trees import Fold, Forest, Tree, grow
from chains.diagrams.types import DrawnVolume

_NAME_LIMIT: Final = 24
_NARROWEST: Final = 150
_WIDEST: Final = 4
"""Boxes side by side; a tree with more lies on its side, or it would never fit a page."""


def forest_dots(
    volumes: Sequence[DrawnVolume],
    edges: Sequence[tuple[str, str]],
    *,
    max_nodes: int = 200,
    more_url: str = "",
) -> list[str]:
    """DOT of a storage domain, one graph a tree, for the page to wrap like words in a line.

    ``edges`` are pairs (key of the backing file, key of the overlay); one that names a key that is
    not among the ``volumes`` is not drawn. Every arrow points from an overlay to its backing file:
    downwards, or in a broad tree, which lies on its side with its root at the left, to the left as
    in "root ← … ← active". Overlays without overlays of their own become one "400 clones" node
    where a volume has more than a dozen of them, and a long run of layers with one overlay each
    becomes one node. Trees come largest first, and equals in the order of ``volumes``; what does
    not fit into ``max_nodes`` nodes is counted in one last graph, a node that links to
    ``more_url``.
    """
    for volume in volumes:
        check_key(volume.key)
    forest = grow(volumes, edges, max_nodes)
    drawn = [volume for tree in forest.trees for volume in tree.volumes]
    width = common_width(drawn, name_limit=_NAME_LIMIT, narrowest=_NARROWEST)
    sources = [_graph(tree, width) for tree in forest.trees]
    if forest.left_out:
        sources.append(_more(forest, more_url))
    return sources


def _graph(tree: Tree, width: int) -> str:
    lying = tree.breadth > _WIDEST
    shape = 'rankdir="RL" ranksep="0.6"' if lying else 'rankdir="TB" ranksep="0.38"'
    ends = 'tailport="w" headport="e"' if lying else 'tailport="s" headport="n"'
    parts = [
        "digraph tree {\n",
        f'{shape} nodesep="0.15" splines="line"\n',
        GRAPH,
        f"edge [{ends}]\n",
    ]
    parts.extend(
        volume_node(volume, name_limit=_NAME_LIMIT, width=width) for volume in tree.volumes
    )
    parts.extend(_fold(fold) for fold in tree.folds)
    parts.extend(edge(overlay, backing) for overlay, backing in tree.arrows)
    return "".join([*parts, "}\n"])


def _fold(fold: Fold) -> str:
    number = len(fold.volumes)
    text = count(number, "clone") if fold.noun == "clone" else count(number, "layer")
    return fold_node(fold.key, text, detail=fold_detail(fold.volumes), url=fold.url)


def _more(forest: Forest, url: str) -> str:
    text = count(forest.left_out, "more volume")
    detail = say("not drawn here")
    node = fold_node("more_volumes", text, detail=detail, url=url, width=_NARROWEST)
    return "".join(["digraph more {\n", GRAPH, node, "}\n"])
