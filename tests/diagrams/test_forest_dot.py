"""The trees of a storage domain."""

from __future__ import annotations

from chains.diagrams.forest_dot import forest_dots
from chains.diagrams.render import render_many
from chains.diagrams.types import DrawnVolume
from tests.diagrams.samples import groups, links, parse, seconds, texts, volume

Edges = list[tuple[str, str]]


def small_trees(count: int, depth: int) -> tuple[list[DrawnVolume], Edges]:
    volumes = [volume(i) for i in range(count * depth)]
    edges = [(f"v{i}", f"v{i + 1}") for i in range(count * depth) if (i + 1) % depth]
    return volumes, edges


def template(clones: int) -> tuple[list[DrawnVolume], Edges]:
    volumes = [volume(0, "template", role="template", url="/volumes/0/")]
    volumes += [volume(i) for i in range(1, clones + 1)]
    return volumes, [("v0", f"v{i}") for i in range(1, clones + 1)]


def drawn(volumes: list[DrawnVolume], edges: Edges, **options: object):
    sources = forest_dots(volumes, edges, **options)  # type: ignore[arg-type]
    return [parse(svg) for svg in render_many(sources, title="Trees")]


def test_one_graph_a_tree_largest_first() -> None:
    volumes = [volume(i) for i in range(6)]
    trees = drawn(volumes, [("v1", "v2"), ("v3", "v4"), ("v4", "v5")])
    keys = [{g.get("data-key") for g in groups(tree, "dg-volume")} for tree in trees]
    assert keys == [{"v3", "v4", "v5"}, {"v1", "v2"}, {"v0"}]


def test_an_arrow_points_from_the_overlay_to_its_backing_file() -> None:
    source = forest_dots([volume(1), volume(2)], [("v1", "v2")])[0]
    assert '"v2" -> "v1"' in source


def test_400_clones_are_one_node_that_leads_to_the_template() -> None:
    tree = drawn(*template(400))[0]
    fold = groups(tree, "dg-fold")[0]
    assert texts(fold)[0] == "400 clones"
    assert links(fold) == ["/volumes/0/"]
    assert len(groups(tree, "dg-edge")) == 1


def test_a_dozen_clones_are_drawn_and_lie_on_their_side() -> None:
    volumes, edges = template(12)
    assert 'rankdir="RL"' in forest_dots(volumes, edges)[0]
    tree = drawn(volumes, edges)[0]
    assert len(groups(tree, "dg-volume")) == 13
    assert float(tree.get("width")) < 1000


def test_a_clone_with_an_overlay_of_its_own_is_not_folded() -> None:
    volumes, edges = template(20)
    volumes.append(volume(99))
    edges.append(("v7", "v99"))
    tree = drawn(volumes, edges)[0]
    assert {g.get("data-key") for g in groups(tree, "dg-volume")} == {"v0", "v7", "v99"}
    assert texts(groups(tree, "dg-fold")[0])[0] == "19 clones"


def test_a_long_run_is_one_node() -> None:
    tree = drawn(*small_trees(1, 300))[0]
    assert texts(groups(tree, "dg-fold")[0])[0] == "295 layers"
    assert len(groups(tree, "dg-volume")) == 5
    assert len(groups(tree, "dg-edge")) == 5


def test_what_does_not_fit_is_counted() -> None:
    trees = drawn(*small_trees(100, 3), max_nodes=30, more_url="/more/")
    assert len(trees) == 11
    assert texts(trees[-1])[0] == "270 more volumes"
    assert links(trees[-1]) == ["/more/"]


def test_a_tree_too_large_on_its_own_is_cut() -> None:
    volumes = [volume(i) for i in range(400)]
    edges = [(f"v{(i - 1) // 2}", f"v{i}") for i in range(1, 400)]
    trees = drawn(volumes, edges, max_nodes=50)
    assert len(groups(trees[0], "dg-volume")) == 50
    assert texts(trees[1])[0] == "350 more volumes"


def test_volumes_that_back_each_other_are_drawn_and_not_followed_forever() -> None:
    volumes = [volume(i) for i in range(4)]
    trees = drawn(volumes, [("v0", "v1"), ("v1", "v0"), ("v2", "v2"), ("v3", "nobody")])
    assert sum(len(groups(tree, "dg-volume")) for tree in trees) == 4


def test_a_loop_of_many_is_drawn() -> None:
    volumes = [volume(i) for i in range(30)]
    trees = drawn(volumes, [(f"v{i}", f"v{(i + 1) % 30}") for i in range(30)])
    assert len(trees) == 1


def test_the_same_forest_gives_the_same_dot() -> None:
    volumes, edges = small_trees(20, 4)
    assert forest_dots(volumes, edges) == forest_dots(volumes, edges)
    assert sorted(forest_dots(volumes, edges[::-1])) == sorted(forest_dots(volumes, edges))


def test_a_thousand_volumes_in_small_trees_are_quick() -> None:
    volumes, edges = small_trees(250, 4)
    assert seconds(lambda: drawn(volumes, edges, max_nodes=1000)) < 1.0
    assert len(drawn(volumes, edges, max_nodes=1000)) == 250


def test_an_empty_domain_has_no_trees() -> None:
    assert forest_dots([], []) == []
    assert render_many([], title="Nothing") == []
