"""The trees of a storage domain."""

from __future__ import annotations

import pytest

from chains.diagrams.forest_dot import forest_dots, forest_file_dot, small_forest_dots
from chains.diagrams.render import render_many
from chains.diagrams.trees import Clones, Node, Shape, Wish, grow
from chains.diagrams.types import DrawnVolume
from chains.diagrams.weights import WEIGHTS, weight
from tests.diagrams.samples import groups, links, parse, seconds, texts, volume
from tests.diagrams.samples_forest import Edges, dots_of, small_trees, template, trees_of


def drawn(volumes: list[DrawnVolume], edges: Edges, wish: Wish | None = None, max_nodes: int = 200):
    return [parse(svg) for svg in render_many(dots_of(volumes, edges, wish, max_nodes), title="T")]


def keys(tree) -> set[str]:
    return {g.get("data-key") for g in groups(tree, "dg-volume")}


def test_an_arrow_points_from_the_overlay_to_its_backing_file() -> None:
    edges = [("v1", "v2")]
    assert '"v2" -> "v1"' in dots_of([volume(1), volume(2)], edges)[0]
    arrow = groups(drawn([volume(1), volume(2)], edges)[0], "dg-edge")[0]
    assert (arrow.get("data-overlay"), arrow.get("data-backing")) == ("v2", "v1")


def test_an_arrow_is_as_wide_as_the_overlay_is_large() -> None:
    volumes = [volume(0), volume(1, on_disk=200 << 10), volume(2, on_disk=5 << 30)]
    tree = drawn(volumes, [("v0", "v1"), ("v0", "v2")])[0]
    widths = {g.get("data-overlay"): g.get("class") for g in groups(tree, "dg-edge")}
    assert widths == {"v1": "dg-edge dg-w0", "v2": "dg-edge dg-w4"}
    assert [weight(size) for size in (0, (1 << 20) - 1, 1 << 20, 1 << 62)] == [0, 0, 1, 6]
    assert [width for _, width in WEIGHTS] == sorted(width for _, width in WEIGHTS)


def test_400_clones_are_one_node_that_opens() -> None:
    tree = drawn(*template(400))[0]
    fold = groups(tree, "dg-fold")[0]
    assert texts(fold)[0] == "400 clones"
    assert links(fold) == ["?open=cv0&page=1"]
    assert len(groups(tree, "dg-edge")) == 1


def test_an_open_fold_shows_a_page_and_leads_to_the_next() -> None:
    shown = [Node(f"v{i}", "v0", 5) for i in range(41, 81)]
    shape = Shape([Node("v0", None)], [Clones("v0", 400, shown, 4000, {}, 40)], ["v0"])
    tree = grow(["v0"], shape, Wish("cv0", 2), 200)[0]
    assert len(tree.keys) == 41
    fold = tree.folds[0]
    assert (fold.count, fold.more, fold.page, fold.on_disk) == (360, True, 3, 3800)
    assert shape.size_of("cv0") == 400
    assert shape.size_of("cv7") == 0


def test_a_clone_that_is_looked_for_is_drawn_and_its_path_lit() -> None:
    shown = [Node("v7", "v0", 5)]
    shape = Shape([Node("v0", None)], [Clones("v0", 400, shown, 4000, {})], ["v0"])
    tree = grow(["v0"], shape, Wish(found="v7"), 200)[0]
    assert tree.keys == ["v0", "v7"]
    assert tree.lit == {"v0", "v7"}
    assert tree.folds[0].count == 399


def test_all_that_reads_through_a_volume_is_lit_and_its_neighbours_are_not() -> None:
    # v0 ← v1 ← v2 ← v3, v1 ← v4, v0 ← v5 ← v6
    volumes = [volume(i) for i in range(7)]
    edges = [("v0", "v1"), ("v1", "v2"), ("v2", "v3"), ("v1", "v4"), ("v0", "v5"), ("v5", "v6")]
    assert trees_of(volumes, edges, Wish(found="v2"))[0].lit == {"v0", "v1", "v2", "v3"}
    svg = drawn(volumes, edges, Wish(found="v1"))[0]
    lit = {g.get("data-key") for g in groups(svg, "dg-lit") if g.get("data-key")}
    assert lit == {"v0", "v1", "v2", "v3", "v4"}
    arrows = {g.get("data-overlay") for g in groups(svg, "dg-lit") if g.get("data-overlay")}
    assert arrows == {"v1", "v2", "v3", "v4"}


def test_a_dozen_clones_are_drawn_and_lie_on_their_side() -> None:
    volumes, edges = template(12)
    assert 'rankdir="RL"' in dots_of(volumes, edges)[0]
    tree = drawn(volumes, edges)[0]
    assert len(groups(tree, "dg-volume")) == 13
    assert float(tree.get("width")) < 1000


def test_a_clone_with_an_overlay_of_its_own_is_not_folded() -> None:
    volumes, edges = template(20)
    volumes.append(volume(99))
    edges.append(("v7", "v99"))
    tree = drawn(volumes, edges)[0]
    assert keys(tree) == {"v0", "v7", "v99"}
    assert texts(groups(tree, "dg-fold")[0])[0] == "19 clones"


