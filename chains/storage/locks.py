"""Is an image open in QEMU? Asked of the kernel without taking a lock."""

import fcntl
import os
import struct

# fcntl(2): the query for open-file-description locks, which Python does not name.
F_OFD_GETLK = 36
# QEMU block/file-posix.c: RAW_LOCK_PERM_BASE 100, RAW_LOCK_SHARED_BASE 200, one byte a permission.
FIRST_BYTE = 100
BYTES = 164
_FLOCK = "@hhqqi4x"


def in_use(path: str) -> bool:
    """Whether a process on this host (or a client of the same lock manager) holds QEMU's lock bytes.

    «No» proves nothing for block devices and NFSv3. Raises OSError when the file can not be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, FIRST_BYTE, BYTES, 0)
        answer = fcntl.fcntl(fd, F_OFD_GETLK, asked)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    finally:
        os.close(fd)
