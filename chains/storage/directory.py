"""Any directory of images: how its volumes are listed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from chains.core.plans import TEMPORARY

# Files with other names are taken for volumes only when their bytes or an overlay say so.
RAW_SUFFIXES = frozenset({".img", ".raw"})
IMAGE_SUFFIXES = RAW_SUFFIXES | {".qcow2", ".qcow", ".vmdk", ".vdi", ".vhd", ".vhdx", ".qed"}
MAX_DEPTH = 16


@dataclass(frozen=True)
class Space:
    """Of the file system below the domain, in bytes."""

    capacity: int
    free: int


def space(root: str) -> Space:
    """What an unprivileged writer could still use; raises OSError."""
    found = os.statvfs(root)
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def is_image_name(path: str) -> bool:
    """Whether the name alone says that this is a disk image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def list_files(root: str) -> Iterator[str]:
    """Regular files below `root`, as paths relative to it, in a stable order.

    Symbolic links are not followed and Strata's own temporary files are passed over; a directory
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
                elif entry.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                    pending.append((path, depth + 1))
            except OSError:
                continue
