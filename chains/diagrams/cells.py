"""The blocks of the redirected-reads picture, drawn in the places that ``dot`` gave them.

A cell of an HTML-like table can have no class in graphviz, but it can have an id. So the id says
what the cell means, and here the empty box that dot drew becomes a block with its classes: how much
of it the layer answers for the guest (solid), and how much it holds but an overlay hides (hatched).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Final

from chains.diagrams.palette import colour_class, heat_class, heat_level, pattern_of

CELL_ID: Final = re.compile(
    r"(?P<key>[a-z0-9]+)-(?P<block>\d+)-(?P<by>[cw])(?P<colour>\d+|x)-a(?P<answered>\d+)"
    r"-h(?P<held>\d+)(?P<here>-here)?"
)
_TINY: Final = 2.0


def cell_id(
    key: str, block: int, colour: int, answered: float, held: float, *, by: str = "c", here: bool = False
) -> str:  # fmt: skip
    """The id that tells ``draw_cell`` what to draw; below 0 ``colour`` means no layer.

    ``by`` is c where the colour is a layer's, w where it is a level of warmth (heat). ``here`` marks
    the block that somebody asked for.
    """
    full, most = _thousandths(answered), _thousandths(max(answered, held))
    hue = str(colour) if colour >= 0 else "x"
    return f"{key}-{block}-{by}{hue}-a{full}-h{most}{'-here' if here else ''}"


def draw_cell(into: ET.Element, source: ET.Element, cell: re.Match[str], prefix: str) -> set[str]:
    """Put the block that ``cell`` describes where dot drew the outline in ``source``.

    Returns the names of the patterns that it is filled with, for ``defs``.
    """
    points = [p.split(",") for p in source[0].get("points", "").split()]
    xs, ys = [float(p[0]) for p in points], [float(p[1]) for p in points]
    left, top, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    colour = -1 if cell["colour"] == "x" else int(cell["colour"])
    answered, held = (_part(int(cell[name]), height) for name in ("answered", "held"))
    kind = "dg-nobody" if colour < 0 else _CLASSES[cell["by"]](colour)
    into.set("class", f"dg-cell {kind}" if held or colour < 0 else f"dg-cell {kind} dg-empty")
    into.set("data-block", cell["block"])
    _rect(into, "dg-slot", left, top, width, height)
    used = set()
    if answered:
        solid = (left, top + height - answered, width, answered)
        _rect(into, "dg-answer", *solid)
        if colour >= 0 and (pattern := pattern_of(colour)):
            used.add(f"{pattern}-{cell['by']}{colour}")
            _rect(into, "dg-over", *solid).set(
                "fill", f"url(#{prefix}{pattern}-{cell['by']}{colour})"
            )
    if held > answered:
        hidden = (left, top + height - held, width, held - answered)
        _rect(into, "dg-held", *hidden)
        used.add(f"hatch-{cell['by']}{colour}")
        _rect(into, "dg-over", *hidden).set("fill", f"url(#{prefix}hatch-{cell['by']}{colour})")
    _rect(into, "dg-frame", left, top, width, height)
    if cell["here"]:
        _rect(into, "dg-here", left - 1, top - 1, width + 2, height + 2)
    return used


def defs(prefix: str, used: Iterable[str]) -> ET.Element:
    """The patterns that the cells of one drawing are filled with, as ``draw_cell`` names them."""
    result = ET.Element("defs")
    for name in sorted(used):
        kind, _, colour = name.partition("-")
        values = {
            "id": prefix + name,
            "width": "6",
            "height": "6",
            "patternUnits": "userSpaceOnUse",
        }
        # A pattern takes its colour from where it stands, not from where it is used.
        values["class"] = _CLASSES[colour[0]](int(colour[1:]))
        pattern = ET.SubElement(result, "pattern", values)
        tag, facts = _SHAPES[kind]
        ET.SubElement(pattern, tag, dict(facts))
    return result


def swatch(
    into: ET.Element, space: str, index: int, place: tuple[float, float], *, by_hops: bool
) -> None:
    """A small block of layer ``index`` for the legend of a file; below 0 one that nobody answers.

    It brings its own pattern; ``space`` is the namespace of the tags, ``place`` the upper left corner.
    """
    by, colour = ("w", heat_level(index)) if by_hops else ("c", index)
    group = ET.SubElement(into, "g", {"class": _CLASSES[by](colour) if index >= 0 else "dg-nobody"})
    box = (*place, 24.0, 12.0)
    _rect(group, "dg-slot", *box)
    if index >= 0:
        _rect(group, "dg-answer", *box)
        if pattern := pattern_of(colour):
            name = f"{pattern}-{by}{colour}"
            into.append(defs("key-", [name]))
            _rect(group, "dg-over", *box).set("fill", f"url(#key-{name})")
    _rect(group, "dg-frame", *box)
    for element in (*group.iter(), *into[-1].iter()):
        if not element.tag.startswith("{"):
            element.tag = space + element.tag


_CLASSES: Final = {"c": colour_class, "w": heat_class}
_LINE, _DOT, _RING = ("dg-pattern-line", "dg-pattern-dot", "dg-pattern-ring")
_SHAPES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "hatch": ("path", {"class": "dg-hatch-line", "d": "M-1,1L1,-1M0,6L6,0M5,7L7,5"}),
    "stripes": ("path", {"class": _LINE, "d": "M0,3L6,3"}),
    "dots": ("circle", {"class": _DOT, "cx": "3", "cy": "3", "r": "1.2"}),
    "bars": ("path", {"class": _LINE, "d": "M3,0L3,6"}),
    "grid": ("path", {"class": _LINE, "d": "M0,3L6,3M3,0L3,6"}),
    "waves": ("path", {"class": _LINE, "d": "M0,4.5L3,1.5L6,4.5"}),
    "rings": ("circle", {"class": _RING, "cx": "3", "cy": "3", "r": "1.7"}),
}


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
