"""What oVirt's engine knows of a storage domain, held against what lies on the storage. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from chains.core.findings import Code, Finding, critical, warning
from chains.core.names import brief

OK, LOCKED, ILLEGAL = "ok", "locked", "illegal"


class VolumeKey(NamedTuple):
    """The two uuids of a volume: of the image (the disk) that it belongs to, and its own."""

    image: str
    volume: str


class EngineVolume(NamedTuple):
    """One volume of a disk; of a frozen one `description` and `date` are its snapshot's.

    `date` is in seconds since 1970, None where the engine has none. `status` is "ok", "locked",
    "illegal" or "" (not told). Texts are as people typed them: hostile.
    """

    volume: str
    description: str = ""
    date: float | None = None
    status: str = ""
    is_active: bool = False


class EngineDisk(NamedTuple):
    """A disk: its name, the VMs that it is attached to, its status, and its volumes by uuid."""

    image: str
    alias: str
    vms: tuple[str, ...]
    status: str
    volumes: Mapping[str, EngineVolume]


@dataclass(frozen=True)
class EngineFacts:
    """What the engine knows of one storage domain, its disks by their images' uuids.

    `unsettled` are images that changed while they were looked at.
    """

    domain: str
    disks: Mapping[str, EngineDisk] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()


def settled(before: EngineFacts, after: EngineFacts) -> EngineFacts:
    """The later facts, with every disk marked that was another one before.

    Storage is listed between the two: what the engine said twice was true all the time.
    """
    either = before.disks.keys() | after.disks.keys()
    changed = {image for image in either if before.disks.get(image) != after.disks.get(image)}
    return replace(after, unsettled=frozenset(changed))


def engine_findings(
    facts: EngineFacts, volumes: Mapping[str, VolumeKey], passing: Collection[str] = ()
) -> list[Finding]:
    """Where the engine and the storage do not agree, and what the engine says against its volumes.

    `volumes` are those on the storage by path; of a path in `passing` (it is about to come or to go)
    nothing is said, nor of disks that are not settled: those that changed while they were looked at,
    and any that the caller adds because their folder could not be read.
    """
    known = {volume for disk in facts.disks.values() for volume in disk.volumes}
    found: list[Finding] = []
    paths: dict[str, list[str]] = {}
    seen: dict[str, set[str]] = {}
    for path, key in sorted(volumes.items()):
        seen.setdefault(key.image, set()).add(key.volume)
        if key.image in facts.unsettled or path in passing:
            continue
        paths.setdefault(key.image, []).append(path)
        disk = facts.disks.get(key.image)
        if disk is None:
            # (A volume of a template lies beside every disk that was made from it.)
            if key.volume not in known:
                found.append(_unknown(path, None))
        elif disk.status != LOCKED:
            found += _of_volume(path, disk, key.volume, known)
    for image in sorted(facts.disks.keys() - facts.unsettled):
        disk = facts.disks[image]
        if disk.status == LOCKED:
            found += [_locked(path, disk) for path in paths.get(image, ())]
            continue
        found += _missing(disk, seen.get(image, set()), paths.get(image, []))
    return found


def _of_volume(path: str, disk: EngineDisk, uuid: str, known: Collection[str]) -> Iterator[Finding]:
    volume = disk.volumes.get(uuid)
    if volume is None:
        if uuid not in known:
            yield _unknown(path, disk)
    elif ILLEGAL in {volume.status, disk.status if volume.is_active else ""}:
        yield critical(
            Code.ENGINE_ILLEGAL,
            path,
            f"The engine holds this volume of {_named(disk)} to be illegal: a merge of it has failed or"
            " was broken off there. Let the engine delete that snapshot again, before anything else.",
        )
    elif volume.status == LOCKED:
        yield _locked(path, disk)


def _unknown(path: str, disk: EngineDisk | None) -> Finding:
    whose = "this volume, nor a disk that it could belong to" if disk is None else "this volume"
    of = "" if disk is None else f" It lies among those of {_named(disk)}."
    return warning(
        Code.ENGINE_UNKNOWN,
        path,
        f"The engine does not know {whose}: it may be left over from a removal that failed, or from"
        f" before the engine was restored.{of} Nothing is won by removing it before that is clear.",
    )


def _locked(path: str, disk: EngineDisk) -> Finding:
    return critical(
        Code.ENGINE_LOCKED,
        path,
        f"The engine holds {_named(disk)} locked: it is working on it, or was broken off. Wait for its"
        " task to end before anything is changed.",
    )


def _missing(disk: EngineDisk, seen: Collection[str], paths: list[str]) -> Iterator[Finding]:
    """Of each volume that is not there; on the disk's other volumes, so that its chain is not touched."""
    for uuid in sorted(disk.volumes.keys() - set(seen)):
        volume = disk.volumes[uuid]
        what = "the active volume" if volume.is_active else f"the snapshot {_quoted(volume)}"
        detail = (
            f"Of {_named(disk)} the engine knows {what} as volume {brief(uuid)}, which is not on the"
            " storage. The VM can not be read as the engine believes: do not start it, and look for"
            " the volume before anything else is changed."
        )
        for path in paths or [""]:
            yield critical(Code.ENGINE_MISSING, path, detail)


def _quoted(volume: EngineVolume) -> str:
    return f"“{brief(volume.description)}”" if volume.description else "without a name"


def _named(disk: EngineDisk) -> str:
    vms = f" of {brief(', '.join(disk.vms))}" if disk.vms else ""
    return f"the disk “{brief(disk.alias or disk.image)}”{vms}"
