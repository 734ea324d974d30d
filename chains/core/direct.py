"""Reading files and devices past the cache: other hosts write them, and this one's memory is old."""

import errno
import mmap
import os
import stat
import threading
from types import TracebackType

# Sectors have 512 or 4096 bytes; open(2) asks for offset, length and address at such a multiple.
ALIGNMENT = 4096
ROOM = 1024**2
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

_rooms = threading.local()


def _room() -> memoryview:
    """ROOM bytes of this thread's own, at the start of a page."""
    if not hasattr(_rooms, "bytes"):
        _rooms.bytes = memoryview(mmap.mmap(-1, ROOM))
    room: memoryview = _rooms.bytes
    return room


class DirectFile:
    """A regular file or a block device, opened for reading only, with O_DIRECT.

    Where the file system refuses that, plain reads follow word to the kernel to forget what it
    holds (POSIX_FADV_DONTNEED). May be used by several threads; `size` is in bytes.
    """

    def __init__(self, path: str) -> None:
        """Open it; raises OSError, also for anything that is no file and no block device."""
        self.path = path
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise OSError(errno.EINVAL, "it is no regular file and no block device")
        try:
            self._fd = os.open(path, _FLAGS | os.O_DIRECT)
            self.direct = True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._fd = os.open(path, _FLAGS)
            self.direct = False
        try:
            self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> "DirectFile":
        """It closes with its block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def pread(self, length: int, offset: int) -> bytes:
        """Read `length` bytes, fewer only at the end; raises OSError."""
        view = memoryview(bytearray(max(0, min(length, self.size - offset))))
        done = 0
        while done < len(view):
            got = self.read_into(view[done:], offset + done)
            if got == 0:
                break
            done += got
        return bytes(view[:done])

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill as much of `view` as one call can, at most about ROOM; 0 at the end. Raises OSError."""
        start = offset - offset % ALIGNMENT
        ahead = offset - start
        room = _room()
        span = min(-(-(ahead + len(view)) // ALIGNMENT) * ALIGNMENT, ROOM)
        got = self._read(room[:span], start)
        count = max(0, min(got - ahead, len(view)))
        view[:count] = room[ahead : ahead + count]
        return count

    def _read(self, room: memoryview, start: int) -> int:
        if self.direct:
            try:
                return os.preadv(self._fd, [room], start)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            self._give_up_direct()
        os.posix_fadvise(self._fd, start, len(room), os.POSIX_FADV_DONTNEED)
        return os.preadv(self._fd, [room], start)

    def _give_up_direct(self) -> None:
        """Some file systems take the flag and then refuse to read."""
        plain = os.open(f"/proc/self/fd/{self._fd}", _FLAGS)
        os.dup2(plain, self._fd, inheritable=False)
        os.close(plain)
        self.direct = False
