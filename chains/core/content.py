"""Reading what a guest reads, without QEMU: the independent witness of every merge.

Facts of the format are from QEMU's docs/interop/qcow2 ("Cluster mapping", "Compressed Clusters").
Plain clusters are read where the tables say; compressed ones are inflated here. Encrypted layers and
external data files are declined: no merge is planned on them.
"""

import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chains.core.errors import ReadError, StrataError
from chains.core.extents import ExtentMap, Kind
from chains.core.findings import Code, critical
from chains.core.layer import Layer, open_regular
from chains.core.links import Chain
from chains.core.mapping import read_chain_maps
from chains.core.paths import locate
from chains.core.qcow2_header import Header
from chains.core.ranges import Ranges
from chains.core.readmap import resolve

# Bytes that are read before they are looked at.
BATCH = 2 * 1024**2
# Reads past the cache must begin and end at blocks, in the file and in memory; short ones do not pay,
# for nothing is read ahead for them.
DIRECT_BLOCK, DIRECT_LEAST = 4096, 256 * 1024
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
COMPRESSED = 1 << 62
PLACE = np.int64(OFFSET_MASK)


class UnsupportedContentError(StrataError):
    """A layer whose content only QEMU can read: encrypted, elsewhere, or packed in another way."""


class _File:
    """The content of one layer's own clusters.

    `direct` is the same file opened for reading past the cache, -1 when it is not.
    """

    def __init__(self, fd: int, header: Header | None, path: str, direct: int = -1) -> None:
        self.fd = fd
        self.direct = direct
        self.header = header
        self.path = path
        self.table_at = -1
        self.table = np.zeros(0, np.int64)
        self.packed_at = -1
        self.packed = b""
        if header is not None:
            if header.encryption or header.has_data_file:
                raise UnsupportedContentError(f"{path}: only QEMU can read its content")
            self.l1 = memoryview(os.pread(fd, header.l1_needed * 8, header.l1_offset)).cast("B")

    def fill(self, room: memoryview, start: int) -> None:
        """Read bytes that this layer holds as data, as many as there is room for."""
        if self.header is None:
            self._read(room, start)
            return
        done = 0
        for place, inside, count in self._stretches(start, len(room)):
            part = room[done : done + count]
            if place & COMPRESSED:
                part[:] = self._inflated(place)[inside : inside + count]
            else:
                self._read(part, place)
            done += count

    def _stretches(self, start: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield where bytes lie: (place in the file, 0, count), clusters that follow one another
        together; or (entry, place in the cluster, count) of a compressed one."""
        assert self.header is not None
        cluster = self.header.cluster_size
        per_table = cluster // self.header.entry_size
        at, end = start, start + length
        while at < end:
            table, slot = divmod(at // cluster, per_table)
            until = min(end, (table + 1) * per_table * cluster)
            entries = self._entries(table)[slot : slot + -(-(until - at + at % cluster) // cluster)]
            apart = (entries[1:] & PLACE) != (entries[:-1] & PLACE) + cluster
            apart |= ((entries[1:] | entries[:-1]) & COMPRESSED) != 0
            edges = np.concatenate(([0], np.flatnonzero(apart) + 1, [len(entries)])).tolist()
            for first, last in pairwise(edges):
                entry, inside = int(entries[first]), at % cluster
                count = min(until - at, (last - first) * cluster - inside)
                if entry & COMPRESSED:
                    yield entry, inside, count
                else:
                    yield (entry & OFFSET_MASK) + inside, 0, count
                at += count

    def _entries(self, index: int) -> NDArray[np.int64]:
        assert self.header is not None
        if index != self.table_at:
            offset = int.from_bytes(self.l1[index * 8 : index * 8 + 8], "big") & OFFSET_MASK
            raw = np.frombuffer(self._table(offset), ">u8")[:: self.header.entry_size // 8]
            # The uppermost bit, that a cluster may be written in place, is of no use here.
            self.table = (raw & np.uint64(2**63 - 1)).astype(np.int64)
            self.table_at = index
        return self.table

    def _inflated(self, entry: int) -> bytes:
        """One compressed cluster: bits 0 to x-1 its place, the rest the sectors that it may reach."""
        assert self.header is not None
        if entry == self.packed_at:
            return self.packed
        if self.header.compression != "zlib":
            raise UnsupportedContentError(f"{self.path}: it is packed by {self.header.compression}")
        width = 62 - (self.header.cluster_bits - 8)
        place = entry & ((1 << width) - 1)
        sectors = (entry & ~(3 << 62)) >> width
        raw = os.pread(self.fd, (place & ~511) + (sectors + 1) * 512 - place, place)
        try:
            whole = zlib.decompressobj(-12).decompress(raw, self.header.cluster_size)
        except zlib.error as error:
            raise _damaged(self.path, "a compressed cluster can not be unpacked") from error
        if len(whole) != self.header.cluster_size:
            raise _damaged(self.path, "a compressed cluster is too short")
        self.packed, self.packed_at = whole, entry
        return whole

    def _table(self, offset: int) -> bytearray:
        assert self.header is not None
        table = bytearray(self.header.cluster_size)
        if self._read(memoryview(table), offset) < len(table):
            raise _damaged(self.path, "a table ended while it was read")
        return table

    def _read(self, room: memoryview, offset: int) -> int:
        """Read from the file; what a last cluster or sector lacks of its end reads zero.

        Returns how many bytes the file had.
        """
        done = 0
        if self.direct >= 0 and len(room) >= DIRECT_LEAST and not offset % DIRECT_BLOCK:
            # A file system that does not do this, here or at all, says so.
            with suppress(OSError):
                whole = len(room) // DIRECT_BLOCK * DIRECT_BLOCK
                done = os.preadv(self.direct, [room[:whole]], offset)
        while done < len(room):
            got = os.preadv(self.fd, [room[done:]], offset + done)
            if not got:
                room[done:] = bytes(len(room) - done)
                break
            done += got
        return done


def _damaged(path: str, what: str) -> ReadError:
    return ReadError(critical(Code.TRUNCATED, path, f"Its content can not be read: {what}."))


class Content:
    """What a guest reads of a chain, or of its upper layers alone.

    Used as a context manager: the files stay open within. The file of the layer `uncached` is read
    past the cache of the system where that is possible and pays. Raises ReadError,
    UnsupportedContentError.
    """

    def __init__(
        self, root: str, layers: Sequence[Layer], maps: Sequence[ExtentMap], uncached: str = ""
    ) -> None:
        self._root = root
        self._layers = layers
        self._view = resolve(maps)
        self._uncached = uncached
        self._stack = ExitStack()
        self._files: list[_File] = []

    @classmethod
    def of_chain(cls, chain: Chain, uncached: str = "") -> "Content":
        """The content of a safe chain, read now."""
        return cls(chain.root, chain.layers, read_chain_maps(chain), uncached)

    def __enter__(self) -> "Content":
        try:
            for layer in self._layers:
                place = locate(self._root, layer.path)
                if place is None:
                    raise _damaged(layer.path, "it leads out of the domain")
                fd = open_regular(place)
                self._stack.callback(os.close, fd)
                direct = self._past_cache(fd) if layer.path == self._uncached else -1
                self._files.append(_File(fd, layer.header, layer.path, direct))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _past_cache(self, fd: int) -> int:
        """Open a file once more, for reads past the cache; -1 where the file system has none."""
        try:
            direct = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:
            return -1
        self._stack.callback(os.close, direct)
        return direct

    def read(self, start: int, length: int) -> bytes:
        """Read bytes as a guest does: zeroes where nobody answers."""
        room = bytearray(length)
        self.fill(memoryview(room), start)
        return bytes(room)

    def fill_with(self, room: memoryview, batch: Sequence[tuple[int, int]]) -> memoryview:
        """Read stretches (start, length) one behind the other; returns the part of the room used."""
        done = 0
        for start, length in batch:
            self.fill(room[done : done + length], start)
            done += length
        return room[:done]

    def fill(self, room: memoryview, start: int) -> None:
        """Read bytes as a guest does, as many as there is room for."""
        view, at, end = self._view, start, start + len(room)
        run = max(0, int(np.searchsorted(view.starts, start, side="right")) - 1)
        while at < end:
            inside = run < len(view.starts)
            until = min(end, int(view.starts[run] + view.lengths[run])) if inside else end
            part = room[at - start : until - start]
            if not inside or int(view.kinds[run]) != Kind.DATA:
                part[:] = bytes(len(part))
            else:
                self._files[int(view.owners[run])].fill(part, at)
            at, run = until, run + 1


def batches(ranges: Ranges) -> Iterator[list[tuple[int, int]]]:
    """Deal stretches out in lists of (start, length) that take BATCH bytes together, the last fewer."""
    batch: list[tuple[int, int]] = []
    space = BATCH
    for start, end in zip(ranges.starts.tolist(), ranges.ends.tolist(), strict=True):
        at = start
        while at < end:
            length = min(space, end - at)
            batch.append((at, length))
            at, space = at + length, space - length
            if not space:
                yield batch
                batch, space = [], BATCH
    if batch:
        yield batch


def room() -> memoryview:
    """Memory for one batch, at the beginning of a page, as reads past the cache need it."""
    return memoryview(mmap.mmap(-1, BATCH))
