"""Hostile text on its way through graphviz.

Graphviz reads quoted strings, HTML-like labels, ``\\N`` escapes and ``&amp;`` entities by different
rules in different attributes (and writes a cell's link unescaped), so no one way of escaping is
right everywhere. Here nothing is escaped: the few characters that mean something to graphviz or to
XML are swapped for private code points before they go in (``armour``), and swapped back in the
parsed SVG (``bare``), where an XML writer escapes them. In between they are letters like any other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from chains.core.names import display

_BASE: Final = 0xF0000
_SPECIAL: Final = "&<>\"'\\{}|"
_SPACE: Final = chr(_BASE + ord(" "))

_IN: Final = {ord(c): _BASE + ord(c) for c in _SPECIAL}
_OUT: Final = {_BASE + ord(c): c for c in (*_SPECIAL, " ")}

_ENTITIES: Final = {code: f"&#{ord(char)};" for code, char in _OUT.items() if char != " "} | {
    ord(_SPACE): "&#160;"
}
_LABEL: Final = re.compile(r"(<<TABLE.*?</TABLE>>)", re.DOTALL)

NONE: Final = "-"
"""Stands for no link and no tooltip where graphviz insists on one."""

# What ``display`` lets through and a drawing can not: the private code points themselves, since a
# name that holds one could pass for the character behind it, and two that XML has no way to hold.
_ESCAPED: Final = {code: f"\\U{code:08x}" for code in range(_BASE, _BASE + 128)} | {
    0xFFFE: "\\ufffe",
    0xFFFF: "\\uffff",
}
_WIDE: Final = frozenset("MWmw@%…—")
_NARROW: Final = frozenset(" !'()*,-./:;I[]`fijlrt|")
_EDGE_SPACE: Final = re.compile(r"^ | $|(?<= ) ")
_SAFE_URL: Final = re.compile(r"(?:/(?![/\\])|[?#])")


def shown(raw: str) -> str:
    """A hostile text as people may see it in a drawing: ``display``, and what XML can not hold."""
    return display(raw).translate(_ESCAPED)


def armour(text: str) -> str:
    """Swap what graphviz or XML would interpret for private code points."""
    # Graphviz drops leading, trailing and doubled spaces, and a name with two is another name.
    return _EDGE_SPACE.sub(_SPACE, text.translate(_IN))


def bare(text: str) -> str:
    """Undo ``armour``; the result is plain text and still has to be escaped by an XML writer."""
    return text.translate(_OUT)


def plain(dot_source: str) -> str:
    """DOT of ours as other tools read it: what ``armour`` swapped is written as entities instead.

    In a label a backslash would still mean something after that, so there it is doubled.
    """

    def entities(text: str, backslash: str) -> str:
        return text.translate({**_ENTITIES, _BASE + ord("\\"): backslash})

    parts = _LABEL.split(dot_source)
    return "".join(
        entities(part, "&#92;&#92;" if number % 2 else "&#92;") for number, part in enumerate(parts)
    )


def columns(text: str) -> int:
    """How many columns ``text`` takes in a fixed-width font."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def ems(text: str) -> float:
    """About how wide ``text`` is in a common sans-serif font, in ems; rather more than less."""
    return sum(
        1.0
        if c in _WIDE or unicodedata.east_asian_width(c) in "WF"
        else 0.37
        if c in _NARROW
        else 0.64
        for c in text
    )


def shorten(text: str, limit: int) -> str:
    """Cut the middle out of ``text`` so that it fits in ``limit`` columns."""
    if columns(text) <= limit:
        return text
    head, tail, room = 0, len(text), limit - 1
    while True:
        from_head = head <= len(text) - tail
        width = columns(text[head] if from_head else text[tail - 1])
        if width > room:
            return f"{text[:head]}…{text[tail:]}"
        room -= width
        head, tail = (head + 1, tail) if from_head else (head, tail - 1)


def label(raw: str, limit: int) -> str:
    """A hostile name as the content of an HTML-like label, never empty."""
    return armour(shorten(shown(raw), limit)) or "(no name)"


def whole(raw: str) -> str:
    """A hostile text in full."""
    return armour(shown(raw))


def link(url: str) -> str:
    """An address of this site for a quoted attribute; any other address gives ``""``.

    The pages build their links themselves, so a scheme or a host in one is a mistake or an attack.
    """
    if not _SAFE_URL.match(url):
        return ""
    return armour(quote(url, safe="/?#[]@!$&'()*+,;=:%~", errors="surrogateescape"))


def attributes(values: Mapping[str, str]) -> str:
    """An attribute list of DOT; empty values are left out, HTML-like labels go as they are.

    Values must be armoured or made here: no quote and no backslash may be left in them.
    """
    parts = [
        f"{name}={value}" if name == "label" and value.startswith("<") else f'{name}="{value}"'
        for name, value in values.items()
        if value
    ]
    return f" [{' '.join(parts)}]" if parts else ""
