"""Any directory of images: how its volumes are listed."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from chains.core.plans import KEPT, TEMPORARY

# Files with other names are taken for volumes only when their bytes or an overlay say so.
RAW_SUFFIXES = frozenset({".img", ".raw"})
IMAGE_SUFFIXES = RAW_SUFFIXES | {".qcow2", ".qcow", ".vmdk", ".vdi", ".vhd", ".vhdx", ".qed"}
MAX_DEPTH = 16
# ioctl_ficlonerange(2), linux/fs.h: _IOW(0x94, 9, int).
FICLONE = 0x40049409


@dataclass(frozen=True)
class Space:
    """Of the file system below the domain, in bytes."""

    capacity: int
    free: int


def space(root: str) -> Space:
    """What an unprivileged writer could still use; raises OSError."""
    found = os.statvfs(root)
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def shares_blocks(root: str) -> bool:
    """Whether files of this directory can share blocks (XFS, btrfs): tried with two nameless files."""
    try:
        with _nameless(root) as source, _nameless(root) as target:
            os.write(source.fileno(), bytes(4096))
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError:
        return False
    return True


def _nameless(root: str) -> IO[bytes]:
    """A file without a name (open(2): O_TMPFILE), which is gone with its descriptor, come what may."""
    return os.fdopen(os.open(root, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "wb", 0)


def share(source: str, target: str) -> None:
    """Make `target`, which must not exist, a copy of `source` that shares its blocks; raises OSError."""
    with open(source, "rb") as old, open(target, "xb") as new:
        fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        os.fsync(new.fileno())


def is_image_name(path: str) -> bool:
    """Whether the name alone says that this is a disk image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def list_files(root: str) -> Iterator[str]:
    """Regular files below `root`, as paths relative to it, in a stable order.

    Symbolic links are not followed; Strata's own temporary files, and what it keeps aside for an undo,
    are passed over; a directory
    that vanishes or can not be read is left out. Raises OSError when `root` itself can not be read.
    """
    pending = [("", 0)]
    with os.scandir(root):
        pass
    while pending:
        where, depth = pending.pop()
        try:
            with os.scandir(os.path.join(root, where)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = f"{where}/{entry.name}" if where else entry.name
            try:
                # The listing itself says what most entries are: no look at each of them.
                if entry.is_file(follow_symlinks=False):
                    if not entry.name.startswith(TEMPORARY):
                        yield path
                elif (
                    entry.is_dir(follow_symlinks=False)
                    and depth < MAX_DEPTH
                    and not entry.name.startswith(KEPT)
                ):
                    pending.append((path, depth + 1))
            except OSError:
                continue
