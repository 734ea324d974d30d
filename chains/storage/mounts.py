"""What a path stands on: the mounts of this process, as the kernel lists them."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOUNTINFO = "/proc/self/mountinfo"
# File systems whose other users may sit on other hosts: what this kernel knows of a file is not all.
NETWORK = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
_OCTAL = re.compile(r"\\([0-7]{3})")
_VERSION = re.compile(r"(?:vers|nfsvers)=([0-9]+)(?:\.([0-9]+))?")


class Mount(NamedTuple):
    """One mount. `device` is (major, minor) of the superblock, which stat does not always tell."""

    number: int
    parent: int
    device: tuple[int, int]
    point: str
    fs_type: str
    source: str
    options: tuple[str, ...]  # of the mount, then of the file system

    @property
    def is_network(self) -> bool:
        """Whether other hosts may use the same files."""
        return is_network(self.fs_type)


def is_network(fs_type: str) -> bool:
    """Whether a file system of this type may be in use by other hosts too (all of FUSE counts)."""
    return fs_type in NETWORK or fs_type.startswith("fuse.")


def nfs_version(mount: Mount) -> tuple[int, int] | None:
    """(3, 0), (4, 2) …; None for what is no NFS, or does not say."""
    if mount.fs_type not in ("nfs", "nfs4"):
        return None
    for option in reversed(mount.options):
        match = _VERSION.fullmatch(option)
        if match:
            return int(match[1]), int(match[2] or 0)
    return (4, 0) if mount.fs_type == "nfs4" else None


def parse(text: str) -> list[Mount]:
    """Read the text of a mountinfo file (proc(5)); lines that are none are passed over."""
    found = (_parse_line(line) for line in text.split("\n"))
    return [mount for mount in found if mount is not None]


def _parse_line(line: str) -> Mount | None:
    """`36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`."""
    left, dash, right = line.partition(" - ")
    fields, tail = left.split(" "), right.split(" ")
    if not dash or len(fields) < 6 or len(tail) < 2:
        return None
    try:
        number, parent = int(fields[0]), int(fields[1])
        major, minor = map(int, fields[2].split(":"))
    except ValueError:
        return None
    options = [*fields[5].split(","), *(",".join(tail[2:]).split(",") if tail[2:] else ())]
    return Mount(
        number, parent, (major, minor), _plain(fields[4]), _plain(tail[0]), _plain(tail[1]),
        tuple(_plain(option) for option in options),
    )  # fmt: skip


def _plain(field: str) -> str:
    """The kernel writes blanks and backslashes as three octal digits, one escape a byte."""
    if "\\" not in field:
        return field
    raw = _OCTAL.sub(lambda match: chr(int(match[1], 8) & 0xFF), _latin(field))
    return os.fsdecode(raw.encode("latin-1"))


def _latin(field: str) -> str:
    return os.fsencode(field).decode("latin-1")


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that an absolute path without links stands on; None when the list has none for it.

    Goes as the kernel does, from the root mount to those on it, so that what another mount covers is
    not taken for what is seen.
    """
    numbers = {mount.number for mount in mounts}
    above: dict[int, list[Mount]] = {}
    at: Mount | None = None
    for mount in mounts:
        if mount.parent in numbers and mount.parent != mount.number:
            above.setdefault(mount.parent, []).append(mount)
        elif _covers(mount.point, path):
            at = _nearer(at, mount)
    seen: set[int] = set()
    while at is not None and at.number not in seen:
        seen.add(at.number)
        on = [mount for mount in above.get(at.number, ()) if _covers(mount.point, path)]
        if not on:
            break
        # The shortest is met first on the way; of several at one point the last lies on top.
        shortest = min(len(mount.point) for mount in on)
        at = [mount for mount in on if len(mount.point) == shortest][-1]
    return at


def _nearer(at: Mount | None, mount: Mount) -> Mount:
    return mount if at is None or len(mount.point) >= len(at.point) else at


def _covers(point: str, path: str) -> bool:
    return point in ("/", path) or path.startswith(f"{point}/")


def read_mounts(mountinfo: str = MOUNTINFO) -> list[Mount]:
    """The mounts that this process sees. Raises OSError."""
    with open(mountinfo, "rb") as file:
        return parse(os.fsdecode(file.read()))


def mount_at(path: str, mounts: Iterable[Mount] | None = None) -> Mount | None:
    """The same for any path, its links followed; reads the list unless it is given. Raises OSError."""
    known = read_mounts() if mounts is None else list(mounts)
    return mount_of(os.path.realpath(path), known)
