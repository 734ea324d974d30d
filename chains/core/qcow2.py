"""The L1/L2 walk of one qcow2 layer: from tables to runs of data and zeroes.

Facts of the format are from QEMU's docs/interop/qcow2 ("Cluster mapping", "Extended L2 Entries").
Only L2 tables that exist are read, many at a time, into one buffer that is used again; what is kept
is runs, so memory follows fragmentation, not the size of the disk. Nothing is mapped into memory: a
file that is cut while it is read must not kill the process.
"""

import errno
import mmap
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from chains.core.errors import FragmentedError, ReadError
from chains.core.extents import MAX_RUNS, ExtentMap, Int64s, joined
from chains.core.findings import Code, critical
from chains.core.qcow2_header import Header, parse_header, parse_named
from chains.core.qcow2_l2 import OFFSET_MASK, L2Entries, Runs, UInt64s, tables_cut, tables_invalid
from chains.core.source import TableSource, of

__all__ = ["Header", "parse_header", "parse_named", "read_extents"]

# L2 bytes that are read and classified at once: enough that the calls do not count.
BATCH = 4 * 1024**2


_rooms = threading.local()


def _room() -> memoryview:
    """BATCH bytes of this thread's own: fresh memory costs as much as what is read into it.

    They begin at a page, as those of files in memory do: the kernel then copies several times as
    fast as it does to any other address.
    """
    if not hasattr(_rooms, "bytes"):
        _rooms.bytes = memoryview(mmap.mmap(-1, BATCH))
    room: memoryview = _rooms.bytes
    return room


def read_extents(
    source: int | TableSource,
    header: Header,
    path: str = "",
    tick: Callable[[float], None] = lambda part: None,
) -> ExtentMap:
    """Read the active L1 table and its L2 tables. `path` is only for the text of errors.

    `source` is the open file (its descriptor), or what else holds the image. `tick` is told now and then which part of the tables has been read, 0 to 1.

    Raises ReadError: `truncated` when a table or a cluster lies beyond the end of the file,
    `tables-invalid` when tables overlap, are unaligned or hold what no qcow2 can hold,
    `backing-unreadable` when the storage fails; FragmentedError beyond MAX_RUNS. Only tables are
    looked at, so encrypted and compressed images read like any other.
    """
    try:
        return _Walk(of(source), header, path).run(tick)
    except OSError as error:
        raise ReadError(
            critical(
                Code.BACKING_UNREADABLE,
                path,
                f"Reading the tables failed: {error.strerror}. Check the storage.",
            )
        ) from error


