"""One volume of an oVirt block domain: its header and tables, through the extents of its LV."""

import os
from hashlib import blake2b

from chains.core.errors import ReadError, StrataError
from chains.core.findings import Code, Finding, critical
from chains.core.layer import LAST_MOMENT, Fingerprint, Layer, LayerReader
from chains.core.lv_rules import end_findings
from chains.core.lvm_group import LogicalVolume
from chains.core.names import brief
from chains.core.paths import has_protocol, reason_of
from chains.core.qcow2_end import ImageEnd, image_end
from chains.core.qcow2_header import FIRST_READ, MAGIC, parse_named
from chains.core.source import ExtentsSource
from chains.storage.lvm import Devices, LayoutError
from chains.storage.types import Notes

# vdsm, lib/vdsm/storage/sd.py and blockSD.py: what a domain keeps for itself.
SPECIAL = frozenset({"metadata", "ids", "inbox", "outbox", "leases", "xleases", "master"})
# Below these vdsm gives volumes names of their own: /rhev/data-center/POOL/DOMAIN/images/IMAGE/VOLUME.
_REPOSITORIES = ("/rhev/data-center/", "/run/vdsm/storage/", "/var/run/vdsm/storage/")
# What qemu-img puts first: the header, the table of reference counts and its first block.
WINDOW = 192 * 1024
_FORMATS = {"RAW": "raw", "COW": "qcow2"}


def format_of(note: Notes) -> str:
    """The format that the domain tells: of its metadata, else of the tags. Content is never asked.

    (Without either, a volume that has a parent can only be qcow2, and all else is taken for raw.)
    """
    metadata = note.metadata or {}
    told = _FORMATS.get(str(metadata.get("format"))) if metadata.get("status") == "ok" else None
    if told is not None:
        return told
    parent = (note.tags or {}).get("parent")
    return "qcow2" if parent and parent.strip("0-") else "raw"


class VolumeReader(LayerReader):
    """Reads one LV. `end` is where its image ends at the earliest, once it was read; None of raw."""

    __slots__ = ("_mark", "_window", "devices", "end", "lv", "note", "source")
    recorded_by = "Its overlay, or the domain's metadata,"

    def __init__(self, devices: Devices, lv: LogicalVolume, note: Notes) -> None:
        """Take an LV of an opened group; raises LayoutError, StrataError, OSError."""
        self.source: ExtentsSource = devices.source(lv)
        super().__init__(lv.name, self.source.size)
        self.devices = devices
        self.lv = lv
        self.note = note
        self.end: int | None = None
        self._mark: Fingerprint | None = None
        self._window = b""  # the start of the volume, as the last fingerprint has seen it

    def pread(self, length: int, offset: int) -> bytes:
        """Read across extents, but what the last fingerprint has seen from there."""
        if offset + length <= len(self._window):
            return self._window[offset : offset + length]
        return self.source.pread(length, offset)

    def backing(self, name: str) -> str | Finding:
        """The LV that a name ends in, when the name is one that vdsm gives to volumes."""
        refusal = _refusal(self.path, name, self.devices.found.group.name)
        if refusal is not None:
            return refusal
        base = name.rpartition("/")[2]
        if base in SPECIAL:
            return critical(
                Code.BACKING_SPECIAL,
                self.path,
                f"The backing file “{brief(name)}” is a volume that the domain keeps for itself. No"
                " tool will be started on this chain.",
            )
        if self.devices.found.lv(base) is None:
            return critical(
                Code.BACKING_MISSING,
                self.path,
                f"The backing file “{brief(name)}” is no volume of this domain. The disk can not be"
                " read: restore it, or rebase the layer on a copy.",
            )
        return base

    def read(self, hint: str | None, tables: bool) -> Layer:
        """Read it as `hint` says, else as the domain does; raises OSError."""
        # First the mark: should the volume change meanwhile, the mark is too old, and that shows.
        self._mark = self.fingerprint()
        layer = super().read(hint or format_of(self.note), tables)
        if layer.header is None:
            self.end = None
        if self.end is None:
            return layer
        short = end_findings(self.path, self.size, self.end)
        return layer._replace(findings=(*layer.findings, *short)) if short else layer

    def on_storage(self) -> tuple[int, Fingerprint]:
        """All of the LV is allocated."""
        return self.size, self._mark or self.fingerprint()

    def fingerprint(self) -> Fingerprint:
        """What tells the volume from any other, and from itself before a change; raises OSError.

        A device has no times. The place of mtime takes the moment when the volume was made, that
        of ctime a digest of its tags and metadata, its extents, its header and, of qcow2, of the
        reference counts that grow with it. A guest that overwrites what it has does not show.
        """
        self._window = head = self.source.pread(FIRST_READ, 0)
        if head.startswith(MAGIC):
            self._window = self.source.pread(WINDOW, 0)
            head = self._window[:FIRST_READ]
        try:
            grown = image_end(self, parse_named(head, self.path, self)[0])
            self.end = grown.offset
        except ReadError:
            grown = ImageEnd(0, b"")
            self.end = None
        digest = blake2b(head + grown.digest, digest_size=8)
        digest.update(self.note.stamp.encode())
        digest.update(repr(self.lv.segments).encode())
        made = min(max(int(self.note.created or 0), 0), LAST_MOMENT) * 10**9
        return Fingerprint(0, number_of(self.lv.uuid), self.size, made, _number(digest.digest()))


