"""Is an image open in QEMU? Asked of the kernel without taking a lock on the image."""

import fcntl
import os
import stat
import struct
from collections.abc import Iterable

from chains.storage.mounts import Mount, nfs_version

# fcntl(2): the query for open-file-description locks, and taking one, which Python does not name.
F_OFD_GETLK = 36
F_OFD_SETLK = 37
# QEMU block/file-posix.c: RAW_LOCK_PERM_BASE 100, RAW_LOCK_SHARED_BASE 200, one byte a permission.
FIRST_BYTE = 100
BYTES = 164
_FLOCK = "@hhqqi4x"
TABLE = "/proc/locks"
# Their st_dev or st_ino is not what the kernel's table of locks calls the file.
_NAMED_OTHERWISE = frozenset({"aufs", "bcachefs", "btrfs", "ecryptfs", "overlay", "unionfs"})
# Here a lock of another host is not seen by asking: the client keeps its locks to itself.
_KEEPS_LOCKS = frozenset({"9p", "fuse", "vboxsf", "virtiofs", "vmhgfs"})
_SHARES_LOCKS = frozenset({"fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse"})
_LOCAL_LOCKS = frozenset({"nolock", "local_lock=all", "local_lock=posix", "nobrl", "nolocks"})


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


class LockTable:
    """Who holds QEMU's lock bytes of any local file, from one look at the kernel's table."""

    def __init__(self, held: Iterable[tuple[int, int, int]] | None) -> None:
        """`held` are (major, minor, inode) of the locked files; None: the table can not be trusted."""
        self._held = None if held is None else frozenset(held)
        self._files = frozenset((os.makedev(*key[:2]), key[2]) for key in self._held or ())

    @classmethod
    def read(cls, path: str = TABLE) -> "LockTable":
        """Read the table; where it can not be read, or hides locks, each file is asked instead.

        A lock of our own is held meanwhile, on a file in memory: a table without it is no table.
        """
        try:
            proof = os.memfd_create("strata-lock", os.MFD_CLOEXEC)
            try:
                lock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, FIRST_BYTE, 1, 0)
                fcntl.fcntl(proof, F_OFD_SETLK, lock)
                with open(path, "rb") as file:
                    held = parse(file.read().decode("ascii", "replace"))
                status = os.fstat(proof)
            finally:
                os.close(proof)
        except OSError:
            return cls(None)
        return cls(held if _key(status) in held else None)

    @property
    def is_whole(self) -> bool:
        """Whether the table could be read, and shows every lock of this host."""
        return self._held is not None

    def holds(self, device: int, inode: int) -> bool:
        """Whether a file of a local file system, as stat numbers it, is open in QEMU."""
        return (device, inode) in self._files

    def state(self, path: str, mount: Mount | None) -> bool | None:
        """Whether the file at `path` is open in QEMU: True, False, or None where nobody can tell.

        `mount` is what the path stands on. Unknown are block devices, files that can not be looked
        at, and those that other hosts may hold without this one being told. Never raises OSError.
        """
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                return None
            if self._held is not None and named_by_stat(status.st_dev, mount):
                return _key(status) in self._held
            if in_use(path):
                return True
        except (OSError, ValueError):
            return None
        return False if tells_of_others(mount) else None


def parse(text: str) -> set[tuple[int, int, int]]:
    """(major, minor, inode) of every lock in /proc/locks that touches QEMU's bytes (proc(5)).

    `1: OFDLCK ADVISORY  WRITE -1 fe:00:2146497 100 101`: the device is hexadecimal, the end of the
    range belongs to it. Locks of other kinds never meet QEMU's; those that wait are not held.
    """
    held = set()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) != 8 or fields[1] not in ("POSIX", "OFDLCK"):
            continue
        try:
            major, minor, inode = fields[5].split(":")
            first = int(fields[6])
            last = None if fields[7] == "EOF" else int(fields[7])
            key = int(major, 16), int(minor, 16), int(inode)
        except ValueError:
            continue
        if first < FIRST_BYTE + BYTES and (last is None or last >= FIRST_BYTE):
            held.add(key)
    return held


def _key(status: os.stat_result) -> tuple[int, int, int]:
    return os.major(status.st_dev), os.minor(status.st_dev), status.st_ino


def named_by_stat(device: int, mount: Mount | None) -> bool:
    """Whether the table knows the files of a mount by the numbers that stat gives (st_dev)."""
    if mount is None or mount.is_network or mount.fs_type in _NAMED_OTHERWISE:
        return False
    return (os.major(device), os.minor(device)) == mount.device


def tells_of_others(mount: Mount | None) -> bool:
    """Whether the answer that nobody holds a lock counts for every host."""
    if mount is None:
        return False
    if not mount.is_network:
        return True
    if mount.fs_type in _KEEPS_LOCKS or not _LOCAL_LOCKS.isdisjoint(mount.options):
        return False
    if mount.fs_type.startswith("fuse."):
        return mount.fs_type in _SHARES_LOCKS
    version = nfs_version(mount)
    return mount.fs_type not in ("nfs", "nfs4") or (version is not None and version >= (4, 0))
