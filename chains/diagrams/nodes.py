"""The nodes and edges that the chain and the forest diagrams have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chains.core.units import binary
from chains.diagrams.palette import (
    ARROW,
    BAR,
    BAR_HIDDEN,
    BAR_TRACK,
    CRITICAL,
    INFO,
    INK,
    LINE,
    LIT,
    MUTED,
    ROLE,
    SURFACE,
    WARNING,
)
from chains.diagrams.text import armour, attributes, ems, label, link, shorten, shown, whole
from chains.diagrams.tongue import say
from chains.diagrams.types import DrawnVolume, Mark
from chains.diagrams.weights import WEIGHTS, weight

NAME_SIZE: Final = 13
SMALL_SIZE: Final = 11

_KEY: Final = re.compile(r"[a-z0-9]+")
_WORD: Final = re.compile(r"[a-z]*")
_SEVERITIES: Final = {"info": ("●", INFO), "warning": ("▲", WARNING), "critical": ("■", CRITICAL)}
_RANKS: Final = ("", *_SEVERITIES)
_BAR_HEIGHT: Final = 7

GRAPH: Final = (
    'graph [bgcolor="transparent" pad="0.06" fontname="Helvetica"]\n'
    f'node [shape="box" style="rounded,filled" fillcolor="{SURFACE}" color="{LINE}" '
    f'fontname="Helvetica" fontcolor="{INK}" margin="0.11,0.085" height="0.3"]\n'
    f'edge [color="{ARROW}" penwidth="1.1" arrowsize="0.65"]\n'
)


def volume_node(
    volume: DrawnVolume, *, name_limit: int, width: int, largest: int = 0, lit: bool = False
) -> str:
    """The statement of one volume: its name in bold, then its format and sizes, then its note.

    With ``largest``, the bytes on disk that fill the box, a bar shows how much of it this one takes.
    """
    check_key(volume.key)
    right = say(volume.mark.value or volume.role)
    rows = [_name_row(label(volume.name, name_limit), whole(right))]
    if largest and volume.on_disk is not None:
        rows.append(_bar(volume.on_disk, volume.shadowed or 0, largest, width))
    rows.append(_row(_facts(volume), MUTED))
    if volume.about:
        rows.append(_row(label(volume.about, 60), MUTED))
    if text := _note(volume):
        rows.append(_row(text, _SEVERITIES.get(volume.severity, ("", MUTED))[1]))
    classes = ["dg-volume", _class("role", volume.role), _class("severity", volume.severity)]
    classes += [_class("mark", volume.mark.value), "dg-lit" if lit else ""]
    values = {
        "id": volume.key,
        "class": " ".join(filter(None, classes)),
        "label": table(rows, width),
        # What the style sheet draws from the classes, for whoever draws the DOT itself.
        "color": LIT if lit else _SEVERITIES.get(volume.severity, ("", ""))[1],
        "penwidth": "2.5" if lit else "1.6" if volume.severity == "critical" else "",
        "tooltip": whole(volume.path or volume.name),
        "URL": link(volume.url),
    }
    return f'"{volume.key}"{attributes(values)}\n'


def fold_node(
    key: str, text: str, *, detail: str = "", url: str = "", width: int = 0, lit: bool = False
) -> str:
    """The statement of a node that stands for many: "274 layers" and what they hold.

    ``key`` should hold an underscore, so that it can not be the key of a volume.
    """
    rows = [_row(f"<B>{armour(text)}</B>", INK, "CENTER")]
    if detail:
        rows.append(_row(armour(detail), MUTED, "CENTER"))
    values = {
        "id": key,
        "class": "dg-fold dg-lit" if lit else "dg-fold",
        "style": "rounded,dashed,filled",
        "color": LIT if lit else "",
        "label": table(rows, width),
        "tooltip": armour(f"{text} {detail}".strip()),
        "URL": link(url),
    }
    return f'"{key}"{attributes(values)}\n'


def edge(
    overlay: str, backing: str, mark: Mark = Mark.NONE, *, on_disk: int | None = None,
    lit: bool = False,
) -> str:  # fmt: skip
    """The statement of an arrow that points from an overlay to its backing file.

    It is as wide as the overlay has bytes on disk, where they are given: see ``WEIGHTS``.
    """
    step = None if on_disk is None else weight(on_disk)
    classes = [_class("mark", mark.value), "" if step is None else f"dg-w{step}"]
    values = {
        "class": " ".join(filter(None, [*classes, "dg-lit" if lit else ""])),
        "penwidth": "" if step is None else f"{WEIGHTS[step][1]:g}",
        "color": LIT if lit else "",
    }
    return f'"{overlay}" -> "{backing}"{attributes(values)}\n'


def table(rows: Iterable[str], width: int) -> str:
    """Rows as an HTML-like label at least ``width`` points wide."""
    size = f' WIDTH="{width}"' if width else ""
    head = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1"{size}>'
    return f"<{head}{''.join(rows)}</TABLE>>"


def fold_detail(volumes: Sequence[DrawnVolume]) -> str:
    """What a fold hides that matters: bytes on disk, the marks, and the worst finding."""
    known = [volume.on_disk for volume in volumes if volume.on_disk is not None]
    marks = []
    for mark in (Mark.REMOVED, Mark.NEW, Mark.CHANGED):
        count = sum(volume.mark is mark for volume in volumes)
        if count:
            every = say("all") if count == len(volumes) else str(count)
            marks.append(f"{every} {say(mark.value)}")
    severities = Counter(volume.severity for volume in volumes)
    return hidden_detail(sum(known) if known else None, severities, marks)


def hidden_detail(
    on_disk: int | None, severities: Mapping[str, int], marks: Iterable[str] = ()
) -> str:
    """The same of what is only counted: how many volumes have which severity as their worst."""
    parts = [] if on_disk is None else [say(f"{binary(on_disk)} on disk")]
    parts.extend(marks)
    worst = max((word for word in severities if severities[word]), key=_severity_rank, default="")
    if _severity_rank(worst) > 0:
        parts.append(f"{_SEVERITIES[worst][0]} {severities[worst]} {say(worst)}")
    return " · ".join(parts)


def common_width(volumes: Iterable[DrawnVolume], *, name_limit: int, narrowest: int) -> int:
    """A width in points that all boxes of a drawing can have; bold is a tenth wider."""
    widths = (
        ems(shorten(shown(volume.name), name_limit)) * NAME_SIZE * 1.1
        + len(say(volume.mark.value or volume.role)) * SMALL_SIZE * 0.62
        for volume in volumes
    )
    return max(narrowest, int(max(widths, default=0)) + 24)


def count(number: int, noun: str) -> str:
    """``1 layer``, ``274 layers``."""
    return say(f"{number:,} {noun}{'' if number == 1 else 's'}")


def check_key(key: str) -> str:
    """``key`` itself when it needs no escape between quotes in DOT and in SVG."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"A diagram's key has to be lower-case letters and digits, not {key!r}")
    return key


