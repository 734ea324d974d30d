"""oVirt's file storage domains (NFS, local, POSIX, export; formats V0 to V5), read only.

A domain is a directory named by its uuid. Its volumes are `images/<image uuid>/<volume uuid>`, each
with a `.meta` record beside it. Sources: vdsm, lib/vdsm/storage/{fileSD,fileVolume,image}.py and
lib/vdsm/storage/sdm/volume_artifacts.py.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chains.core.errors import StrataError
from chains.core.findings import Code, Finding, warning
from chains.core.forest import Forest
from chains.core.layer import Fingerprint, Layer, read_layer
from chains.core.names import display
from chains.core.ovirt_metadata import (
    INVALID,
    MAX_RECORD,
    UUID,
    VolumeMetadata,
    parse_volume,
)
from chains.core.ovirt_rules import metadata_findings
from chains.core.paths import RealRoot, reason_of
from chains.core.plans import KEPT, TEMPORARY
from chains.storage.files import FileDriver, look_at
from chains.storage.ovirt_domain import (
    FoundDomain,
    domain_findings,
    find_domains,
    read_domain,
    read_small,
)
from chains.storage.types import Listing, Notes

__all__ = ["KIND", "FoundDomain", "OvirtFileDriver", "OvirtFileReader", "find_domains"]

KIND = "ovirt-file"
IMAGES = "images"
ISO_IMAGE = "11111111-1111-1111-1111-111111111111"
META, LEASE, NEW, VOLATILE = ".meta", ".lease", ".new", ".meta.volatile"
BESIDE = (META, LEASE, NEW, ".volatile")  # ends of names that are no volumes
# What Strata made, and what NFS keeps of files that are deleted while they are open.
NOT_OURS = (TEMPORARY, KEPT, ".nfs")
REMOVED = ("_remove_me_ZERO_", "_remove_me_")
MERGED = "_MERGE"  # vdsm up to 3.5 merged into a volume of that name
REMOVING, CREATING, MERGING = "is being removed", "is being created", "is being merged"


class OvirtFileDriver(FileDriver):
    """Fulfils `storage.types.Driver`; `root` is the directory of one domain, `<mount>/<uuid>`."""

    kind = KIND

    def list(self, root: str, before: Mapping[str, Notes], alive: Callable[[], None]) -> Listing:
        """List its volumes, with what `.meta` says of each.

        Notes of `before` whose `.meta` is as it was are given again, without opening it. Raises
        OSError, StrataError when the images can not be listed.
        """
        return _Scan(root, before, alive).listing()

    def reader(self, root: str, listing: Listing) -> "OvirtFileReader":
        """Return what reads those volumes."""
        return OvirtFileReader(root, listing)

    def judge(self, forest: Forest, listing: Listing) -> Sequence[Finding]:
        """What the metadata has against the headers and the places of the volumes."""
        uuid = str(listing.facts.get("uuid", ""))
        return metadata_findings(forest, listing.notes, listing.aliases, uuid)


class OvirtFileReader:
    """Fulfils `storage.types.Reader`: a template is read, and named, by its own path only."""

    def __init__(self, root: str, listing: Listing) -> None:
        self._root = RealRoot(root)
        self._root.listed(listing.paths)
        self._root.listed(listing.aliases)
        self._aliases = listing.aliases
        self._notes = listing.notes

    def fingerprint(self, path: str) -> Fingerprint | None:
        """Look at the file once; None: it is gone. What can not be looked at is like no other."""
        return look_at(self._root.base + self._aliases.get(path, path))

    def read(self, path: str, hint: str | None) -> Layer:
        """Read its header and tables; never raises.

        Without a hint, what the metadata calls RAW is read as raw: a guest may have written
        anything to its start.
        """
        path = self._aliases.get(path, path)
        notes = self._notes.get(path)
        if hint is None and notes and notes.metadata and notes.metadata.get("format") == "RAW":
            hint = "raw"
        layer = read_layer(self._root, path, hint, tables=True)
        # An overlay names its template by the bare uuid: that is a link in the overlay's folder.
        below = self._aliases.get(layer.backing_path) if layer.backing_path else None
        return layer if below is None else layer._replace(backing_path=below)


class _Folder:
    """What one image's directory holds, by name."""

    __slots__ = ("records", "volatile", "volumes")

    def __init__(self, path: str) -> None:
        """List it; raises OSError, also when the storage fails on the way."""
        self.volumes: dict[str, int] = {}  # name → inode
        self.records: set[str] = set()  # volumes that have a record
        self.volatile: set[str] = set()  # volumes whose record is not there yet
        with os.scandir(path) as found:
            for entry in found:
                name = entry.name
                if name.startswith(NOT_OURS) or not entry.is_file(follow_symlinks=False):
                    continue
                if name.endswith(VOLATILE):
                    self.volatile.add(name.removesuffix(VOLATILE))
                elif name.endswith(META):
                    self.records.add(name.removesuffix(META))
                elif not name.endswith(BESIDE):
                    # The listing tells the inode: no look at each of the files.
                    self.volumes[name] = entry.inode()


