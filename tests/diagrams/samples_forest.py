"""Forests for the tests: from volumes and edges to the shape that a domain would have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from chains.diagrams.forest_dot import forest_dots
from chains.diagrams.trees import MOST_LEAVES, Clones, Node, Shape, Tree, Wish, grow
from chains.diagrams.types import DrawnVolume
from tests.diagrams.samples import volume

Edges = list[tuple[str, str]]


def shape_of(volumes: Sequence[DrawnVolume], edges: Edges) -> tuple[list[str], Shape]:
    """Roots and shape, with the leaves over one volume counted as the inventory counts them."""
    nodes = {v.key: Node(v.key, None, v.on_disk, v.severity) for v in volumes}
    for backing, overlay in edges:
        nodes[overlay] = Node(overlay, backing, nodes[overlay].on_disk, nodes[overlay].severity)
    inner = {backing for backing, _ in edges}
    roots = [key for key, node in nodes.items() if node.below is None]
    groups = defaultdict(list)
    for node in nodes.values():
        if node.below is not None and node.key not in inner:
            groups[node.below].append(node)
    clones = [
        Clones(
            below, len(leaves), leaves if len(leaves) <= MOST_LEAVES else (),
            sum(leaf.on_disk or 0 for leaf in leaves), Counter(leaf.severity for leaf in leaves),
        )
        for below, leaves in groups.items()
    ]  # fmt: skip
    kept = [node for key, node in nodes.items() if key in inner or key in roots]
    return roots, Shape(kept, clones, roots)


def trees_of(
    volumes: Sequence[DrawnVolume], edges: Edges, wish: Wish | None = None, max_nodes: int = 200
) -> list[Tree]:
    roots, shape = shape_of(volumes, edges)
    return grow(roots, shape, wish or Wish(), max_nodes)


def dots_of(
    volumes: Sequence[DrawnVolume], edges: Edges, wish: Wish | None = None, max_nodes: int = 200
) -> list[str]:
    trees = trees_of(volumes, edges, wish, max_nodes)
    return forest_dots(
        trees, {v.key: v for v in volumes}, lambda fold: f"?open={fold.token}&page={fold.page}"
    )


def small_trees(count: int, depth: int) -> tuple[list[DrawnVolume], Edges]:
    volumes = [volume(i) for i in range(count * depth)]
    edges = [(f"v{i}", f"v{i + 1}") for i in range(count * depth) if (i + 1) % depth]
    return volumes, edges


def template(clones: int) -> tuple[list[DrawnVolume], Edges]:
    volumes = [volume(0, "template", role="template", url="/volumes/0/")]
    volumes += [volume(i) for i in range(1, clones + 1)]
    return volumes, [("v0", f"v{i}") for i in range(1, clones + 1)]
