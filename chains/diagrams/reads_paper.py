"""The redirected reads as files: an SVG that needs no page around it, and DOT for graphviz alone.

A file is for white paper, whatever theme its reader has, so it takes the light theme's colours, and it
has no links: they would lead nowhere. The SVG keeps the patterns of the page. Cells of a table in DOT
can have no pattern; there a letter stands for the layer, or a figure for its hops.
"""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_uppercase
from typing import Final

from chains.core.units import binary, position
from chains.diagrams.cells import swatch
from chains.diagrams.nodes import check_key
from chains.diagrams.palette import (
    ARROW,
    DARK_ON,
    FAINT,
    HEAT,
    INK,
    LINE,
    MUTED,
    PALETTE,
    SURFACE,
    colour_class,
    heat_class,
    heat_level,
)
from chains.diagrams.rows import DrawnRow, fold_rows
from chains.diagrams.text import shorten, shown
from chains.diagrams.tongue import say
from chains.diagrams.types import ReadsPicture

_SVG: Final = "{http://www.w3.org/2000/svg}"
_MARGIN: Final = 16.0
_LINE_HEIGHT: Final = 18.0
_LONGEST_NAME: Final = 60
_WHITE: Final = "#ffffff"
_NOBODY: Final = "#eceff3"


@dataclass(frozen=True)
class Key:
    """A line of the legend: the layer's index, or -1 for what no layer holds; what it says of it."""

    index: int
    words: str


def svg_file(drawn: str, title: str, subtitle: str, keys: Sequence[Key], *, by_hops: bool) -> bytes:
    """A drawing of ``render_svg`` with its style, a heading and a legend, as a file of its own."""
    # The renderer built it a moment ago, element by element.
    root = ET.fromstring(drawn)  # noqa: S314
    left, top, width, height = (float(n) for n in root.get("viewBox", "0 0 0 0").split())
    _unlink(root)
    head, foot = 2.4 * _LINE_HEIGHT, (len(keys) + 0.5) * _LINE_HEIGHT
    box = (left - _MARGIN, top - head - _MARGIN, max(width, 480) + 2 * _MARGIN,
           height + head + foot + 2 * _MARGIN)  # fmt: skip
    root.set("viewBox", " ".join(f"{n:g}" for n in box))
    root.set("width", f"{box[2]:g}")
    root.set("height", f"{box[3]:g}")
    paper = ET.Element(f"{_SVG}rect", {
        "x": f"{box[0]:g}", "y": f"{box[1]:g}", "width": f"{box[2]:g}", "height": f"{box[3]:g}",
        "fill": _WHITE,
    })  # fmt: skip
    style = ET.Element(f"{_SVG}style")
    style.text = "\n".join(_rules())
    root[0:0] = [style, paper]
    _text(root, left, top - head + 4, title, {"font-size": "16", "font-weight": "600"})
    _text(root, left, top - head + 4 + _LINE_HEIGHT, subtitle, {"font-size": "12"})
    for number, key in enumerate(keys):
        y = top + height + (number + 1) * _LINE_HEIGHT
        swatch(root, _SVG, key.index, (left, y - 10), by_hops=by_hops)
        _text(root, left + 32, y, key.words, {"font-size": "12"})
    ET.register_namespace("", _SVG.strip("{}"))
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _text(into: ET.Element, x: float, y: float, words: str, facts: dict[str, str]) -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "class": "dg-ink", **facts}
    ET.SubElement(into, f"{_SVG}text", place).text = shown(words)


def _unlink(element: ET.Element) -> None:
    """Every link becomes a group: a file has no page that it could lead to."""
    for child in element:
        if child.tag == f"{_SVG}a":
            child.tag = f"{_SVG}g"
            child.attrib.pop("href", None)
        _unlink(child)


