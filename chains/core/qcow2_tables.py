"""The internal snapshots and the bitmaps of a qcow2 image: tables of their own, read when asked for.

Facts of the format are from QEMU's docs/interop/qcow2 ("Snapshots", "Bitmaps"); the limits are those
that QEMU's block/qcow2-snapshot.c and block/qcow2-bitmap.c enforce when they open an image.
"""

import os
import struct
from typing import NamedTuple

from chains.core.errors import ReadError
from chains.core.findings import Code, Finding, critical, warning
from chains.core.qcow2_header import MAX_OFFSET, Header
from chains.core.source import Source

MAX_SNAPSHOTS = 65536
MAX_SNAPSHOT_BYTES = 64 * 1024**2
MAX_SNAPSHOT_EXTRA = 1024
MAX_BITMAPS = 65535
MAX_DIRECTORY_BYTES = 64 * 1024**2
MAX_BITMAP_NAME = 1023
MIN_GRANULARITY_BITS, MAX_GRANULARITY_BITS = 9, 31
MAX_BITMAP_ENTRIES, MAX_BITMAP_BYTES = 2**27, 512 * 1024**2
DIRTY_TRACKING = 1

# L1 table (offset, entries), lengths of id and name, time (s, ns), the guest's clock in ns, size of
# the VM state, length of the extra data, which repeats that size with 64 bits and adds the disk's.
_SNAPSHOT = struct.Struct(">QIHHIIQII")
_EXTRA = struct.Struct(">QQ")
# Bitmap table (offset, entries), flags, type, granularity in bits, lengths of name and extra data.
_BITMAP = struct.Struct(">QIIBBHI")
_IN_USE, _AUTO, _RESERVED = 1 << 0, 1 << 1, 0xFFFFFFFC
_WINDOW = 64 * 1024


class Snapshot(NamedTuple):
    """An internal snapshot. Sizes are bytes, `seconds` and `nanoseconds` count from 1970."""

    id: str
    name: str
    seconds: int
    nanoseconds: int
    vm_state_size: int
    disk_size: int


class Bitmap(NamedTuple):
    """A dirty bitmap: one bit for `granularity` bytes of the disk.

    `enabled` says that writers must keep it, `in_use` that one did not close it: it may be stale.
    """

    name: str
    granularity: int
    enabled: bool
    in_use: bool


class Tables(NamedTuple):
    """What the two tables say; they end early where they are damaged, and a finding says so."""

    snapshots: tuple[Snapshot, ...] = ()
    bitmaps: tuple[Bitmap, ...] = ()
    findings: tuple[Finding, ...] = ()


def table_findings(header: Header, path: str, file_size: int) -> list[Finding]:
    """Judge by the header alone whether the two tables can be what they claim."""
    found = []
    if header.snapshots > MAX_SNAPSHOTS or (header.snapshots and not header.snapshots_offset):
        detail = f"it claims {header.snapshots} internal snapshots at {header.snapshots_offset}"
        found.append(_invalid(path, detail))
    elif header.snapshots:
        found += _beyond(
            path, "its snapshot table", file_size,
            header.snapshots_offset + header.snapshots * _SNAPSHOT.size,
        )  # fmt: skip
    bitmaps = header.extensions.bitmaps
    if bitmaps and header.bitmaps:
        beside = bitmaps.offset & (header.cluster_size - 1) or bitmaps.offset > MAX_OFFSET
        small = bitmaps.size < bitmaps.total * _BITMAP.size
        large = bitmaps.total > MAX_BITMAPS or bitmaps.size > MAX_DIRECTORY_BYTES
        if not bitmaps.offset or beside or small or large:
            detail = f"{bitmaps.total} bitmaps in {bitmaps.size} bytes at {bitmaps.offset}"
            found.append(_invalid(path, f"it claims {detail}"))
        else:
            end = bitmaps.offset + bitmaps.size
            found += _beyond(path, "its bitmap directory", file_size, end)
    return found


def read_tables(source: Source, header: Header, path: str) -> Tables:
    """Read the internal snapshots and the bitmaps that the header tells of."""
    if table_findings(header, path, source.size):
        return Tables()  # they are among the findings of the header
    walk = _Walk(source, header, path)
    return Tables(tuple(walk.snapshots()), tuple(walk.bitmaps()), tuple(walk.findings))


