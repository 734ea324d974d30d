"""The health rules of block domains: from what a volume group and its tags say to findings.

Facts: vdsm, lib/vdsm/storage/blockVolume.py and blockSD.py (the tags, and which copy of the parent is
trusted), lib/vdsm/storage/lvm.py. Each rule is a small function; none of them reads storage.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from chains.core.findings import Code, Finding, critical, warning
from chains.core.forest import Forest
from chains.core.layer import Layer
from chains.core.names import brief

BLANK = "00000000-0000-0000-0000-000000000000"
MIB = 1024**2
# vdsm's own thresholds: half of the 128 MiB that it asks for, and a fifth of what there is.
LEAST_MDA, LEAST_MDA_FREE = 64 * MIB, 0.2
_TAGS = {"image": "IU_", "parent": "PU_", "slot": "MD_"}


class Noted(Protocol):
    """What a domain knows of one volume beside its header."""

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """Its metadata: the keys, and `status`."""

    @property
    def tags(self) -> Mapping[str, Any] | None:
        """What its tags say: `image`, `parent` and `slot`, None for each that is not there."""

    @property
    def passing(self) -> str:
        """Why it is about to come or to go."""


def tag_findings(forest: Forest, notes: Mapping[str, Noted]) -> list[Finding]:
    """Judge the tags of a domain's volumes against their metadata and headers, and one another.

    Volumes about to come or to go are passed over, except that their slots are taken.
    """
    found: list[Finding] = []
    for path in sorted(notes):
        note = notes[path]
        if note.tags is None or note.passing:
            continue
        found += _missing_tags(path, note.tags)
        layer = forest.layers.get(path)
        found += _against_metadata(path, note)
        if layer is not None:
            found += _against_header(layer, note)
        found += _orphan(path, note, notes)
    return [*found, *_shared_slots(notes)]


def end_findings(path: str, size: int, end: int) -> list[Finding]:
    """Judge whether a volume of `size` bytes holds its image, which ends at `end` or behind it."""
    if end <= size:
        return []
    return [
        critical(
            Code.LV_TOO_SHORT,
            path,
            f"The volume has {size} bytes, but its image reaches to {end} at least. What lies beyond"
            " reads as wrong data, without an error. Stop its VM, extend the volume to what it was"
            " (lvextend), and check it with qemu-img check; or restore it.",
        )
    ]


def group_findings(
    tags: Sequence[str],
    missing: Sequence[str],
    problems: Sequence[str],
    mda_size: int,
    mda_free: int,
) -> Iterator[Finding]:
    """Judge a volume group as a whole; `missing` are uuids of devices, sizes are bytes.

    `problems` say of each device that could not be read why.
    """
    if missing:
        names = ", ".join(brief(uuid) for uuid in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        why = f" ({'; '.join(problems[:3])})" if problems else ""
        yield critical(
            Code.VG_PARTIAL,
            "",
            f"The volume group is partial: of its physical volumes {names}{more} can not be found"
            f"{why}. Disks that lie there can not be read. Connect the LUN again; do not remove it from"
            " the group.",
        )
    if "RHAT_storage_domain_UNREADY" in tags:
        yield warning(
            Code.VG_UNREADY,
            "",
            "The domain is marked as not ready: its creation was not finished, and oVirt does not"
            " use it. Finish or remove it there.",
        )
    if mda_size and mda_size < LEAST_MDA:
        yield warning(
            Code.VG_METADATA_SMALL,
            "",
            f"The group's metadata area has {mda_size} bytes, less than the {LEAST_MDA} that a"
            " domain needs: it will not hold many disks and snapshots. Move them to a domain that"
            " oVirt made itself.",
        )
    if mda_size and mda_free < mda_size * LEAST_MDA_FREE:
        yield warning(
            Code.VG_METADATA_FULL,
            "",
            f"The group's metadata area is nearly full: {mda_free} of {mda_size} bytes are free."
            " When it is full, no snapshot can be made or removed. Merge or remove snapshots, or"
            " move disks to another domain.",
        )


def misplaced_finding() -> Finding:
    """Say that the domain's metadata volume is not where oVirt looks for it."""
    return warning(
        Code.VG_METADATA_MISPLACED,
        "",
        "The volume “metadata” does not begin at the first extent of the group's first device, where"
        " oVirt puts it and looks for it after a disaster. It was moved, or the group was not made by"
        " oVirt. Do not take its device out of the domain.",
    )