def branches(count: int) -> tuple[list[DrawnVolume], Edges]:
    """A template with clones that have a snapshot each."""
    volumes = [volume(i) for i in range(1 + 2 * count)]
    edges = [("v0", f"v{i}") for i in range(1, count + 1)]
    return volumes, edges + [(f"v{i}", f"v{i + count}") for i in range(1, count + 1)]


def test_many_branches_fold_and_open_too() -> None:
    volumes, edges = branches(100)
    fold = groups(drawn(volumes, edges)[0], "dg-fold")[0]
    assert texts(fold)[0] == "100 branches with 200 volumes"
    tree = trees_of(volumes, edges, Wish("bv0", 3))[0]
    assert tree.keys.count("v81") == 1
    assert "v80" not in tree.keys
    assert (tree.folds[0].count, tree.folds[0].page) == (80, 1)
    found = trees_of(volumes, edges, Wish(found="v50"))[0]
    assert set(found.keys) == {"v0", "v50", "v150"}
    assert found.lit == {"v0", "v50", "v150"}


def test_a_long_run_is_one_node_and_opens() -> None:
    volumes, edges = small_trees(1, 300)
    tree = drawn(volumes, edges)[0]
    assert texts(groups(tree, "dg-fold")[0])[0] == "295 layers"
    assert links(tree) == ["?open=rv2&page=1"]
    assert len(groups(tree, "dg-volume")) == 5
    assert len(groups(tree, "dg-edge")) == 5
    opened = trees_of(volumes, edges, Wish("rv2", 2))[0]
    assert [fold.count for fold in opened.folds] == [40, 215]
    assert [fold.page for fold in opened.folds] == [1, 3]
    assert {f"v{i}" for i in range(42, 82)} <= set(opened.keys)
    far = trees_of(volumes, edges, Wish("rv2", 99))[0]
    assert [fold.count for fold in far.folds] == [280]


def test_a_layer_in_a_run_that_is_looked_for_stands_between_two_folds() -> None:
    tree = trees_of(*small_trees(1, 300), Wish(found="v100"))[0]
    assert [fold.count for fold in tree.folds] == [98, 196]
    assert "v100" in tree.keys
    assert tree.lit == {*tree.keys, *(fold.key for fold in tree.folds)}


def test_what_does_not_fit_ends_the_page() -> None:
    trees = trees_of(*small_trees(100, 3), max_nodes=30)
    assert len(trees) == 10
    assert [tree.root for tree in trees] == [f"v{i * 3}" for i in range(10)]


def test_a_tree_too_large_on_its_own_is_cut() -> None:
    volumes = [volume(i) for i in range(400)]
    edges = [(f"v{(i - 1) // 2}", f"v{i}") for i in range(1, 400)]
    tree = trees_of(volumes, edges, max_nodes=50)[0]
    assert tree.size == 50
    assert tree.left_out == 350


@pytest.mark.parametrize("length", [1, 2, 30])
def test_volumes_that_back_each_other_are_drawn_and_not_followed_forever(length: int) -> None:
    nodes = [Node(f"v{i}", f"v{(i + 1) % length}") for i in range(length)]
    trees = grow(["v0"], Shape(nodes, [], ["v0"]), Wish(found="v0"), 200)
    assert len(trees) == 1
    assert sum(fold.count for fold in trees[0].folds) + len(trees[0].keys) == length


def test_the_same_forest_gives_the_same_dot() -> None:
    volumes, edges = small_trees(20, 4)
    assert dots_of(volumes, edges) == dots_of(volumes, edges)
    assert sorted(dots_of(volumes, edges[::-1])) == sorted(dots_of(volumes, edges))


def test_a_thousand_volumes_in_small_trees_are_quick() -> None:
    volumes, edges = small_trees(250, 4)
    sources = dots_of(volumes, edges, max_nodes=1000)
    assert seconds(lambda: render_many(sources, title="Trees")) < 1.0
    assert len(sources) == 250


def test_an_empty_domain_has_no_trees() -> None:
    assert forest_dots([], {}) == []
    assert render_many([], title="Nothing") == []


def test_a_file_holds_all_trees_in_one_graph() -> None:
    volumes, edges = small_trees(5, 3)
    source = forest_file_dot(trees_of(volumes, edges), {v.key: v for v in volumes})
    assert source.count("digraph") == 1
    svg = parse(render_many([source], title="All")[0])
    assert len(groups(svg, "dg-volume")) == 15
    assert len(groups(svg, "dg-edge")) == 10


def test_a_handful_is_drawn_largest_tree_first() -> None:
    sources = small_forest_dots([volume(i) for i in range(4)], [("v1", "v2"), ("v2", "v3")])
    drawn_keys = [keys(parse(svg)) for svg in render_many(sources, title="Few")]
    assert drawn_keys == [{"v1", "v2", "v3"}, {"v0"}]
