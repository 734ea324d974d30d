"""One layer: a volume's file, what its header says, and what is wrong with it alone."""

import os
import stat
from dataclasses import dataclass

from chains.core import formats, raw
from chains.core.errors import ReadError, StrataError
from chains.core.findings import Code, Finding, Severity, critical, warning
from chains.core.health import header_findings
from chains.core.names import brief
from chains.core.paths import (
    Inside,
    backing_from,
    has_protocol,
    locate_from,
    reason_of,
    special_kind,
)
from chains.core.qcow2_header import FIRST_READ, Header, parse_header

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Fingerprint:
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


@dataclass(frozen=True)
class Layer:
    """One volume as it stands in a chain. Sizes are bytes; `findings` are of this layer alone.

    `path` and `backing_path` are relative to the domain root, all links followed; `backing_path` is
    None when there is no backing file or its name is unsafe. `mtime` is in seconds since 1970.
    """

    path: str
    format: str
    virtual_size: int
    file_size: int
    on_disk: int
    mtime: float
    cluster_size: int | None
    backing_file: str | None
    backing_format: str | None
    backing_path: str | None
    fingerprint: Fingerprint
    header: Header | None
    findings: tuple[Finding, ...]

    @property
    def is_readable(self) -> bool:
        """Whether nothing critical was found in this layer itself."""
        return not any(f.severity is Severity.CRITICAL for f in self.findings)


def read_layer(root: str, path: str, format_hint: str | None = None) -> Layer:
    """Read the header of the volume at `path` (relative to the domain `root`).

    `format_hint` is what the overlay records ("raw" or "qcow2"); with "raw" the content decides
    nothing. With None (a leaf) qcow2 is known by its content, everything else unknown is raw.
    Never raises for anything that can be stored: what is wrong is in the layer's findings. Never
    blocks on a FIFO, and opens nothing that lies outside the root.
    """
    real_root = os.path.realpath(root)
    try:
        place = locate_from(real_root, "", path)
    except (OSError, ValueError) as error:
        return _unreadable(path, format_hint, _lookup_finding(path, error))
    if place is None:
        detail = "The path leads out of the storage domain: it is not opened."
        return _unreadable(path, format_hint, critical(Code.BACKING_OUTSIDE, path, detail))
    try:
        fd = open_regular(place)
    except ReadError as error:
        return _unreadable(place.path, format_hint, error.finding)
    try:
        return _Reader(real_root, place.path, fd, format_hint).read()
    except OSError as error:
        return _unreadable(place.path, format_hint, _lookup_finding(place.path, error))
    finally:
        os.close(fd)


def open_regular(place: Inside) -> int:
    """Open a regular file for reading, without ever waiting for one that is something else.

    Raises ReadError: `backing-missing`, `backing-special`, `backing-unreadable`, `backing-invalid`.
    """
    try:
        # What it was is judged before opening: merely opening some devices does something.
        words = special_kind(place.mode)
        if words is None:
            fd = os.open(place.real, OPEN_FLAGS)
            words = special_kind(os.fstat(fd).st_mode)
            if words is None:
                return fd
            os.close(fd)
    except OSError as error:
        raise ReadError(_lookup_finding(place.path, error)) from error
    detail = f"It is {words}. Only regular files are volumes: it is not opened."
    raise ReadError(critical(Code.BACKING_SPECIAL, place.path, detail))


