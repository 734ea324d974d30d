"""The rules over oVirt's metadata: what it says of a volume, against its header and its place.

Each rule is a small function that returns a finding or none; none of them reads storage. oVirt goes
by the metadata when it opens, merges and deletes; QEMU goes by the header: where the two differ, one
of them does the wrong thing. Source: vdsm, lib/vdsm/storage/{volume,image,fileVolume}.py.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from chains.core.findings import Code, Finding, Severity, critical, warning
from chains.core.forest import Forest
from chains.core.layer import Layer
from chains.core.names import brief
from chains.core.ovirt_metadata import BLANK_UUID, BLOCK, CLEARED, INVALID, UUID
from chains.core.units import binary

_FORMATS = {"RAW": "raw", "COW": "qcow2"}


class Noted(Protocol):
    """What these rules use of the notes of a volume (`storage.types.Notes` has it)."""

    @property
    def disk_key(self) -> str:
        """The uuid of the image that the volume lies in."""

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """What `VolumeMetadata.to_json` gave; None where there is nothing."""

    @property
    def passing(self) -> str:
        """Why the volume is about to come or to go; it is not judged then."""

    @property
    def allocated(self) -> int | None:
        """Bytes of its LV; None for files."""


class _Case(NamedTuple):
    """One volume before the rules; `overlays` are all that lie over it."""

    layer: Layer
    said: Mapping[str, Any]
    image: str
    overlays: tuple[str, ...]
    changes: bool  # an overlay is about to come or to go
    is_shared: bool  # the file is linked into other images
    is_lv: bool
    domain: str

    @property
    def path(self) -> str:
        return self.layer.path


def metadata_findings(
    forest: Forest,
    notes: Mapping[str, Noted],
    aliases: Mapping[str, str] | None = None,
    domain: str = "",
) -> list[Finding]:
    """Judge the metadata of every volume of an oVirt domain, file or block.

    `aliases` are those of the listing, `domain` is the domain's own uuid ("" when it is not known).
    Volumes without notes, and those about to come or to go, are not judged.
    """
    shared = frozenset((aliases or {}).values())
    found: list[Finding] = []
    leafs: dict[str, list[str]] = {}
    for path, layer in forest.layers.items():
        noted = notes.get(path)
        if noted is None or noted.passing:
            continue
        said = noted.metadata
        overlays = forest.overlays.get(path, ())
        if said is None:
            found.append(_missing(path))
            continue
        if said.get("status") == CLEARED:
            found.append(_cleared(path, bool(overlays)))
            continue
        if said.get("status") == INVALID:
            found.append(_invalid(path, said))
        changes = any(path in notes and notes[path].passing for path in overlays)
        case = _Case(
            layer, said, noted.disk_key, overlays, changes, path in shared,
            noted.allocated is not None, domain,
        )  # fmt: skip
        found += _judged(case)
        if said.get("voltype") == "LEAF" and said.get("legality") == "LEGAL" and not overlays:
            leafs.setdefault(noted.disk_key, []).append(path)
    return found + list(_several_leafs(forest, leafs))


def _judged(case: _Case) -> Iterator[Finding]:
    # Half of what the rules compare is not there in an empty stand-in.
    rules = (_fake, _place) if case.said.get("legality") == "FAKE" else _RULES
    for rule in rules:
        finding = rule(case)
        if finding is not None:
            yield finding


def _missing(path: str) -> Finding:
    if not UUID.fullmatch(path.rpartition("/")[2]):
        return warning(
            Code.METADATA_MISSING,
            path,
            "oVirt does not know this file: it has no record (.meta), and its name is no uuid. If"
            " somebody left it here, move it out of the storage domain.",
        )
    return critical(
        Code.METADATA_MISSING,
        path,
        "The volume has no metadata (.meta), so oVirt starts no guest from it, nor from what lies"
        " over it. Restore the record from a backup of the domain, or remove what a failed"
        " operation left.",
    )


def _invalid(path: str, said: Mapping[str, Any]) -> Finding:
    errors = said.get("errors") or ["it can not be read."]
    return critical(
        Code.METADATA_INVALID,
        path,
        f"oVirt can not use the volume's metadata: {brief(' '.join(map(str, errors)), 400)} No guest"
        " starts from it until the record is repaired, or restored from a backup of the domain.",
    )


def _cleared(path: str, is_needed: bool) -> Finding:
    if is_needed:
        return critical(
            Code.METADATA_CLEARED,
            path,
            "The metadata was cleared, as oVirt does when it deletes a volume, but other volumes"
            " still lie over this one. Their guests do not start: find out what deleted it, and"
            " restore the record before anything removes the data.",
        )
    return warning(
        Code.METADATA_CLEARED,
        path,
        "The metadata was cleared: oVirt deleted this volume, but its data stayed. Once you are"
        " sure that no disk needs it, remove it; until then it takes space.",
    )


def _illegal(case: _Case) -> Finding | None:
    if case.said.get("legality") != "ILLEGAL":
        return None
    return critical(
        Code.VOLUME_ILLEGAL,
        case.path,
        "oVirt marked the volume as ILLEGAL: a merge, a copy or a removal has not finished, or"
        " failed. A running guest goes on, but does not start again from it. Let oVirt finish or"
        " repeat the operation; do not mark it LEGAL before its content was checked.",
    )


def _fake(case: _Case) -> Finding | None:
    detail = (
        "The volume is FAKE: an empty stand-in for a template that was not copied to this export"
        " domain."
    )
    if not case.overlays:
        return _info(
            Code.VOLUME_FAKE, case.path, f"{detail} Nothing lies over it: it may be removed."
        )
    return critical(
        Code.VOLUME_FAKE,
        case.path,
        f"{detail} What lies over it reads wrong here: import those disks only where the template"
        " is, and merge them there.",
    )


def _parent(case: _Case) -> Finding | None:
    said = case.said.get("parent")
    if not said or not case.layer.is_known:
        return None
    # vdsm wrote ../<image>/<volume> up to 3.5, and the bare uuid since.
    name = (case.layer.backing_file or "").rpartition("/")[2]
    if name == ("" if said == BLANK_UUID else said):
        return None
    by_header = f"{brief(name)} is its backing file" if name else "it has no backing file"
    by_record = "it has no parent" if said == BLANK_UUID else f"its parent is {brief(str(said))}"
    return critical(
        Code.METADATA_PARENT,
        case.path,
        f"By its header {by_header}; by its metadata {by_record}. A guest reads what the header"
        " says, oVirt merges and deletes by the metadata, and may delete what is still read. A"
        " merge was broken off: find out which is right, then correct PUUID, or the header with"
        " qemu-img rebase -u.",
    )


def _format(case: _Case) -> Finding | None:
    said = str(case.said.get("format"))
    expected = _FORMATS.get(said)
    if expected is None or expected == case.layer.format or not case.layer.fingerprint.inode:
        return None
    return critical(
        Code.METADATA_FORMAT,
        case.path,
        f"By its metadata the volume is {said} ({expected}), but it is {case.layer.format}. A guest"
        " that is started from it reads nonsense, or does not start: find out which is right"
        " before anything is written to it.",
    )


def _capacity(case: _Case) -> Finding | None:
    said, size = case.said.get("capacity"), case.layer.virtual_size
    if not isinstance(said, int) or abs(said - size) < BLOCK or not case.layer.is_known:
        return None
    if said < size:
        if case.is_lv and case.layer.format == "raw":
            return None  # a raw LV is as long as whole extents are
        return warning(
            Code.METADATA_CAPACITY,
            case.path,
            f"By its metadata the volume holds {binary(said)} ({said} bytes), but a guest sees"
            f" {binary(size)} ({size} bytes). Snapshots of it would be made too small, and lose the"
            " end of the disk. Take none before this is corrected: oVirt does so when it next"
            " starts the guest, or copies the disk.",
        )
    return _info(
        Code.METADATA_CAPACITY,
        case.path,
        f"By its metadata the volume holds {binary(said)} ({said} bytes), but a guest sees only"
        f" {binary(size)} ({size} bytes): an extension of the disk was broken off. Extend it again"
        " in oVirt.",
    )


def _voltype(case: _Case) -> Finding | None:
    said = case.said.get("voltype")
    # What is ILLEGAL is about to go, and its VOLTYPE is left as it was.
    if case.changes or case.said.get("legality") == "ILLEGAL":
        return None
    if said == "LEAF" and case.overlays:
        detail = (
            f"oVirt takes this for a disk's active layer (LEAF), but {len(case.overlays)} volume(s)"
            " lie over it. A guest that is started from it would damage those: a snapshot or a"
            " merge was broken off. Let oVirt finish it before the guest is started."
        )
    elif said == "INTERNAL" and not case.overlays:
        detail = (
            "oVirt takes this for a snapshot (INTERNAL), but no volume lies over it: the active"
            " layer was lost, or a merge was broken off. Compare it with the disk's snapshots in"
            " oVirt before anything is deleted."
        )
    elif said in {"LEAF", "INTERNAL"} and case.is_shared:
        detail = (
            f"The file is linked into several images, as only templates are, but its VOLTYPE is"
            f" {said}. Whoever writes to it changes all of those disks: find out which of them owns"
            " it before a guest is started."
        )
    else:
        return None
    return warning(Code.METADATA_VOLTYPE, case.path, detail)


def _place(case: _Case) -> Finding | None:
    image, domain = str(case.said.get("image") or ""), str(case.said.get("domain") or "")
    if case.domain and domain and domain != case.domain:
        return warning(
            Code.METADATA_PLACE,
            case.path,
            f"The metadata says that the volume belongs to the domain {brief(domain)}, not to this"
            " one: it was copied here by other means than oVirt's. oVirt may refuse it, or mistake"
            " it for the other: correct DOMAIN, or remove the copy.",
        )
    if not image or not case.image or image == case.image:
        return None
    if case.said.get("voltype") == "SHARED":
        return _info(
            Code.METADATA_PLACE,
            case.path,
            f"This is a template of the image {brief(image)}, but no link to it: a copy that takes"
            " its space again. Nothing reads wrong; oVirt's templateRelink makes it a link.",
        )
    return warning(
        Code.METADATA_PLACE,
        case.path,
        f"The metadata says that the volume belongs to the image {brief(image)}, not to"
        f" {brief(case.image)}, where it lies: it was moved or copied by hand. oVirt does not find"
        " it: move it back, or correct IMAGE.",
    )


def _several_leafs(forest: Forest, leafs: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Name the images with more than one active layer: a fork is a preview, two chains are wrong."""
    for image, paths in leafs.items():
        if len(paths) < 2:
            continue
        roots = {_root_of(forest, path) for path in paths}
        for path in paths:
            if len(roots) == 1:
                yield _info(
                    Code.SEVERAL_LEAFS,
                    path,
                    f"The disk has {len(paths)} active layers over one snapshot: that is being"
                    " previewed. End the preview in oVirt, by keeping or undoing it, before the"
                    " disk is merged.",
                )
            else:
                yield warning(
                    Code.SEVERAL_LEAFS,
                    path,
                    f"The image {brief(image)} has {len(paths)} active layers of {len(roots)}"
                    " separate chains, but it is one disk. oVirt can not tell which one is meant:"
                    " find out which it uses, and have the others removed.",
                )


def _root_of(forest: Forest, path: str) -> str:
    """Return the root layer below a volume, or the last that can be reached."""
    seen: set[str] = set()
    while path not in seen and path in forest.layers:
        seen.add(path)
        below = forest.layers[path].backing_path
        if below is None or below not in forest.layers:
            break
        path = below
    return path


def _info(code: Code, path: str, detail: str) -> Finding:
    return Finding(code, Severity.INFO, path, detail)


_RULES: Collection[Callable[[_Case], Finding | None]] = (
    _illegal, _parent, _format, _capacity, _voltype, _place,
)  # fmt: skip
