"""Keeping every path inside its storage domain, and finding backing files the way QEMU does."""

import os
import stat
from typing import NamedTuple

from chains.core.findings import Code, Finding, critical
from chains.core.names import display

# Absolute names under these are devices and kernel interfaces to QEMU, never volumes.
_PSEUDO = ("/dev/", "/proc/", "/sys/")
_SPECIAL = (
    (stat.S_ISFIFO, "a FIFO: a tool that opens it waits for ever"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


class Inside(NamedTuple):
    """A place inside a domain: `path` relative to the real root, `real` for the system."""

    path: str
    real: str


def locate(root: str, path: str) -> Inside | None:
    """Follow every link of `path` (absolute, or relative to `root`); None when it leaves the root.

    Raises OSError or ValueError for names that no file can have.
    """
    real_root = os.path.realpath(root)
    return _inside(real_root, os.path.realpath(path if path[:1] == "/" else f"{real_root}/{path}"))


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
    refusal = _refuse_name(root, layer_path, name)
    if refusal:
        return refusal
    folder = layer_path.rpartition("/")[0]
    try:
        target = locate(root, name if name[0] == "/" or not folder else f"{folder}/{name}")
        words = special_kind(os.lstat(target.real).st_mode) if target else None
    except (OSError, ValueError) as error:
        return _lookup_finding(layer_path, display(name), error)
    if target is None:
        return critical(
            Code.BACKING_OUTSIDE,
            layer_path,
            f"The backing file “{display(name)}” lies outside of the storage domain. Opening it"
            " could hand a guest foreign data: no tool will be started on this chain.",
        )
    if words:
        return critical(
            Code.BACKING_SPECIAL,
            layer_path,
            f"The backing file “{display(name)}” is {words}. No tool will be started on this"
            " chain.",
        )
    return target.path


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


def _refuse_name(root: str, layer_path: str, name: str) -> Finding | None:
    shown = display(name)
    if not name or "\0" in name:
        return critical(
            Code.BACKING_INVALID, layer_path, f"“{shown}” is no name that a file can have."
        )
    if has_protocol(name):
        return critical(
            Code.BACKING_PROTOCOL,
            layer_path,
            f"QEMU takes the backing file “{shown}” for a protocol, not for a file. If a file is"
            " meant, rebase the layer to “./” and the name.",
        )
    if name.startswith(_PSEUDO) and _inside(os.path.realpath(root), os.path.normpath(name)) is None:
        return critical(
            Code.BACKING_PROTOCOL,
            layer_path,
            f"The backing file “{shown}” is a device of the host, not a volume of this domain. No"
            " tool will be started on this chain.",
        )
    return None


def _inside(real_root: str, real: str) -> Inside | None:
    prefix = real_root.rstrip("/") + "/"
    if not real.startswith(prefix):
        return None
    return Inside(real[len(prefix) :], real)
