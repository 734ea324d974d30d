"""Keeping every path inside its storage domain, and finding backing files the way QEMU does."""

import errno
import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from chains.core.findings import Code, Finding, critical
from chains.core.names import brief

# What lies below these is a device or an interface of the kernel, never a volume.
_PSEUDO = ("/dev/", "/proc/", "/sys/")
MAX_LINKS = 40  # as Linux: path_resolution(7)
_SPECIAL = (
    (stat.S_ISFIFO, "a FIFO: a tool that opens it waits for ever"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISLNK, "a link that leads nowhere else"),  # all others have been followed
)


class Inside(NamedTuple):
    """A file inside a domain: `path` relative to the real root, `real` for the system."""

    path: str
    real: str
    mode: int


class RealRoot(str):
    """The directory of a storage domain, every link on the way to it followed, and what was seen there.

    It is made for one reading, of a chain or of a whole domain: each file is looked at once, however
    many layers name it. What is remembered can only be older than what is then read of a file, and
    a fingerprint that is too old shows as a change.
    """

    base: str  # ends with a slash
    folders: set[str]  # relative to the root; no part of them is a link
    _looks: dict[str, os.stat_result]  # of files that have not been read yet
    _files: set[str]  # that are regular

    def __new__(cls, root: str) -> "RealRoot":
        """Follow the links."""
        real = str.__new__(cls, os.path.realpath(root))
        real.base = f"{real.rstrip('/')}/"
        real.folders = {""}
        real._looks = {}
        real._files = set()
        return real

    def listed(self, paths: Iterable[str]) -> None:
        """Note what a listing has just found to be regular files, in folders that are no links."""
        for path in paths:
            self._files.add(self.base + path)
            if "/" in path:
                self.folders.add(path.rpartition("/")[0])

    def mode(self, plain: str) -> int:
        """What an absolute path leads to, as lstat says it. Raises OSError, ValueError."""
        if plain in self._files:
            return stat.S_IFREG
        status = self._looks.get(plain)
        if status is None:
            status = self._looks[plain] = os.lstat(plain)
        return status.st_mode

    def take(self, plain: str) -> os.stat_result | None:
        """Return what lstat said of a file that is about to be read; None when it was not asked."""
        self._files.add(plain)
        return self._looks.pop(plain, None)


def real_root(root: str) -> RealRoot:
    """Follow the links on the way to a domain, unless that has been done for this reading."""
    return root if isinstance(root, RealRoot) else RealRoot(root)


def locate(root: str, path: str) -> Inside | None:
    """Follow every link of `path` (absolute, or relative to `root`); None when it leaves the root.

    Raises OSError (nothing is there, or it may not be looked at), and ValueError for names that no
    file can have.
    """
    return locate_from(real_root(root), "", path)


def locate_from(root: RealRoot, folder: str, name: str) -> Inside | None:
    """Do the same from `folder` (relative to the root); no part of either may be a link."""
    path = f"{folder}/{name}" if folder else name
    absolute = name[:1] == "/"
    where, _, last = path.rpartition("/")
    if where in root.folders and not absolute and last not in ("", ".", ".."):
        # One look where nearly all layers are: beside each other, in folders that are no links.
        plain = root.base + path
        mode = root.mode(plain)
        if not stat.S_ISLNK(mode):
            return Inside(path, plain, mode)
    found = _follow(root.base[:-1], name if absolute else root.base + path)
    if found is None or not found[0].startswith(root.base):
        return None
    real, mode = found
    inside = real[len(root.base) :]
    root.folders.add(inside.rpartition("/")[0])
    return Inside(inside, real, mode)


def folder_of_name(root: str, folder: str, name: str) -> str | None:
    """Return the folder that the last part of `name` stands in, whatever that part links to.

    `folder` is where a relative `name` starts; both folders are relative to the root. None when it
    is outside of the domain, or not there.
    """
    base = real_root(root).base[:-1]
    start = name if name.startswith("/") else f"{base}/{folder}/{name}"
    try:
        found = _follow(base, f"{os.path.dirname(start)}/")
    except (OSError, ValueError):
        return None
    if found is None or not f"{found[0]}/".startswith(f"{base}/"):
        return None
    return found[0][len(base) + 1 :]