def _rules() -> Iterator[str]:
    """The light theme of static/css, without variables and mixed colours: not every viewer has them."""
    yield ".dg{font-family:Helvetica,Arial,sans-serif}"
    yield f".dg-ink{{fill:{INK}}}.dg-muted{{fill:{MUTED}}}.dg-faint{{fill:{LINE}}}"
    yield f".dg-slot{{fill:{SURFACE}}}.dg-frame{{fill:none;stroke:{LINE}}}"
    yield f".dg-nobody .dg-slot{{fill:{_NOBODY}}}.dg-nobody .dg-frame{{stroke-dasharray:2 2}}"
    yield ".dg-held{fill-opacity:.16}.dg-hatch-line{fill:none;stroke-opacity:.7}"
    yield ".dg-pattern-line,.dg-pattern-ring{fill:none;stroke-width:1.1;stroke-opacity:.85}"
    yield f".dg-here{{fill:none;stroke:{INK};stroke-width:3}}"
    yield f".dg-read .dg-halo{{stroke:{SURFACE};stroke-width:4;stroke-opacity:.85}}"
    names = [f"dg-layer-{n}" for n in range(len(PALETTE))]
    names += [f"dg-heat-{n}" for n in range(len(HEAT))]
    for name, hue in zip(names, (*PALETTE, *HEAT), strict=True):
        over, edge, it = INK if name in DARK_ON else _WHITE, _mixed(hue), f".{name}"
        yield f"{it} .dg-answer,{it} .dg-held{{fill:{hue}}}{it} .dg-frame{{stroke:{edge}}}"
        yield f"{it} .dg-hatch-line{{stroke:{edge}}}{it} .dg-pattern-dot{{fill:{over}}}"
        yield f"{it} .dg-pattern-line,{it} .dg-pattern-ring{{stroke:{over}}}"
        yield f".dg-read{it} path:not(.dg-halo){{stroke:{edge};stroke-width:1.3}}"
        yield f".dg-read{it} polygon,.dg-read{it} ellipse{{fill:{edge};stroke:none}}"
    yield ".dg-read-here path:not(.dg-halo){stroke-width:2.6}"
    yield f".dg-empty .dg-frame{{stroke:{FAINT}}}"


