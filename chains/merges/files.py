"""What a merge does to files itself: naming, removing, and making sure that it lasts."""

import contextlib
import errno
import os

from chains.core.layer import Fingerprint
from chains.core.names import display
from chains.merges.work import StopError, Work


def settle(work: Work) -> None:
    """Onto the platter, with the owner, mode and age of the volume that it stands for."""
    own(work.temporary, work.at(work.plan.top if work.plan.active else work.plan.base))
    # What it shows was last written when top was: the age of the snapshot is not lost.
    written = os.stat(work.at(work.plan.top))
    os.utime(work.temporary, ns=(written.st_atime_ns, written.st_mtime_ns))
    sync(work.temporary)


def settle_in_place(work: Work, written: str) -> None:
    """Onto the platter, with top's age: that is what the written layer shows now. Base that will take
    the active layer's place gets its owner and mode.
    """
    if work.plan.active and written != work.plan.top:
        own(work.at(written), work.at(work.plan.top))
    keep_age(work.at(written), Fingerprint.from_text(work.fingerprints[work.plan.top]).mtime_ns)
    sync(work.at(written))


def keep_age(path: str, mtime_ns: int) -> None:
    """Set when a layer was last written: no guest has written what Strata has moved or re-tied."""
    os.utime(path, ns=(os.stat(path).st_atime_ns, mtime_ns))


def own(path: str, model: str) -> None:
    """Give a file the owner and mode of another."""
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
            move(source, work.new)
    if not os.path.lexists(work.new):
        raise StopError(f"{display(work.new)} is gone; the old layers are kept.")
    sync(os.path.dirname(work.new))


def move(source: str, target: str) -> None:
    """Rename without ever overwriting; goes on where it was broken off. Raises StopError, OSError."""
    if not name_again(source, target) and not os.path.lexists(target):
        os.rename(source, target)  # no hard links here: nothing better is to be had
    elif os.path.samefile(source, target):
        os.unlink(source)
    else:
        raise StopError(f"{display(target)} exists already and is not ours: rename it, and resume.")
    sync(os.path.dirname(target))


def name_again(source: str, target: str) -> bool:
    """Give a file a second name, if that is free; whether this storage has second names at all."""
    try:
        os.link(source, target)
    except FileExistsError:
        return True
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        return False
    return True


def remove(work: Work) -> None:
    """Delete the old layers that are of no use any more."""
    for path in work.plan.left_over:
        unlink(work.at(path))
    for directory in {os.path.dirname(work.at(path)) for path in work.plan.left_over}:
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
