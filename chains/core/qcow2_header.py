"""The header of a qcow2 file: what it says, bounded, before any tool opens the image.

Facts of the format are from QEMU's docs/interop/qcow2 ("Header", "Header extensions"); the limits
are those that QEMU's block/qcow2.c enforces when it opens an image.
"""

import os
import struct
from dataclasses import dataclass
from typing import Any

from chains.core.errors import ReadError
from chains.core.findings import Code, critical

MAGIC = b"QFI\xfb"
# One page holds the header, its extensions and the backing name of nearly every image.
FIRST_READ = 4096
MAX_SIZE = 2**63 - 1
# QEMU's limits: clusters of 512 B to 2 MiB, an L1 table of 32 MiB, a reference
# count table of 8 MiB, a backing name of 1023 bytes.
MIN_CLUSTER_BITS, MAX_CLUSTER_BITS = 9, 21
MAX_L1_BYTES = 32 * 1024**2
MAX_REFCOUNT_TABLE = 8 * 1024**2
MAX_OFFSET = 2**62 - 1
MAX_BACKING_NAME = 1023
MAX_FORMAT_NAME = 15

INCOMPATIBLE_DIRTY = 1 << 0
INCOMPATIBLE_CORRUPT = 1 << 1
INCOMPATIBLE_DATA_FILE = 1 << 2
INCOMPATIBLE_COMPRESSION = 1 << 3
INCOMPATIBLE_EXTENDED_L2 = 1 << 4
INCOMPATIBLE_KNOWN = 0b11111
COMPATIBLE_LAZY_REFCOUNTS = 1 << 0
AUTOCLEAR_BITMAPS = 1 << 0
AUTOCLEAR_RAW_DATA_FILE = 1 << 1

EXTENSION_BACKING_FORMAT = 0xE2792ACA
EXTENSION_FEATURE_NAMES = 0x6803F857
EXTENSION_BITMAPS = 0x23852875
EXTENSION_ENCRYPTION = 0x0537BE77
EXTENSION_DATA_FILE = 0x44415441

# The fixed fields behind the magic, in their order in the file: by version, and their names.
_FIELDS = {2: struct.Struct(">IQIIQIIQQIIQ"), 3: struct.Struct(">IQIIQIIQQIIQQQQII")}
_NAMES = (
    "version", "backing_offset", "backing_length", "cluster_bits", "virtual_size", "crypt_method",
    "l1_entries", "l1_offset", "refcount_offset", "refcount_clusters", "snapshots",
    "snapshots_offset",
    "incompatible", "compatible", "autoclear", "refcount_order", "header_length",
)  # fmt: skip
_OF_VERSION_2 = {
    "incompatible": 0, "compatible": 0, "autoclear": 0, "refcount_order": 4, "header_length": 72,
}  # fmt: skip
_EXTENSION = struct.Struct(">II")
# (type, offset, length) of each header extension; the offset is that of its data.
Extensions = tuple[tuple[int, int, int], ...]
_COMPRESSION_NAMES = {0: "zlib", 1: "zstd"}
_ENCRYPTION_NAMES = {0: None, 1: "aes", 2: "luks"}


