"""The picture of a part of a disk's reads, and the same facts as a table."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from django.urls import reverse
from django.utils.translation import gettext as _

from chains.core.lens import Answer, extents_in
from chains.core.names import display
from chains.core.reads import ReadMap, Slice
from chains.diagrams.types import ReadsPicture, ReadsRow
from chains.models import Disk, Volume
from chains.web.reads_view import Wish
from chains.words.numbers import binary, exact, position

# What the table of the extents may have.
MOST_EXTENTS = 200


@dataclass(frozen=True)
class Extent:
    """A row of the table: [start, start + length) of the disk; `volume` is None where nobody answers.

    `answered` are the bytes of it that this layer answers: all, but where blocks are summed up. `data`
    is None there.
    """

    start: int
    length: int
    volume: Volume | None
    hops: int | None
    answered: int
    data: bool | None


@dataclass(frozen=True)
class Table:
    """The extents of a part of a disk; `exact` is false where they are summed up by block, and `more` are
    the rows that there is no room for.
    """

    rows: list[Extent]
    exact: bool
    more: int = 0


def picture(
    disk: Disk, volumes: list[Volume], view: Slice, wish: Wish, byte: Answer | None
) -> ReadsPicture:
    """The picture of a slice; `byte` is what is marked. Links lead to the disk's page."""
    columns = len(view.edges) - 1
    starts = [int(edge) for edge in view.edges[:-1]]
    lengths = [int(view.edges[n + 1] - view.edges[n]) for n in range(columns)]
    words = _words(starts, lengths)
    rows = []
    for index, volume in enumerate(volumes):
        answered = view.answered[index]
        name = display(os.path.basename(volume.path))
        held = answered + view.shadowed[index]
        rows.append(ReadsRow(
            key=f"r{index}", name=os.path.basename(volume.path), path=volume.path,
            url=reverse("volume", args=[volume.pk]),
            held=[int(held[n]) / lengths[n] for n in range(columns)],
            answered=[int(answered[n]) / lengths[n] for n in range(columns)],
            detail=[_detail(words[n], name, int(held[n]), int(answered[n])) for n in range(columns)],
        ))  # fmt: skip
    owner = [
        int(view.answered[:, n].argmax()) if view.answered[:, n].any() else -1
        for n in range(columns)
    ]
    urls = [
        _block_address(disk, wish, start, length)
        for start, length in zip(starts, lengths, strict=True)
    ]
    return ReadsPicture(
        starts, lengths, rows, owner, urls, hops=_hops(view) if wish.by_hops else (),
        marked=-1 if byte is None else _column(starts, lengths, byte.at),
        marked_row=byte.depth if byte is not None and byte.present else -1,
    )  # fmt: skip


def _block_address(disk: Disk, wish: Wish, start: int, length: int) -> str:
    """Into a block; of a single cluster, who answers it."""
    if length > wish.cluster:
        return wish.part(start, start + length).address(disk)
    return replace(wish, at=hex(start)).address(disk)


def _hops(view: Slice) -> list[float]:
    """Of each column, how far down its bytes are answered on average; 0 where nobody answers."""
    totals = view.answered.sum(axis=0)
    depths = range(len(view.answered))
    sums = sum(depth * view.answered[depth].astype(float) for depth in depths)
    return [float(sums[n] / totals[n]) if totals[n] else 0.0 for n in range(len(totals))]


def _column(starts: list[int], lengths: list[int], at: int) -> int:
    pairs = enumerate(zip(starts, lengths, strict=True))
    return next((n for n, (start, length) in pairs if start <= at < start + length), -1)


def table(read_map: ReadMap, volumes: list[Volume], view: Slice, wish: Wish) -> Table:
    """The extents of what the picture shows; by block and layer where they are too many."""
    found = extents_in(read_map, wish.start, wish.end, MOST_EXTENTS)
    if found is not None:
        return Table(
            [
                Extent(
                    extent.start, extent.length,
                    None if extent.owner is None else volumes[extent.owner], extent.owner,
                    extent.length, extent.data,
                )
                for extent in found
            ],
            exact=True,
        )  # fmt: skip
    rows: list[Extent] = []
    for n in range(len(view.edges) - 1):
        start, length = int(view.edges[n]), int(view.edges[n + 1] - view.edges[n])
        rows.extend(
            Extent(start, length, volumes[index], index, int(view.answered[index, n]), None)
            for index in view.answered[:, n].nonzero()[0].tolist()
        )
        if view.unanswered[n]:
            rows.append(Extent(start, length, None, None, int(view.unanswered[n]), None))
    return Table(rows[:MOST_EXTENTS], exact=False, more=max(0, len(rows) - MOST_EXTENTS))


def _words(starts: list[int], lengths: list[int]) -> list[str]:
    """For each block what is said of a layer in it: the block's part is the same for all layers."""
    said = _(
        "%(layer)s: holds %(held)s (%(held_bytes)s) of the %(length)s at %(start)s, answers %(answered)s (%(answered_bytes)s)"
    )
    names = ("layer", "held", "held_bytes", "answered", "answered_bytes")
    later = {name: f"%({name})s" for name in names}
    return [
        said % (later | {"length": binary(length), "start": position(start)})
        for start, length in zip(starts, lengths, strict=True)
    ]


def _detail(words: str, layer: str, held: int, answered: int) -> str:
    if not held:
        return ""
    return words % {
        "layer": layer, "held": binary(held), "held_bytes": exact(held),
        "answered": binary(answered), "answered_bytes": exact(answered),
    }  # fmt: skip
