"""The blocks of the redirected-reads picture, drawn in the places that ``dot`` gave them.

A cell of an HTML-like table can have no class in graphviz, but it can have an id. So the id says
what the cell means, and here the empty box that dot drew becomes a block with its classes: how much
of it the layer answers for the guest (solid), and how much it holds but an overlay hides (hatched).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final

from chains.diagrams.palette import PALETTE, PATTERNS, colour_class

CELL_ID: Final = re.compile(
    r"(?P<key>[a-z0-9]+)-(?P<block>\d+)-c(?P<colour>\d+|x)-a(?P<answered>\d+)-h(?P<held>\d+)"
)
_TINY: Final = 2.0


def cell_id(key: str, block: int, colour: int, answered: float, held: float) -> str:
    """The id that tells ``draw_cell`` what to draw; below 0 ``colour`` means no layer."""
    full, most = _thousandths(answered), _thousandths(max(answered, held))
    hue = str(colour) if colour >= 0 else "x"
    return f"{key}-{block}-c{hue}-a{full}-h{most}"


def draw_cell(into: ET.Element, source: ET.Element, cell: re.Match[str], prefix: str) -> None:
    """Put the block that ``cell`` describes where dot drew the outline in ``source``."""
    points = [p.split(",") for p in source[0].get("points", "").split()]
    xs, ys = [float(p[0]) for p in points], [float(p[1]) for p in points]
    left, top, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    colour = -1 if cell["colour"] == "x" else int(cell["colour"])
    answered, held = (_part(int(cell[name]), height) for name in ("answered", "held"))
    kind = "dg-nobody" if colour < 0 else colour_class(colour)
    into.set("class", f"dg-cell {kind}" if held or colour < 0 else f"dg-cell {kind} dg-empty")
    into.set("data-block", cell["block"])
    _rect(into, "dg-slot", left, top, width, height)
    solid = (left, top + height - answered, width, answered)
    hidden = (left, top + height - held, width, held - answered)
    if answered:
        _rect(into, "dg-answer", *solid)
        if pattern := _pattern_of(colour):
            _rect(into, "dg-over", *solid).set("fill", f"url(#{prefix}{pattern})")
    if held > answered:
        _rect(into, "dg-held", *hidden)
        name = f"{prefix}hatch-{colour % len(PALETTE)}"
        _rect(into, "dg-over", *hidden).set("fill", f"url(#{name})")
    _rect(into, "dg-frame", left, top, width, height)


def defs(prefix: str) -> ET.Element:
    """The patterns that the cells of one drawing are filled with."""
    result = ET.Element("defs")
    for hue in range(len(PALETTE)):
        # A pattern takes its colour from where it stands, not from where it is used.
        hatch = _pattern(result, f"{prefix}hatch-{hue}", "5")
        hatch.set("class", colour_class(hue))
        path = {"class": "dg-hatch-line", "d": "M-1,1L1,-1M0,5L5,0M4,6L6,4"}
        ET.SubElement(hatch, "path", path)
    stripes = _pattern(result, f"{prefix}stripes", "5")
    ET.SubElement(stripes, "path", {"class": "dg-pattern-line", "d": "M0,2.5L5,2.5"})
    dots = _pattern(result, f"{prefix}dots", "5")
    ET.SubElement(dots, "circle", {"class": "dg-pattern-dot", "cx": "2.5", "cy": "2.5", "r": "1.1"})
    return result


def _pattern_of(colour: int) -> str:
    return PATTERNS[colour // len(PALETTE) % len(PATTERNS)] if colour >= 0 else ""


def _pattern(into: ET.Element, name: str, size: str) -> ET.Element:
    values = {"id": name, "width": size, "height": size, "patternUnits": "userSpaceOnUse"}
    return ET.SubElement(into, "pattern", values)


def _rect(into: ET.Element, kind: str, *numbers: float) -> ET.Element:
    """A rectangle from its x, y, width and height."""
    names = ("x", "y", "width", "height")
    values = {name: f"{round(value, 2):g}" for name, value in zip(names, numbers, strict=True)}
    return ET.SubElement(into, "rect", {"class": kind, **values})


def _thousandths(fraction: float) -> int:
    """Rounded, but never down to nothing while there is something."""
    bounded = min(1.0, max(0.0, fraction))
    return max(1, round(bounded * 1000)) if bounded > 0 else 0


def _part(thousandths: int, height: float) -> float:
    """So much of a block's height, and enough to be seen."""
    return max(_TINY, thousandths * height / 1000) if thousandths else 0.0