class _Walk:
    def __init__(self, source: TableSource, header: Header, path: str) -> None:
        self.source = source
        self.header = header
        self.path = path
        self.file_size = source.size
        self.on_disk = source.on_disk
        self.cluster = header.cluster_size
        self.entries = L2Entries(header, path, self.file_size)
        self.waits = False

    def run(self, tick: Callable[[float], None]) -> ExtentMap:
        tables, offsets, named = self._l2_tables()
        l2_bytes = named * self.cluster
        step = max(1, BATCH // self.cluster)
        buffer = _room()
        batches = []
        found = 0
        for at in range(0, len(offsets), step):
            chunk = offsets[at : at + step]
            self._fill(buffer, chunk, offsets[at + step : at + 2 * step])
            raw = np.frombuffer(buffer, np.uint64, len(chunk) * self.cluster // 8)
            batches.append(self.entries.runs(raw, tables[at : at + step]))
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
            raise tables_cut(self.path, "its L1 table lies beyond its end")
        buffer = _room()
        parts, named = [(np.zeros(0, np.int64), np.zeros(0, np.int64))], 0
        for first in range(0, needed, BATCH // 8):
            part = buffer[: (needed - first) * 8]
            where = self.header.l1_offset + first * 8
            if self._in_hole(where, len(part)):
                continue
            self._read_into(part, where)
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
        self._refuse_shared(offsets)
        return tables, offsets, named

    def _named_tables(self, entries: UInt64s) -> tuple[Int64s, Int64s]:
        """Return the tables that a part of the L1 table names, by offset."""
        # An offset of zero is "unallocated", whatever the other bits say.
        offsets = (entries.byteswap() & OFFSET_MASK).view(np.int64)
        present = np.flatnonzero(offsets != 0)
        if len(present) < len(offsets):
            offsets = offsets[present]
        if int(np.bitwise_or.reduce(offsets)) & (self.cluster - 1):
            raise tables_invalid(self.path, "an L2 table does not start at a cluster")
        if len(offsets) and int(offsets.max()) + self.cluster > self.file_size:
            raise tables_cut(self.path, "an L2 table lies beyond its end")
        if (offsets[1:] < offsets[:-1]).any():
            order = np.argsort(offsets, kind="stable")
            present, offsets = present[order], offsets[order]
        self._refuse_shared(offsets)
        return present, offsets

    def _refuse_shared(self, offsets: Int64s) -> None:
        """Shared tables would also let a small file stand for any number of extents."""
        if (offsets[1:] == offsets[:-1]).any():
            raise tables_invalid(self.path, "two parts of the disk share one L2 table")

    def _in_hole(self, offset: int, length: int) -> bool:
        """Whether nothing is stored there, so that it reads as zeroes."""
        try:
            return self.source.next_data(offset) >= offset + length
        except OSError as error:
            return error.errno == errno.ENXIO  # anything else: this file system does not tell

    def _outside_holes(self, offsets: Int64s) -> Int64s:
        """Return the indexes of the tables that are stored at all; holes of the file read as zero.

        More table bytes than bytes on disk is how a small sparse file claims a huge disk.
        """
        kept = []
        at = 0
        while at < len(offsets):
            try:
                data = self.source.next_data(int(offsets[at]))
                hole = self.source.next_hole(data)
            except OSError:  # ENXIO: nothing but a hole up to the end
                break
            first = int(np.searchsorted(offsets, data - self.cluster, side="right"))
            last = max(int(np.searchsorted(offsets, hole)), at + 1)
            kept.append(np.arange(max(first, at), last))
            at = last
        return np.concatenate(kept) if kept else np.zeros(0, np.int64)

    def _fill(self, buffer: memoryview, offsets: Int64s, following: Int64s) -> None:
        """Read the tables at `offsets` one behind the other; neighbours in one call.

        Once something had to be waited for, the storage is told what comes next: it works on that
        while this processor works on what is here. (What is cached already is not worth telling.)
        """
        done, told = 0, False
        for start, length in self._stretches(offsets):
            part = buffer[done : done + length]
            got = self.source.read_cached(part, start)
            self.waits |= got < length
            if self.waits and not told:
                self._tell(offsets)
                self._tell(following)
                told = True
            self._read_into(part[got:], start + got)
            done += length

    def _tell(self, offsets: Int64s) -> None:
        for start, length in self._stretches(offsets):
            self.source.will_need(start, length)

    def _stretches(self, offsets: Int64s) -> Iterator[tuple[int, int]]:
        """Join tables at neighbouring offsets: yields offset and length, bytes of the file."""
        breaks = np.flatnonzero(np.diff(offsets) != self.cluster) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(offsets)]):
            if last > first:
                yield int(offsets[first]), (last - first) * self.cluster

    def _read_into(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            got = self.source.read_into(view[done:], offset + done)
            if got == 0:
                raise tables_cut(self.path, "a table ended while it was read")
            done += got

    def _assemble(self, batches: list[Runs], l2_bytes: int) -> ExtentMap:
        starts = np.concatenate([b.starts for b in batches] or [np.zeros(0, np.int64)])
        lengths = np.concatenate([b.lengths for b in batches] or [np.zeros(0, np.int64)])
        kinds = np.concatenate([b.kinds for b in batches] or [np.zeros(0, np.uint8)])
        if len(starts) and (np.diff(starts) < 0).any():  # tables are read in file order
            order = np.argsort(starts, kind="stable")
            starts, lengths, kinds = starts[order], lengths[order], kinds[order]
        unit = self.cluster // self.entries.units
        return joined(
            self.header.virtual_size,
            starts * unit,
            lengths * unit,
            kinds,
            compressed=min(self.entries.compressed, self.header.virtual_size),
            l2_bytes=l2_bytes,
        )