class _Scan:
    """Lists one domain."""

    def __init__(self, root: str, before: Mapping[str, Notes], alive: Callable[[], None]) -> None:
        self.root = root
        self.before = before
        self.alive = alive
        self.inodes: dict[str, int] = {}  # of every path of a volume, in order
        self.with_record: set[str] = set()
        self.passing: dict[str, str] = {}
        self.unread: list[str] = []
        self.findings: list[Finding] = []
        self.notes: dict[str, Notes] = {}

    def listing(self) -> Listing:
        """Do it; raises OSError, StrataError."""
        for name in self._images():
            self.alive()
            self._image(name)
        aliases = self._aliases()
        paths = [path for path in self.inodes if path not in aliases]
        for path in paths:
            self.alive()
            self._note(path)
        notes = _named({path: self.notes[path] for path in paths})
        facts, findings = self._domain()
        self.findings[:0] = findings
        return Listing(
            paths,
            notes,
            aliases,
            unread=tuple(self.unread),
            findings=tuple(self.findings),
            facts=facts,
        )

    def _domain(self) -> tuple[dict[str, Any], list[Finding]]:
        try:
            said = read_domain(self.root)
        except OSError as error:
            return {}, domain_findings(self.root, error)
        return said.to_json(), domain_findings(self.root, said)

    def _images(self) -> list[str]:
        """Return the names of the directories of images, also of those on their way out."""
        where = os.path.join(self.root, IMAGES)
        if not stat.S_ISDIR(os.lstat(where).st_mode):
            raise StrataError(
                f"{display(where)} is no directory, so this is no oVirt storage domain: give the"
                " directory that is named by the domain's uuid."
            )
        with os.scandir(where) as found:
            return sorted(
                entry.name
                for entry in found
                if entry.name != ISO_IMAGE
                and UUID.fullmatch(_image_of(entry.name))
                and entry.is_dir(follow_symlinks=False)
            )

    def _image(self, name: str) -> None:
        where = f"{IMAGES}/{name}"
        try:
            folder = _Folder(os.path.join(self.root, where))
        except FileNotFoundError:
            return  # it was removed, or renamed to be
        except OSError:
            self.unread.append(where)
            return
        is_removed = name.startswith(REMOVED)
        for volume in sorted(folder.volumes):
            path = f"{where}/{volume}"
            self.inodes[path] = folder.volumes[volume]
            if volume in folder.records:
                self.with_record.add(path)
            passing = _passing(volume, is_removed, folder)
            if passing:
                self.passing[path] = passing
        if not is_removed:
            for volume in sorted(folder.records - folder.volumes.keys()):
                self.findings.append(_orphan_finding(f"{where}/{volume}"))

    def _aliases(self) -> dict[str, str]:
        """Lead from each further name of a file to its own: templates are linked into many images.

        Only paths that share an inode or a volume's uuid can be links, so only those are looked at.
        """
        groups: dict[tuple[int, int], list[str]] = {}
        for path in self._suspects():
            try:
                status = os.lstat(os.path.join(self.root, path))
            except OSError:
                continue
            groups.setdefault((status.st_dev, status.st_ino), []).append(path)
        aliases = {}
        for group in groups.values():
            if len(group) > 1:
                own = self._own_path(group)
                aliases.update({path: own for path in group if path != own})
        return aliases

    def _suspects(self) -> Iterable[str]:
        by_inode: dict[int, str] = {}
        by_name: dict[str, str] = {}
        found: dict[str, None] = {}
        for path, inode in self.inodes.items():
            name = path.rpartition("/")[2]
            for other in (by_inode.setdefault(inode, path), by_name.setdefault(name, path)):
                if other != path:
                    found[other] = found[path] = None
        return sorted(found)

    def _own_path(self, group: list[str]) -> str:
        """Return the path in the image that the file's metadata names; else the first that stays."""
        # Last time's own path is asked first: its record need not be opened again.
        names = set(group)
        for path in sorted(group, key=lambda path: (path not in self.before, path)):
            said = self._note(path).metadata
            image = str(said.get("image")) if said else ""
            own = f"{IMAGES}/{image}/{path.rpartition('/')[2]}"
            if own in names:
                return own
        return min(group, key=lambda path: (path in self.passing, path))

    def _note(self, path: str) -> Notes:
        """Return what is known of a volume, read once."""
        notes = self.notes.get(path)
        if notes is None:
            metadata, created, stamp = None, None, ""
            if path in self.with_record:
                metadata, created, stamp = self._record(path)
            image = _image_of(path.split("/")[1])
            passing = self.passing.get(path, "")
            notes = Notes(image, metadata=metadata, passing=passing, created=created, stamp=stamp)
            self.notes[path] = notes
        return notes

    def _record(self, path: str) -> tuple[Mapping[str, Any] | None, float | None, str]:
        where = f"{self.root}/{path}{META}"
        old = self.before.get(path)
        try:
            if old and old.stamp and old.stamp == Fingerprint.of(os.lstat(where)).to_text():
                return old.metadata, old.created, old.stamp
            data, status = read_small(where, MAX_RECORD)
        except FileNotFoundError:
            return None, None, ""
        except OSError as error:
            said = VolumeMetadata(INVALID, (f"It can not be read: {reason_of(error)}.",))
            return said.to_json(), None, ""
        said = parse_volume(data)
        return said.to_json(), said.created, Fingerprint.of(status).to_text()