def number_of(uuid: str) -> int:
    """A number for an LV that takes the place of an inode: 63 bits, never 0."""
    return _number(blake2b(uuid.encode("utf-8", "surrogateescape"), digest_size=8).digest())


def _number(digest: bytes) -> int:
    return max(1, int.from_bytes(digest, "big") >> 1)


def unreadable(name: str, size: int, form: str, error: Exception) -> Layer:
    """The layer of an LV that can not be read, with the finding that says why."""
    if isinstance(error, LayoutError):
        finding = critical(Code.LV_LAYOUT, name, str(error))
    elif isinstance(error, ReadError):
        finding = error.finding
    elif isinstance(error, StrataError):
        finding = critical(Code.BACKING_UNREADABLE, name, str(error))
    else:
        reason = reason_of(error) if isinstance(error, OSError | ValueError) else str(error)
        finding = critical(
            Code.BACKING_UNREADABLE,
            name,
            f"The volume can not be read: {reason}. Check the storage and the worker's rights to"
            " read its devices.",
        )
    nothing = Fingerprint(0, 0, size, 0, 0)
    return Layer(name, form, 0, size, None, None, None, nothing, None, (finding,))


def _refusal(path: str, name: str, group: str) -> Finding | None:
    if not name or "\0" in name or name.endswith("/"):
        detail = f"“{brief(name)}” is no name that a volume can have."
        return critical(Code.BACKING_INVALID, path, detail)
    if has_protocol(name):
        return critical(
            Code.BACKING_PROTOCOL,
            path,
            f"QEMU takes the backing file “{brief(name)}” for a protocol, not for a volume. No tool"
            " will be started on this chain.",
        )
    folder = name.rpartition("/")[0]
    plain = os.path.normpath(folder) if folder else ""
    inside = (
        plain in ("", ".") or _is_image_folder(plain) or plain == f"/dev/{group}"
        or (f"{plain}/".startswith(_REPOSITORIES) and group in plain.split("/"))
    )  # fmt: skip
    if inside:
        return None
    return critical(
        Code.BACKING_OUTSIDE,
        path,
        f"The backing file “{brief(name)}” lies outside of the storage domain. Opening it could hand"
        " a guest foreign data: no tool will be started on this chain.",
    )


def _is_image_folder(folder: str) -> bool:
    """`../IMAGE`, as vdsm up to 3.5 wrote before the name of a volume."""
    parts = folder.split("/")
    return len(parts) == 2 and parts[0] == ".." and parts[1] != ".."