@dataclass(frozen=True)
class Header:
    """What a qcow2 header says. Offsets and sizes are bytes; names as `os.fsdecode` gives them."""

    version: int
    virtual_size: int
    cluster_bits: int
    backing_file: str | None
    backing_format: str | None
    l1_offset: int
    l1_entries: int
    refcount_offset: int
    refcount_clusters: int
    refcount_bits: int
    encryption: str | None
    snapshots: int
    snapshots_offset: int
    incompatible: int
    compatible: int
    autoclear: int
    header_length: int
    compression: str
    data_file: str | None
    bitmaps: int
    extensions: Extensions
    feature_names: tuple[str, ...]  # the image's own names for the incompatible bits unknown here

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def dirty(self) -> bool:
        """The reference counts may be stale: the image was not closed in order."""
        return bool(self.incompatible & INCOMPATIBLE_DIRTY)

    @property
    def corrupt(self) -> bool:
        """QEMU met damage and marked the image: it must not be written."""
        return bool(self.incompatible & INCOMPATIBLE_CORRUPT)

    @property
    def has_data_file(self) -> bool:
        """Guest data lives in another file, whether or not its name is recorded."""
        return bool(self.incompatible & INCOMPATIBLE_DATA_FILE)

    @property
    def extended_l2(self) -> bool:
        """L2 entries are 16 bytes and carry a bitmap of 32 sub-clusters."""
        return bool(self.incompatible & INCOMPATIBLE_EXTENDED_L2)

    @property
    def lazy_refcounts(self) -> bool:
        """Reference counts may be written late (which is what makes an image dirty)."""
        return bool(self.compatible & COMPATIBLE_LAZY_REFCOUNTS)

    @property
    def unknown_incompatible(self) -> int:
        """The incompatible feature bits that this reader does not know; 0 is none."""
        return self.incompatible & ~INCOMPATIBLE_KNOWN

    @property
    def entry_size(self) -> int:
        """Bytes of one L2 entry."""
        return 16 if self.extended_l2 else 8

    @property
    def l1_needed(self) -> int:
        """How many L1 entries the virtual size takes; entries beyond them belong to VM state."""
        # An L2 table of one cluster holds cluster / entry size entries, of one cluster each.
        shift = 2 * self.cluster_bits - (4 if self.extended_l2 else 3)
        return (self.virtual_size + (1 << shift) - 1) >> shift


def parse_header(source: bytes | int, path: str = "") -> Header:
    """Parse the header of a qcow2 image.

    `source` is the first bytes of the file (the whole first cluster, or as much as there is), or a
    file descriptor to read at most one cluster from. `path` is only for the text of errors.

    Raises ReadError (`header-invalid`, `truncated`, `feature-unknown`, `backing-invalid`) for
    anything that QEMU would refuse to open.
    """
    if isinstance(source, int):
        head = _pread(source, FIRST_READ, path)
        return _Parser(head, path, source).parse()
    return _Parser(source, path, None).parse()


def _pread(fd: int, size: int, path: str) -> bytes:
    try:
        return os.pread(fd, size, 0)
    except OSError as error:
        reason = error.strerror or "unknown error"
        raise ReadError(
            critical(
                Code.BACKING_UNREADABLE,
                path,
                f"Reading the header failed: {reason}. Check the storage and the worker's rights.",
            )
        ) from error


