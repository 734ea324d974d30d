"""Redirected reads as files: they need no page, no link, and let nothing hostile through."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest

from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.reads_paper import Key, paper_dot, span_words, svg_file
from chains.diagrams.render import RenderTooBigError, render_plain, render_svg
from tests.diagrams.samples import HOSTILE, groups, parse, picture, texts

KEYS = [Key(0, "snap: 1 KiB (1,024 B)"), Key(1, "base"), Key(-1, "no layer")]


def filed(view, *, by_hops: bool = False, keys=KEYS):
    drawn = render_svg(reads_dot(view), title="Reads")
    return svg_file(drawn, "Reads of a disk", "all of it", keys, by_hops=by_hops)


@pytest.mark.parametrize("by_hops", [False, True])
def test_a_file_has_its_paper_its_style_and_no_links(by_hops: bool) -> None:
    view = picture(["#...", ".##.", "...#"])
    if by_hops:
        view = replace(view, hops=[0.0, 1.0, 1.0, 2.0])
    text = filed(view, by_hops=by_hops)
    svg = parse(text.decode())
    assert b"href" not in text
    assert b"var(" not in text
    assert b"color-mix" not in text
    left, top, width, height = (float(n) for n in svg.get("viewBox").split())
    paper = svg[1]
    assert paper.get("fill") == "#ffffff"
    assert [float(paper.get(n)) for n in ("x", "y", "width", "height")] == [left, top, width, height]  # fmt: skip
    style = svg[0].text
    used = {name for element in svg.iter() for name in (element.get("class") or "").split()}
    for name in used & {"dg-answer", "dg-frame", "dg-slot", "dg-pattern-line", "dg-pattern-dot"}:
        assert f".{name}" in style
    for word in ("Reads of a disk", "all of it", "snap: 1 KiB (1,024 B)", "no layer"):
        assert word in texts(svg)
    there = {f"url(#{e.get('id')})" for e in svg.iter() if e.tag.endswith("pattern")}
    assert {g.get("fill") for g in groups(svg, "dg-over")} <= there


def test_the_legend_of_a_file_has_the_patterns_of_the_picture() -> None:
    svg = parse(filed(picture(["#.", ".#"])).decode())
    key = [g for g in groups(svg, "dg-over") if "key-" in g.get("fill")]
    assert len(key) == 1
    picture_of = next(g for g in groups(svg, "dg-over") if "key-" not in g.get("fill"))
    assert key[0].get("fill").split("key-")[1] == picture_of.get("fill").split("-", 1)[1]


def test_names_can_not_break_out_of_a_file() -> None:
    names = list(HOSTILE)
    view = picture(["#"] + ["."] * (len(names) - 1), names=names, max_rows=40)
    keys = [Key(n, name) for n, name in enumerate(names)]
    svg = parse(filed(view, keys=keys).decode())
    assert not [e for e in svg.iter() if e.tag.endswith(("script", "img", "image", "iframe"))]
    source = paper_dot(view, HOSTILE[0], HOSTILE[1], keys)
    drawn = subprocess.run(["dot", "-Tsvg"], input=source.encode(), capture_output=True, check=True)
    assert drawn.stderr == b""
    assert b"<script" not in drawn.stdout
    assert drawn.stdout.count(b'class="node"') == len(names) + 2
    # Nothing of the private code points that stand for characters in the pages' own DOT.
    assert not re.search(r"[\U000f0000-\U000fffff]", source)


def test_dot_and_pixels() -> None:
    view = picture(["#..", ".#.", ".##"])
    source = paper_dot(view, "Reads", "all", KEYS)
    for letter in ("A", "B", "C", "×"):
        assert f">{letter}</FONT>" in source
    assert render_plain(source, "png").startswith(b"\x89PNG")
    hops = paper_dot(replace(view, hops=[0.0, 1.0, 1.5]), "Reads", "all", KEYS)
    assert ">1.5</FONT>" in hops
    with pytest.raises(RenderTooBigError):
        render_plain(source, "png", max_bytes=len(source) + 10)


def test_which_part() -> None:
    assert span_words(0, 2**20, 2**20) == "the whole disk, 1 MiB (1,048,576 B)"
    assert span_words(2**16, 2**16, 2**20) == "64 KiB at 64 KiB of 1 MiB"
