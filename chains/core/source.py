"""Where the bytes of a volume come from: a file of its own, or extents of other files and devices."""

import errno
import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Source(Protocol):
    """Bytes that can be read from anywhere. Offsets and lengths are bytes."""

    @property
    def size(self) -> int:
        """Where it ends."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read `length` bytes, fewer only at the end; raises OSError."""


class TableSource(Source, Protocol):
    """What the readers of whole tables ask for beside that."""

    @property
    def on_disk(self) -> int:
        """Bytes that it takes on the storage."""

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill as much of `view` as one call can; returns bytes, 0 at the end. Raises OSError."""

    def read_cached(self, view: memoryview, offset: int) -> int:
        """Do the same with what memory holds, without waiting for storage; 0 where that is unknown."""

    def will_need(self, offset: int, length: int) -> None:
        """Tell the storage what is read next."""

    def next_data(self, offset: int) -> int:
        """Where data begins, at `offset` or behind it (lseek(2): SEEK_DATA). Raises OSError."""

    def next_hole(self, offset: int) -> int:
        """Where it ends again (SEEK_HOLE). Raises OSError."""


class FileSource:
    """An open file."""

    __slots__ = ("fd", "on_disk", "size")

    def __init__(self, fd: int) -> None:
        """Take a file descriptor, which stays the caller's; raises OSError."""
        status = os.fstat(fd)
        self.fd = fd
        self.size = status.st_size
        self.on_disk = status.st_blocks * 512

    def pread(self, length: int, offset: int) -> bytes:
        """Read bytes."""
        return os.pread(self.fd, length, offset)

    def read_into(self, view: memoryview, offset: int) -> int:
        """Read into memory that is there."""
        return os.preadv(self.fd, [view], offset)

    def read_cached(self, view: memoryview, offset: int) -> int:
        """Read what the kernel holds."""
        try:
            return os.preadv(self.fd, [view], offset, os.RWF_NOWAIT)
        except OSError:  # nothing is there, or this file system can not tell
            return 0

    def will_need(self, offset: int, length: int) -> None:
        """Let the kernel read ahead."""
        os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def next_data(self, offset: int) -> int:
        """Ask the file system."""
        return os.lseek(self.fd, offset, os.SEEK_DATA)

    def next_hole(self, offset: int) -> int:
        """Ask the file system."""
        return os.lseek(self.fd, offset, os.SEEK_HOLE)


def of(source: int | TableSource) -> TableSource:
    """Take a file descriptor for what can be read from it; raises OSError."""
    return FileSource(source) if isinstance(source, int) else source


class Store(Protocol):
    """What extents are cut from."""

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill as much of `view` as one call can; returns bytes, 0 at the end. Raises OSError."""


class Piece(NamedTuple):
    """`length` bytes that lie one behind the other, from `offset` of the `store`."""

    length: int
    store: Store
    offset: int


class ExtentsSource:
    """A volume made of pieces, one behind the other. It has no holes, and nothing of it is cached."""

    __slots__ = ("_pieces", "_starts", "size")

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """Join the pieces, in their order; an empty piece is left out."""
        self._pieces = [piece for piece in pieces if piece.length > 0]
        self._starts: list[int] = []
        self.size = 0
        for piece in self._pieces:
            self._starts.append(self.size)
            self.size += piece.length

    @property
    def on_disk(self) -> int:
        """All of it is allocated."""
        return self.size

    def pread(self, length: int, offset: int) -> bytes:
        """Read across the edges of pieces; raises OSError, also when a store ends too early."""
        length = max(0, min(length, self.size - offset))
        view = memoryview(bytearray(length))
        done = 0
        while done < length:
            got = self.read_into(view[done:], offset + done)
            if got == 0:
                raise OSError(errno.EIO, "a device ends before its extents do")
            done += got
        return bytes(view)

    def read_into(self, view: memoryview, offset: int) -> int:
        """Read from one piece."""
        if not 0 <= offset < self.size:
            return 0
        number = bisect_right(self._starts, offset) - 1
        piece, inside = self._pieces[number], offset - self._starts[number]
        return piece.store.read_into(view[: piece.length - inside], piece.offset + inside)

    def read_cached(self, view: memoryview, offset: int) -> int:
        """Read nothing: what another host has written is not in this host's memory."""
        return 0

    def will_need(self, offset: int, length: int) -> None:
        """Tell nobody: reads pass the cache by."""

    def next_data(self, offset: int) -> int:
        """Everything is data up to the end; raises OSError (ENXIO) there, as lseek(2) does."""
        if offset >= self.size:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return offset

    def next_hole(self, offset: int) -> int:
        """The hole behind the end is the only one."""
        return self.size
