"""Reading what a guest reads, without QEMU: the independent witness of every merge.

Facts of the format are from QEMU's docs/interop/qcow2 ("Cluster mapping", "Compressed Clusters").
Plain clusters are read where the tables say; compressed ones are inflated here. Encrypted layers and
external data files are declined: no merge is planned on them.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np

from chains.core.errors import ReadError, StrataError
from chains.core.extents import ExtentMap, Kind
from chains.core.findings import Code, critical
from chains.core.layer import Layer, open_regular
from chains.core.links import Chain
from chains.core.mapping import read_chain_maps
from chains.core.paths import locate
from chains.core.qcow2_header import Header
from chains.core.ranges import Ranges
from chains.core.readmap import NOBODY, resolve

PIECE = 1024**2
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
COMPRESSED = 1 << 62


class UnsupportedContentError(StrataError):
    """A layer whose content only QEMU can read: encrypted, elsewhere, or packed in another way."""


class _File:
    """The content of one layer's own clusters."""

    def __init__(self, fd: int, header: Header | None, path: str) -> None:
        self.fd = fd
        self.header = header
        self.path = path
        self.table_at = -1
        self.table: list[int] = []
        self.packed_at = -1
        self.packed = b""
        if header is not None:
            if header.encryption or header.has_data_file:
                raise UnsupportedContentError(f"{path}: only QEMU can read its content")
            self.l1 = memoryview(os.pread(fd, header.l1_needed * 8, header.l1_offset)).cast("B")

    def read(self, start: int, length: int) -> bytes:
        """Read bytes that this layer holds as data."""
        if self.header is None:
            return self._exactly(start, length, at_end_zero=True)
        parts = []
        for place, inside, count in self._stretches(start, length):
            if place & COMPRESSED:
                parts.append(self._inflated(place)[inside : inside + count])
            else:
                parts.append(self._exactly(place, count, at_end_zero=True))
        return b"".join(parts)

    def _stretches(self, start: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield where bytes lie: (place in the file, 0, count), clusters that follow one another
        together; or (entry, place in the cluster, count) of a compressed one."""
        assert self.header is not None
        cluster = self.header.cluster_size
        at, end = start, start + length
        place, count = -1, 0
        while at < end:
            entry, inside = self._entry(at // cluster), at % cluster
            step = min(end - at, cluster - inside)
            here = (entry & OFFSET_MASK) + inside
            if entry & COMPRESSED or here != place + count:
                if count:
                    yield place, 0, count
                place, count = here, 0
            if entry & COMPRESSED:
                yield entry, inside, step
                place = -1
            else:
                count += step
            at += step
        if count:
            yield place, 0, count

    def _entry(self, number: int) -> int:
        assert self.header is not None
        per_table = self.header.cluster_size // self.header.entry_size
        index, slot = divmod(number, per_table)
        if index != self.table_at:
            offset = int.from_bytes(self.l1[index * 8 : index * 8 + 8], "big") & OFFSET_MASK
            raw = np.frombuffer(self._exactly(offset, self.header.cluster_size), ">u8")
            step = self.header.entry_size // 8
            self.table, self.table_at = raw[::step].tolist(), index
        return self.table[slot]

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

    def _exactly(self, offset: int, count: int, *, at_end_zero: bool = False) -> bytes:
        """Read that many bytes; what a last cluster or sector lacks of its end reads zero."""
        found = os.pread(self.fd, count, offset)
        while len(found) < count:
            more = os.pread(self.fd, count - len(found), offset + len(found))
            if not more:
                break
            found += more
        if len(found) < count and not at_end_zero:
            raise _damaged(self.path, "a table ended while it was read")
        return found.ljust(count, b"\0")


def _damaged(path: str, what: str) -> ReadError:
    return ReadError(critical(Code.TRUNCATED, path, f"Its content can not be read: {what}."))


class Content:
    """What a guest reads of a chain, or of its upper layers alone.

    Used as a context manager: the files stay open within. Raises ReadError, UnsupportedContentError.
    """

    def __init__(self, root: str, layers: Sequence[Layer], maps: Sequence[ExtentMap]) -> None:
        self._root = root
        self._layers = layers
        self._view = resolve(maps)
        self._stack = ExitStack()
        self._files: list[_File] = []

    @classmethod
    def of_chain(cls, chain: Chain) -> "Content":
        """The content of a safe chain, read now."""
        return cls(chain.root, chain.layers, read_chain_maps(chain))

    def __enter__(self) -> "Content":
        try:
            for layer in self._layers:
                place = locate(self._root, layer.path)
                if place is None:
                    raise _damaged(layer.path, "it leads out of the domain")
                fd = open_regular(place)
                self._stack.callback(os.close, fd)
                self._files.append(_File(fd, layer.header, layer.path))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pieces(self, ranges: Ranges) -> Iterator[tuple[int, bytes]]:
        """Yield what a guest reads in these ranges: (start, bytes), a mebibyte at most each."""
        for start, end in zip(ranges.starts.tolist(), ranges.ends.tolist(), strict=True):
            for at in range(start, end, PIECE):
                yield at, self.read(at, min(PIECE, end - at))

    def read(self, start: int, length: int) -> bytes:
        """Read bytes as a guest does: zeroes where nobody answers."""
        view, end = self._view, start + length
        parts: list[bytes] = []
        run = max(0, int(np.searchsorted(view.starts, start, side="right")) - 1)
        while start < end:
            if run >= len(view.starts):
                return b"".join([*parts, bytes(end - start)])
            until = min(end, int(view.starts[run] + view.lengths[run]))
            owner, kind = int(view.owners[run]), int(view.kinds[run])
            if owner == NOBODY or kind != Kind.DATA:
                parts.append(bytes(until - start))
            else:
                parts.append(self._files[owner].read(start, until - start))
            start, run = until, run + 1
        return b"".join(parts)
