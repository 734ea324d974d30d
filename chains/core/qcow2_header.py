"""The header of a qcow2 file: what it says, bounded, before any tool opens the image.

Facts of the format are from QEMU's docs/interop/qcow2 ("Header"); the limits are those that QEMU's
block/qcow2.c enforces when it opens an image.
"""

import os
import struct
import sys
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from chains.core.errors import ReadError
from chains.core.findings import Code, critical
from chains.core.qcow2_extensions import ExtensionError, Extensions, read_extensions
from chains.core.source import Source

MAGIC = b"QFI\xfb"
# One page holds the header, its extensions and the backing name of nearly every image.
FIRST_READ = 4096
# Where the extensions of nearly every image have ended, and more than any has of fixed fields.
NEAR, FIXED = 1024, 128
MAX_SIZE = 2**63 - 1
# QEMU's limits: clusters of 512 B to 2 MiB, an L1 table of 32 MiB, a reference
# count table of 8 MiB, a backing name of 1023 bytes.
MIN_CLUSTER_BITS, MAX_CLUSTER_BITS = 9, 21
MAX_L1_BYTES = 32 * 1024**2
MAX_REFCOUNT_TABLE = 8 * 1024**2
MAX_OFFSET = 2**62 - 1
MAX_BACKING_NAME = 1023

INCOMPATIBLE_DIRTY = 1 << 0
INCOMPATIBLE_CORRUPT = 1 << 1
INCOMPATIBLE_DATA_FILE = 1 << 2
INCOMPATIBLE_COMPRESSION = 1 << 3
INCOMPATIBLE_EXTENDED_L2 = 1 << 4
INCOMPATIBLE_KNOWN = 0b11111
COMPATIBLE_LAZY_REFCOUNTS = 1 << 0
AUTOCLEAR_BITMAPS = 1 << 0
AUTOCLEAR_RAW_DATA_FILE = 1 << 1

# The names of the feature bits, by mask (as a feature name table numbers them), in QEMU's words.
FEATURES = (
    ("dirty bit", "corrupt bit", "external data file", "compression type", "extended L2 entries"),
    ("lazy refcounts",),
    ("bitmaps", "raw external data"),
)

# The fixed fields, by version: version, backing file (offset, length), cluster
# bits, size, encryption, L1 table (entries, offset), reference count table (offset, clusters),
# snapshots (count, offset); then incompatible, compatible and autoclear features, the order of the
# reference counts and the length of the header, which version 2 leaves unsaid.
_FIELDS = {
    b"\0\0\0\x02": struct.Struct(">4xIQIIQIIQQIIQ"),
    b"\0\0\0\x03": struct.Struct(">4xIQIIQIIQQIIQQQQII"),
}
_OF_VERSION_2 = (0, 0, 0, 4, 72)
# What os.fsdecode looks up anew for every name.
_NAMES = sys.getfilesystemencoding()
_COMPRESSION_NAMES = ("zlib", "zstd")
_ENCRYPTION_NAMES = (None, "aes", "luks")


class Header(NamedTuple):
    """What a qcow2 header says. Offsets and sizes are bytes; names as `os.fsdecode` gives them.

    `l1_needed` is how many L1 entries the virtual size takes; those beyond them belong to VM state.
    `tables_end` is where the file ends at the earliest: behind its L1 and its refcount table.
    """

    version: int
    virtual_size: int
    cluster_bits: int
    backing_offset: int
    backing_length: int
    l1_offset: int
    l1_entries: int
    l1_needed: int
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
    extensions: Extensions
    tables_end: int

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def backing_format(self) -> str | None:
        """The format of the backing file, if it is recorded."""
        return self.extensions.backing_format

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
    def data_file(self) -> str | None:
        """The name of the file that guest data lives in, if it is recorded."""
        return self.extensions.data_file if self.has_data_file else None

    @property
    def data_file_raw(self) -> bool:
        """That file reads as a raw image of the whole disk."""
        return self.has_data_file and bool(self.autoclear & AUTOCLEAR_RAW_DATA_FILE)

    @property
    def extended_l2(self) -> bool:
        """L2 entries are 16 bytes and carry a bitmap of 32 sub-clusters."""
        return bool(self.incompatible & INCOMPATIBLE_EXTENDED_L2)

    @property
    def lazy_refcounts(self) -> bool:
        """Reference counts may be written late (which is what makes an image dirty)."""
        return bool(self.compatible & COMPATIBLE_LAZY_REFCOUNTS)

    @property
    def bitmaps(self) -> int:
        """How many bitmaps are in force; QEMU drops those that a writer has not kept up to date."""
        found = self.extensions.bitmaps
        return found.total if found and self.autoclear & AUTOCLEAR_BITMAPS else 0

    @property
    def unknown_incompatible(self) -> int:
        """The incompatible feature bits that this reader does not know; 0 is none."""
        return self.incompatible & ~INCOMPATIBLE_KNOWN

    @property
    def entry_size(self) -> int:
        """Bytes of one L2 entry."""
        return 16 if self.extended_l2 else 8

    def features(self, mask: int) -> list[str]:
        """Name the bits that are set in a mask: 0 incompatible, 1 compatible, 2 autoclear.

        An unknown bit has the name that the image gives it, or else "bit N"; such a name is as raw
        as a file name.
        """
        bits = (self.incompatible, self.compatible, self.autoclear)[mask]
        own = {(n.mask, n.bit): n.name for n in reversed(self.extensions.feature_names) if n.name}
        known = dict(enumerate(FEATURES[mask]))
        return [
            known.get(bit) or own.get((mask, bit)) or f"bit {bit}"
            for bit in range(bits.bit_length())
            if bits >> bit & 1
        ]