def _follow(base: str, path: str) -> tuple[str, int] | None:
    """Walk an absolute path as Linux does: the path without links, and its mode.

    None when the way leads through an interface of the kernel that `base` is not itself below: a
    name like /proc/self/cwd is another file to every process, so what it is to this one says
    nothing of what a tool would open. None also when it ends outside of `base` for want of a file.
    Raises OSError where Linux would inside; a link too many is returned as what it is, a link.
    """
    at, mode, links = "", stat.S_IFDIR, 0
    pending = path.split("/")[::-1]
    while pending:
        part = pending.pop()
        step = f"{at}/{part}"
        if f"{step}/" in _PSEUDO and not base.startswith(f"{step}/"):
            return None
        try:
            if not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if part in ("", ".", ".."):
                at = at.rpartition("/")[0] if part == ".." else at
                continue
            mode = os.lstat(step).st_mode
            target = os.readlink(step) if stat.S_ISLNK(mode) else None
        except OSError:
            if step.startswith(f"{base}/"):
                raise
            return None
        if target is None:
            at = step
            continue
        links += 1
        if links > MAX_LINKS:
            return step, mode
        at, mode = "" if target.startswith("/") else at, stat.S_IFDIR
        pending += target.split("/")[::-1]
    return at, mode


def special_kind(mode: int) -> str | None:
    """Say in words what a file of this mode is when it is not a regular one."""
    if stat.S_ISREG(mode):
        return None
    return next((words for test, words in _SPECIAL if test(mode)), "no regular file")


def has_protocol(name: str) -> bool:
    """Whether QEMU takes the name for `protocol:…`: a colon before any slash (block.c)."""
    colon = name.find(":")
    return colon >= 0 and "/" not in name[:colon]


def resolve_backing(root: str, layer_path: str, name: str) -> str | Finding:
    """Find the file that a layer names as its backing file, from the layer's directory like QEMU.

    Returns its path relative to `root`, all links followed; or a critical Finding about the layer
    at `layer_path` when the name is no file name, leaves the domain, or nothing usable is there.
    """
    real = real_root(root)
    folder = layer_path.rpartition("/")[0]
    if folder:
        try:
            place = locate_from(real, "", folder)
        except (OSError, ValueError) as error:
            return _lookup_finding(layer_path, brief(name), error)
        if place is None:
            return _outside_finding(layer_path, brief(name))
        folder = place.path
    return backing_from(real, folder, layer_path, name)


def backing_from(root: RealRoot, folder: str, layer_path: str, name: str) -> str | Finding:
    """Do the same for a layer in `folder`; no part of either path may be a link."""
    try:
        if "/" in name or ":" in name or not name or "\0" in name:
            refusal = _refuse_name(root, layer_path, name)
            if refusal:
                return refusal
        target = locate_from(root, folder, name)
    except (OSError, ValueError) as error:
        return _lookup_finding(layer_path, brief(name), error)
    if target is None:
        return _outside_finding(layer_path, brief(name))
    if not stat.S_ISREG(target.mode):
        words = special_kind(target.mode)
        return critical(
            Code.BACKING_SPECIAL,
            layer_path,
            f"The backing file “{brief(name)}” is {words}. No tool will be started on this chain: rebase"
            " the layer on the volume that it was made from.",
        )
    return target.path


def _outside_finding(layer_path: str, shown: str) -> Finding:
    return critical(
        Code.BACKING_OUTSIDE,
        layer_path,
        f"The backing file “{shown}” lies outside of the storage domain. Opening it could hand a"
        " guest foreign data: no tool will be started on this chain. If the file is right, copy it into"
        " the domain and rebase the layer on the copy; if nobody knows it, find out who wrote the image.",
    )


def _lookup_finding(layer_path: str, shown: str, error: OSError | ValueError) -> Finding:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return critical(
            Code.BACKING_MISSING,
            layer_path,
            f"The backing file “{shown}” does not exist. The disk can not be read: put the file"
            " back, or rebase the layer on a copy.",
        )
    if isinstance(error, PermissionError):
        return critical(
            Code.BACKING_UNREADABLE,
            layer_path,
            f"The backing file “{shown}” may not be looked at. Give the worker's user access.",
        )
    return critical(
        Code.BACKING_INVALID,
        layer_path,
        f"The backing file “{shown}” can not be looked up: {reason_of(error)}.",
    )


def reason_of(error: OSError | ValueError) -> str:
    """Say why the system refused, in its words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refuse_name(root: RealRoot, layer_path: str, name: str) -> Finding | None:
    if not name or "\0" in name:
        return critical(
            Code.BACKING_INVALID, layer_path, f"“{brief(name)}” is no name that a file can have."
        )
    if has_protocol(name):
        return critical(
            Code.BACKING_PROTOCOL,
            layer_path,
            f"QEMU takes the backing file “{brief(name)}” for a protocol, not for a file. If a"
            " file is meant, rebase the layer to “./” and the name.",
        )
    if (
        name[0] == "/"
        and name.startswith(_PSEUDO)
        and not os.path.normpath(name).startswith(root.base)
    ):
        return critical(
            Code.BACKING_PROTOCOL,
            layer_path,
            f"The backing file “{brief(name)}” is a device of the host, not a volume of this"
            " domain. No tool will be started on this chain.",
        )
    return None
