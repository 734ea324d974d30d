"""The header of a qcow2 file: what it says, bounded, before any tool opens the image.

Facts of the format are from QEMU's docs/interop/qcow2 ("Header"); the limits are those that QEMU's
block/qcow2.c enforces when it opens an image.
"""

import os
import struct
from typing import NamedTuple

from chains.core.errors import ReadError
from chains.core.findings import Code, critical
from chains.core.qcow2_extensions import (
    ExtensionError,
    Extensions,
    alike_extensions,
    read_extensions,
)

MAGIC = b"QFI\xfb"
# One page holds the header, its extensions and the backing name of nearly every image.
FIRST_READ = 4096
# Where the extensions of nearly every image have ended.
NEAR = 1024
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

# The fixed fields, by magic and version: version, backing file (offset, length), cluster
# bits, size, encryption, L1 table (entries, offset), reference count table (offset, clusters),
# snapshots (count, offset); then incompatible, compatible and autoclear features, the order of the
# reference counts and the length of the header, which version 2 leaves unsaid.
_FIELDS = {
    MAGIC + b"\0\0\0\x02": struct.Struct(">4xIQIIQIIQQIIQ"),
    MAGIC + b"\0\0\0\x03": struct.Struct(">4xIQIIQIIQQIIQQQQII"),
}
_OF_VERSION_2 = (0, 0, 0, 4, 72)
_COMPRESSION_NAMES = ("zlib", "zstd")
_ENCRYPTION_NAMES = (None, "aes", "luks")


class Header(NamedTuple):
    """What a qcow2 header says. Offsets and sizes are bytes; names as `os.fsdecode` gives them.

    `l1_needed` is how many L1 entries the virtual size takes; those beyond them belong to VM state.
    """

    version: int
    virtual_size: int
    cluster_bits: int
    backing_file: str | None
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


