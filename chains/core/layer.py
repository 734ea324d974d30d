"""One layer: a volume's file, what its header says, and what is wrong with it alone."""

import os
import stat
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import NamedTuple

from chains.core import formats, raw
from chains.core.errors import ReadError, StrataError
from chains.core.findings import Code, Finding, Severity, critical, warning
from chains.core.health import header_findings
from chains.core.names import brief
from chains.core.paths import (
    Inside,
    RealRoot,
    backing_from,
    has_protocol,
    locate_from,
    real_root,
    reason_of,
    special_kind,
)
from chains.core.qcow2_header import FIRST_READ, Header, parse_named
from chains.core.qcow2_tables import Tables, read_tables

# The years 1970 and 9999, with a day to spare for every time zone.
FIRST_MOMENT, LAST_MOMENT = 0, 253_402_214_400
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Fingerprint(NamedTuple):
    """What tells a file from any other, and from itself before a change; times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Fingerprint":
        """Take the fingerprint from the answer of fstat."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )

    def to_text(self) -> str:
        """Write the five numbers for storage, divided by colons."""
        return f"{self.device}:{self.inode}:{self.size}:{self.mtime_ns}:{self.ctime_ns}"

    @classmethod
    def from_text(cls, text: str) -> "Fingerprint":
        """Read what `to_text` wrote. Raises StrataError for anything else."""
        try:
            device, inode, size, mtime_ns, ctime_ns = map(int, text.split(":"))
        except ValueError as error:
            raise StrataError(f"“{brief(text)}” is no fingerprint of a file.") from error
        return cls(device, inode, size, mtime_ns, ctime_ns)


class Layer(NamedTuple):
    """One volume as it stands in a chain. Sizes are bytes; `findings` are of this layer alone.

    `path` and `backing_path` are relative to the domain root, all links followed; `backing_path` is
    None when there is no backing file or its name is unsafe. `tables` are None unless they were
    asked for, and of anything but qcow2.
    """

    path: str
    format: str
    virtual_size: int
    on_disk: int
    backing_file: str | None
    backing_format: str | None
    backing_path: str | None
    fingerprint: Fingerprint
    header: Header | None
    findings: tuple[Finding, ...]
    tables: Tables | None = None
    end: int | None = None  # where a qcow2 image ends at the earliest, where that was looked up

    @property
    def file_size(self) -> int:
        """Bytes of the file, holes included."""
        return self.fingerprint.size

    @property
    def mtime(self) -> float:
        """When it was written last, in seconds since 1970."""
        return self.fingerprint.mtime_ns / 10**9

    @property
    def modified(self) -> datetime:
        """The same as a moment, the nearest that a calendar has: storage may say anything."""
        return datetime.fromtimestamp(min(max(self.mtime, FIRST_MOMENT), LAST_MOMENT), UTC)

    @property
    def cluster_size(self) -> int | None:
        """Bytes of a cluster; None for anything but qcow2."""
        return self.header.cluster_size if self.header else None

    @property
    def is_known(self) -> bool:
        """Whether the file was opened and makes sense, now or when it was read last: of a layer that has
        not changed since, the header is not kept, and there was nothing wrong with it.
        """
        sound = self.format == "raw" or self.header is not None or not self.findings
        return bool(self.fingerprint.inode) and sound

    @property
    def is_readable(self) -> bool:
        """Whether nothing critical was found in this layer itself."""
        return not any(f.severity is Severity.CRITICAL for f in self.findings)


def read_layer(
    root: str, path: str, format_hint: str | None = None, *, tables: bool = False
) -> Layer:
    """Read the header of the volume at `path` (relative to the domain `root`).

    `format_hint` is what the overlay records ("raw" or "qcow2"); with "raw" the content decides
    nothing. With None (a leaf) qcow2 is known by its content, everything else unknown is raw.
    With `tables` the internal snapshots and the bitmaps are read as well.
    Never raises for anything that can be stored: what is wrong is in the layer's findings. Never
    blocks on a FIFO, and opens nothing that lies outside the root.
    """
    real = real_root(root)
    try:
        place = locate_from(real, "", path)
    except (OSError, ValueError) as error:
        return _unreadable(path, format_hint, _lookup_finding(path, error))
    if place is None:
        detail = "The path leads out of the storage domain: it is not opened."
        return _unreadable(path, format_hint, critical(Code.BACKING_OUTSIDE, path, detail))
    return _read(real, place, format_hint, tables)


