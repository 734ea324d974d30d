"""Figures over time: the steps are where the figures say, and nothing hostile gets through."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from chains.diagrams.svg import SVG
from chains.diagrams.trend import MOST_POINTS, Series, Trend, thinned, trend_svg

DAY = 86_400.0


def drawn(times, *values, until=None, names=None, when=str):
    series = [
        Series(names[n] if names else f"figure {n}", found, lambda value: f"{value:g}")
        for n, found in enumerate(values)
    ]
    end = until if until is not None else times[-1] + DAY
    text = trend_svg(Trend(times, series, end, when), "Over time")
    return ET.fromstring(text), text  # noqa: S314 - our own, a moment ago


def of(root, kind):
    return [e for e in root.iter() if kind in e.get("class", "").split()]


def test_nothing_is_drawn_of_nothing():
    assert trend_svg(Trend([], [], 0, str), "x") == ""


def test_a_line_has_steps_and_no_slopes():
    root, _ = drawn([0.0, DAY], [1, 4], until=2 * DAY)
    (path,) = of(root, "dg-trend-line")
    assert re.fullmatch(r"M180\.0,[\d.]+H495\.0V[\d.]+H810\.0", path.get("d"))
    low, high = (float(n) for n in re.findall(r"[,V]([\d.]+)H", path.get("d")))
    assert low > high, "more is higher up"
    (now,) = of(root, "dg-trend-now")
    assert now.get("cx") == "810.0"


def test_what_was_not_known_is_a_gap():
    root, text = drawn([0.0, DAY, 2 * DAY, 3 * DAY], [5, None, math.nan, 7])
    assert of(root, "dg-trend-line")[0].get("d").count("M") == 2
    assert text.count("not known") == 2
    root, text = drawn([0.0], [None])
    assert not of(root, "dg-trend-line")
    assert "not known" in text


@pytest.mark.parametrize("values", [[0, 0], [7, 7], [-3, -3], [10**30, 10**30], [0, 10**30]])
def test_flat_and_huge_figures_stay_inside(values):
    root, _ = drawn([0.0, DAY], values)
    height = float(root.get("height"))
    path = of(root, "dg-trend-line")[0].get("d")
    numbers = [float(n) for n in re.findall(r"[,V]([-\d.]+)", path)]
    assert all(0 <= number <= height for number in numbers), path


def test_every_note_can_be_pointed_at():
    root, _ = drawn([0.0, DAY], [1, 2], [3, 4], names=["Volumes", "Free"])
    boxes = of(root, "dg-trend-hit")
    titles = [box.find(f"{{{SVG}}}title").text for box in boxes]
    assert titles == ["0.0 · Volumes: 1 · Free: 3", "86400.0 · Volumes: 2 · Free: 4"]
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Over time"


def test_hostile_names_are_text():
    name = "</svg><script>alert(1)</script>\x00\u202e"
    root, text = drawn([0.0], [1], names=[name], when=lambda _: "<b>&\ufffe")
    assert "<script" not in text
    assert not any(e.tag.endswith("script") for e in root.iter())
    assert "\u202e" not in text
    assert "\x00" not in text
    assert not re.search(r'\s(?:style|on\w+)="', text)


def test_one_moment_only():
    root, _ = drawn([5.0], [3], until=5.0)
    assert of(root, "dg-trend-line")


def test_points_that_lie_close_are_thinned():
    assert thinned([1.0, 2.0]) == [0, 1]
    times = [float(n) for n in range(10_000)]
    kept = thinned(times)
    assert len(kept) <= MOST_POINTS
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert kept == sorted(set(kept))
    same = thinned([7.0] * 5_000)
    assert (same[0], same[-1]) == (0, 4_999)
    _, text = drawn(times[:MOST_POINTS], list(range(MOST_POINTS)))
    assert len(text) < 200_000
