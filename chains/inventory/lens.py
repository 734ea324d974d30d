"""Which file answers one byte of a disk, by its stored block map: one rule for pages and API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chains.core.lens import Answer, answer_at, parse_address
from chains.core.names import portable
from chains.core.readmap import ReadMap
from chains.inventory import blockmaps
from chains.inventory.recent import disk_view
from chains.inventory.selectors import chain_of
from chains.models import BlockMap, Disk, Volume


@dataclass(frozen=True)
class Found:
    """The answer for one byte, with the layer: that which answers, or the last that was asked."""

    answer: Answer
    volume: Volume


@dataclass(frozen=True)
class Told:
    """What there is to say of a byte: `found`, or why nothing (`error`); of which moment, and whether
    the layers are still as they were then.
    """

    found: Found | None = None
    error: str = ""
    read_at: datetime | None = None
    fresh: bool = False
    live: bool = False


def look(resolved: ReadMap, volumes: list[Volume], text: str) -> Found:
    """Who answers the byte that `text` names; `volumes` gave `resolved`. Raises AddressError."""
    answer = answer_at(resolved, parse_address(text))
    return Found(answer, volumes[answer.depth])


def told(disk: Disk, text: str) -> Told:
    """Who answers the byte that `text` names, by what is stored; raises AddressError."""
    parse_address(text)  # what makes no sense makes none before the map is read, either
    volumes = chain_of(disk.active)
    row = BlockMap.objects.filter(disk=disk).defer("data").first()
    if row is None:
        return Told()
    fresh = row.fingerprint == blockmaps.stored_fingerprint(volumes)
    if row.error:
        return Told(error=row.error, read_at=row.read_at, fresh=fresh)
    view = disk_view(row, volumes)
    if view is None or view.resolved.depth_count != len(volumes):
        return Told(read_at=row.read_at)
    return Told(look(view.resolved, volumes, text), "", row.read_at, fresh, row.live)


def as_json(told: Told) -> dict[str, Any]:
    """An answer for scripts; docs/wire-formats.md describes it. Only of one that was found."""
    assert told.found is not None
    answer, volume = told.found.answer, told.found.volume
    return {
        "at": answer.at, "start": answer.start, "length": answer.length, "kind": answer.kind,
        "depth": answer.depth, "present": answer.present, "zero": not answer.data,
        "data": answer.data, "hops": answer.depth if answer.present else None,
        "volume": volume.pk if answer.present else None,
        "path": portable(volume.path) if answer.present else None,
        "fresh": told.fresh, "live": told.live, "read_at": told.read_at,
    }  # fmt: skip
