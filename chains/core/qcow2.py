"""The L1/L2 walk of one qcow2 layer: from tables to runs of data and zeroes.

Facts of the format are from QEMU's docs/interop/qcow2 ("Cluster mapping", "Extended L2 Entries").
Only L2 tables that exist are read, many at a time, into one buffer that is used again; what is kept
is runs, so memory follows fragmentation, not the size of the disk. Nothing is mapped into memory: a
file that is cut while it is read must not kill the process.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chains.core.errors import FragmentedError, ReadError
from chains.core.extents import MAX_RUNS, Bytes, ExtentMap, Int64s, Kind, joined
from chains.core.findings import Code, critical
from chains.core.qcow2_header import Header, parse_header, parse_named

__all__ = ["Header", "parse_header", "parse_named", "read_extents"]

UInt64s = NDArray[np.uint64]
Flags = NDArray[np.bool_]

# Bits 9–55 of a standard descriptor, and of an L1 entry, are the offset of a cluster.
OFFSET_MASK = np.uint64(0x00FF_FFFF_FFFF_FE00)
COPIED = np.uint64(1 << 63)
COMPRESSED = np.uint64(1 << 62)
ALL_ZEROES = np.uint64(1)  # bit 0: "reads as all zeroes", version 3 without sub-clusters only
SUB_CLUSTERS = 32
# The same masks for entries as they are stored, big-endian.
_STORED_OFFSET = OFFSET_MASK.byteswap()
_UNUSUAL = int(COMPRESSED | ALL_ZEROES)
# L2 bytes that are read and classified at once: small enough for the processor's cache.
BATCH = 2 * 1024**2


def read_extents(
    fd: int, header: Header, path: str = "", tick: Callable[[float], None] = lambda part: None
) -> ExtentMap:
    """Read the active L1 table and its L2 tables. `path` is only for the text of errors.

    `tick` is told now and then which part of the tables has been read, 0 to 1.

    Raises ReadError: `truncated` when a table or a cluster lies beyond the end of the file,
    `tables-invalid` when tables overlap, are unaligned or hold what no qcow2 can hold,
    `backing-unreadable` when the storage fails; FragmentedError beyond MAX_RUNS. Only tables are looked at, so encrypted and
    compressed images read like any other.
    """
    try:
        return _Walk(fd, header, path).run(tick)
    except OSError as error:
        raise ReadError(
            critical(
                Code.BACKING_UNREADABLE,
                path,
                f"Reading the tables failed: {error.strerror}. Check the storage.",
            )
        ) from error


@dataclass(frozen=True)
class _Runs:
    """Runs in units (clusters or sub-clusters), sorted within themselves."""

    starts: Int64s
    lengths: Int64s
    kinds: Bytes


class _Walk:
    def __init__(self, fd: int, header: Header, path: str) -> None:
        self.fd = fd
        self.header = header
        self.path = path
        status = os.fstat(fd)
        self.file_size = status.st_size
        self.on_disk = status.st_blocks * 512
        self.cluster = header.cluster_size
        self.per_table = self.cluster // header.entry_size
        self.units = SUB_CLUSTERS if header.extended_l2 else 1
        self.compressed = 0
        self.waits = False

    def run(self, tick: Callable[[float], None]) -> ExtentMap:
        tables, offsets, named = self._l2_tables()
        l2_bytes = named * self.cluster
        step = max(1, BATCH // self.cluster)
        buffer = bytearray(min(step, max(1, len(offsets))) * self.cluster)
        batches = []
        found = 0
        for at in range(0, len(offsets), step):
            chunk = offsets[at : at + step]
            self._fill(buffer, chunk, offsets[at + step : at + 2 * step])
            raw = np.frombuffer(buffer, np.uint64, len(chunk) * self.cluster // 8)
            batches.append(self._classify(raw, tables[at : at + step]))
            found += len(batches[-1].starts)
            if found > MAX_RUNS:
                raise FragmentedError(MAX_RUNS)
            tick(at / len(offsets))
        return self._assemble(batches, l2_bytes)

    def _l2_tables(self) -> tuple[Int64s, Int64s, int]:
        """Return the L2 tables by offset (index in the L1 table, offset), and how many are named.

        The L1 table is read in parts: once it has named more than the file has room for on disk,
        tables in holes are dropped at once, so that a claim costs nothing.
        """
        needed = self.header.l1_needed
        if self.header.l1_offset + needed * 8 > self.file_size:
            raise self._truncated("its L1 table lies beyond its end")
        buffer = memoryview(bytearray(min(needed * 8, BATCH)))
        parts, named = [(np.zeros(0, np.int64), np.zeros(0, np.int64))], 0
        for first in range(0, needed, BATCH // 8):
            part = buffer[: (needed - first) * 8]
            self._read_into(part, self.header.l1_offset + first * 8)
            tables, offsets = self._named_tables(np.frombuffer(part, np.uint64))
            named += len(offsets)
            if named * self.cluster > self.on_disk:
                kept = self._outside_holes(offsets)
                tables, offsets = tables[kept], offsets[kept]
            parts.append((tables + first, offsets))
        tables = np.concatenate([part[0] for part in parts])
        offsets = np.concatenate([part[1] for part in parts])
        order = np.argsort(offsets, kind="stable")
        tables, offsets = tables[order], offsets[order]
        if (offsets[1:] == offsets[:-1]).any():
            # Shared tables would also let a small file stand for any number of extents.
            raise self._invalid("two parts of the disk share one L2 table")
        return tables, offsets, named

    def _named_tables(self, entries: UInt64s) -> tuple[Int64s, Int64s]:
        """Return the tables that a part of the L1 table names, by offset."""
        # An offset of zero is "unallocated", whatever the other bits say.
        offsets = (entries.byteswap() & OFFSET_MASK).view(np.int64)
        present = np.flatnonzero(offsets)
        if len(present) < len(offsets):
            offsets = offsets[present]
        if int(np.bitwise_or.reduce(offsets)) & (self.cluster - 1):
            raise self._invalid("an L2 table does not start at a cluster")
        if len(offsets) and int(offsets.max()) + self.cluster > self.file_size:
            raise self._truncated("an L2 table lies beyond its end")
        if (offsets[1:] < offsets[:-1]).any():
            order = np.argsort(offsets, kind="stable")
            present, offsets = present[order], offsets[order]
        return present, offsets

    def _outside_holes(self, offsets: Int64s) -> Int64s:
        """Return the indexes of the tables that are stored at all; holes of the file read as zero.

        More table bytes than bytes on disk is how a small sparse file claims a huge disk.
        """
        kept = []
        at = 0
        while at < len(offsets):
            try:
                data = os.lseek(self.fd, int(offsets[at]), os.SEEK_DATA)
                hole = os.lseek(self.fd, data, os.SEEK_HOLE)
            except OSError:  # ENXIO: nothing but a hole up to the end
                break
            first = int(np.searchsorted(offsets, data - self.cluster, side="right"))
            last = max(int(np.searchsorted(offsets, hole)), at + 1)
            kept.append(np.arange(max(first, at), last))
            at = last
        return np.concatenate(kept) if kept else np.zeros(0, np.int64)

    def _fill(self, buffer: bytearray, offsets: Int64s, following: Int64s) -> None:
        """Read the tables at `offsets` one behind the other; neighbours in one call.

        Once something had to be waited for, the storage is told what comes next: it works on that
        while this processor works on what is here. (What is cached already is not worth telling.)
        """
        view, done = memoryview(buffer), 0
        told = False
        for start, length in self._stretches(offsets):
            part = view[done : done + length]
            got = self._read_cached(part, start)
            self.waits |= got < length
            if self.waits and not told:
                self._tell(offsets)
                self._tell(following)
                told = True
            self._read_into(part[got:], start + got)
            done += length

    def _tell(self, offsets: Int64s) -> None:
        for start, length in self._stretches(offsets):
            os.posix_fadvise(self.fd, start, length, os.POSIX_FADV_WILLNEED)

    def _read_cached(self, view: memoryview, offset: int) -> int:
        """Read as much as memory holds, without waiting for storage; returns bytes."""
        try:
            return os.preadv(self.fd, [view], offset, os.RWF_NOWAIT)
        except OSError:  # nothing is there, or this file system can not tell
            return 0

    def _stretches(self, offsets: Int64s) -> Iterator[tuple[int, int]]:
        """Join tables at neighbouring offsets: yields offset and length, bytes of the file."""
        breaks = np.flatnonzero(np.diff(offsets) != self.cluster) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(offsets)]):
            if last > first:
                yield int(offsets[first]), (last - first) * self.cluster

    def _read_into(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            got = os.preadv(self.fd, [view[done:]], offset + done)
            if got == 0:
                raise self._truncated("a table ended while it was read")
            done += got

    def _classify(self, raw: UInt64s, tables: Int64s) -> _Runs:
        """Turn a batch of L2 tables, one behind the other, into runs."""
        full = self._full_tables(raw)
        if not full.any():
            return self._entries(raw, tables)
        whole = tables[full]
        count = np.full(len(whole), self.per_table, np.int64)
        runs = _Runs(whole * self.per_table, count, np.full(len(whole), Kind.DATA, np.uint8))
        if full.all():
            return runs
        rest = self._entries(raw.reshape(len(tables), -1)[~full].ravel(), tables[~full])
        return _Runs(
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
        if self.units > 1 or self.header.has_data_file:
            full[:] = False
        for number in np.flatnonzero(full).tolist():
            row = rows[number]
            offsets = row & _STORED_OFFSET
            union = int(np.bitwise_or.reduce(row).byteswap())
            if union & _UNUSUAL or not offsets.all() or union & int(OFFSET_MASK) & self.cluster - 1:
                full[number] = False
            elif (union & int(OFFSET_MASK)) + self.cluster > self.file_size:
                # The union of all offsets is no smaller than the largest: only now it must be known.
                last = int(offsets.byteswap(inplace=True).max())
                full[number] = last + self.cluster <= self.file_size
        return full

    def _entries(self, raw: UInt64s, tables: Int64s) -> _Runs:
        """Turn tables into runs entry by entry."""
        bitmaps = None
        if self.units > 1:
            raw, bitmaps = raw[0::2], raw[1::2]
            slots = np.flatnonzero((raw != 0) | (bitmaps != 0))
            bitmaps = bitmaps[slots]
        else:
            slots = np.flatnonzero(raw)
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
        return _runs(positions, kinds)

    def _kinds(self, entries: UInt64s, clusters: Int64s) -> Bytes:
        """Classify standard and compressed descriptors; checks their offsets."""
        compressed = (entries & COMPRESSED) != 0
        zero = ((entries & ALL_ZEROES) != 0) & ~compressed
        held, offsets = self._held(entries, compressed, zero)
        self._check_end(offsets, clusters, held & ~compressed & ~zero, self.cluster)
        if self.header.version < 3 and zero.any():
            raise self._invalid("a version 2 image holds a zero cluster, which that version lacks")
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
            raise self._invalid("a sub-cluster is both allocated and zero")
        if allocated[~held].any():
            raise self._invalid("a sub-cluster is allocated in a cluster that is not")
        # QEMU writes no further than the last sub-cluster that it allocates.
        used = SUB_CLUSTERS - np.argmax(allocated[:, ::-1], axis=1)
        stored = held & ~compressed & allocated.any(axis=1)
        self._check_end(offsets, clusters, stored, used * (self.cluster // SUB_CLUSTERS))
        kinds = (allocated * np.uint8(Kind.DATA) + zero * np.uint8(Kind.ZERO)).ravel()
        chosen = np.flatnonzero(kinds)
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
            raise self._invalid("a cluster's offset is not aligned")
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
            raise self._truncated("compressed guest data lies beyond its end")
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
            raise self._truncated("guest data lies beyond its end")

    def _assemble(self, batches: list[_Runs], l2_bytes: int) -> ExtentMap:
        starts = np.concatenate([b.starts for b in batches] or [np.zeros(0, np.int64)])
        lengths = np.concatenate([b.lengths for b in batches] or [np.zeros(0, np.int64)])
        kinds = np.concatenate([b.kinds for b in batches] or [np.zeros(0, np.uint8)])
        if len(starts) and (np.diff(starts) < 0).any():  # tables are read in file order
            order = np.argsort(starts, kind="stable")
            starts, lengths, kinds = starts[order], lengths[order], kinds[order]
        unit = self.cluster // self.units
        return joined(
            self.header.virtual_size,
            starts * unit,
            lengths * unit,
            kinds,
            compressed=min(self.compressed, self.header.virtual_size),
            l2_bytes=l2_bytes,
        )

    def _invalid(self, what: str) -> ReadError:
        return ReadError(
            critical(
                Code.TABLES_INVALID,
                self.path,
                f"The tables are damaged: {what}. Run qemu-img check on a copy, or restore the"
                " volume.",
            )
        )

    def _truncated(self, what: str) -> ReadError:
        return ReadError(
            critical(
                Code.TRUNCATED,
                self.path,
                f"The file is cut: {what}. QEMU reads zeroes there without a word: restore the"
                " volume.",
            )
        )


def _runs(positions: Int64s, kinds: Bytes) -> _Runs:
    """Join neighbours of one kind; `positions` ascend within a table, tables come in any order."""
    if not len(positions):
        return _Runs(positions, positions, kinds)
    first = np.ones(len(positions), bool)
    first[1:] = (np.diff(positions) != 1) | (kinds[1:] != kinds[:-1])
    at = np.flatnonzero(first)
    return _Runs(positions[at], np.diff(np.append(at, len(positions))), kinds[at])