def read_backing(root: RealRoot, path: str, recorded: str | None, *, tables: bool = False) -> Layer:
    """Read the layer at the `backing_path` of one that has just been read, as it is recorded there.

    The overlay's reading has followed all links of that path and found a regular file.
    """
    return _read(root, Inside(path, root.base + path, stat.S_IFREG), recorded, tables)


def open_regular(place: Inside) -> int:
    """Open a regular file for reading, without ever waiting for one that is something else.

    Raises ReadError: `backing-missing`, `backing-special`, `backing-unreadable`, `backing-invalid`.
    """
    try:
        # What it was is judged before opening: merely opening some devices does something.
        if not stat.S_ISREG(place.mode):
            raise _special(place.path, place.mode)
        fd = os.open(place.real, OPEN_FLAGS)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
        raise _special(place.path, mode)
    except OSError as error:
        raise ReadError(_lookup_finding(place.path, error)) from error


def _special(path: str, mode: int) -> ReadError:
    detail = f"It is {special_kind(mode)}. Only regular files are volumes: it is not opened."
    return ReadError(critical(Code.BACKING_SPECIAL, path, detail))


def _read(root: RealRoot, place: Inside, hint: str | None, tables: bool) -> Layer:
    if not stat.S_ISREG(place.mode):
        return _unreadable(place.path, hint, _special(place.path, place.mode).finding)
    try:
        status = root.take(place.real)
        # Should it have become something else since: opening does not wait for it, nor does reading.
        fd = os.open(place.real, OPEN_FLAGS)
        try:
            status = status or os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return _unreadable(place.path, hint, _special(place.path, status.st_mode).finding)
            return _FileReader(root, place.path, fd, status).read(hint, tables)
        finally:
            os.close(fd)
    except OSError as error:
        return _unreadable(place.path, hint, _lookup_finding(place.path, error))


