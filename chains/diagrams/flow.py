"""A merge as it runs: the layers that it joins as bars, and what flows from them into one.

The page's own script moves the bars as the bytes move: what each may become stands in ``data-`` of its
shape, so the rule of where a bar stands is here alone. Lengths are in proportion to bytes; a bar that
has anything is seen.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chains.core.units import binary
from chains.diagrams.palette import colour_class
from chains.diagrams.svg import SVG
from chains.diagrams.text import shorten, shown
from chains.diagrams.tongue import say

WIDTH: Final = 400
_LEFT, _BAR, _HEIGHT, _ROW = 44.0, 340.0, 16.0, 46.0
_PIPE: Final = 20.0
_TINY: Final = 2.0
_NAME: Final = 38


class Part(StrEnum):
    """What a bar is in the merge."""

    SOURCE = "source"  # what it holds flows into the target
    TARGET = "target"
    BYSTANDER = "bystander"  # reads through the joined layers, or lies below them


@dataclass(frozen=True)
class Bar:
    """One volume, or a run of them; ``held`` are its bytes. ``goes`` says that it is there no more at
    the end, ``note`` what else there is to say of it.
    """

    name: str
    part: Part
    held: int
    goes: bool = False
    note: str = ""


@dataclass(frozen=True)
class FlowPicture:
    """The bars from the top down. ``moved`` bytes come into the target; ``copied`` and ``verified`` are
    the shares, 0 to 1, that are done; ``switched`` and ``removed`` say that these steps are done.
    """

    bars: Sequence[Bar]
    moved: int
    copied: float = 0.0
    verified: float = 0.0
    switched: bool = False
    removed: bool = False


def flow_svg(view: FlowPicture) -> str:
    """The drawing as the merge stands. It says nothing to a screen reader: the words beside it do."""
    height = len(view.bars) * _ROW + 6
    root = ET.Element("svg", {
        "xmlns": SVG, "class": "dg flow-drawing", "viewBox": f"0 0 {WIDTH} {height:g}",
        "width": str(WIDTH), "height": f"{height:g}", "aria-hidden": "true",
    })  # fmt: skip
    most = max(
        (bar.held + (view.moved if bar.part is Part.TARGET else 0) for bar in view.bars), default=0
    )
    target = next((n for n, bar in enumerate(view.bars) if bar.part is Part.TARGET), None)
    if target is not None:
        _pipes(root, view, target)
    for number, bar in enumerate(view.bars):
        _row(root, view, number, bar, most or 1)
    return ET.tostring(root, encoding="unicode")


def _middle(number: int) -> float:
    return number * _ROW + 20 + _HEIGHT / 2


def _pipes(root: ET.Element, view: FlowPicture, target: int) -> None:
    """The ways from each source along the left side to the target, with a head where they end."""
    end = _middle(target)
    for number, bar in enumerate(view.bars):
        if bar.part is not Part.SOURCE:
            continue
        start = _middle(number)
        way = f"M{_LEFT - 4:g},{start:g}H{_PIPE:g}V{end:g}H{_LEFT - 8:g}"
        ET.SubElement(root, "path", {"class": "flow-pipe", "d": way})
        ET.SubElement(
            root, "path", {"class": f"flow-drops {colour_class(number).split()[0]}", "d": way}
        )
    if any(bar.part is Part.SOURCE for bar in view.bars):
        tip = f"{_LEFT - 2:g},{end:g} {_LEFT - 9:g},{end - 4:g} {_LEFT - 9:g},{end + 4:g}"
        ET.SubElement(root, "polygon", {"class": "flow-tip", "points": tip})


def _row(root: ET.Element, view: FlowPicture, number: int, bar: Bar, most: int) -> None:
    hue = colour_class(number).split()[0]
    gone = " flow-gone" if bar.goes and view.removed else ""
    facts = {"class": f"flow-row flow-{bar.part.value} {hue}{gone}", "data-part": bar.part.value}
    if bar.goes:
        facts["data-goes"] = "true"
    group = ET.SubElement(root, "g", facts)
    top = number * _ROW + 20
    name = ET.SubElement(group, "text", {"x": f"{_LEFT:g}", "y": f"{top - 6:g}", "font-size": "12"})
    name.text = shorten(shown(bar.name), _NAME - min(len(bar.note), _NAME // 2))
    if bar.note:
        note = ET.SubElement(name, "tspan", {"class": "dg-muted", "font-size": "11", "dx": "6"})
        note.text = shorten(shown(bar.note), _NAME // 2)
    _rect(group, "flow-track", top, _BAR)
    full = _length(bar.held, most)
    if bar.part is Part.SOURCE:
        left = _rect(group, "flow-fill", top, full * (1 - view.copied))
        left.set("data-empty", "0")
        left.set("data-full", f"{full:g}")
        _rect(group, "flow-outline", top, full)
    elif bar.part is Part.TARGET:
        whole = max(_length(bar.held + view.moved, most), full)
        _rect(group, "flow-outline", top, whole)
        came = _rect(group, "flow-came", top, full + (whole - full) * view.copied)
        came.set("data-empty", f"{full:g}")
        came.set("data-full", f"{whole:g}")
        if bar.held:
            _rect(group, "flow-fill", top, full)
        proven = _rect(group, "flow-proven", top + _HEIGHT - 4, whole * view.verified, 4)
        proven.set("data-full", f"{whole:g}")
    else:
        _rect(group, "flow-fill", top, full)
    size = {"x": f"{_LEFT + _BAR:g}", "y": f"{top - 6:g}", "text-anchor": "end", "font-size": "11",
            "class": "dg-muted"}  # fmt: skip
    came_in = int(view.moved * view.copied) if bar.part is Part.TARGET else 0
    ET.SubElement(group, "text", size).text = say(binary(bar.held + came_in))


def _length(held: int, most: int) -> float:
    return round(max(_TINY, _BAR * held / most), 1) if held else 0.0


def _rect(
    into: ET.Element, kind: str, top: float, width: float, height: float = _HEIGHT
) -> ET.Element:
    return ET.SubElement(into, "rect", {
        "class": kind, "x": f"{_LEFT:g}", "y": f"{top:g}", "width": f"{round(width, 1):g}",
        "height": f"{height:g}",
    })  # fmt: skip
