"""Redirected reads: the guest's blocks, and the way of each read down to the layer that answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from chains.core.units import binary, position
from chains.diagrams.cells import cell_id
from chains.diagrams.nodes import check_key, count
from chains.diagrams.palette import ARROW, FAINT, INK, MUTED, colour_class, heat_class, heat_level
from chains.diagrams.rows import DrawnRow, fold_rows
from chains.diagrams.text import (
    NONE,
    armour,
    attributes,
    ems,
    label,
    link,
    shorten,
    shown,
    whole,
)
from chains.diagrams.tongue import say
from chains.diagrams.types import ReadsPicture

_NAME_LIMIT: Final = 36
_NAME_SIZE: Final = 12
_NARROWEST: Final = 60
_NARROWEST_FOLDED: Final = 200
_CELL_WIDTH: Final = 27
_CELL_HEIGHT: Final = 20
_ROOM_FOR_END: Final = 6
_ROOM_FOR_LENGTH: Final = 16
_GUEST: Final = "_guest"

_GRAPH: Final = (
    'rankdir="TB" splines="line" outputorder="nodesfirst" ranksep="0.22" nodesep="0.1" '
    'bgcolor="transparent" pad="0.06"\n'
    f'node [shape="plain" fontname="Helvetica" fontsize="{_NAME_SIZE}"]\n'
    f'edge [color="{ARROW}" arrowsize="0.5" penwidth="1.1" tailclip="false"]\n'
)


def reads_dot(view: ReadsPicture) -> str:
    """DOT of a slice of a disk: the guest's row on top, the active layer under it, the root last.

    A block is solid where its layer answers the guest, hatched where the layer holds it but an
    overlay hides it, and an empty outline where the layer holds nothing. An arrow leads from each
    of the guest's blocks to the layer that answers, through every layer that was asked in vain; a
    block that no layer holds has none. Of more than ``max_rows`` layers those that answer nothing
    here are folded. Every list but ``rows`` and ``detail`` has one item a block; with ``hops`` the
    colours tell how far down an answer lies, and the guest's blocks wear the average.
    """
    for row in view.rows:
        check_key(row.key)
    rows = fold_rows(view.rows, view.max_rows)
    width = _label_width(view, rows)
    parts = ["digraph reads {\n", _GRAPH, _guest(view, width)]
    parts.extend(_row(view, row, width) for row in rows)
    keys = [_GUEST, *(row.key for row in rows)]
    # One heavy edge a rank keeps all tables in one column, even where no read goes.
    parts.extend(
        f'"{upper}":name -> "{lower}":name [style="invis" weight="1000"]\n'
        for upper, lower in pairwise(keys)
    )
    for block, owner in enumerate(view.owner):
        parts.extend(_arrow(view, rows, block, owner))
    return "".join([*parts, "}\n"])


def _label_width(view: ReadsPicture, rows: Sequence[DrawnRow]) -> int:
    """One width in points for all the labels at the left."""
    names = (shorten(shown(view.rows[row.first].name), _NAME_LIMIT) for row in rows)
    widest = max((ems(name) for name in names), default=0) * _NAME_SIZE
    folded = any(len(row.layers) > 1 for row in rows)
    return max(_NARROWEST, int(widest), _NARROWEST_FOLDED if folded else 0) + 14


def _guest(view: ReadsPicture, width: int) -> str:
    blocks = len(view.starts)
    cells = []
    for i, (start, length, owner) in enumerate(
        zip(view.starts, view.lengths, view.owner, strict=True)
    ):
        if owner >= 0:
            name = view.rows[owner].name
            text = say(f"{binary(length)} at {position(start)}, answered by {shown(name)}")
        else:
            text = say(
                f"{binary(length)} at {position(start)}, held by no layer: it reads as zeroes"
            )
        full, colour = (1.0 if owner >= 0 else 0.0), owner
        if view.hops and owner >= 0:
            text += "; " + say(f"{view.hops[i]:.2f} hops on average")
            colour = heat_level(view.hops[i])
        name = cell_id("guest", i, colour, full, full, by=_by(view), here=i == view.marked)
        cells.append(_cell(i, name, armour(text), link(view.block_urls[i])))
    head = _name_cell(
        f'<FONT COLOR="{INK}"><B>{armour(say("guest"))}</B></FONT>',
        armour(say("What the guest reads")),
        "",
        width,
    )
    scale = _scale(view) if blocks else ""
    numbers = _numbers(blocks) if view.numbered else ""
    return _node(_GUEST, f"{scale}{numbers}<TR>{head}{''.join(cells)}</TR>", "dg-guest")


def _scale(view: ReadsPicture) -> str:
    """The line over the guest's blocks: where the slice begins and ends, and the blocks' length."""
    blocks = len(view.starts)
    first, last = view.starts[0], view.starts[-1] + view.lengths[-1]
    texts = [(say(f"at {position(first)}"), "LEFT")]
    if blocks >= _ROOM_FOR_END:
        # The space makes up for dot's narrow measure; without it the text sticks out at the right.
        texts.append((f"{say(position(last))}\N{NO-BREAK SPACE}", "RIGHT"))
    if blocks >= _ROOM_FOR_LENGTH:
        texts.insert(1, (say(f"{blocks} blocks of {binary(view.lengths[0])}"), "CENTER"))
    spans = [blocks // len(texts)] * len(texts)
    spans[len(texts) // 2] += blocks - sum(spans)
    cells = "".join(
        f'<TD COLSPAN="{span}" BORDER="0" ALIGN="{align}" FIXEDSIZE="TRUE" '
        f'WIDTH="{span * _CELL_WIDTH}" HEIGHT="13">'
        f'<FONT COLOR="{MUTED}" POINT-SIZE="11">{text}</FONT></TD>'
        for (text, align), span in zip(texts, spans, strict=True)
    )
    return f'<TR><TD BORDER="0"></TD>{cells}</TR>'


def _numbers(blocks: int) -> str:
    cells = "".join(
        f'<TD BORDER="0" FIXEDSIZE="TRUE" WIDTH="{_CELL_WIDTH}" HEIGHT="13">'
        f'<FONT COLOR="{MUTED}" POINT-SIZE="11">{number}</FONT></TD>'
        for number in range(blocks)
    )
    return f'<TR><TD BORDER="0"></TD>{cells}</TR>'


def _row(view: ReadsPicture, row: DrawnRow, width: int) -> str:
    if len(row.layers) > 1:
        return _folded_row(view, row, width)
    layer = view.rows[row.first]
    cells = "".join(_block(view, row.first, i) for i in range(len(view.starts)))
    text = f'<FONT COLOR="{INK}">{label(layer.name, _NAME_LIMIT)}</FONT>'
    head = _name_cell(text, whole(layer.path or layer.name), link(layer.url), width)
    return _node(row.key, f"<TR>{head}{cells}</TR>", f"dg-row {_classes(view, row.first)}")


def _by(view: ReadsPicture) -> str:
    return "w" if view.hops else "c"


def _classes(view: ReadsPicture, index: int) -> str:
    return heat_class(heat_level(index)) if view.hops else colour_class(index)


def _block(view: ReadsPicture, index: int, block: int) -> str:
    layer = view.rows[index]
    answered, held = layer.answered[block], layer.held[block]
    colour = heat_level(index) if view.hops else index
    here = block == view.marked and index == view.marked_row
    name = cell_id(layer.key, block, colour, answered, held, by=_by(view), here=here)
    detail = layer.detail[block] if block < len(layer.detail) else ""
    return _cell(block, name, whole(detail), "")


def _folded_row(view: ReadsPicture, row: DrawnRow, width: int) -> str:
    layers = count(len(row.layers), "layer")
    some = sum(1 for owner in view.owner if owner in row.layers)
    what = say(f"answer {some} blocks") if some else say("answer nothing here")
    words = armour(f"{layers} {what}")
    text = f'<FONT COLOR="{MUTED}" POINT-SIZE="11">… {words}</FONT>'
    head = _name_cell(text, words, "", width)
    cells = "".join(
        f'<TD PORT="b{i}" BORDER="0" FIXEDSIZE="TRUE" WIDTH="{_CELL_WIDTH}" HEIGHT="14">'
        f'<FONT COLOR="{FAINT}" POINT-SIZE="11">⋮</FONT></TD>'
        for i in range(len(view.starts))
    )
    return _node(row.key, f"<TR>{head}{cells}</TR>", "dg-rows-folded")


def _arrow(view: ReadsPicture, rows: Sequence[DrawnRow], block: int, owner: int) -> list[str]:
    """The hops of one read: a dot in every row asked in vain, a head at the one that answers."""
    if owner < 0:
        return []
    hops = []
    upper, tail = f'"{_GUEST}":b{block}:s', "none"
    for row in rows:
        answers = owner in row.layers
        values = {
            "class": f"dg-read {_classes(view, owner)}{' dg-read-here' if block == view.marked and owner == view.marked_row else ''}",
            "dir": "both",
            "arrowtail": tail,
            "arrowhead": "normal" if answers else "none",
            "headclip": "" if answers else "false",
        }
        lower = f'"{row.key}":b{block}'
        hops.append(f"{upper} -> {lower}:{'n' if answers else 'c'}{attributes(values)}\n")
        if answers:
            break
        upper, tail = f"{lower}:c", "dot"
    return hops


def _node(key: str, rows: str, classes: str) -> str:
    head = '<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="2" CELLPADDING="0">'
    values = {"id": key, "class": classes, "label": f"<{head}{rows}</TABLE>>"}
    return f'"{key}"{attributes(values)}\n'


def _name_cell(text: str, title: str, url: str, width: int) -> str:
    return (
        f'<TD PORT="name" BORDER="0" FIXEDSIZE="TRUE" WIDTH="{width}" '
        f'HEIGHT="{_CELL_HEIGHT}" ALIGN="LEFT" TITLE="{title or NONE}" HREF="{url or NONE}">'
        f"{text}</TD>"
    )


def _cell(block: int, name: str, title: str, url: str) -> str:
    # Graphviz drops the id and the title of a cell that has no link.
    return (
        f'<TD PORT="b{block}" ID="{name}" FIXEDSIZE="TRUE" WIDTH="{_CELL_WIDTH}" '
        f'HEIGHT="{_CELL_HEIGHT}" TITLE="{title or NONE}" HREF="{url or NONE}"></TD>'
    )