class LayerReader(ABC):
    """Reads one open volume, of `size` bytes; what kind of storage it lies on, a subclass knows.

    It is a Source itself: the readers of headers and tables read through it.
    """

    __slots__ = ("findings", "path", "size")
    recorded_by = "Its overlay"  # who told the format, in the text of findings

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.findings: list[Finding] = []

    @abstractmethod
    def pread(self, length: int, offset: int) -> bytes:
        """Read `length` bytes, fewer only at the end; raises OSError."""

    @abstractmethod
    def backing(self, name: str) -> str | Finding:
        """Find what the layer names as its backing file: a path, or what is wrong with the name."""

    @abstractmethod
    def on_storage(self) -> tuple[int, Fingerprint]:
        """The bytes that the storage gave it, and what tells it from itself before a change."""

    def read(self, hint: str | None, tables: bool) -> Layer:
        """Read its header, and with `tables` its snapshots and bitmaps; raises OSError."""
        head = self.pread(FIRST_READ, 0)
        seen = formats.detect(head)
        if seen == "qcow2" and hint != "raw":
            return self._qcow2(head, tables)
        if hint == "raw":
            self._judge_raw_backing(seen, head)
            return self._layer("raw", raw.virtual_size(self.size), None)
        seen = seen or self._iso()
        if seen is not None:
            self._not_a_chain_format(seen)
        if hint == "qcow2":
            self._critical(
                Code.BACKING_FORMAT_WRONG,
                f"{self.recorded_by} records it as qcow2, but its content is"
                f" {formats.described(seen or 'raw')}. One of the two is damaged: find out which"
                " before anything is written.",
            )
            return self._layer("qcow2", 0, None)
        if seen is None and self.path.endswith(".qcow2"):
            self._critical(
                Code.HEADER_INVALID,
                "It is named .qcow2, but its content is not: the start of the file is damaged, or"
                " the name is wrong. Restore or rename it.",
            )
        return self._layer("raw", raw.virtual_size(self.size), None)

    def _qcow2(self, head: bytes, with_tables: bool) -> Layer:
        try:
            header, name = parse_named(head, self.path, self)
        except ReadError as error:
            self.findings.append(error.finding)
            return self._layer("qcow2", 0, None)
        self.findings += header_findings(header, self.path, self.size)
        if header.incompatible and header.has_data_file:
            self.findings.append(self._data_file_finding(header))
        backing_path = None
        if name is not None:
            target = self.backing(name)
            if isinstance(target, Finding):
                self.findings.append(target)
            else:
                backing_path = target
        tables = None
        if with_tables:
            tables = read_tables(self, header, self.path)
            self.findings += tables.findings
        return self._layer("qcow2", header.virtual_size, header, name, backing_path, tables)

    def _judge_raw_backing(self, seen: str | None, head: bytes) -> None:
        """A raw layer is never probed by QEMU when its overlay says raw; another tool might."""
        if seen is None:
            return
        detail = (
            f"The layer is recorded as raw, but its content starts like {formats.described(seen)}."
            " QEMU reads it as raw; never open it without saying so."
        )
        if seen == "qcow2" and self._names_a_file(head):
            self._critical(
                Code.RAW_LOOKS_FORMATTED,
                f"{detail} Its content names a further file, which a tool that guesses would open:"
                " the record is wrong, or a guest forged a header.",
            )
        else:
            self.findings.append(warning(Code.RAW_LOOKS_FORMATTED, self.path, detail))

    def _names_a_file(self, head: bytes) -> bool:
        try:
            header, name = parse_named(head, self.path, self)
        except ReadError:
            return False
        return name is not None or header.has_data_file

    def _iso(self) -> str | None:
        if self.size <= formats.ISO_OFFSET:
            return None
        mark = self.pread(len(formats.ISO_MARK), formats.ISO_OFFSET)
        return "iso" if mark == formats.ISO_MARK else None

    def _not_a_chain_format(self, seen: str) -> None:
        self._critical(
            Code.NOT_A_CHAIN_FORMAT,
            f"The content is {formats.described(seen)}. Chains are made of raw and qcow2 only: it is"
            " listed and left alone. To work with it, convert a copy to qcow2.",
        )

    def _data_file_finding(self, header: Header) -> Finding:
        name = header.data_file
        if name is None:
            return critical(
                Code.DATA_FILE_MISSING,
                self.path,
                "Its data lives in another file whose name is not recorded.",
            )
        shown = brief(name)
        if not has_protocol(name):
            # (qemu-img looks for a relative data file in its own current directory, QEMU's
            # management tools beside the layer. Strata opens neither, and only says where one
            # would be expected.)
            target = self.backing(name)
            if isinstance(target, str):
                return warning(
                    Code.DATA_FILE,
                    self.path,
                    f"Its data lives in another file, “{shown}”. Strata reads the layer's tables,"
                    " but starts no tool on a chain that holds it.",
                )
            if target.code is Code.BACKING_MISSING:
                detail = f"Its data lives in “{shown}”, which does not exist: put the file back."
                return critical(Code.DATA_FILE_MISSING, self.path, detail)
        return critical(
            Code.DATA_FILE_OUTSIDE,
            self.path,
            f"Its data lives in “{shown}”, which is no file of this storage domain. No tool will be"
            " started on this chain.",
        )

    def _critical(self, code: Code, detail: str) -> None:
        self.findings.append(critical(code, self.path, detail))

    def _layer(  # noqa: PLR0917 - the fields of a layer, in their order
        self, name: str, size: int, header: Header | None, backing_file: str | None = None,
        backing_path: str | None = None, tables: Tables | None = None,
    ) -> Layer:  # fmt: skip
        recorded = header.extensions.backing_format if header else None
        on_disk, fingerprint = self.on_storage()
        return Layer(
            self.path, name, size, on_disk, backing_file, recorded, backing_path,
            fingerprint, header, tuple(self.findings), tables,
        )  # fmt: skip


class _FileReader(LayerReader):
    __slots__ = ("fd", "root", "status")

    def __init__(self, root: RealRoot, path: str, fd: int, status: os.stat_result) -> None:
        self.path = path
        self.size = status.st_size
        self.findings = []
        self.root = root
        self.fd = fd
        self.status = status

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self.fd, length, offset)

    def backing(self, name: str) -> str | Finding:
        return backing_from(self.root, self.path.rpartition("/")[0], self.path, name)

    def on_storage(self) -> tuple[int, Fingerprint]:
        return self.status.st_blocks * 512, Fingerprint.of(self.status)


def _unreadable(path: str, hint: str | None, finding: Finding) -> Layer:
    nothing = Fingerprint(0, 0, 0, 0, 0)
    return Layer(path, hint or "raw", 0, 0, None, None, None, nothing, None, (finding,))


def _lookup_finding(path: str, error: OSError | ValueError) -> Finding:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return critical(Code.BACKING_MISSING, path, "The file does not exist: it was removed.")
    reason = reason_of(error)
    if isinstance(error, ValueError):
        return critical(Code.BACKING_INVALID, path, f"No file can have this name: {reason}.")
    return critical(
        Code.BACKING_UNREADABLE,
        path,
        f"The file can not be opened: {reason}. Check the storage and the worker's rights.",
    )


def same_file(fd: int, layer: Layer) -> bool:
    """Whether an open file is still exactly the one that `layer` was read from."""
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and Fingerprint.of(status) == layer.fingerprint