def parse_header(
    source: bytes | int | Source, path: str = "", more: int | Source | None = None
) -> Header:
    """Parse the header of a qcow2 image.

    `source` is the first bytes of the file (the whole first cluster, or as much as there is), or a
    file descriptor or another source to read at most one cluster from. Beside bytes, `more` is read
    from when they do not hold the whole header. `path` is only for the text of errors.

    Raises ReadError (`header-invalid`, `truncated`, `feature-unknown`, `backing-invalid`) for
    anything that QEMU would refuse to open.
    """
    return parse_named(source, path, more)[0]


def parse_named(
    source: bytes | int | Source, path: str = "", more: int | Source | None = None
) -> tuple[Header, str | None]:
    """Do the same, and return the name of the backing file too: all that two headers differ in."""
    if isinstance(source, bytes):
        head = source
    else:
        head, more = _pread(source, FIRST_READ, path), source
    # All that tells one image from the next stands behind its extensions: its backing file's name.
    end = int.from_bytes(head[8:16], "big")
    try:
        header = _alike(head[: end if FIXED <= end <= NEAR else NEAR])
        if header is None or header.backing_offset + header.backing_length > len(head):
            head = head if more is None else _pread(more, 1 << MAX_CLUSTER_BITS, path)
            header = _fixed(head)
        if header is None:
            raise _truncated()
        if header.backing_offset and header.backing_length:
            return header, _backing_name(header, head)
    except ReadError as error:
        raise ReadError(replace(error.finding, path=path)) from error
    return header, None


def _pread(source: int | Source, size: int, path: str) -> bytes:
    try:
        if isinstance(source, int):
            return os.pread(source, size, 0)
        return source.pread(size, 0)
    except OSError as error:
        reason = error.strerror or "unknown error"
        raise ReadError(
            critical(
                Code.BACKING_UNREADABLE,
                path,
                f"Reading the header failed: {reason}. Check the storage and the worker's rights.",
            )
        ) from error


def _fixed(head: bytes) -> Header | None:
    """Parse all but the backing file's name; None when `head` stops before the extensions do."""
    (
        version, backing_offset, backing_length, cluster_bits, size, crypt_method,
        l1_entries, l1_offset, refcount_offset, refcount_clusters, snapshots, snapshots_offset,
        incompatible, compatible, autoclear, refcount_order, header_length,
    ) = _numbers(head)  # fmt: skip
    _check_numbers(cluster_bits, size, crypt_method, refcount_order)
    cluster = 1 << cluster_bits
    least = 72 if version == 2 else 104
    if not least <= header_length <= cluster or header_length % 8:
        raise _invalid(f"The header claims a length of {header_length} bytes.")
    # A field behind the end of the header is not there; version 2 ends before this one.
    compression = head[104] if header_length > 104 and len(head) > 104 else 0
    _check_compression(compression, incompatible)
    _check_tables(
        cluster, l1_entries, refcount_clusters, l1_offset | refcount_offset | snapshots_offset
    )
    extended = incompatible & INCOMPATIBLE_EXTENDED_L2
    if extended and (cluster_bits < 14 or version < 3):
        raise _invalid("Sub-clusters need clusters of 16 KiB or more.")
    # An L2 table of one cluster holds cluster / entry size entries, of one cluster each.
    shift = 2 * cluster_bits - (4 if extended else 3)
    l1_needed = (size + (1 << shift) - 1) >> shift
    if l1_entries < l1_needed:
        raise _invalid(
            f"The L1 table has {l1_entries} entries; a disk of {size} bytes needs {l1_needed}."
        )
    if not refcount_offset or (l1_needed and not l1_offset):
        raise _invalid("A table lies over the header.")
    extensions = _extensions(head, header_length, min(backing_offset or cluster, cluster))
    if extensions is None:
        return None
    encryption = _ENCRYPTION_NAMES[crypt_method]
    if extensions.encryption and (encryption != "luks" or extensions.encryption[0] % cluster):
        raise _invalid("It points to an encryption header that it can not have.")
    return Header(
        version,
        size - size % 512,  # QEMU counts whole sectors
        cluster_bits, backing_offset, backing_length,
        l1_offset, l1_entries, l1_needed,
        refcount_offset, refcount_clusters, 1 << refcount_order,
        encryption, snapshots, snapshots_offset,
        incompatible, compatible, autoclear, header_length,
        _COMPRESSION_NAMES[compression], extensions,
        max(l1_offset + l1_needed * 8, refcount_offset + refcount_clusters * cluster),
    )  # fmt: skip


