"""What a merge does to files itself: naming, removing, and making sure that it lasts."""

import contextlib
import os

from chains.core.names import display
from chains.merges.work import StopError, Work


def settle(work: Work) -> None:
    """Onto the platter, with the owner, mode and age of the volume that it stands for."""
    _own(work.temporary, work.at(work.plan.top if work.plan.active else work.plan.base))
    # What it shows was last written when top was: the age of the snapshot is not lost.
    written = os.stat(work.at(work.plan.top))
    os.utime(work.temporary, ns=(written.st_atime_ns, written.st_mtime_ns))
    sync(work.temporary)


def settle_in_place(work: Work, written: str) -> None:
    """Onto the platter; base that will take the active layer's place gets its owner and mode."""
    if work.plan.active and written != work.plan.top:
        _own(work.at(written), work.at(work.plan.top))
    sync(work.at(written))


def _own(path: str, model: str) -> None:
    status = os.stat(model)
    if os.geteuid() == 0:
        os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, status.st_mode & 0o7777)


def place(work: Work) -> None:
    """Give the joined volume its name; an existing file is never overwritten, save the active layer."""
    source = work.temporary if work.written is None else work.at(work.plan.base)
    if os.path.lexists(source):
        if work.plan.active:
            os.replace(source, work.new)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(source, work.new)
            if not os.path.samefile(source, work.new):
                raise StopError(
                    f"{display(work.new)} exists already and is not ours: rename it, and resume."
                )
            os.unlink(source)
    if not os.path.lexists(work.new):
        raise StopError(f"{display(work.new)} is gone; the old layers are kept.")
    sync(os.path.dirname(work.new))


def remove(work: Work) -> None:
    for path in work.plan.removed:
        unlink(work.at(path))
    for directory in {os.path.dirname(work.at(path)) for path in work.plan.removed}:
        sync(directory)


def unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
