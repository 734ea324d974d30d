"""The old layers that a merge keeps aside, so that it can be undone; and their purge.

They lie in a directory `.strata-kept-N` beside their place, N being the merge's number: scans pass
over it, and a backing name among them still holds. Each is moved by one rename, so that it is always
under one of its two names, and told by device, inode, size and time of change: nothing else that may
bear its name is ever put back, replaced or deleted.
"""

import contextlib
import os
from dataclasses import dataclass

from django.db import transaction

from chains.core.layer import Fingerprint
from chains.core.names import display
from chains.core.plans import Plan
from chains.core.states import Kept
from chains.inventory import audit
from chains.merges import files, journal
from chains.merges.audited import merge_facts
from chains.merges.work import StopError
from chains.models import Merge, StorageDomain
from chains.storage.directory import share


@dataclass(frozen=True)
class KeptFile:
    """An old layer and where it is kept, relative to the domain's root; `identity` as `identity` says."""

    path: str
    aside: str
    identity: str

    def to_json(self) -> list[str]:
        """Names are bytes, and travel as hexadecimal."""
        return [os.fsencode(self.path).hex(), os.fsencode(self.aside).hex(), self.identity]

    @classmethod
    def from_json(cls, row: list[str]) -> "KeptFile":
        """What `to_json` wrote."""
        path, aside = (os.fsdecode(bytes.fromhex(text)) for text in row[:2])
        return cls(path, aside, row[2])


def identity(path: str) -> str:
    """What tells a file from any other and from itself before a write, whatever its name; raises OSError."""
    return Fingerprint.of(os.lstat(path))._replace(ctime_ns=0).to_text()


def state(path: str) -> str:
    """The same, and anything done to its inode besides; raises OSError."""
    return Fingerprint.of(os.lstat(path)).to_text()


def is_as(path: str, wanted: str) -> bool:
    """Whether just this file stands there, and nobody has touched it."""
    try:
        return state(path) == wanted
    except FileNotFoundError:
        return False


def is_at(path: str, wanted: str) -> bool:
    """Whether just this file stands there."""
    try:
        return identity(path) == wanted
    except FileNotFoundError:
        return False


def make_room(path: str) -> None:
    """Make the directory of a path that is kept aside, for nobody but Strata."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path), 0o700)


def copy_aside(old: str, aside: str) -> None:
    """Keep what is about to be written in place, as a copy that shares its blocks; once."""
    if os.path.lexists(aside):
        return  # of an earlier try: `old` may be half-written by now
    make_room(aside)
    part = f"{aside}.part"
    files.unlink(part)
    share(old, part)
    status = os.stat(old)
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    files.own(part, old)
    os.rename(part, aside)
    files.sync(os.path.dirname(aside))


def second_name(old: str, aside: str) -> None:
    """Keep what is about to be replaced under its own name."""
    make_room(aside)
    files.name_again(old, aside)
    files.sync(os.path.dirname(aside))


def move_aside(old: str, aside: str) -> None:
    """Move a layer that nothing reads any more; again is once. Raises StopError, OSError."""
    if not os.path.lexists(old):
        return
    make_room(aside)
    if os.path.lexists(aside):
        raise StopError(f"{display(aside)} exists already: rename it, and resume.")
    os.rename(old, aside)
    files.sync(os.path.dirname(aside))
    files.sync(os.path.dirname(old))


def put_back(aside: str, old: str) -> None:
    """Let the copy that was kept take its place again, in one rename."""
    os.replace(aside, old)
    files.sync(os.path.dirname(old))
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(aside))


def found(root: str, plan: Plan, number: int) -> list[KeptFile]:
    """What lies aside of this merge; raises OSError."""
    paths = dict.fromkeys([*plan.left_over, plan.top, plan.base])
    asides = ((path, plan.aside(path, number)) for path in paths)
    return [
        KeptFile(path, aside, identity(os.path.join(root, aside)))
        for path, aside in asides
        if os.path.lexists(os.path.join(root, aside))
    ]


def size(root: str, plan: Plan, kept: list[KeptFile]) -> int:
    """Bytes on disk that a purge gives back: of a copy that shares its blocks, those written over since."""
    own = [k for k in kept if k.path != plan.copied_aside]
    shared = (plan.bytes_written or 0) if len(own) < len(kept) else 0
    return shared + sum(os.lstat(os.path.join(root, k.aside)).st_blocks * 512 for k in own)


def clear(root: str, kept: list[KeptFile]) -> None:
    """Delete what is kept aside, and the directories; what is not ours stays. Raises OSError."""
    for file in kept:
        place = os.path.join(root, file.aside)
        if is_at(place, file.identity):
            os.unlink(place)
    for directory in {os.path.dirname(os.path.join(root, file.aside)) for file in kept}:
        with contextlib.suppress(OSError):  # not empty, or gone
            os.rmdir(directory)
        files.sync(os.path.dirname(directory))


def left_of(root: str, kept: list[KeptFile]) -> bool:
    """Whether all that was kept is still there (a rebase may have had nothing to keep)."""
    return all(is_at(os.path.join(root, file.aside), file.identity) for file in kept)


def reconcile(domain: StorageDomain) -> None:
    """What somebody has taken away by hand is no longer kept, and gives nothing back; raises OSError."""
    for merge in domain.merges.filter(kept=Kept.KEPT.value):
        if not left_of(domain.path, [KeptFile.from_json(row) for row in merge.kept_files]):
            with transaction.atomic():
                journal.set_kept(merge.pk, Kept.PURGED)
                audit.record(None, audit.WORKER, "purge", str(merge), **merge_facts(merge),
                             message="Somebody has taken away by hand what was kept aside.")  # fmt: skip


def purge(pk: int) -> None:
    """Delete what a merge kept aside, once its time has come; raises OSError."""
    with transaction.atomic():
        merge = Merge.objects.select_for_update(of=("self",)).select_related("domain").get(pk=pk)
        if merge.kept not in {Kept.KEPT, Kept.PURGING} or merge.domain.forbidden:
            return
        journal.set_kept(pk, Kept.PURGING)
    clear(merge.domain.path, [KeptFile.from_json(row) for row in merge.kept_files])
    with transaction.atomic():
        journal.set_kept(pk, Kept.PURGED)
        audit.record(None, audit.WORKER, "purge", str(merge), audit.Result.SUCCEEDED,
                     **merge_facts(merge), bytes=merge.kept_bytes)  # fmt: skip
