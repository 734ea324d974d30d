"""oVirt's block storage domains (iSCSI, FC): one volume group of LVM, a logical volume for each volume.

Facts: vdsm, lib/vdsm/storage/blockSD.py and blockVolume.py. A domain is listed from its metadata, tags
and slots, and read through the extents of its volumes: nothing is ever activated, locked or written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chains.core.chain import follow
from chains.core.errors import ReadError, StrataError
from chains.core.extents import ExtentMap
from chains.core.findings import Code, Finding, critical
from chains.core.forest import Forest
from chains.core.layer import Fingerprint, Layer
from chains.core.links import MAX_DEPTH, Chain
from chains.core.lv_rules import group_findings, misplaced_finding, tag_findings
from chains.core.lvm_group import LINEAR, LogicalVolume
from chains.core.mapping import Report, read_chain_maps
from chains.core.names import brief, display
from chains.core.ovirt_metadata import domain_metadata, parse_volume
from chains.core.ovirt_rules import metadata_findings
from chains.core.source import ExtentsSource
from chains.storage import ovirt_tags as tags_of
from chains.storage.lvm import Devices, Found, opened, read_group
from chains.storage.ovirt_volume import SPECIAL, VolumeReader, format_of, unreadable
from chains.storage.types import Listing, Maps, Notes, Space

TRIES = 3
METADATA = "metadata"
NEWEST_VERSION = 5
Alive = Callable[[], None]


@dataclass(frozen=True)
class BlockListing(Listing):
    """A listing, with the group that it was made from."""

    found: Found | None = field(default=None, compare=False)


class OvirtBlock:
    """The driver. `root` is a directory whose files (or links to devices) are the physical volumes of
    one group, or `/dev/NAME` of a group that LVM's tools of this host see.
    """

    kind = "ovirt-block"

    def list(self, root: str, before: Mapping[str, Notes], alive: Alive) -> BlockListing:
        """Its volumes, by the names of their LVs. A group that changes meanwhile is listed again.

        Raises OSError, StrataError when the domain can not be read.
        """
        del before  # what is noted of all volumes costs a few reads
        for _ in range(TRIES):
            found = read_group(root)
            listing = _listing(found, alive)
            if read_group(root).group.seqno == found.group.seqno:
                return listing
            alive()
        raise StrataError(
            f"The volume group of {display(root)} changed {TRIES} times while it was read: oVirt is"
            " at work on it. Scan it again when its tasks have ended."
        )

    def is_current(self, root: str, listing: Listing) -> bool:
        """Whether the group is as it was listed: ask at the end of a scan, once all is read.

        Raises OSError, StrataError.
        """
        return read_group(root).group.seqno == listing.facts.get("seqno")

    def reader(self, root: str, listing: Listing) -> "BlockReader":
        """A reader of that listing; raises OSError, StrataError when the group must be found anew."""
        found = listing.found if isinstance(listing, BlockListing) else None
        return BlockReader(found or read_group(root), listing.notes)

    def space(self, root: str) -> Space:
        """Of the volume group; raises OSError, StrataError."""
        group = read_group(root).group
        return Space(group.size, group.free)

    def chain(self, root: str, path: str, max_depth: int = MAX_DEPTH) -> Chain:
        """Read the headers from a volume down to its root layer, as they are now.

        Raises OSError, StrataError when the domain can not be read.
        """
        reader = self.reader(root, self.list(root, {}, lambda: None))
        try:
            return follow(root, reader.read(path, None), reader.read, max_depth)
        finally:
            reader.close()

    def judge(self, forest: Forest, listing: Listing) -> Sequence[Finding]:
        """What tags and metadata have against the headers, and one another."""
        uuid = str(listing.facts.get("uuid", ""))
        found = metadata_findings(forest, listing.notes, listing.aliases, uuid)
        return [*found, *tag_findings(forest, listing.notes)]

    def maps(
        self, root: str, chain: Chain, known: Mapping[str, ExtentMap] | None = None,
        report: Report | None = None, *, written: str | None = None,
    ) -> Maps:  # fmt: skip
        """Read what each layer of a safe chain holds, as `read_chain_maps` does for files.

        Which host runs a guest on a volume can not be seen from here: name the layer that one may
        write as `written`. Raises OSError, StrataError as well when the domain can not be read.
        """
        reader = self.reader(root, self.list(root, {}, lambda: None))
        try:
            return read_chain_maps(chain, known, report, written=written, opener=reader.opened)
        finally:
            reader.close()


class BlockReader:
    """Reads volumes of one listing. The devices stay open until `close`, or until it is forgotten."""

    def __init__(self, found: Found, notes: Mapping[str, Notes]) -> None:
        self._devices = Devices(found)
        self._notes = notes

    def close(self) -> None:
        """Close the devices."""
        self._devices.close()

    def __del__(self) -> None:
        """Nobody closes what a scan forgot in its failure."""
        self.close()

    def fingerprint(self, path: str) -> Fingerprint | None:
        """What tells whether the volume is as it was; None when it is gone or can not be read."""
        lv = self._devices.found.lv(path)
        if lv is None:
            return None
        try:
            return self._open(lv).fingerprint()
        except (OSError, StrataError):
            return None

    def read(self, path: str, hint: str | None) -> Layer:
        """Its header, tables and findings; never raises."""
        note = self._notes.get(path, Notes())
        form = hint or format_of(note)
        lv = self._devices.found.lv(path)
        if lv is None:
            gone = critical(
                Code.BACKING_MISSING, path, "The volume does not exist: it was removed."
            )
            return unreadable(path, 0, form, ReadError(gone))
        try:
            reader = self._open(lv)
            layer = reader.read(hint, tables=True)
        except (OSError, StrataError) as error:
            return unreadable(path, self._devices.found.group.bytes_of(lv), form, error)
        return layer._replace(end=reader.end)

    @contextmanager
    def opened(self, layer: Layer) -> Iterator["OpenLv"]:
        """Open a volume to read its map; raises ReadError."""
        lv = self._devices.found.lv(layer.path)
        try:
            if lv is None:
                raise StrataError("The volume does not exist any more: it was removed.")
            volume = OpenLv(self._open(lv))
        except (OSError, StrataError) as error:
            found = unreadable(layer.path, layer.file_size, layer.format, error)
            raise ReadError(found.findings[0]) from error
        yield volume

    def _open(self, lv: LogicalVolume) -> VolumeReader:
        return VolumeReader(self._devices, lv, self._notes.get(lv.name, Notes()))


class OpenLv:
    """A volume of a group that is opened, for its map. The look-ups raise ReadError."""

    def __init__(self, reader: VolumeReader) -> None:
        self._reader = reader
        self.content: ExtentsSource = reader.source

    def is_unchanged(self, layer: Layer) -> bool:
        """Whether the header and the extents are those that `layer` was read from."""
        return self._mark(layer) == layer.fingerprint

    def is_volume_of(self, layer: Layer) -> bool:
        """Whether it is that LV."""
        return self._mark(layer)[:2] == layer.fingerprint[:2]

    def _mark(self, layer: Layer) -> Fingerprint:
        try:
            return self._reader.fingerprint()
        except OSError as error:
            found = unreadable(layer.path, layer.file_size, layer.format, error)
            raise ReadError(found.findings[0]) from error


def _listing(found: Found, alive: Alive) -> BlockListing:
    group = found.group
    if not {tags_of.READY, tags_of.UNREADY} & set(group.tags):
        raise StrataError(
            f"The volume group {display(group.name)} is no storage domain of oVirt: it lacks the tag"
            f" {tags_of.READY}."
        )
    keys = tags_of.domain_keys(group.tags)
    findings = list(
        group_findings(group.tags, _missing(found), found.problems, found.mda_size, found.mda_free)
    )
    volumes = [lv for lv in group.lvs if lv.name not in SPECIAL and tags_of.is_volume(lv.tags)]
    told = {lv.name: tags_of.read_tags(lv.tags) for lv in volumes}
    slots = [tags["slot"] for tags in told.values() if tags["slot"] is not None]
    metadata = found.lv(METADATA)
    if metadata is None or _is_misplaced(found, metadata, keys):
        findings.append(misplaced_finding())
    alive()
    try:
        records = _records(found, metadata, _version(keys), slots)
    except (OSError, StrataError) as error:
        records = {}
        findings.append(_slots_finding(error))
    alive()
    notes = {lv.name: _notes(lv, told[lv.name], records, group.bytes_of(lv)) for lv in volumes}
    return BlockListing(
        sorted(notes), notes, findings=findings, facts=_facts(found, keys), found=found
    )


def _facts(found: Found, keys: Mapping[str, str]) -> dict[str, Any]:
    """Of the domain's own description, as of a file domain, and of the group that it is."""
    group = found.group
    return domain_metadata(keys).to_json() | {
        "group": group.name, "group_uuid": group.uuid, "seqno": group.seqno,
        "extent_size": group.extent_size, "devices": len(group.pvs), "missing": _missing(found),
        "version": _version(keys), "tags": [tags_of.storable(tag) for tag in group.tags],
        "mda_size": found.mda_size, "mda_free": found.mda_free,
    }  # fmt: skip


