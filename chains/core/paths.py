"""Keeping every path inside its storage domain, and finding backing files the way QEMU does."""

import errno
import os
import stat
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


def locate(root: str, path: str) -> Inside | None:
    """Follow every link of `path` (absolute, or relative to `root`); None when it leaves the root.

    Raises OSError (nothing is there, or it may not be looked at), and ValueError for names that no
    file can have.
    """
    return locate_from(os.path.realpath(root), "", path)


def locate_from(real_root: str, folder: str, name: str) -> Inside | None:
    """Do the same from `folder` (relative to the root); no part of either may be a link."""
    base = real_root.rstrip("/")
    plain = f"{base}/{folder}/{name}" if folder else f"{base}/{name}"
    if "/" not in name and name not in ("", ".", ".."):
        # A name beside its layer, as nearly all are: one look instead of one at every folder.
        mode = os.lstat(plain).st_mode
        if not stat.S_ISLNK(mode):
            return Inside(plain[len(base) + 1 :], plain, mode)
    found = _follow(base, name if name.startswith("/") else plain)
    if found is None or not found[0].startswith(f"{base}/"):
        return None
    real, mode = found
    return Inside(real[len(base) + 1 :], real, mode)


def folder_of_name(root: str, folder: str, name: str) -> str | None:
    """Return the folder that the last part of `name` stands in, whatever that part links to.

    `folder` is where a relative `name` starts; both folders are relative to the root. None when it
    is outside of the domain, or not there.
    """
    base = os.path.realpath(root).rstrip("/")
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
    real_root = os.path.realpath(root)
    folder = layer_path.rpartition("/")[0]
    if folder:
        try:
            place = locate_from(real_root, "", folder)
        except (OSError, ValueError) as error:
            return _lookup_finding(layer_path, brief(name), error)
        if place is None:
            return _outside_finding(layer_path, brief(name))
        folder = place.path
    return backing_from(real_root, folder, layer_path, name)


def backing_from(real_root: str, folder: str, layer_path: str, name: str) -> str | Finding:
    """Do the same for a layer in `folder`; no part of either path may be a link."""
    refusal = _refuse_name(real_root, layer_path, name)
    if refusal:
        return refusal
    try:
        target = locate_from(real_root, folder, name)
    except (OSError, ValueError) as error:
        return _lookup_finding(layer_path, brief(name), error)
    if target is None:
        return _outside_finding(layer_path, brief(name))
    words = special_kind(target.mode)
    if words:
        return critical(
            Code.BACKING_SPECIAL,
            layer_path,
            f"The backing file “{brief(name)}” is {words}. No tool will be started on this chain.",
        )
    return target.path


def _outside_finding(layer_path: str, shown: str) -> Finding:
    return critical(
        Code.BACKING_OUTSIDE,
        layer_path,
        f"The backing file “{shown}” lies outside of the storage domain. Opening it could hand a"
        " guest foreign data: no tool will be started on this chain.",
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


def _refuse_name(real_root: str, layer_path: str, name: str) -> Finding | None:
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
    if name.startswith(_PSEUDO) and not os.path.normpath(name).startswith(f"{real_root}/"):
        return critical(
            Code.BACKING_PROTOCOL,
            layer_path,
            f"The backing file “{brief(name)}” is a device of the host, not a volume of this"
            " domain. No tool will be started on this chain.",
        )
    return None
