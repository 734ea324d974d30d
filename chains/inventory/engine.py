"""The fourth witness: what oVirt's engine knows of a domain's disks, when its address is set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from chains.core.engine_rules import (
    EngineDisk,
    EngineFacts,
    EngineVolume,
    VolumeKey,
    engine_findings,
    settled,
)
from chains.core.errors import StrataError
from chains.core.findings import Code, Finding, warning
from chains.core.names import brief
from chains.core.notes import Notes
from chains.inventory.reading import CancelledByUserError, Reading
from chains.models import DomainKind, StorageDomain
from chains.storage.engine import Engine

OVIRT = frozenset({DomainKind.OVIRT_FILE, DomainKind.OVIRT_BLOCK})


@dataclass(frozen=True)
class Answer:
    """What the engine said, or why it said nothing; both None: nobody was asked."""

    facts: EngineFacts | None = None
    error: str | None = None


def ask(domain: StorageDomain, alive: Callable[[], None]) -> Answer:
    """Ask the engine of the settings about a domain of oVirt; never raises but to be cancelled."""
    if not settings.ENGINE_URL or domain.kind not in OVIRT:
        return Answer()
    uuid = str(domain.facts.get("uuid") or domain.path.rstrip("/").rpartition("/")[2])
    try:
        engine = Engine(
            settings.ENGINE_URL, settings.ENGINE_USER, settings.ENGINE_PASSWORD,
            settings.ENGINE_CA_FILE, settings.ENGINE_INSECURE,
        )  # fmt: skip
        return Answer(engine.facts(uuid, alive))
    except CancelledByUserError:
        raise
    except StrataError as error:
        return Answer(error=str(error))


def witness(reading: Reading, before: Answer, after: Answer) -> Reading:
    """The reading with what the engine said beside it; storage was listed between the two answers."""
    if before.facts is None or after.facts is None:
        error = before.error or after.error
        if error is None:
            return reading
        return replace(reading, notes=_kept(reading), findings=[*reading.findings, _unread(error)])
    facts = settled(before.facts, after.facts)
    facts = replace(facts, unsettled=facts.unsettled | _hidden(reading))
    keys = {path: _key(path, note) for path, note in reading.notes.items()}
    passing = [path for path, note in reading.notes.items() if note.passing]
    notes = {path: _told(note, keys[path], facts.disks) for path, note in reading.notes.items()}
    found = engine_findings(facts, keys, passing)
    return replace(reading, notes=notes, findings=[*reading.findings, *found])


def _key(path: str, note: Notes) -> VolumeKey:
    return VolumeKey(note.disk_key, path.rpartition("/")[2])


def _hidden(reading: Reading) -> frozenset[str]:
    """The images whose directories could not be read: nothing is missing there, nobody has looked."""
    return frozenset(folder.rpartition("/")[2] for folder in reading.unread)


def _told(note: Notes, key: VolumeKey, disks: Mapping[str, EngineDisk]) -> Notes:
    disk = disks.get(key.image)
    if disk is None:
        return note
    volume = disk.volumes.get(key.volume)
    said: dict[str, Any] = {"alias": disk.alias, "status": disk.status, "vm": ", ".join(disk.vms)}
    if volume is not None:
        said |= _of_volume(volume)
    return note._replace(
        engine=said, vm=", ".join(disk.vms) or note.vm, disk_name=disk.alias or note.disk_name
    )


def _of_volume(volume: EngineVolume) -> dict[str, Any]:
    said: dict[str, Any] = {"description": volume.description, "is_active": volume.is_active}
    if volume.status:
        said["status"] = volume.status
    if volume.date is not None:
        said["date"] = datetime.fromtimestamp(volume.date, UTC).isoformat()
    return said


def _kept(reading: Reading) -> Mapping[str, Notes]:
    """Names do not change because a service is down: those of the last scan stay."""
    return {
        path: note._replace(engine=old.engine, vm=note.vm or old.vm)
        if (old := reading.notes_before.get(path)) is not None and note.engine is None
        else note
        for path, note in reading.notes.items()
    }


def _unread(error: str) -> Finding:
    return warning(
        Code.ENGINE_UNREAD, "",
        f"The engine could not be asked, so its names and states are those of an earlier scan, or none:"
        f" {brief(error, 400)}",
    )  # fmt: skip