class _Reader:
    """Reads one open volume."""

    def __init__(self, root: str, path: str, fd: int, hint: str | None) -> None:
        self.root = root
        self.path = path
        self.fd = fd
        self.hint = hint
        self.status = os.fstat(fd)
        self.findings: list[Finding] = []

    def read(self) -> Layer:
        head = os.pread(self.fd, FIRST_READ, 0)
        seen = formats.detect(head)
        if self.hint == "qcow2" or (self.hint is None and seen == "qcow2"):
            if seen == "qcow2":
                return self._qcow2()
            name = seen or "raw"
            self._critical(
                Code.BACKING_FORMAT_WRONG,
                f"Its overlay records it as qcow2, but its content is {name}. One of the two is"
                " damaged: find out which before anything is written.",
            )
            return self._layer("qcow2", 0, None)
        if self.hint == "raw":
            self._judge_raw_backing(seen)
        else:
            self._judge_leaf(seen)
        return self._layer("raw", raw.virtual_size(self.status.st_size), None)

    def _qcow2(self) -> Layer:
        try:
            header = parse_header(self.fd, self.path)
        except ReadError as error:
            self.findings.append(error.finding)
            return self._layer("qcow2", 0, None)
        self.findings += header_findings(header, self.path, self.status.st_size)
        if header.has_data_file:
            self.findings.append(self._data_file_finding(header))
        backing_path = None
        if header.backing_file is not None:
            target = self._beside(header.backing_file)
            if isinstance(target, Finding):
                self.findings.append(target)
            else:
                backing_path = target
        return self._layer("qcow2", header.virtual_size, header, backing_path)

    def _judge_raw_backing(self, seen: str | None) -> None:
        """A raw layer is never probed by QEMU when its overlay says raw; another tool might."""
        if seen is None:
            return
        detail = (
            f"The layer is recorded as raw, but its content starts like {seen}. QEMU reads it as"
            " raw; never open it without saying so."
        )
        if seen == "qcow2" and self._names_a_file():
            self._critical(
                Code.RAW_LOOKS_FORMATTED,
                f"{detail} Its content names a further file, which a tool that guesses would open:"
                " the record is wrong, or a guest forged a header.",
            )
        else:
            self.findings.append(warning(Code.RAW_LOOKS_FORMATTED, self.path, detail))

    def _names_a_file(self) -> bool:
        try:
            header = parse_header(self.fd, self.path)
        except ReadError:
            return False
        return header.backing_file is not None or header.has_data_file

    def _judge_leaf(self, seen: str | None) -> None:
        if seen is None and self.status.st_size > formats.ISO_OFFSET:
            mark = os.pread(self.fd, len(formats.ISO_MARK), formats.ISO_OFFSET)
            seen = "an ISO image" if mark == formats.ISO_MARK else None
        if seen is not None:
            self._critical(
                Code.NOT_A_CHAIN_FORMAT,
                f"The content is {seen}. Chains are made of raw and qcow2 only: it is listed, but"
                " nothing is done with it.",
            )
        elif self.path.endswith(".qcow2"):
            self._critical(
                Code.HEADER_INVALID,
                "It is named .qcow2, but its content is not: the start of the file is damaged, or"
                " the name is wrong. Restore or rename it.",
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
            target = self._beside(name)
            if isinstance(target, str):
                return critical(
                    Code.DATA_FILE,
                    self.path,
                    f"Its data lives in another file, “{shown}”. Strata does not merge such"
                    " layers yet.",
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

    def _beside(self, name: str) -> str | Finding:
        """Find what a name in this layer's header stands for.

        (qemu-img looks for a relative data file in its own current directory; Strata refuses data
        files either way, and only says where one would be expected.)
        """
        return backing_from(self.root, self.path.rpartition("/")[0], self.path, name)

    def _critical(self, code: Code, detail: str) -> None:
        self.findings.append(critical(code, self.path, detail))

    def _layer(
        self, name: str, size: int, header: Header | None, backing_path: str | None = None
    ) -> Layer:
        status = self.status
        return Layer(
            path=self.path,
            format=name,
            virtual_size=size,
            file_size=status.st_size,
            on_disk=status.st_blocks * 512,
            mtime=status.st_mtime,
            cluster_size=header.cluster_size if header else None,
            backing_file=header.backing_file if header else None,
            backing_format=header.backing_format if header else None,
            backing_path=backing_path,
            fingerprint=Fingerprint.of(status),
            header=header,
            findings=tuple(self.findings),
        )


def _unreadable(path: str, hint: str | None, finding: Finding) -> Layer:
    nothing = Fingerprint(0, 0, 0, 0, 0)
    return Layer(
        path, hint or "raw", 0, 0, 0, 0.0, None, None, None, None, nothing, None, (finding,)
    )


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
