"""Names that try to be something else: DOT, HTML, XML, a script."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from chains.diagrams import render
from chains.diagrams.chain_dot import chain_dot
from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.render import render_file, render_many, render_svg
from chains.diagrams.text import shorten
from tests.diagrams.samples import (
    HOSTILE,
    SVG,
    groups,
    links,
    parse,
    picture,
    seen,
    texts,
    titles,
    volume,
)
from tests.diagrams.samples_forest import dots_of

ELEMENTS = {
    "svg", "g", "a", "title", "text", "rect", "path", "polygon", "ellipse", "circle", "defs",
    "pattern",
}  # fmt: skip
ATTRIBUTES = {
    "class", "viewBox", "width", "height", "role", "aria-label", "transform", "id", "data-key",
    "data-block", "data-overlay", "data-backing", "href", "x", "y", "rx", "ry", "cx", "cy", "r", "d", "points", "fill", "stroke",
    "stroke-width", "stroke-dasharray", "text-anchor", "font-size", "font-weight", "patternUnits",
}  # fmt: skip


def assert_harmless(svg: ET.Element) -> None:
    for element in svg.iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES
        for name, value in element.attrib.items():
            assert name != "href" or value[0] in "/?#"


@pytest.mark.parametrize("name", HOSTILE)
def test_chain_shows_a_hostile_name_as_text(name: str) -> None:
    hostile = volume(1, name, path=f"/d/{name}", note=name, format=name, role=name, url=name)
    source = chain_dot([hostile, volume(2, "base.img", role="root")])
    text = render_svg(source, title=name)
    svg = parse(text)
    assert_harmless(svg)
    assert shorten(seen(name), 40) in texts(svg)
    assert seen(f"/d/{name}") in titles(svg)
    assert len(groups(svg, "dg-node")) == 2
    assert len(groups(svg, "dg-edge")) == 1
    assert "<script" not in text.lower()
    assert not links(svg)
    text.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_forest_shows_a_hostile_name_as_text(name: str) -> None:
    volumes = [volume(1, name, role="root"), volume(2, name, url=f"/v/?name={name}")]
    svg = parse(render_many(dots_of(volumes, [("v1", "v2")]), title=name)[0])
    assert_harmless(svg)
    assert texts(svg).count(shorten(seen(name), 24)) == 2
    assert len(links(svg)) == 1
    assert links(svg)[0].isascii()


@pytest.mark.parametrize("name", HOSTILE)
def test_reads_show_a_hostile_name_as_text(name: str) -> None:
    view = picture(["#.", ".#"], names=[name, name])
    rows = [replace(row, path=name, url=name, detail=[name, name]) for row in view.rows]
    svg = parse(render_svg(reads_dot(replace(view, rows=rows)), title="Reads"))
    assert_harmless(svg)
    assert texts(svg).count(shorten(seen(name), 36)) == 2
    assert titles(svg).count(seen(name)) == 6
    assert len(groups(svg, "dg-cell")) == 6
    assert len(links(svg)) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_a_title_can_not_leave_its_attribute(name: str) -> None:
    svg = parse(render_svg(chain_dot([volume(1)]), title=name))
    assert_harmless(svg)
    assert svg.get("aria-label") == seen(name)


@pytest.mark.parametrize("key", ["", "V1", "v 1", "v1]", "v-1", "é", "v1\n", "node[", "v_1"])
def test_a_key_that_is_not_a_plain_id_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        chain_dot([volume(1, key=key)])
    with pytest.raises(ValueError, match="key"):
        dots_of([volume(1, key=key)], [])


@pytest.mark.parametrize(
    "key", ["node", "edge", "graph", "digraph", "subgraph", "strict", "12", "1e"]
)
def test_a_key_that_means_something_in_dot_is_only_a_key(key: str) -> None:
    svg = parse(render_svg(chain_dot([volume(1, key=key), volume(2)]), title="Chain"))
    assert [g.get("data-key") for g in groups(svg, "dg-volume")] == [key, "v2"]


@pytest.mark.parametrize(
    "url",
    [
        "//evil.example/x",
        "/\\evil.example",
        "https://evil.example/",
        "data:text/html,x",
        "v/1",
        " /x",
    ],
)
def test_a_link_that_leaves_the_site_is_dropped(url: str) -> None:
    assert not links(parse(render_svg(chain_dot([volume(1, url=url)]), title="Chain")))


def test_a_link_keeps_its_query() -> None:
    url = "/volumes/7/?a=1&b=%20x&c=\"'<>\\#top"
    svg = parse(render_svg(chain_dot([volume(1, url=url)]), title="Chain"))
    assert links(svg) == ["/volumes/7/?a=1&b=%20x&c=%22'%3C%3E%5C#top"]


def test_an_empty_name_still_has_a_box() -> None:
    svg = parse(render_svg(chain_dot([volume(1, path="", name=" ")]), title="Chain"))
    assert len(groups(svg, "dg-volume")) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_shows_a_hostile_name_as_text(name: str) -> None:
    hostile = volume(1, name, path=f"/d/{name}", about=name, note=name, url="/v/1/")
    source = chain_dot([hostile, volume(2)], bars=True)
    svg = parse(render_file(source, "svg", title=name).decode())
    style = svg.find(f"{SVG}style")
    assert style is not None
    svg.remove(style)
    assert_harmless(svg)
    assert not links(svg)
    assert shorten(seen(name), 40) in texts(svg)
    # What other tools are given means the same to graphviz: drawn again, it shows the same words.
    again = parse(render._run(render_file(source, "dot", title=name), 10).decode())
    shown = "".join(texts(again)).replace("\xa0", " ")
    assert shorten(seen(name), 40).strip() in shown
