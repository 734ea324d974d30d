"""DOT to SVG: limits, failures, and the same drawing for the same source."""

from __future__ import annotations

import random
import re
import threading
import time

import pytest

from chains.core.errors import StrataError
from chains.diagrams import render
from chains.diagrams.chain_dot import chain_dot
from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.render import (
    RenderBusyError,
    RenderError,
    RenderFailedError,
    RenderMissingError,
    RenderTimeoutError,
    RenderTooBigError,
    digest,
    render_file,
    render_many,
    render_svg,
)
from tests.diagrams.samples import chain, groups, parse, picture, volume


def tangle(nodes: int, edges: int) -> str:
    """A graph that dot needs minutes for."""
    chance = random.Random(1)  # noqa: S311
    lines = [f"n{chance.randrange(nodes)} -> n{chance.randrange(nodes)}" for _ in range(edges)]
    return "digraph tangle {\n" + "\n".join(lines) + "\n}\n"


def test_a_drawing_that_takes_too_long_is_stopped() -> None:
    started = time.perf_counter()
    with pytest.raises(RenderTimeoutError, match=r"within 0\.3 s"):
        render_svg(tangle(800, 6000), title="Tangle", timeout=0.3)
    assert time.perf_counter() - started < 3


def test_a_drawing_that_is_too_big_is_refused() -> None:
    with pytest.raises(RenderTooBigError, match="4 KiB"):
        render_svg(chain_dot(chain(10)), title="Chain", max_bytes=4096)
    with pytest.raises(RenderTooBigError, match="1 KiB"):
        render_svg("digraph g {" + " " * 1024 + "}", title="Spaces", max_bytes=1024)


def test_graphviz_that_is_not_installed_is_said_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderMissingError, match="install"):
        render_svg("digraph g {}", title="Nothing")


def test_graphviz_that_may_not_be_run_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "dot").write_text("not a program")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderMissingError, match="could not be started"):
        render_svg("digraph g {}", title="Nothing")


@pytest.mark.parametrize("source", ["digraph {", "nonsense", 'digraph g { a [label="', "\x00"])
def test_a_source_that_is_not_dot_is_a_typed_failure(source: str) -> None:
    with pytest.raises(RenderFailedError):
        render_svg(source, title="Broken")


@pytest.mark.parametrize(
    "answer", ["", "<?xml version='1.0'?><svg", "<?xml version='1.0'?><svg xmlns='x'/>"]
)
def test_an_answer_that_is_not_a_drawing_is_a_typed_failure(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(render, "_run", lambda source, timeout: answer.encode())
    with pytest.raises(RenderFailedError):
        render_svg("digraph g {}", title="Nothing")


def test_every_failure_is_one_that_a_page_can_show() -> None:
    for kind in (
        RenderTimeoutError, RenderTooBigError, RenderMissingError, RenderFailedError, RenderBusyError,
    ):  # fmt: skip
        assert issubclass(kind, RenderError)
    assert issubclass(RenderError, StrataError)


def test_the_same_source_gives_the_same_drawing() -> None:
    source = reads_dot(picture(["#..#", ".#.#", "####"]))
    assert render_svg(source, title="Reads") == render_svg(source, title="Reads")
    assert digest(source) == digest(source)
    assert re.fullmatch(r"[0-9a-f]{64}", digest(source))
    assert digest(source) != digest(source + " ")
    assert digest("caf\udce9") != digest("caf\udcea")


def test_many_graphs_come_back_in_order_and_as_if_drawn_alone() -> None:
    sources = [chain_dot([volume(i)]) for i in range(5)]
    together = render_many(sources, title="Chains")
    assert together == [render_svg(source, title="Chains") for source in sources]


def test_the_drawing_can_stand_in_a_page_with_a_strict_policy() -> None:
    for source in (chain_dot(chain(3)), reads_dot(picture(["#.", "##"]))):
        text = render_svg(source, title="A drawing")
        assert text.startswith("<svg ")
        assert "<!" not in text
        assert "<?" not in text
        assert "style" not in text
        assert "xlink" not in text
        svg = parse(text)
        assert svg.get("aria-label") == "A drawing"
        assert not re.search(r"[a-z]", svg.get("width", "") + svg.get("height", ""))


def test_ids_of_two_drawings_do_not_meet() -> None:
    one, two = (parse(render_svg(chain_dot(chain(n)), title="Chain")) for n in (2, 3))
    ids = [{e.get("id") for e in svg.iter() if e.get("id")} for svg in (one, two)]
    assert len(ids[0]) == 2
    assert not ids[0] & ids[1]
    assert [g.get("data-key") for g in groups(one, "dg-volume")] == ["v0", "v1"]


def test_a_drawing_without_links_is_an_image_and_one_with_links_a_group() -> None:
    assert parse(render_svg(chain_dot([volume(1)]), title="Chain")).get("role") == "img"
    linked = render_svg(chain_dot([volume(1, url="/volumes/1/")]), title="Chain")
    assert parse(linked).get("role") == "group"


def test_a_file_stands_for_itself() -> None:
    source = chain_dot([volume(1, url="/volumes/1/"), volume(2)], bars=True)
    svg = render_file(source, "svg", title="Chain of a disk").decode()
    assert svg.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    for outside in ("var(", "url(http", "/volumes/1/", "@import"):
        assert outside not in svg
    drawing = parse(svg)
    assert [g.get("fill") for g in groups(drawing, "dg-paper")] == ["#ffffff"]
    assert render_file(source, "png", title="Chain").startswith(b"\x89PNG\r\n")
    assert render_file(source, "dot", title="Chain").startswith(b"digraph chain {")


def test_a_png_is_not_larger_than_it_may_be() -> None:
    wide = "digraph g {\n" + "\n".join(f"n{i} [width=3]" for i in range(60)) + "\n}"
    png = render_file(wide, "png", title="Wide")
    assert int.from_bytes(png[16:20]) <= 60 * 96
    with pytest.raises(RenderTooBigError):
        render_file(wide, "png", title="Wide", max_bytes=100)


def test_no_more_than_two_drawings_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = threading.BoundedSemaphore(1)
    monkeypatch.setattr(render, "_slots", slots)
    with slots, pytest.raises(RenderBusyError, match="in a moment"):
        render_svg("digraph g {}", title="Nothing", timeout=0.01)
    assert render_svg("digraph g {}", title="Nothing").startswith("<svg")