class _Parser:
    """One pass over the bytes of a header; it reads further, up to a cluster, only when it must."""

    def __init__(self, head: bytes, path: str, fd: int | None) -> None:
        self.head = head
        self.path = path
        self.fd = fd

    def parse(self) -> Header:
        facts = self._numbers()
        version, cluster_bits, size = facts["version"], facts["cluster_bits"], facts["virtual_size"]
        incompatible, compression = facts["incompatible"], facts["compression"]
        self._check_numbers(facts)
        self._check_compression(incompatible, compression)
        self._check_tables(facts)
        cluster = 1 << cluster_bits
        backing_offset = facts.pop("backing_offset")
        facts["backing_file"] = self._backing_name(
            backing_offset, facts.pop("backing_length"), cluster
        )
        extensions = self._extensions(
            facts["header_length"], min(backing_offset or cluster, cluster)
        )
        facts["extensions"] = extensions
        facts["backing_format"], facts["data_file"], facts["bitmaps"] = self._contents(extensions)
        unknown = incompatible & ~INCOMPATIBLE_KNOWN
        facts["feature_names"] = self._feature_names(unknown, extensions) if unknown else ()
        facts["virtual_size"] = size - size % 512  # QEMU counts whole sectors
        facts["refcount_bits"] = 1 << facts.pop("refcount_order")
        facts["encryption"] = _ENCRYPTION_NAMES[facts.pop("crypt_method")]
        facts["compression"] = _COMPRESSION_NAMES[compression]
        # A frozen dataclass sets its fields one by one, which would take a third of the time that
        # a whole header takes; `facts` has exactly its fields (a test compares them).
        header = Header.__new__(Header)
        object.__setattr__(header, "__dict__", facts)
        if incompatible & INCOMPATIBLE_EXTENDED_L2 and (cluster_bits < 14 or version < 3):
            raise self._invalid("Sub-clusters need clusters of 16 KiB or more.")
        if header.l1_entries < header.l1_needed:
            raise self._invalid(
                f"The L1 table has {header.l1_entries} entries; a disk of {size} bytes needs"
                f" {header.l1_needed}."
            )
        return header

    def _numbers(self) -> dict[str, Any]:
        """Unpack the fixed fields, by the names of Header where they are the same."""
        head = self.head
        if head[:4] != MAGIC:
            raise self._invalid("The file does not start like a qcow2 image.")
        if len(head) < 8:
            raise self._truncated("ends inside its header")
        version = int.from_bytes(head[4:8], "big")
        fields = _FIELDS.get(version)
        if fields is None:
            raise self._invalid(f"Version {version} of qcow2 is not known (2 and 3 are).")
        if len(head) < 4 + fields.size:
            raise self._truncated("ends inside its header")
        facts: dict[str, Any] = dict(zip(_NAMES, fields.unpack_from(head, 4), strict=False))
        facts["compression"] = 0
        if version == 2:
            facts.update(_OF_VERSION_2)
        elif facts["header_length"] > 104 and len(head) > 104:
            facts["compression"] = head[104]
        return facts

    def _check_numbers(self, facts: dict[str, Any]) -> None:
        cluster_bits, size = facts["cluster_bits"], facts["virtual_size"]
        header_length = facts["header_length"]
        if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
            raise self._invalid(
                f"The cluster size is 2^{cluster_bits} bytes; 2^9 to 2^21 are legal."
            )
        if size > MAX_SIZE:
            raise self._invalid(f"The disk claims {size} bytes, more than any disk can have.")
        if facts["crypt_method"] not in _ENCRYPTION_NAMES:
            raise self._invalid(f"Encryption method {facts['crypt_method']} is not known.")
        if facts["refcount_order"] > 6:
            raise self._invalid("The reference counts claim more than 64 bits.")
        if not 72 <= header_length <= 1 << cluster_bits or header_length % 8:
            raise self._invalid(f"The header claims a length of {header_length} bytes.")
        if facts["version"] == 3 and header_length < 104:
            raise self._invalid("The header is shorter than version 3 allows.")

    def _check_compression(self, incompatible: int, compression: int) -> None:
        if bool(incompatible & INCOMPATIBLE_COMPRESSION) != bool(compression):
            raise self._invalid("The compression type contradicts the feature bits.")
        if compression not in _COMPRESSION_NAMES:
            raise ReadError(
                critical(
                    Code.FEATURE_UNKNOWN,
                    self.path,
                    f"Compression type {compression} is not known. A newer QEMU made this image:"
                    " leave it to that version.",
                )
            )

    def _check_tables(self, facts: dict[str, Any]) -> None:
        entries, cluster = facts["l1_entries"], 1 << facts["cluster_bits"]
        if entries * 8 > MAX_L1_BYTES:
            raise self._invalid(
                f"The L1 table claims {entries} entries, more than QEMU opens (32 MiB)."
            )
        if not 0 < facts["refcount_clusters"] * cluster <= MAX_REFCOUNT_TABLE:
            raise self._invalid("The reference count table is missing, or larger than QEMU opens.")
        # One test for all three: cluster sizes are powers of two.
        mixed = facts["l1_offset"] | facts["refcount_offset"] | facts["snapshots_offset"]
        if mixed & (cluster - 1) or mixed > MAX_OFFSET:
            raise self._invalid("A table does not start at a cluster of any file.")

    def _backing_name(self, offset: int, length: int, cluster: int) -> str | None:
        if not offset or not length:
            return None
        if length > MAX_BACKING_NAME or offset + length > cluster:
            raise ReadError(
                critical(
                    Code.BACKING_INVALID,
                    self.path,
                    f"The backing file's name claims {length} bytes at {offset}, which is not"
                    " legal. The header is damaged or forged: restore the volume.",
                )
            )
        name = self._slice(offset, length)
        if b"\0" in name:
            raise ReadError(
                critical(
                    Code.BACKING_INVALID,
                    self.path,
                    "The backing file's name contains a zero byte: no file can have that name, and"
                    " tools read it differently. The header is damaged or forged.",
                )
            )
        return os.fsdecode(name)

    def _extensions(self, start: int, end: int) -> Extensions:
        """List the header extensions between `start` and `end` (bytes of the file)."""
        found: list[tuple[int, int, int]] = []
        while start + 8 <= end:
            if start + 8 > len(self.head):
                self._slice(start, 8)
            kind, length = _EXTENSION.unpack_from(self.head, start)
            if kind == 0:
                break
            start += 8
            if length > end - start:
                raise self._invalid("A header extension runs out of its area.")
            found.append((kind, start, length))
            start += (length + 7) & ~7
        return tuple(found)

    def _contents(self, extensions: Extensions) -> tuple[str | None, str | None, int]:
        """Return the backing format, the name of the data file and the number of bitmaps."""
        backing_format = data_file = None
        bitmaps = 0
        for kind, offset, length in extensions:
            if kind == EXTENSION_BACKING_FORMAT:
                backing_format = self._named(offset, length, MAX_FORMAT_NAME)
            elif kind == EXTENSION_DATA_FILE:
                data_file = self._named(offset, length, MAX_BACKING_NAME)
            elif kind == EXTENSION_BITMAPS and length >= 24:
                bitmaps = int.from_bytes(self._slice(offset, 4), "big")  # nb_bitmaps
        return backing_format, data_file, bitmaps

    def _named(self, offset: int, length: int, limit: int) -> str | None:
        if length > limit:
            raise self._invalid(f"A name in the header extensions is longer than {limit} bytes.")
        value = self._slice(offset, length)
        if b"\0" in value:
            raise self._invalid("A name in the header extensions contains a zero byte.")
        return os.fsdecode(value) if value else None

    def _feature_names(self, unknown: int, extensions: Extensions) -> tuple[str, ...]:
        """Return the image's own names for unknown incompatible bits (48-byte table entries)."""
        names = []
        for kind, offset, length in extensions:
            table = self._slice(offset, length) if kind == EXTENSION_FEATURE_NAMES else b""
            for at in range(0, len(table) - 47, 48):
                feature, bit = table[at], table[at + 1]
                if feature == 0 and bit < 64 and unknown >> bit & 1:
                    names.append(os.fsdecode(table[at + 2 : at + 48].rstrip(b"\0")))
        return tuple(names[:64])

    def _slice(self, offset: int, length: int) -> bytes:
        if offset + length > len(self.head) and self.fd is not None:
            self.head = _pread(self.fd, 1 << MAX_CLUSTER_BITS, self.path)
            self.fd = None
        if offset + length > len(self.head):
            raise self._truncated("ends inside its header")
        return self.head[offset : offset + length]

    def _invalid(self, detail: str) -> ReadError:
        return ReadError(
            critical(
                Code.HEADER_INVALID,
                self.path,
                f"{detail} No tool will be started on it: restore the volume, or move it away.",
            )
        )

    def _truncated(self, what: str) -> ReadError:
        return ReadError(
            critical(
                Code.TRUNCATED,
                self.path,
                f"The file {what}: it was cut, or its copy is not finished. Restore the volume.",
            )
        )