def parent_of(note: Noted) -> str | None:
    """The parent that oVirt trusts: of the metadata, else of the tag. "" is none, None unknown."""
    found = _metadata_parent(note)
    if found is None and note.tags is not None:
        found = note.tags.get("parent")
    return "" if found == BLANK else found


def _metadata_parent(note: Noted) -> str | None:
    metadata = note.metadata or {}
    found = metadata.get("parent") if metadata.get("status") == "ok" else None
    return found if isinstance(found, str) else None


def _missing_tags(path: str, tags: Mapping[str, Any]) -> list[Finding]:
    missing = [prefix for key, prefix in _TAGS.items() if tags.get(key) is None]
    if not missing:
        return []
    return [
        warning(
            Code.LV_TAGS_MISSING,
            path,
            f"The volume lacks tags that each volume has ({', '.join(missing)}), so oVirt passes it"
            " over: its creation was broken off, or somebody took them away. Find out which disk it"
            " belongs to before it is removed.",
        )
    ]


def _against_metadata(path: str, note: Noted) -> list[Finding]:
    trusted, tag = _metadata_parent(note), (note.tags or {}).get("parent")
    if trusted is None or tag is None or trusted == tag:
        return []
    return [
        warning(
            Code.TAG_METADATA_DIFFER,
            path,
            f"The volume's tag names {_parent(tag)} as its parent, its metadata {_parent(trusted)}."
            " oVirt trusts the metadata. After a merge this is so until the volume that was merged"
            " is deleted; if no merge is under way, finish it in oVirt by removing the snapshot"
            " again.",
        )
    ]


def _against_header(layer: Layer, note: Noted) -> list[Finding]:
    """(Where metadata and header agree against the tag, the rule above has said so.)"""
    tag = (note.tags or {}).get("parent")
    if tag is None or not (layer.is_readable and layer.is_known):
        return []
    named = (layer.backing_file or "").rpartition("/")[2] or BLANK
    if named in (tag, _metadata_parent(note)):
        return []
    return [
        critical(
            Code.TAG_HEADER_DIFFER,
            layer.path,
            f"oVirt's tag names {_parent(tag)} as the parent, the header of the image"
            f" {_parent(named)}. QEMU reads what the header says. Do not merge or remove anything of"
            " this disk before it is clear which of them is right.",
        )
    ]


def _orphan(path: str, note: Noted, notes: Mapping[str, Noted]) -> list[Finding]:
    parent = parent_of(note)
    if not parent or parent in notes:
        return []
    return [
        critical(
            Code.PARENT_MISSING,
            path,
            f"The volume's parent, “{brief(parent)}”, is not in the domain: the image is broken, and"
            " its disk can not be read whole. Restore the parent from a backup, or the disk.",
        )
    ]


def _shared_slots(notes: Mapping[str, Noted]) -> Iterator[Finding]:
    slots: dict[int, list[str]] = {}
    for path, note in notes.items():
        slot = (note.tags or {}).get("slot")
        if isinstance(slot, int):
            slots.setdefault(slot, []).append(path)
    for slot, paths in sorted(slots.items()):
        for path in sorted(paths) if len(paths) > 1 else ():
            other = next(name for name in sorted(paths) if name != path)
            yield critical(
                Code.LV_SLOT_SHARED,
                path,
                f"The volume and “{brief(other)}” both claim metadata slot {slot}: each overwrites"
                " what the other says of itself, and removing one destroys the metadata of both."
                " Do neither; compare the record with both, and give one a free slot (lvchange"
                " --addtag, --deltag).",
            )


def _parent(name: str) -> str:
    return "none" if name in (BLANK, "") else f"“{brief(name)}”"
