"""A lens on one byte of a disk: how people name it, and which layer answers it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from chains.core.errors import StrataError
from chains.core.extents import Kind
from chains.core.readmap import ReadMap, entries
from chains.core.units import parse_size

SECTOR: Final = 512
_HEX: Final = re.compile(r"0x([0-9a-f]{1,16})")
_SECTOR: Final = re.compile(r"s([0-9]{1,18})")
_BYTES: Final = re.compile(r"([0-9]{1,19})b?")
_FILLERS: Final = str.maketrans("", "", ",_ \t\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")


class AddressError(StrataError):
    """What was asked for is no byte of this disk; the text says how one is written."""


@dataclass(frozen=True)
class Answer:
    """The extent that holds one byte of a disk, and who answers it. All in bytes.

    `depth` is what `qemu-img map` calls so: the layer that answers, 0 the active one, or the last
    that was asked where none holds anything (`present` is false then). `start` and `length` are
    those of the extent: one layer and one kind.
    """

    at: int
    start: int
    length: int
    depth: int
    present: bool
    data: bool

    @property
    def kind(self) -> str:
        """``data``, ``zero`` (a layer says that it reads zero), or ``nothing`` (no layer holds it)."""
        if not self.present:
            return "nothing"
        return "data" if self.data else "zero"


def parse_address(text: str) -> int:
    """Read the address of a byte: ``0x1f000``, ``1048576``, ``1.5G``, ``12 MiB``, ``s2048``.

    The last is a sector of 512 bytes. Commas, spaces and underscores between digits do not count.
    Raises AddressError.
    """
    plain = text.translate(_FILLERS).lower()
    if found := _HEX.fullmatch(plain):
        return int(found[1], 16)
    if found := _SECTOR.fullmatch(plain):
        return int(found[1]) * SECTOR
    if found := _BYTES.fullmatch(plain):
        return int(found[1])
    try:
        if not plain or plain.rstrip("ib")[-1:].isdigit():
            raise StrataError("a part of a byte")
        return parse_size(plain)
    except StrataError as error:
        raise AddressError(
            f"“{text[:40]}” is no address of a byte: write it like 0x1f000, 1048576, 1.5 GiB, or "
            "s2048 for a sector of 512 bytes."
        ) from error


def answer_at(read_map: ReadMap, address: int) -> Answer:
    """Say who answers the byte at `address`; raises AddressError when the disk has no such byte."""
    if not 0 <= address < read_map.size:
        last = f"the last one is {read_map.size - 1:,}" if read_map.size else "it has none"
        raise AddressError(f"The disk has no byte {address:,}: {last}.")
    run = int(np.searchsorted(read_map.starts, address, side="right")) - 1
    one = slice(run, run + 1)
    alone = replace(
        read_map, starts=read_map.starts[one], lengths=read_map.lengths[one],
        owners=read_map.owners[one], kinds=read_map.kinds[one],
    )  # fmt: skip
    # A run beyond the ends of several layers comes in pieces: each has another layer over it.
    found = next(piece for piece in entries(alone) if address < piece["start"] + piece["length"])
    return Answer(
        address, int(found["start"]), int(found["length"]), int(found["depth"]),
        bool(found["present"]), bool(found["data"]),
    )  # fmt: skip


@dataclass(frozen=True)
class Extent:
    """A run of a disk that one layer answers in one way; `owner` is None where none does. Bytes."""

    start: int
    length: int
    owner: int | None
    data: bool


def extents_in(read_map: ReadMap, start: int, end: int, most: int) -> list[Extent] | None:
    """The extents of [start, end), cut at its ends; None when there are more than `most`."""
    first = max(0, int(np.searchsorted(read_map.starts, start, side="right")) - 1)
    last = int(np.searchsorted(read_map.starts, end))
    if last - first > most:
        return None
    part = slice(first, last)
    columns = (read_map.starts, read_map.lengths, read_map.owners, read_map.kinds)
    found = []
    for at, length, owner, kind in zip(*(c[part].tolist() for c in columns), strict=True):
        low, high = max(at, start), min(at + length, end)
        if high > low:
            found.append(Extent(low, high - low, owner if owner >= 0 else None, kind == Kind.DATA))
    return found