def parse_header(source: bytes | int, path: str = "", fd: int | None = None) -> Header:
    """Parse the header of a qcow2 image.

    `source` is the first bytes of the file (the whole first cluster, or as much as there is), or a
    file descriptor to read at most one cluster from. With `fd` beside bytes, more is read from it
    when they do not hold the whole header. `path` is only for the text of errors.

    Raises ReadError (`header-invalid`, `truncated`, `feature-unknown`, `backing-invalid`) for
    anything that QEMU would refuse to open.
    """
    if isinstance(source, int):
        return _Parser(_pread(source, FIRST_READ, path), path, source).parse()
    return _Parser(source, path, fd).parse()


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
        (
            version, backing_offset, backing_length, cluster_bits, size, crypt_method,
            l1_entries, l1_offset, refcount_offset, refcount_clusters, snapshots, snapshots_offset,
            incompatible, compatible, autoclear, refcount_order, header_length,
        ) = self._numbers()  # fmt: skip
        self._check_numbers(cluster_bits, size, crypt_method, refcount_order)
        cluster = 1 << cluster_bits
        least = 72 if version == 2 else 104
        if not least <= header_length <= cluster or header_length % 8:
            raise self._invalid(f"The header claims a length of {header_length} bytes.")
        # A field behind the end of the header is not there; version 2 ends before this one.
        compression = self.head[104] if header_length > 104 and len(self.head) > 104 else 0
        if compression or incompatible & INCOMPATIBLE_COMPRESSION:
            self._check_compression(compression, incompatible)
        self._check_tables(
            cluster, l1_entries, refcount_clusters, l1_offset | refcount_offset | snapshots_offset
        )
        extended = incompatible & INCOMPATIBLE_EXTENDED_L2
        if extended and (cluster_bits < 14 or version < 3):
            raise self._invalid("Sub-clusters need clusters of 16 KiB or more.")
        # An L2 table of one cluster holds cluster / entry size entries, of one cluster each.
        shift = 2 * cluster_bits - (4 if extended else 3)
        l1_needed = (size + (1 << shift) - 1) >> shift
        if l1_entries < l1_needed:
            raise self._invalid(
                f"The L1 table has {l1_entries} entries; a disk of {size} bytes needs {l1_needed}."
            )
        extensions = self._extensions(header_length, min(backing_offset or cluster, cluster))
        if extensions.encryption:
            self._check_encryption(crypt_method, extensions.encryption[0] & (cluster - 1))
        return Header(
            version,
            size - size % 512,  # QEMU counts whole sectors
            cluster_bits,
            self._backing_name(backing_offset, backing_length, cluster),
            l1_offset, l1_entries, l1_needed,
            refcount_offset, refcount_clusters, 1 << refcount_order,
            _ENCRYPTION_NAMES[crypt_method],
            snapshots, snapshots_offset,
            incompatible, compatible, autoclear, header_length,
            _COMPRESSION_NAMES[compression],
            extensions,
        )  # fmt: skip

    def _numbers(self) -> tuple[int, ...]:
        """Unpack the fixed fields, in the order of `_FIELDS`."""
        head = self.head
        fields = _FIELDS.get(head[:8])
        if fields is None or len(head) < fields.size:
            raise self._no_header()
        numbers: tuple[int, ...] = fields.unpack_from(head)
        return numbers if numbers[0] == 3 else numbers + _OF_VERSION_2

    def _no_header(self) -> ReadError:
        if self.head[:4] != MAGIC:
            return self._invalid("The file does not start like a qcow2 image.")
        if len(self.head) < 8 or self.head[:8] in _FIELDS:
            return self._truncated("ends inside its header")
        version = int.from_bytes(self.head[4:8], "big")
        return self._invalid(f"Version {version} of qcow2 is not known (2 and 3 are).")

    def _check_numbers(
        self, cluster_bits: int, size: int, crypt_method: int, refcount_order: int
    ) -> None:
        if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
            raise self._invalid(
                f"The cluster size is 2^{cluster_bits} bytes; 2^9 to 2^21 are legal."
            )
        if size > MAX_SIZE:
            raise self._invalid(f"The disk claims {size} bytes, more than any disk can have.")
        if crypt_method >= len(_ENCRYPTION_NAMES):
            raise self._invalid(f"Encryption method {crypt_method} is not known.")
        if refcount_order > 6:
            raise self._invalid("The reference counts claim more than 64 bits.")

    def _check_tables(
        self, cluster: int, l1_entries: int, refcount_clusters: int, offsets: int
    ) -> None:
        """Check the sizes of tables; `offsets` are those of all three, as one number: cluster sizes
        are powers of two."""
        if l1_entries * 8 > MAX_L1_BYTES:
            raise self._invalid(
                f"The L1 table claims {l1_entries} entries, more than QEMU opens (32 MiB)."
            )
        if not 0 < refcount_clusters * cluster <= MAX_REFCOUNT_TABLE:
            raise self._invalid("The reference count table is missing, or larger than QEMU opens.")
        if offsets & (cluster - 1) or offsets > MAX_OFFSET:
            raise self._invalid("A table does not start at a cluster of any file.")

    def _check_encryption(self, crypt_method: int, beside: int) -> None:
        if _ENCRYPTION_NAMES[crypt_method] != "luks" or beside:
            raise self._invalid("It points to an encryption header that it can not have.")

    def _check_compression(self, kind: int, incompatible: int) -> None:
        if bool(incompatible & INCOMPATIBLE_COMPRESSION) != bool(kind):
            raise self._invalid("The compression type contradicts the feature bits.")
        if kind >= len(_COMPRESSION_NAMES):
            raise ReadError(
                critical(
                    Code.FEATURE_UNKNOWN,
                    self.path,
                    f"Compression type {kind} is not known. A newer QEMU made this image:"
                    " leave it to that version.",
                )
            )

    def _backing_name(self, offset: int, length: int, cluster: int) -> str | None:
        if not offset or not length:
            return None
        if length > MAX_BACKING_NAME or offset + length > cluster:
            raise self._backing_invalid(
                f"The backing file's name claims {length} bytes at {offset}, which is not legal."
            )
        if offset + length > len(self.head):
            self._read_on()
            if offset + length > len(self.head):
                raise self._truncated("ends inside its header")
        name = self.head[offset : offset + length]
        if b"\0" in name:
            raise self._backing_invalid(
                "The backing file's name contains a zero byte: no file can have that name, and"
                " tools read it differently."
            )
        return os.fsdecode(name)

    def _extensions(self, start: int, end: int) -> Extensions:
        """Read the header extensions between `start` and `end` (bytes of the file)."""
        try:
            found = alike_extensions(self.head[start : min(end, NEAR)], start, end)
            if found is None:
                self._read_on()
                found = read_extensions(self.head[start:end], start, end)
        except ExtensionError as error:
            raise self._invalid(str(error)) from error
        if found is None:
            raise self._truncated("ends inside its header")
        return found

    def _read_on(self) -> None:
        """Read all that a header can take, where more can be read."""
        if self.fd is not None:
            self.head = _pread(self.fd, 1 << MAX_CLUSTER_BITS, self.path)
            self.fd = None

    def _invalid(self, detail: str) -> ReadError:
        return ReadError(
            critical(
                Code.HEADER_INVALID,
                self.path,
                f"{detail} No tool will be started on it: restore the volume, or move it away.",
            )
        )

    def _backing_invalid(self, detail: str) -> ReadError:
        return ReadError(
            critical(
                Code.BACKING_INVALID,
                self.path,
                f"{detail} The header is damaged or forged: restore the volume.",
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
