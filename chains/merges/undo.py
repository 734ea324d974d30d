"""Taking a merge back: the old layers that it kept aside get their names again.

Of each layer that was only moved nothing was written since, and the joined volume shows just what they
show: every guest reads the same at each point between. The order makes sure of it: first the layers
whose names are free, then each overlay of the joined volume is tied to the old top, and last the
joined volume goes, or is replaced by what bore its name. Each step may be run again.
"""

import os
from collections.abc import Awaitable, Callable

from chains.core.chain import read_chain
from chains.core.costs import Strategy
from chains.core.layer import read_layer
from chains.core.names import display
from chains.core.states import Kept, StepName
from chains.inventory.scan import read_forest
from chains.merges import files, journal, kept
from chains.merges.kept import KeptFile
from chains.merges.steps import above, refuse_users, tie
from chains.merges.threads import aside, db
from chains.merges.work import StopError, Work
from chains.models import Merge, MergeStep
from chains.qemu.command import shown


def _files(work: Work) -> list[KeptFile]:
    return [KeptFile.from_json(row) for row in _undone(work).kept_files]


def _undone(work: Work) -> Merge:
    assert work.undoes is not None
    return work.undoes


def joined_path(work: Work) -> str:
    """The volume that the merge left, relative to the root."""
    return work.plan.new_path(_undone(work).pk)


async def preflight(work: Work, step: MergeStep) -> None:
    """Everything is where the merge left it; raises StopError, OSError."""
    joined = joined_path(work)
    await aside(_check, work, joined)
    chain = await aside(read_chain, work.root, joined)
    if not chain.is_safe:
        raise StopError(f"The chain of {display(joined)} is not safe: see its findings.")
    await refuse_users(work, [joined, *await aside(_overlays, work, joined)])


def _check(work: Work, joined: str) -> None:
    if work.forbidden:
        raise StopError(work.forbidden)
    if not kept.is_as(work.at(joined), _undone(work).joined):
        raise StopError(
            f"{display(joined)} has been written, merged or replaced since: the merge can not be undone any more."
        )
    below = read_layer(work.root, joined, work.formats.get(joined)).backing_path
    if below != work.plan.below:
        raise StopError(
            f"{display(joined)} lies over another layer since: undo what was merged below it first."
        )
    for file in _files(work):
        if not kept.is_at(work.at(file.aside), file.identity):
            raise StopError(
                f"{display(file.aside)} is not there as it was kept: the merge can not be undone any more."
            )
        if file.path != joined and os.path.lexists(work.at(file.path)):
            raise StopError(f"{display(file.path)} exists again: rename it, and undo again.")


def _overlays(work: Work, path: str) -> list[str]:
    """Every volume that reads through this one."""
    forest = read_forest(work.root)
    return [other for other in above(work, forest, path) if other != path]


async def switch(work: Work, step: MergeStep) -> None:
    """Give the old layers their names, and tie every overlay of the joined volume to the old top."""
    joined, plan = joined_path(work), work.plan
    await refuse_users(work, [p for p in (joined, *await aside(_overlays, work, joined))
                              if await aside(os.path.lexists, work.at(p))])  # fmt: skip
    for file in _files(work):
        if file.path != joined:
            await _restore(work, step, file)
    if plan.top != joined:
        for overlay in await aside(_strangers, work, joined):
            await tie(work, step, overlay, plan.top, work.formats[plan.top])
    elif plan.strategy == Strategy.REBASE and all(f.path != joined for f in _files(work)):
        # No copy of top was kept: it reads the same over the old layers, and keeps what it took up.
        await tie(work, step, plan.top, plan.layers[1], work.formats[plan.layers[1]])


async def _restore(work: Work, step: MergeStep, file: KeptFile) -> None:
    source, target = work.at(file.aside), work.at(file.path)
    if not await aside(os.path.lexists, source):
        if not await aside(kept.is_at, target, file.identity):
            raise StopError(f"{display(file.aside)} is gone. Restore it, or {display(file.path)}.")
        return
    await db(journal.note_command, step, shown(["mv", source, target]))
    await aside(files.move, source, target)


async def remove(work: Work, step: MergeStep) -> None:
    """Let the joined volume go, or be replaced by what bore its name, once nothing reads through it."""
    joined = joined_path(work)
    same = [work.at(file.aside) for file in _files(work) if file.path == joined]
    if same or work.plan.strategy != Strategy.REBASE:
        source, target = same[0] if same else None, work.at(joined)
        if await aside(os.path.lexists, source or target):
            await aside(_check_unread, work, joined)
            await refuse_users(work, [joined])
            back = work.plan.top if work.plan.top != joined else work.plan.layers[1]
            chain = await aside(read_chain, work.root, back)
            if not chain.is_safe:
                raise StopError(f"The chain of {display(back)} is not whole: see its findings.")
            argv = ["mv", source, target] if source else ["rm", target]
            await db(journal.note_command, step, shown(argv))
            await aside(_let_go, source, target)
    await aside(kept.clear, work.root, _files(work))


def _strangers(work: Work, joined: str) -> list[str]:
    """The overlays of the joined volume, without the old layers that have come back."""
    found = read_forest(work.root).overlays.get(joined, ())
    return [path for path in found if path not in work.plan.layers]


def _check_unread(work: Work, joined: str) -> None:
    if not kept.is_as(work.at(joined), _undone(work).joined):
        raise StopError(
            f"{display(joined)} was written while the merge was undone. Nothing more is done: compare its content before you go on."
        )
    if work.plan.top != joined and (others := _strangers(work, joined)):
        raise StopError(
            f"{display(others[0])} has become an overlay of {display(joined)}: give it another backing file."
        )


def _let_go(source: str | None, target: str) -> None:
    if source is None:
        os.unlink(target)
    else:
        os.replace(source, target)
    files.sync(os.path.dirname(target))


RUN: dict[StepName, Callable[[Work, MergeStep], Awaitable[None]]] = {
    StepName.PREFLIGHT: preflight,
    StepName.SWITCH: switch,
    StepName.REMOVE: remove,
}


async def take_back(work: Work) -> str:
    """Nothing was changed yet: the merge may be undone later, if what it kept is still there."""
    left = await aside(kept.left_of, work.root, _files(work))
    await db(journal.set_kept, _undone(work).pk, Kept.KEPT if left else Kept.PURGED)
    return "Nothing was changed; the old layers are as before."