# The images of a domain were made by the same tools, many of one size: most of them begin alike.
_alike = lru_cache(maxsize=512)(_fixed)


def _numbers(head: bytes) -> tuple[int, ...]:
    """Unpack the fixed fields, in the order of `_FIELDS`."""
    if head[:4] != MAGIC:
        raise _invalid("The file does not start like a qcow2 image.")
    if len(head) < 8:
        raise _truncated()
    fields = _FIELDS.get(head[4:8])
    if fields is None:
        version = int.from_bytes(head[4:8], "big")
        raise _invalid(f"Version {version} of qcow2 is not known (2 and 3 are).")
    if len(head) < fields.size:
        raise _truncated()
    numbers: tuple[int, ...] = fields.unpack_from(head)
    return numbers if numbers[0] == 3 else numbers + _OF_VERSION_2


def _check_numbers(cluster_bits: int, size: int, crypt_method: int, refcount_order: int) -> None:
    if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
        raise _invalid(f"The cluster size is 2^{cluster_bits} bytes; 2^9 to 2^21 are legal.")
    if size > MAX_SIZE:
        raise _invalid(f"The disk claims {size} bytes, more than any disk can have.")
    if crypt_method >= len(_ENCRYPTION_NAMES):
        raise _invalid(f"Encryption method {crypt_method} is not known.")
    if refcount_order > 6:
        raise _invalid("The reference counts claim more than 64 bits.")


def _check_tables(cluster: int, l1_entries: int, refcount_clusters: int, offsets: int) -> None:
    """Check the sizes of tables, and all their offsets as one number: clusters are powers of two."""
    if l1_entries * 8 > MAX_L1_BYTES:
        raise _invalid(f"The L1 table claims {l1_entries} entries, more than QEMU opens (32 MiB).")
    if not 0 < refcount_clusters * cluster <= MAX_REFCOUNT_TABLE:
        raise _invalid("The reference count table is missing, or larger than QEMU opens.")
    if offsets & (cluster - 1) or offsets > MAX_OFFSET:
        raise _invalid("A table does not start at a cluster of any file.")


def _check_compression(kind: int, incompatible: int) -> None:
    if bool(incompatible & INCOMPATIBLE_COMPRESSION) != bool(kind):
        raise _invalid("The compression type contradicts the feature bits.")
    if kind >= len(_COMPRESSION_NAMES):
        detail = f"Compression type {kind} is not known. A newer QEMU made this image: leave it to"
        raise ReadError(critical(Code.FEATURE_UNKNOWN, "", f"{detail} that version."))


def _extensions(head: bytes, start: int, end: int) -> Extensions | None:
    """Read the header extensions between `start` and `end` (bytes of the file)."""
    try:
        return read_extensions(head[start:end], start, end)
    except ExtensionError as error:
        raise _invalid(str(error)) from error


def _backing_name(header: Header, head: bytes) -> str:
    offset, length = header.backing_offset, header.backing_length
    if length > MAX_BACKING_NAME or offset + length > header.cluster_size:
        raise _backing_invalid(
            f"The backing file's name claims {length} bytes at {offset}, which is not legal."
        )
    if offset + length > len(head):
        raise _truncated()
    name = head[offset : offset + length]
    if b"\0" in name:
        raise _backing_invalid(
            "The backing file's name contains a zero byte: no file can have that name, and"
            " tools read it differently."
        )
    return name.decode(_NAMES, "surrogateescape")


def _invalid(detail: str) -> ReadError:
    more = "No tool will be started on it: restore the volume, or move it away."
    return ReadError(critical(Code.HEADER_INVALID, "", f"{detail} {more}"))


def _backing_invalid(detail: str) -> ReadError:
    more = "The header is damaged or forged: restore the volume."
    return ReadError(critical(Code.BACKING_INVALID, "", f"{detail} {more}"))


def _truncated() -> ReadError:
    detail = "The file ends inside its header: it was cut, or its copy is not finished."
    return ReadError(critical(Code.TRUNCATED, "", f"{detail} Restore the volume."))