def _missing(found: Found) -> tuple[str, ...]:
    """Devices that are not there, and those that the tools still count as lost."""
    noted = [pv.uuid for pv in found.group.pvs if pv.missing and pv.uuid in found.devices]
    return (*found.missing, *noted)


def _version(keys: Mapping[str, str]) -> int:
    told = keys.get("VERSION", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 4 else NEWEST_VERSION


def _is_misplaced(found: Found, metadata: LogicalVolume, keys: Mapping[str, str]) -> bool:
    first = metadata.segments[0] if metadata.segments else None
    if first is None or first.type != LINEAR or first.stripes[0].start_extent != 0:
        return True
    # Up to version 4 a tag says which device is the first: "pv:NAME,uuid:UUID,pestart:0,…".
    parts = dict(part.partition(":")[::2] for part in keys.get("PV0", "").split(","))
    expected = parts.get("uuid") or found.first_pv
    return expected is not None and first.stripes[0].pv != expected


def _records(
    found: Found, metadata: LogicalVolume | None, version: int, slots: list[int]
) -> dict[int, bytes]:
    if metadata is None:
        return {}
    with opened(found) as devices:
        source = devices.source(metadata)
        return dict(tags_of.read_slots(source.pread, source.size, version, slots))


def _slots_finding(error: OSError | StrataError) -> Finding:
    reason = error.strerror if isinstance(error, OSError) else brief(str(error))
    return critical(
        Code.BACKING_UNREADABLE,
        "",
        f"The volume “{METADATA}” of the domain can not be read: {reason}. Names, sizes and dates of"
        " disks are unknown. Check the storage and the worker's rights to read its devices.",
    )


def _notes(
    lv: LogicalVolume, tags: Mapping[str, Any], records: Mapping[int, bytes], size: int
) -> Notes:
    record = records.get(tags["slot"]) if tags["slot"] is not None else None
    said = parse_volume(record) if record is not None else None
    return Notes(
        disk_key=tags["image"] or "",
        disk_name=said.alias if said is not None else "",
        metadata=said.to_json() if said is not None else None,
        tags=tags,
        passing=tags_of.passing_of(lv.tags),
        allocated=size,
        created=(said.created if said is not None else None) or float(lv.created) or None,
        stamp=tags_of.stamp_of(lv.tags, record),
    )
