"""How figures went over time: step lines above one another, over one axis of time.

Drawn without graphviz, for there is nothing to be laid out. A figure stands as it was noted until
the next note, so its line has steps and no slopes.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chains.diagrams.svg import SVG
from chains.diagrams.text import shorten, shown
from chains.diagrams.tongue import say

WIDTH: Final = 900
_LEFT, _RIGHT, _TOP = 180.0, 90.0, 10.0
_PANEL, _GAP, _AXIS = 58.0, 22.0, 30.0
_TICKS: Final = 5
MOST_POINTS: Final = 400
"""More would lie closer than a line is wide; `thinned` brings them down to so many."""


@dataclass(frozen=True)
class Series:
    """One figure at each moment; None where it was not known. `say` writes a value for people."""

    name: str
    values: Sequence[float | None]
    say: Callable[[float], str]


@dataclass(frozen=True)
class Trend:
    """Figures over time. `times` are seconds since 1970 in order, `until` is now; `when` writes one."""

    times: Sequence[float]
    series: Sequence[Series]
    until: float
    when: Callable[[float], str]


def thinned(times: Sequence[float], most: int = MOST_POINTS) -> list[int]:
    """The indices of at most `most` points: of those that lie together the last, and the first of all."""
    if len(times) <= most:
        return list(range(len(times)))
    first, length = times[0], (times[-1] - times[0]) or 1.0
    last_of: dict[int, int] = {}
    for index, time in enumerate(times):
        last_of[min(most - 2, int((time - first) / length * (most - 1)))] = index
    return sorted({0, *last_of.values()})


def trend_svg(trend: Trend, title: str) -> str:
    """The drawing; "" when there is nothing to draw."""
    if not trend.times or not trend.series:
        return ""
    height = _TOP + len(trend.series) * (_PANEL + _GAP) + _AXIS
    root = ET.Element("svg", {
        "xmlns": SVG, "class": "dg dg-trend", "viewBox": f"0 0 {WIDTH} {height:g}",
        "width": str(WIDTH), "height": f"{height:g}", "role": "img", "aria-label": shown(title),
    })  # fmt: skip
    scale = _Scale.of(trend)
    _axis(root, trend, scale, height)
    for number, series in enumerate(trend.series):
        _panel(root, trend, series, scale, number)
    _columns(root, trend, scale, height)
    return ET.tostring(root, encoding="unicode")


@dataclass(frozen=True)
class _Scale:
    first: float
    length: float

    @classmethod
    def of(cls, trend: Trend) -> _Scale:
        first = trend.times[0]
        return cls(first, max(max(trend.until, trend.times[-1]) - first, 1.0))

    @property
    def width(self) -> float:
        return WIDTH - _LEFT - _RIGHT

    def x(self, time: float) -> float:
        return _LEFT + (time - self.first) / self.length * self.width


def _axis(root: ET.Element, trend: Trend, scale: _Scale, height: float) -> None:
    group = ET.SubElement(root, "g", {"class": "dg-trend-axis"})
    bottom = height - _AXIS
    written = ""
    for tick in range(_TICKS):
        time = scale.first + scale.length * tick / (_TICKS - 1)
        x = scale.x(time)
        _line(group, "dg-trend-grid", x, _TOP, x, bottom)
        said = trend.when(time)
        if said != written:  # a span of minutes has one day only
            anchor = "start" if not tick else "end" if tick == _TICKS - 1 else "middle"
            _text(group, "dg-muted", (x, bottom + 16), said, anchor)
        written = said


def _panel(root: ET.Element, trend: Trend, series: Series, scale: _Scale, number: int) -> None:
    top = _TOP + number * (_PANEL + _GAP)
    bottom = top + _PANEL
    values = [_finite(value) for value in series.values]
    known = [value for value in values if value is not None]
    group = ET.SubElement(root, "g", {"class": f"dg-trend-panel dg-layer-{number % 8}"})
    _text(group, "dg-name", (0, top + 11), shorten(shown(series.name), 14))
    _line(group, "dg-trend-base", _LEFT, bottom, WIDTH - _RIGHT, bottom)
    if not known:
        _text(group, "dg-muted", (_LEFT + 6, top + 32), say("not known"))
        return
    low, high = _bounds(known)
    for value, y in ((high, top + 4), (low, bottom)):
        _text(group, "dg-muted", (_LEFT - 8, y), series.say(value), "end")

    def place(value: float) -> float:
        return bottom - (value - low) / (high - low) * (_PANEL - 4)

    path = _steps(trend, values, scale, place)
    ET.SubElement(group, "path", {"class": "dg-trend-line", "d": path})
    if values[-1] is not None:
        x, y = scale.x(scale.first + scale.length), place(values[-1])
        circle = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3"}
        ET.SubElement(group, "circle", {"class": "dg-trend-now", **circle})
        _text(group, "dg-name", (x + 10, y + 4), series.say(values[-1]))


def _steps(
    trend: Trend, values: Sequence[float | None], scale: _Scale, place: Callable[[float], float]
) -> str:
    """The line: along to the next note, then up or down; broken where the figure is not known."""
    parts: list[str] = []
    pen = False
    ends = [*trend.times[1:], max(trend.until, trend.times[-1])]
    for time, end, value in zip(trend.times, ends, values, strict=True):
        if value is None:
            pen = False
            continue
        y = f"{place(value):.1f}"
        parts.append(f"V{y}" if pen else f"M{scale.x(time):.1f},{y}")
        parts.append(f"H{scale.x(end):.1f}")
        pen = True
    return "".join(parts)


def _columns(root: ET.Element, trend: Trend, scale: _Scale, height: float) -> None:
    """One for each note, to point at: it says the moment and all figures."""
    group = ET.SubElement(root, "g", {"class": "dg-trend-hits"})
    ends = [*trend.times[1:], max(trend.until, trend.times[-1])]
    for index, (time, end) in enumerate(zip(trend.times, ends, strict=True)):
        left, right = scale.x(time), scale.x(end)
        box = {
            "class": "dg-trend-hit", "x": f"{left:.1f}", "y": f"{_TOP:g}",
            "width": f"{max(0.5, right - left):.1f}", "height": f"{height - _AXIS - _TOP:g}",
        }  # fmt: skip
        rect = ET.SubElement(group, "rect", box)
        said = [f"{s.name}: {_said(s, index)}" for s in trend.series]
        ET.SubElement(rect, "title").text = shown(f"{trend.when(time)} · {' · '.join(said)}")


def _said(series: Series, index: int) -> str:
    value = _finite(series.values[index])
    return "not known" if value is None else series.say(value)


def _bounds(known: Sequence[float]) -> tuple[float, float]:
    """From nothing up, unless that would press all that happens into a thin line at the top."""
    low, high = min(known), max(known)
    if low == high:
        return (0.0, high) if high > 0 else (low, low + 1.0)
    return (0.0, high) if 0 <= low <= high / 2 else (low, high)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _line(into: ET.Element, kind: str, *ends: float) -> None:
    names = ("x1", "y1", "x2", "y2")
    values = {name: f"{value:.1f}" for name, value in zip(names, ends, strict=True)}
    ET.SubElement(into, "line", {"class": kind, **values})


def _text(
    into: ET.Element, kind: str, at: tuple[float, float], text: str, anchor: str = "start"
) -> None:
    place = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}", "text-anchor": anchor, "font-size": "12"}
    ET.SubElement(into, "text", {"class": kind, **place}).text = shown(text)