def _image_of(name: str) -> str:
    """Return the uuid of the image that a directory holds, or is about to lose."""
    for prefix in REMOVED:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _passing(volume: str, is_removed: bool, folder: _Folder) -> str:
    if volume in folder.volatile and volume not in folder.records:
        return CREATING
    if is_removed or volume.startswith(REMOVED):
        return REMOVING
    return MERGING if volume.endswith(MERGED) else ""


def _orphan_finding(volume: str) -> Finding:
    return warning(
        Code.METADATA_ORPHAN,
        volume + META,
        "This record describes a volume that is not there: its data was lost, or its removal was"
        " broken off. If a disk of this image does not start, restore the volume from a backup;"
        " otherwise have oVirt remove what is left.",
    )


def _named(notes: dict[str, Notes]) -> dict[str, Notes]:
    """Give each volume the name of its disk: the alias that its best volume has.

    The best one is the one that a guest writes, else the newest; snapshots often have no alias.
    """
    best: dict[str, tuple[tuple[bool, bool, float], str]] = {}
    for of in notes.values():
        said = of.metadata or {}
        name = str(said.get("alias") or said.get("description") or "")
        if name:
            rank = (bool(said.get("alias")), said.get("voltype") == "LEAF", of.created or 0.0)
            if of.disk_key not in best or rank > best[of.disk_key][0]:
                best[of.disk_key] = (rank, name)
    return {
        path: of._replace(disk_name=best[of.disk_key][1]) if of.disk_key in best else of
        for path, of in notes.items()
    }
