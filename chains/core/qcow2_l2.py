"""What the entries of L2 tables say: from tables, as they are stored, to runs of clusters.

Facts of the format are from QEMU's docs/interop/qcow2 ("Cluster mapping", "Extended L2 Entries").
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chains.core.errors import ReadError
from chains.core.extents import Bytes, Int64s, Kind
from chains.core.findings import Code, critical
from chains.core.qcow2_header import Header

UInt64s = NDArray[np.uint64]
Flags = NDArray[np.bool_]

# Bits 9–55 of a standard descriptor, and of an L1 entry, are the offset of a cluster.
OFFSET_MASK = np.uint64(0x00FF_FFFF_FFFF_FE00)
COPIED = np.uint64(1 << 63)
COMPRESSED = np.uint64(1 << 62)
ALL_ZEROES = np.uint64(1)  # bit 0: "reads as all zeroes", version 3 without sub-clusters only
SUB_CLUSTERS = 32
_STORED_COPIED = COPIED.byteswap()  # as it is stored, big-endian
# All that is not the offset of a cluster, or the word that nobody shares it.
_UNUSUAL = ~int(OFFSET_MASK | COPIED) & (1 << 64) - 1


@dataclass(frozen=True)
class Runs:
    """Runs in units (clusters or sub-clusters), sorted within themselves."""

    starts: Int64s
    lengths: Int64s
    kinds: Bytes


class L2Entries:
    """Reads the L2 tables of one layer, whose file has `file_size` bytes.

    `path` is only for the text of errors. `compressed` counts the guest bytes of the compressed
    clusters met so far. Raises ReadError: `truncated`, `tables-invalid`.
    """

    def __init__(self, header: Header, path: str, file_size: int) -> None:
        self.header = header
        self.path = path
        self.file_size = file_size
        self.cluster = header.cluster_size
        self.per_table = self.cluster // header.entry_size
        self.units = SUB_CLUSTERS if header.extended_l2 else 1
        self.compressed = 0

    def runs(self, raw: UInt64s, tables: Int64s) -> Runs:
        """Turn a batch of L2 tables, one behind the other, into runs."""
        full = self._full_tables(raw)
        if not full.any():
            return self._entries(raw, tables)
        whole = tables[full]
        count = np.full(len(whole), self.per_table, np.int64)
        runs = Runs(whole * self.per_table, count, np.full(len(whole), Kind.DATA, np.uint8))
        if full.all():
            return runs
        rest = self._entries(raw.reshape(len(tables), -1)[~full].ravel(), tables[~full])
        return Runs(
            np.concatenate((runs.starts, rest.starts)),
            np.concatenate((runs.lengths, rest.lengths)),
            np.concatenate((runs.kinds, rest.kinds)),
        )

    def _full_tables(self, raw: UInt64s) -> Flags:
        """Say which tables hold ordinary data in every entry, as those of sequential writes do.

        They are one run, whatever the order of their clusters: a few passes over the bytes as they
        are stored tell, where taking entries apart takes many.
        """
        rows = raw.reshape(-1, self.cluster // 8)
        full: Flags = (rows[:, 0] != 0) & (rows[:, -1] != 0) & (rows[:, rows.shape[1] // 2] != 0)
        if self.units > 1 or self.header.has_data_file or not full.any():
            full[:] = False
            return full
        if full.all() and self._is_full(raw):
            return full
        for number in np.flatnonzero(full).tolist():
            full[number] = self._is_full(rows[number])
        return full

    def _is_full(self, entries: UInt64s) -> bool:
        """Say the same of entries that stand one behind the other."""
        union = int(np.bitwise_or.reduce(entries).byteswap())
        if union & _UNUSUAL or union & int(OFFSET_MASK) & self.cluster - 1:
            return False
        # Without other bits only these two have an offset of zero.
        if not ((entries != 0) & (entries != _STORED_COPIED)).all():
            return False
        if (union & int(OFFSET_MASK)) + self.cluster > self.file_size:
            # The union of all offsets is no smaller than the largest: only now that must be known.
            largest = int((entries.byteswap() & OFFSET_MASK).max())
            return largest + self.cluster <= self.file_size
        return True

    def _entries(self, raw: UInt64s, tables: Int64s) -> Runs:
        """Turn tables into runs entry by entry."""
        bitmaps = None
        if self.units > 1:
            raw, bitmaps = raw[0::2], raw[1::2]
            slots = np.flatnonzero((raw != 0) | (bitmaps != 0))
            bitmaps = bitmaps[slots]
        else:
            # (Of numbers numpy counts and collects one by one, of flags many at once.)
            slots = np.flatnonzero(raw != 0)
        entries = raw[slots].byteswap()
        table = slots // self.per_table
        clusters = (tables[table] - table) * self.per_table + slots
        if bitmaps is not None:
            positions, kinds = self._sub_clusters(entries, bitmaps, clusters)
        else:
            kinds = self._kinds(entries, clusters)
            positions = clusters
            if not kinds.all():
                positions, kinds = positions[kinds != 0], kinds[kinds != 0]
        return _joined(positions, kinds)

    def _kinds(self, entries: UInt64s, clusters: Int64s) -> Bytes:
        """Classify standard and compressed descriptors; checks their offsets."""
        compressed = (entries & COMPRESSED) != 0
        zero = ((entries & ALL_ZEROES) != 0) & ~compressed
        held, offsets = self._held(entries, compressed, zero)
        self._check_end(offsets, clusters, held & ~compressed & ~zero, self.cluster)
        if self.header.version < 3 and zero.any():
            raise tables_invalid(
                self.path, "a version 2 image holds a zero cluster, which that version lacks"
            )
        kinds = np.where(held, np.uint8(Kind.DATA), np.uint8(Kind.UNALLOCATED))
        kinds[zero] = Kind.ZERO
        return kinds

    def _sub_clusters(
        self, entries: UInt64s, bitmaps: UInt64s, clusters: Int64s
    ) -> tuple[Int64s, Bytes]:
        """Classify extended entries: bits 0–31 of a bitmap say "allocated", 32–63 "zero"."""
        compressed = (entries & COMPRESSED) != 0
        held, offsets = self._held(entries, compressed, np.zeros(len(entries), bool))
        bits = bitmaps.view(np.uint8).reshape(-1, 8)[:, ::-1]  # stored big-endian
        flags = np.unpackbits(np.ascontiguousarray(bits), axis=1, bitorder="little")
        allocated, zero = flags[:, :SUB_CLUSTERS], flags[:, SUB_CLUSTERS:]
        allocated[compressed], zero[compressed] = 1, 0
        if (allocated & zero).any():
            raise tables_invalid(self.path, "a sub-cluster is both allocated and zero")
        if allocated[~held].any():
            raise tables_invalid(self.path, "a sub-cluster is allocated in a cluster that is not")
        # QEMU writes no further than the last sub-cluster that it allocates.
        used = SUB_CLUSTERS - np.argmax(allocated[:, ::-1], axis=1)
        stored = held & ~compressed & allocated.any(axis=1)
        self._check_end(offsets, clusters, stored, used * (self.cluster // SUB_CLUSTERS))
        kinds = (allocated * np.uint8(Kind.DATA) + zero * np.uint8(Kind.ZERO)).ravel()
        chosen = np.flatnonzero(kinds != 0)
        positions = clusters[chosen // SUB_CLUSTERS] * SUB_CLUSTERS + chosen % SUB_CLUSTERS
        return positions, kinds[chosen]

    def _held(self, entries: UInt64s, compressed: Flags, zero: Flags) -> tuple[Flags, Int64s]:
        """Say which entries point to a host cluster, and where: bytes of the file."""
        offsets = (entries & OFFSET_MASK).astype(np.int64)
        packed = entries[compressed]
        if len(packed):
            offsets[compressed] = 0
        held: Flags = (offsets > 0) | compressed
        if self.header.has_data_file:
            # Offset 0 is legal in an external data file; then "copied" tells it from nothing.
            held |= ((entries & COPIED) != 0) & ~zero
            return held, offsets
        if (offsets & (self.cluster - 1)).any():
            raise tables_invalid(self.path, "a cluster's offset is not aligned")
        if len(packed):
            self._check_compressed(packed)
        return held, offsets

    def _check_compressed(self, entries: UInt64s) -> None:
        """Check that compressed data lies in the file ("Compressed Clusters Descriptor").

        Bits 0 to x-1 are a byte offset, bits x to 61 the number of 512-byte sectors beyond the one
        that it lies in. Data ends anywhere in the last sector, and the file may end with it.
        """
        width = 62 - (self.header.cluster_bits - 8)
        offsets = (entries & np.uint64((1 << width) - 1)).astype(np.int64)
        more = ((entries & ~COPIED & ~COMPRESSED) >> np.uint64(width)).astype(np.int64)
        last = np.maximum(offsets, (offsets & ~511) + more * 512)
        if int(last.max()) >= self.file_size:
            raise tables_cut(self.path, "compressed guest data lies beyond its end")
        self.compressed += len(entries) * self.cluster

    def _check_end(
        self, offsets: Int64s, clusters: Int64s, stored: Flags, spans: Int64s | int
    ) -> None:
        """Check that the file holds the first `spans` bytes of each stored cluster, as far as they
        belong to the disk."""
        if self.header.has_data_file or not len(offsets):
            return
        if int(offsets.max()) + self.cluster <= self.file_size:
            return
        in_disk = self.header.virtual_size - clusters * self.cluster
        ends = offsets + np.minimum(spans, in_disk)
        if (ends[stored] > self.file_size).any():
            raise tables_cut(self.path, "guest data lies beyond its end")


def _joined(positions: Int64s, kinds: Bytes) -> Runs:
    """Join neighbours of one kind; `positions` ascend within a table, tables come in any order."""
    if not len(positions):
        return Runs(positions, positions, kinds)
    first = np.ones(len(positions), bool)
    first[1:] = (np.diff(positions) != 1) | (kinds[1:] != kinds[:-1])
    at = np.flatnonzero(first)
    return Runs(positions[at], np.diff(np.append(at, len(positions))), kinds[at])


def tables_invalid(path: str, what: str) -> ReadError:
    """Say that tables hold what no qcow2 can hold."""
    return ReadError(
        critical(
            Code.TABLES_INVALID,
            path,
            f"The tables are damaged: {what}. Run qemu-img check on a copy, or restore the volume.",
        )
    )


def tables_cut(path: str, what: str) -> ReadError:
    """Say that a file ends before its tables, or before what they name."""
    return ReadError(
        critical(
            Code.TRUNCATED,
            path,
            f"The file is cut: {what}. QEMU reads zeroes there without a word: restore the volume.",
        )
    )