def _mixed(hue: str) -> str:
    """Seventy-two parts of a hue with twenty-eight of ink, as diagrams.css mixes edges."""
    pairs = ((int(hue[i : i + 2], 16), int(INK[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(0.72 * a + 0.28 * b):02x}" for a, b in pairs)


def paper_dot(view: ReadsPicture, title: str, subtitle: str, keys: Sequence[Key]) -> str:
    """DOT of the same picture that graphviz draws as it is: colours and letters in the cells."""
    for told in view.rows:
        check_key(told.key)
    rows = fold_rows(view.rows, view.max_rows)
    left = '<BR ALIGN="LEFT"/>'
    caption = f"<B>{_quoted(title)}</B>{left}{_quoted(subtitle)}{left}"
    parts = [
        "digraph reads {\n",
        'rankdir="TB" splines="line" ranksep="0.22" bgcolor="white" pad="0.2" outputorder="nodesfirst"\n',
        f'labelloc="t" labeljust="l" fontname="Helvetica" fontsize="12" fontcolor="{INK}"\n',
        f"label=<{caption}>\n",
        f'node [shape="plain" fontname="Helvetica" fontsize="11" fontcolor="{INK}"]\n',
        f'edge [color="{ARROW}" arrowsize="0.5" penwidth="1.1" tailclip="false"]\n',
        _table("_guest", "guest", [_cell(view, n, None, n) for n in range(len(view.starts))]),
    ]
    for row in rows:
        layer = view.rows[row.first]
        if len(row.layers) > 1:
            name = f"\N{HORIZONTAL ELLIPSIS} {len(row.layers)} layers"
            cells = [_td(n, _WHITE, "\N{VERTICAL ELLIPSIS}") for n in range(len(view.starts))]
        else:
            letter = "" if view.hops else f"{_letter(row.first)}: "
            name = letter + shorten(shown(layer.name), 36)
            cells = [_cell(view, n, row.first, n) for n in range(len(view.starts))]
        parts.append(_table(row.key, name, cells))
    names = ["_guest", *(row.key for row in rows), "_legend"]
    parts.extend(
        f'"{upper}" -> "{lower}" [style="invis" weight="1000"]\n'
        for upper, lower in pairwise(names)
    )
    for block, owner in enumerate(view.owner):
        parts.extend(_arrow(rows, block, owner))
    return "".join([*parts, _legend(view, keys), "}\n"])


def _arrow(rows: Sequence[DrawnRow], block: int, owner: int) -> Iterator[str]:
    upper = f'"_guest":b{block}:s'
    for row in rows if owner >= 0 else ():
        answers = owner in row.layers
        lower = f'"{row.key}":b{block}'
        head = "normal" if answers else "none"
        yield f'{upper} -> {lower}:{"n" if answers else "c"} [arrowhead="{head}"]\n'
        if answers:
            return
        upper = f"{lower}:c"


def _cell(view: ReadsPicture, block: int, layer: int | None, port: int) -> str:
    """A block of a layer, or of the guest: who answers most of it."""
    if layer is None:
        owner = view.owner[block]
        if owner < 0:
            return _td(port, _NOBODY, "")
        return _td(port, *_look(view, owner, view.hops[block] if view.hops else owner))
    row = view.rows[layer]
    if row.answered[block] > 0:
        return _td(port, *_look(view, layer, layer))
    return _td(port, _NOBODY, "\N{MULTIPLICATION SIGN}") if row.held[block] else _td(port, _WHITE, "")  # fmt: skip


def _look(view: ReadsPicture, owner: int, hops: float) -> tuple[str, str, str]:
    """The colour of a cell, what stands in it, and the colour of that."""
    if view.hops:
        level = heat_level(hops)
        words, hue, name = f"{hops:.1f}".removesuffix(".0"), HEAT[level], heat_class(level)
    else:
        words, hue, name = _letter(owner), PALETTE[owner % len(PALETTE)], colour_class(owner)
    return hue, words, INK if name.split()[0] in DARK_ON else _WHITE


def _letter(index: int) -> str:
    """A, B … Z, AA, AB …"""
    high, low = divmod(index, 26)
    return (_letter(high - 1) if high else "") + ascii_uppercase[low]


def _td(port: int, colour: str, words: str, ink: str = MUTED) -> str:
    inner = f'<FONT COLOR="{ink}" POINT-SIZE="9">{words}</FONT>' if words else ""
    return (
        f'<TD PORT="b{port}" FIXEDSIZE="TRUE" WIDTH="27" HEIGHT="20" COLOR="{LINE}" '
        f'BGCOLOR="{colour}">{inner}</TD>'
    )


def _table(key: str, name: str, cells: Sequence[str]) -> str:
    head = f'<TD BORDER="0" ALIGN="RIGHT" FIXEDSIZE="FALSE" WIDTH="250">{_quoted(name)} </TD>'
    body = (
        f'<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="2"><TR>{head}{"".join(cells)}</TR></TABLE>'
    )
    return f'"{key}" [label=<{body}>]\n'


def _legend(view: ReadsPicture, keys: Sequence[Key]) -> str:
    lines = []
    for key in keys:
        colour, words, ink = (_NOBODY, "", MUTED)
        if key.index >= 0:
            colour, words, ink = _look(view, key.index, key.index)
        lines.append(
            f'<TR>{_td(key.index + 1, colour, words, ink)}<TD BORDER="0" ALIGN="LEFT">'
            f"{_quoted(shorten(key.words, _LONGEST_NAME + 60))}</TD></TR>"
        )
    held = f"\N{MULTIPLICATION SIGN}: {say('held, but hidden by a layer above')}"
    lines.append(f'<TR><TD BORDER="0" COLSPAN="2" ALIGN="LEFT">{held}</TD></TR>')
    body = f'<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="2">{"".join(lines)}</TABLE>'
    return f'"_legend" [label=<{body}>]\n'


def _quoted(text: str) -> str:
    """A hostile text inside an HTML-like label: in a file there is nobody to swap characters back."""
    return html.escape(shown(text)).replace("&#x27;", "&#39;") or " "


def span_words(start: int, length: int, size: int) -> str:
    """Which part of a disk a picture shows."""
    if length >= size:
        return say(f"the whole disk, {binary(size)}") + f" ({say(f'{size:,} B')})"
    return say(f"{binary(length)} at {position(start)} of {binary(size)}")
