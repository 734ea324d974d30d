"""The diagram of one chain."""

from __future__ import annotations

import pytest

from chains.diagrams.chain_dot import chain_dot
from chains.diagrams.render import render_svg
from chains.diagrams.types import Mark
from tests.diagrams.samples import chain, groups, links, parse, seconds, texts, titles, volume


def drawn(source: str):
    return parse(render_svg(source, title="The chain of a disk"))


def top_of(group) -> float:
    rect = next(element for element in group.iter() if element.tag.endswith("rect"))
    return float(rect.get("y"))


def test_active_is_on_top_and_root_at_the_bottom() -> None:
    svg = drawn(chain_dot(chain(4)))
    tops = {g.get("data-key"): top_of(g) for g in groups(svg, "dg-volume")}
    assert list(tops) == ["v0", "v1", "v2", "v3"]
    assert sorted(tops, key=lambda key: tops[key]) == ["v0", "v1", "v2", "v3"]


def test_every_arrow_points_at_the_backing_file() -> None:
    source = chain_dot(chain(3))
    assert '"v0" -> "v1"' in source
    assert '"v1" -> "v2"' in source
    assert source.count("->") == 2


def test_a_box_says_name_format_and_sizes() -> None:
    svg = drawn(chain_dot([volume(1, "base.img", format="raw", on_disk=0, role="root")]))
    assert texts(svg) == ["base.img", "root", "raw · 1 GiB · 0 B on disk"]
    assert titles(svg) == ["/images/base.img"]


def test_what_is_not_known_is_not_made_up() -> None:
    missing = volume(1, "gone", format="", virtual_size=None, on_disk=None, role="missing")
    assert texts(drawn(chain_dot([missing]))) == ["gone", "missing", "format unknown"]


@pytest.mark.parametrize(
    ("severity", "note", "line"),
    [
        ("warning", "3 months old", "▲ 3 months old"),
        ("critical", "", "■ critical"),
        ("info", "", "● info"),
        ("", "written today", "written today"),
        ("unheard of", "", None),
    ],
)
def test_a_finding_has_a_sign_and_not_only_a_colour(severity: str, note: str, line: str) -> None:
    found = texts(drawn(chain_dot([volume(1, severity=severity, note=note)])))
    assert found[3:] == ([line] if line else [])


def test_marks_are_classes_and_words() -> None:
    marks = [Mark.CHANGED, Mark.REMOVED, Mark.NEW, Mark.NONE]
    svg = drawn(chain_dot([volume(i, mark=mark) for i, mark in enumerate(marks)]))
    for mark in marks[:3]:
        nodes = [g for g in groups(svg, f"dg-mark-{mark}") if "dg-node" in g.get("class", "")]
        assert len(nodes) == 1
        assert mark.value in texts(nodes[0])
        assert len(groups(svg, f"dg-mark-{mark}")) == 2


def test_all_boxes_are_equally_wide() -> None:
    svg = drawn(chain_dot([volume(1, "a"), volume(2, "3f0e2b77-9c1a-4b52-8d6e-0f6a1c2d3e4f")]))
    widths = {rect.get("width") for rect in groups(svg, "dg-box")}
    assert len(widths) == 1


def test_a_uuid_is_shown_in_full() -> None:
    name = "3f0e2b77-9c1a-4b52-8d6e-0f6a1c2d3e4f"
    assert name in texts(drawn(chain_dot([volume(1, name)])))


def test_a_chain_of_the_limit_is_not_folded() -> None:
    assert len(groups(drawn(chain_dot(chain(24))), "dg-volume")) == 24


def test_300_layers_are_folded_and_quick() -> None:
    layers = chain(300)
    assert seconds(lambda: drawn(chain_dot(layers, unfold_url="?unfold=1&x=2"))) < 0.3
    svg = drawn(chain_dot(layers, unfold_url="?unfold=1&x=2"))
    fold = groups(svg, "dg-fold")
    assert len(fold) == 1
    assert texts(fold[0]) == ["288 layers", "55.1 MiB on disk"]
    assert links(svg) == ["?unfold=1&x=2"]
    shown = [g.get("data-key") for g in groups(svg, "dg-volume")]
    assert shown == [f"v{i}" for i in (*range(8), 296, 297, 298, 299)]
    assert len(groups(svg, "dg-edge")) == 12


def test_300_layers_unfolded_are_quick() -> None:
    assert seconds(lambda: drawn(chain_dot(chain(300), fold_over=1000))) < 0.6
    svg = drawn(chain_dot(chain(300), fold_over=1000))
    assert len(groups(svg, "dg-volume")) == 300


def test_where_a_merge_begins_and_ends_is_never_folded() -> None:
    marks = [Mark.REMOVED if 100 <= i < 200 else Mark.NONE for i in range(300)]
    layers = [volume(i, mark=mark) for i, mark in enumerate(marks)]
    svg = drawn(chain_dot(layers))
    shown = {g.get("data-key") for g in groups(svg, "dg-volume")}
    assert {"v99", "v100", "v199", "v200"} <= shown
    folds = [texts(g) for g in groups(svg, "dg-fold")]
    assert [fold[0] for fold in folds] == ["91 layers", "98 layers", "95 layers"]
    assert "all removed" in folds[1][1]


def test_a_fold_tells_the_worst_finding_in_it() -> None:
    layers = chain(40)
    layers[20] = volume(20, severity="critical")
    layers[21] = volume(21, severity="warning")
    fold = groups(drawn(chain_dot(layers)), "dg-fold")[0]
    assert texts(fold)[1].endswith("1 critical")


def test_a_chain_without_layers_is_an_empty_drawing() -> None:
    assert not groups(drawn(chain_dot([])), "dg-node")


def test_bars_are_as_long_as_the_layers_are_large_and_hatched_where_they_are_hidden() -> None:
    layers = [volume(0, on_disk=100), volume(1, on_disk=50, shadowed=25), volume(2, on_disk=0)]
    svg = drawn(chain_dot(layers, bars=True))

    def width(key: str, kind: str) -> float:
        node = next(g for g in groups(svg, "dg-volume") if g.get("data-key") == key)
        parts = [p.get("points").split() for p in groups(node, kind)]
        xs = [float(point.split(",")[0]) for part in parts for point in part]
        return max(xs) - min(xs) if xs else 0

    whole = width("v0", "dg-bar")
    assert whole == width("v2", "dg-bar-track") > 200
    assert width("v1", "dg-bar") == pytest.approx(whole / 4, abs=2)
    assert width("v1", "dg-bar-hidden") == pytest.approx(whole / 4, abs=2)
    assert groups(svg, "dg-over")[0].get("fill").startswith("url(#d")
    assert not groups(drawn(chain_dot(layers)), "dg-bar")


def test_a_run_opens_in_place() -> None:
    layers = chain(300)
    svg = drawn(chain_dot(layers, unfold_url="?open=KEY", opened=""))
    assert links(groups(svg, "dg-fold")[0]) == ["?open=v8"]
    opened = drawn(chain_dot(layers, unfold_url="?open=KEY", opened="v8"))
    assert len(groups(opened, "dg-volume")) == 300
