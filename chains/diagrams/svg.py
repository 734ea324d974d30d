"""From the SVG that ``dot`` writes to the SVG that goes into a page.

The page's policy allows no inline style and no script, and its style sheet has to reach every
shape. So the SVG is parsed, and built again from the few elements and attributes that a drawing
needs: what is not on the lists below does not get through, whoever wrote it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final

from chains.diagrams.cells import CELL_ID, defs, draw_cell
from chains.diagrams.palette import BAR_CLASSES, ROLE, SURFACE, TEXT_CLASSES
from chains.diagrams.sheet import STYLE
from chains.diagrams.text import NONE, bare, shown

SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_KEPT: Final = {
    "path": ("d", "fill", "stroke", "stroke-width", "stroke-dasharray"),
    "polygon": ("points", "fill", "stroke", "stroke-width", "stroke-dasharray"),
    "polyline": ("points", "fill", "stroke", "stroke-width", "stroke-dasharray"),
    "ellipse": ("cx", "cy", "rx", "ry", "fill", "stroke", "stroke-width"),
    "text": ("x", "y", "text-anchor", "font-size", "font-weight", "fill"),
}
_ESCAPES: Final = {ord(char): f"&#{ord(char)};" for char in "\"'\n\r\t"} | {
    ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;",
}  # fmt: skip
_SPECIAL: Final = re.compile("[&<>\"'\n\r\t]")
_RADIUS: Final = "7"
_INSET: Final = 11.0


def clean(document: bytes, *, title: str, prefix: str, alone: bool = False) -> str:
    """Rebuild one drawing; every id in it gets ``prefix``. Raises ``ValueError`` on bad XML.

    One that stands ``alone`` is for a file: it brings its own colours on white, and links nowhere.
    """
    try:
        # dot wrote it a moment ago, from text without markup and without a document type of ours.
        source = ET.fromstring(document)  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(f"not well-formed: {error}") from error
    view = source.get("viewBox", "0 0 0 0")
    width, height = view.split()[2:4]
    target = ET.Element(
        "svg",
        {
            "xmlns": SVG,
            "class": "dg",
            "viewBox": view,
            "width": _number(width),
            "height": _number(height),
            "role": "img",
            "aria-label": shown(title),
        },
    )
    _Rebuilder(prefix, links=not alone).run(source, target)
    if alone:
        _on_paper(target, view, shown(title))
    if target.find(".//a") is not None:
        # To a screen reader an image has no parts, and these links are parts.
        target.set("role", "group")
    parts: list[str] = []
    _write(target, parts)
    return "".join(parts)


def _write(element: ET.Element, parts: list[str]) -> None:
    """The element as text. What ``ElementTree`` looks up for namespaces, at three times the cost, is
    not needed: no name here has one.
    """
    tag = element.tag
    parts.append(f"<{tag}")
    parts.extend(f' {name}="{_escaped(value)}"' for name, value in element.items())
    if element.text is None and not len(element):
        parts.append(" />")
        return
    parts.append(">" + _escaped(element.text or ""))
    for child in element:
        _write(child, parts)
    parts.append(f"</{tag}>")


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def _on_paper(target: ET.Element, view: str, title: str) -> None:
    """White below the drawing, and the light colours as a style of its own."""
    x, y, width, height = view.split()[:4]
    style, name = ET.Element("style"), ET.Element("title")
    style.text, name.text = STYLE, title
    box = {"class": "dg-paper", "x": x, "y": y, "width": width, "height": height, "fill": "#ffffff"}
    for place, element in enumerate((name, style, ET.Element("rect", box))):
        target.insert(place, element)


def _number(text: str) -> str:
    return f"{float(text):g}"


class _Rebuilder:
    def __init__(self, prefix: str, *, links: bool) -> None:
        self.prefix = prefix
        self.links = links
        self.patterns: set[str] | None = None
        self.box: dict[str, float] = {}
        self.centred = False

    def run(self, source: ET.Element, target: ET.Element) -> None:
        graph = source.find(f"{{{SVG}}}g")
        if graph is None:
            raise ValueError("no drawing")
        shift = graph.get("transform", "").partition("translate")[2]
        inner = ET.SubElement(target, "g", {"transform": f"translate{shift or '(0 0)'}"})
        for child in graph:
            if child.get("class", "").startswith(("node", "edge")):
                self._group(child, inner)
        if self.patterns is not None:
            target.insert(0, defs(self.prefix, self.patterns))

    def _group(self, source: ET.Element, into: ET.Element) -> None:
        kind, _, classes = source.get("class", "").partition(" ")
        group = ET.SubElement(into, "g", {"class": f"dg-{kind} {classes}".strip()})
        if kind == "node":
            key = source.get("id", "")
            group.set("id", self.prefix + key)
            group.set("data-key", key)
        else:
            ends = (source.findtext(f"{{{SVG}}}title") or "").partition("->")
            group.set("data-overlay", ends[0].partition(":")[0])
            group.set("data-backing", ends[2].partition(":")[0])
        self.centred = classes == "dg-fold"
        self._children(source, group)

    def _children(self, source: ET.Element, into: ET.Element) -> None:
        for child in source:
            tag = child.tag.removeprefix(f"{{{SVG}}}")
            if tag == "g":
                self._anchored(child, into)
            elif tag == "a":
                self._anchor(child, into, "")
            elif tag in _KEPT:
                self._shape(tag, child, into)

    def _anchored(self, source: ET.Element, into: ET.Element) -> None:
        """A group that dot wraps around a link or a tooltip; its id is ``a_`` and what we gave."""
        name = source.get("id", "").removeprefix("a_")
        for child in source:
            if child.tag == f"{{{SVG}}}a":
                self._anchor(child, into, name)

    def _anchor(self, source: ET.Element, into: ET.Element, name: str) -> None:
        href, text = (bare(source.get(f"{_XLINK}{name}", NONE)) for name in ("href", "title"))
        wrap = (
            ET.SubElement(into, "a", {"href": href})
            if href != NONE and self.links
            else ET.SubElement(into, "g")
        )
        if text != NONE:
            ET.SubElement(wrap, "title").text = text
        if cell := CELL_ID.fullmatch(name):
            used = draw_cell(wrap, source, cell, self.prefix)
            self.patterns = used if self.patterns is None else self.patterns | used
        else:
            self._children(source, wrap)

    def _shape(self, tag: str, source: ET.Element, into: ET.Element) -> None:
        kept = {name: source.get(name, "") for name in _KEPT[tag] if source.get(name)}
        if tag == "text":
            kept["class"] = TEXT_CLASSES.get(kept.get("fill", ""), "dg-ink")
            if kept.get("fill") == ROLE:
                # dot places text by the widths of its own font; an end needs no width.
                right = self.box["x"] + self.box["width"] - _INSET
                kept |= {"x": f"{right:g}", "text-anchor": "end"}
            elif self.centred:
                middle = self.box["x"] + self.box["width"] / 2
                kept |= {"x": f"{middle:g}", "text-anchor": "middle"}
            if kept.pop("font-weight", ""):
                kept["class"] += " dg-name"
                kept["font-weight"] = "600"
            ET.SubElement(into, "text", kept).text = bare(source.text or "")
        elif tag == "path" and "dg-read" in into.get("class", ""):
            # What lets an arrow be seen on a block of its own colour.
            ET.SubElement(into, "path", {"class": "dg-halo", "d": kept["d"], "fill": "none"})
            ET.SubElement(into, "path", kept)
        elif tag == "path" and kept.get("fill") == SURFACE:
            box = _box(kept)
            self.box = {name: float(box[name]) for name in ("x", "width")}
            ET.SubElement(into, "rect", box)
        elif tag == "polygon" and (kind := BAR_CLASSES.get(kept.get("fill", ""))):
            self._bar(kind, kept, into)
        else:
            ET.SubElement(into, tag, kept)

    def _bar(self, kind: str, kept: dict[str, str], into: ET.Element) -> None:
        """A part of a bar; what is hidden is hatched too."""
        part = {"class": kind, "points": kept["points"], "fill": kept["fill"]}
        ET.SubElement(into, "polygon", part)
        if kind == "dg-bar-hidden":
            self.patterns = (self.patterns or set()) | {"hatch-c0"}
            hatch = part | {"class": "dg-over", "fill": f"url(#{self.prefix}hatch-c0)"}
            ET.SubElement(into, "polygon", hatch)


def _box(path: dict[str, str]) -> dict[str, str]:
    """The rounded box that dot draws as a path, as a rectangle with calmer corners."""
    numbers = [
        float(n) for n in path["d"].replace("M", " ").replace("C", " ").replace(",", " ").split()
    ]
    xs, ys = numbers[::2], numbers[1::2]
    kept: dict[str, str] = {name: path[name] for name in ("fill", "stroke") if name in path}
    return {
        "class": "dg-box",
        "x": f"{min(xs):g}",
        "y": f"{min(ys):g}",
        "width": f"{max(xs) - min(xs):g}",
        "height": f"{max(ys) - min(ys):g}",
        "rx": _RADIUS,
        **kept,
    }