class _Walk:
    """Reads entries of either table through a small window of the file."""

    def __init__(self, source: Source, header: Header, path: str) -> None:
        self.source = source
        self.header = header
        self.path = path
        self.findings: list[Finding] = []
        self.window = b""
        self.start = 0
        self.file_size = source.size

    def snapshots(self) -> list[Snapshot]:
        found: list[Snapshot] = []
        at = self.header.snapshots_offset
        limit = at + MAX_SNAPSHOT_BYTES
        try:
            for _ in range(self.header.snapshots):
                snapshot, at = self._snapshot((at + 7) & ~7)
                if at > limit:
                    raise ReadError(_invalid(self.path, "its snapshot table has no end"))
                found.append(snapshot)
        except ReadError as error:
            self.findings.append(error.finding)
        return found

    def _snapshot(self, at: int) -> tuple[Snapshot, int]:
        (
            l1_offset, l1_entries, id_length, name_length, seconds, nanoseconds, _, state, extra,
        ) = _SNAPSHOT.unpack(self._bytes(at, _SNAPSHOT.size))  # fmt: skip
        at += _SNAPSHOT.size
        if extra > MAX_SNAPSHOT_EXTRA:
            raise ReadError(_invalid(self.path, f"a snapshot claims {extra} bytes of extra data"))
        disk = self.header.virtual_size
        if extra >= 8:
            sizes = self._bytes(at, min(extra, _EXTRA.size)).ljust(_EXTRA.size, b"\0")
            state, disk_said = _EXTRA.unpack(sizes)
            disk = disk_said if extra >= _EXTRA.size else disk
        at += extra
        names = self._bytes(at, id_length + name_length)
        found = Snapshot(
            _text(names[:id_length]), _text(names[id_length:]), seconds, nanoseconds, state, disk
        )
        if l1_offset + l1_entries * 8 > self.file_size and not self.findings:
            self.findings.append(
                warning(
                    Code.TABLES_INVALID,
                    self.path,
                    "An internal snapshot lies beyond the end of the file: it can not be gone back"
                    " to. The layer's own content is not touched by that.",
                )
            )
        return found, at + id_length + name_length

    def bitmaps(self) -> list[Bitmap]:
        directory = self.header.extensions.bitmaps
        found: list[Bitmap] = []
        if directory is None or not self.header.bitmaps:
            return found
        at, end = directory.offset, directory.offset + directory.size
        try:
            for _ in range(directory.total):
                bitmap, at = self._bitmap(at, end)
                found.append(bitmap)
            if at != end:
                raise self._damaged("its bitmap directory is longer than its bitmaps")
        except ReadError as error:
            self.findings.append(error.finding)
        return found

    def _bitmap(self, at: int, end: int) -> tuple[Bitmap, int]:
        if at + _BITMAP.size > end:
            raise self._damaged("its bitmap directory ends before its bitmaps do")
        offset, entries, flags, kind, bits, length, extra = _BITMAP.unpack(
            self._bytes(at, _BITMAP.size)
        )
        if (
            not offset
            or offset & (self.header.cluster_size - 1)
            or not 0 < entries <= MAX_BITMAP_ENTRIES
            or entries * self.header.cluster_size > MAX_BITMAP_BYTES
        ):
            raise self._damaged("a bitmap's table lies or ends where none can")
        if (
            flags & _RESERVED
            or kind != DIRTY_TRACKING
            or not MIN_GRANULARITY_BITS <= bits <= MAX_GRANULARITY_BITS
        ):
            raise self._damaged("a bitmap is of a kind that QEMU does not know")
        at += _BITMAP.size + extra
        if length > MAX_BITMAP_NAME or at + length > end:
            raise self._damaged("a bitmap's name is longer than it may be")
        name = _text(self._bytes(at, length))
        bitmap = Bitmap(name, 1 << bits, bool(flags & _AUTO), bool(flags & _IN_USE))
        return bitmap, (at + length + 7) & ~7

    def _bytes(self, at: int, length: int) -> bytes:
        """Return bytes of the file; entries lie one behind the other, so most are in the window."""
        begin = at - self.start
        if begin < 0 or begin + length > len(self.window):
            self.window = self.source.pread(max(length, _WINDOW), at)
            self.start, begin = at, 0
            if length > len(self.window):
                raise ReadError(_cut(self.path, "a table", self.file_size, at + length))
        return self.window[begin : begin + length]

    def _damaged(self, what: str) -> ReadError:
        return ReadError(_invalid(self.path, what))


def _text(name: bytes) -> str:
    """A name as tools see it: up to its first zero byte."""
    return os.fsdecode(name.split(b"\0", 1)[0])


def _beyond(path: str, what: str, file_size: int, end: int) -> list[Finding]:
    return [_cut(path, what, file_size, end)] if end > file_size else []


def _invalid(path: str, what: str) -> Finding:
    return critical(
        Code.TABLES_INVALID,
        path,
        f"The tables are damaged: {what}. Run qemu-img check on a copy, or restore the volume.",
    )


def _cut(path: str, what: str, file_size: int, end: int) -> Finding:
    return critical(
        Code.TRUNCATED,
        path,
        f"The file ends at {file_size} bytes, before {what} does ({end}): it was cut, or its copy"
        " is not finished. Restore the volume.",
    )