def _class(kind: str, word: str) -> str:
    return f"dg-{kind}-{word}" if word and _WORD.fullmatch(word) else ""


def _severity_rank(severity: str) -> int:
    return _RANKS.index(severity) if severity in _RANKS else 0


def _name_row(name: str, right: str) -> str:
    # The column in between keeps a long name off the word at the right.
    cell = f'<TD WIDTH="14"></TD><TD ALIGN="RIGHT">{_font(right, ROLE) if right else ""}</TD>'
    bold = f'<FONT COLOR="{INK}" POINT-SIZE="{NAME_SIZE}"><B>{name}</B></FONT>'
    return f'<TR><TD ALIGN="LEFT">{bold}</TD>{cell}</TR>'


def _row(text: str, colour: str, align: str = "LEFT") -> str:
    return f'<TR><TD COLSPAN="3" ALIGN="{align}">{_font(text, colour)}</TD></TR>'


def _bar(on_disk: int, shadowed: int, largest: int, width: int) -> str:
    full = min(width, max(2, round(width * on_disk / largest))) if on_disk else 0
    hidden = round(full * min(shadowed, on_disk) / on_disk) if on_disk else 0
    parts = ((full - hidden, BAR), (hidden, BAR_HIDDEN), (width - full, BAR_TRACK))
    cells = "".join(
        f'<TD FIXEDSIZE="TRUE" WIDTH="{size}" HEIGHT="{_BAR_HEIGHT}" BGCOLOR="{colour}"></TD>'
        for size, colour in parts
        if size > 0
    )
    head = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">'
    return f'<TR><TD COLSPAN="3" ALIGN="LEFT">{head}<TR>{cells}</TR></TABLE></TD></TR>'


def _font(text: str, colour: str) -> str:
    return f'<FONT COLOR="{colour}" POINT-SIZE="{SMALL_SIZE}">{text}</FONT>'


def _facts(volume: DrawnVolume) -> str:
    parts = [whole(volume.format) or say("format unknown")]
    if volume.virtual_size is not None:
        parts.append(say(binary(volume.virtual_size)))
    if volume.on_disk is not None:
        parts.append(say(f"{binary(volume.on_disk)} on disk"))
    return " · ".join(parts)


def _note(volume: DrawnVolume) -> str:
    sign = _SEVERITIES.get(volume.severity, ("", ""))[0]
    words = volume.note or (say(volume.severity) if sign else "")
    return f"{sign} {label(words, 48)}".strip() if words else ""
