"""The directory of one lesson: held by its descriptor, locked, and never left by a link.

Only the files that the lesson is made of are ever removed from it; what else lies there stays.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Self

from chains.core.errors import StrataError
from chains.core.layer import Fingerprint
from chains.core.names import display
from chains.core.units import binary
from chains.lessons.steps import FILES

# The lesson writes about 3 MiB; nothing is begun where it could fill the file system.
NEEDED = 16 * 1024**2
MOST = 200
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class SandboxError(StrataError):
    """The sandbox can not be used; the text says why and what to do."""


class ChangedError(StrataError):
    """Somebody else has written into the sandbox; the text says where."""


class Sandbox:
    """An open sandbox; use `opened`."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @property
    def cwd(self) -> str:
        """Where a tool is started: the directory that was opened, whatever its name leads to now."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @classmethod
    @contextlib.contextmanager
    def opened(cls, root: str, name: str) -> Iterator[Self]:
        """Make it where it is not there, and hold it; raises SandboxError."""
        with contextlib.ExitStack() as held:
            try:
                os.makedirs(root, mode=0o700, exist_ok=True)
                parent = _open(held, root, None)
                known = os.listdir(parent)
                if name not in known:
                    if len(known) >= MOST:
                        raise SandboxError(
                            f"{display(root)} holds {MOST} lessons already; each is removed a day after"
                            " its last step. Try again later."
                        )
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, mode=0o700, dir_fd=parent)
                fd = _open(held, name, parent)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SandboxError(
                    "Another worker is still busy in this sandbox; try again in a moment."
                ) from None
            except OSError as error:
                raise SandboxError(
                    f"The sandbox {display(os.path.join(root, name))} can not be used"
                    f" ({error.strerror}): the worker needs a directory of its own there, or another"
                    " one named by STRATA_LESSON_DIR."
                ) from error
            yield cls(os.path.join(os.path.realpath(root), name), fd)

    def check_room(self) -> None:
        """Raises SandboxError where the lesson could fill the file system."""
        found = os.fstatvfs(self._fd)
        free = found.f_bavail * found.f_frsize
        if free < NEEDED:
            raise SandboxError(
                f"Only {binary(free)} are free where the sandbox is, {display(self.path)}; the lesson"
                f" begins a step where there are {binary(NEEDED)}. Free some space and run it again."
            )

    def fingerprints(self) -> dict[str, str]:
        """The lesson's files by name; raises ChangedError where one is no plain file of ours."""
        found = {}
        for name in FILES:
            try:
                status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise ChangedError(f"{name} is not the file that the lesson has made.")
            if status.st_nlink != 1:
                raise ChangedError(f"{name} has a second name since the last step.")
            found[name] = Fingerprint.of(status).to_text()
        return found

    def check(self, known: dict[str, str]) -> None:
        """Raises ChangedError unless the files are those that the last step has left."""
        found = self.fingerprints()
        if found == known:
            return
        words = {
            "is gone": [name for name in known if name not in found],
            "was put there": [name for name in found if name not in known],
            "was changed": [name for name in known if name in found and found[name] != known[name]],
        }
        said = [f"{name} {what}" for what, names in words.items() for name in names]
        raise ChangedError(f"Not by the lesson, and since its last step: {', '.join(said)}.")

    def remove(self, names: Sequence[str] = FILES) -> None:
        """Remove these files of the lesson; a link goes itself, never what it leads to."""
        for name in names:
            try:
                os.unlink(name, dir_fd=self._fd)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SandboxError(
                    f"{name} can not be removed from {display(self.path)} ({error.strerror}): remove it"
                    " by hand, and run the step again."
                ) from error


def _open(held: contextlib.ExitStack, path: str, parent: int | None) -> int:
    """Open a directory of our own; raises OSError, SandboxError."""
    fd = os.open(path, _DIRECTORY, dir_fd=parent)
    held.callback(os.close, fd)
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SandboxError(
            f"{display(path)} can be written by others than the worker: give it to the worker's user"
            " alone (mode 0700), or name another directory by STRATA_LESSON_DIR."
        )
    return fd


def swept(root: str, kept: set[str]) -> list[str]:
    """Remove all sandboxes but those named; returns what was removed. One that is in use stays."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    gone = []
    for name in names:
        if name in kept or not name.isdecimal():
            continue
        with contextlib.suppress(SandboxError), Sandbox.opened(root, name) as sandbox:
            sandbox.remove()
            with contextlib.suppress(OSError):  # something of somebody else's is in it
                os.rmdir(sandbox.path)
                gone.append(name)
    return gone
