"""A merge as it runs: bars that drain into one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.diagrams.flow import Bar, FlowPicture, Part, flow_svg
from tests.diagrams.samples import HOSTILE, groups, parse, texts

MIB = 1 << 20
CONVERT = FlowPicture(
    [
        Bar("snap2", Part.SOURCE, 10 * MIB, goes=True), Bar("snap1", Part.SOURCE, 20 * MIB, goes=True),
        Bar("joined", Part.TARGET, 0),
    ],
    25 * MIB,
)  # fmt: skip


def drawn(view: FlowPicture):
    return parse(flow_svg(view))


def widths(svg, kind: str) -> list[float]:
    return [float(e.get("width")) for e in svg.iter() if e.get("class") == kind]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_what_leaves_the_sources_arrives_in_the_target(share: float) -> None:
    svg = drawn(replace(CONVERT, copied=share))
    whole = widths(drawn(CONVERT), "flow-fill")
    assert widths(svg, "flow-fill") == pytest.approx([w * (1 - share) for w in whole], abs=0.1)
    [came] = widths(svg, "flow-came")
    [outline] = widths(svg, "flow-outline")[-1:]
    assert came == pytest.approx(outline * share, abs=0.1)
    # 25 MiB, on the scale that the largest bar sets.
    assert outline == pytest.approx(340)


def test_a_target_that_exists_keeps_what_it_held() -> None:
    view = FlowPicture([Bar("top", Part.SOURCE, 5 * MIB, goes=True), Bar("base", Part.TARGET, 15 * MIB)], 5 * MIB)  # fmt: skip
    before, after = drawn(view), drawn(replace(view, copied=1.0, verified=0.5))
    assert widths(before, "flow-came") == widths(before, "flow-fill")[1:] == [255.0]
    assert widths(after, "flow-came") == [340.0]
    assert widths(after, "flow-fill") == [0.0, 255.0]
    assert widths(after, "flow-proven") == [170.0]


def test_what_is_removed_fades_when_it_is_removed_and_the_pipes_lead_to_the_target() -> None:
    assert not groups(drawn(replace(CONVERT, copied=1.0, switched=True)), "flow-gone")
    assert len(groups(drawn(replace(CONVERT, removed=True)), "flow-gone")) == 2
    svg = drawn(CONVERT)
    pipes = groups(svg, "flow-pipe")
    assert len(pipes) == len(groups(svg, "flow-drops")) == 2
    [tip] = groups(svg, "flow-tip")
    end = tip.get("points").split()[0].split(",")[1]
    assert all(f"V{end}" in pipe.get("d") for pipe in pipes)


def test_it_is_silent_and_names_can_not_break_out() -> None:
    bars = [Bar(name, Part.SOURCE, 1) for name in HOSTILE]
    svg = drawn(FlowPicture(bars, 0))
    assert svg.get("aria-hidden") == "true"
    assert {e.tag.partition("}")[2] for e in svg.iter()} <= {"svg", "g", "rect", "path", "text"}
    assert len(texts(svg)) == 2 * len(HOSTILE)
