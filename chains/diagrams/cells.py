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
    colour = cell["colour"]
    kind = colour_class(int(colour)) if colour != "x" else "dg-nobody"
    into.set("class", f"dg-cell {kind}")
    into.set("data-block", cell["block"])
    _rect(into, "dg-slot", left, top, width, height)
    answered, held = (_part(int(cell[name]), height) for name in ("answered", "held"))
    if held > answered:
        _rect(into, "dg-held", left, top + height - held, width, held - answered)
    if answered:
        _rect(into, "dg-answer", left, top + height - answered, width, answered)
    if colour != "x" and (pattern := PATTERNS[int(colour) // len(PALETTE) % len(PATTERNS)]):
        shape = _rect(into, "dg-pattern", left, top + height - answered, width, answered)
        shape.set("fill", f"url(#{prefix}{pattern})")
    if held > answered:
        shape = _rect(into, "dg-hatch", left, top + height - held, width, held - answered)
        shape.set("fill", f"url(#{prefix}hatch)")
    _rect(into, "dg-frame", left, top, width, height).set("fill", "none")


def defs(prefix: str) -> ET.Element:
    """The patterns that the cells of one drawing are filled with."""
    result = ET.Element("defs")
    hatch = _pattern(result, f"{prefix}hatch", "5")
    ET.SubElement(hatch, "path", {"class": "dg-hatch-line", "d": "M-1,1L1,-1M0,5L5,0M4,6L6,4"})
    stripes = _pattern(result, f"{prefix}stripes", "6")
    ET.SubElement(stripes, "path", {"class": "dg-pattern-line", "d": "M0,1.5L6,1.5M0,4.5L6,4.5"})
    dots = _pattern(result, f"{prefix}dots", "5")
    ET.SubElement(dots, "circle", {"class": "dg-pattern-dot", "cx": "2.5", "cy": "2.5", "r": "1"})
    return result


def _pattern(into: ET.Element, name: str, size: str) -> ET.Element:
    return ET.SubElement(
        into,
        "pattern",
        {"id": name, "width": size, "height": size, "patternUnits": "userSpaceOnUse"},
    )


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
