"""Carrying a merge out: the journal's next step, until the last one is done."""

import asyncio
import errno
import logging

from django.db import InterfaceError, OperationalError

from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.core.states import (
    PAST_RETURN,
    UNFINISHED,
    Kept,
    MergeState,
    StepName,
    StepState,
    Verification,
)
from chains.inventory import services as inventory
from chains.inventory.many import Families
from chains.inventory.scan import scan_paths
from chains.merges import estimates, fence, journal, queue, steps, undo
from chains.merges.options import Options
from chains.merges.threads import db
from chains.merges.watch import watched
from chains.merges.work import CancelledByUserError, DamageError, Work
from chains.models import Merge, MergeStep, Volume

logger = logging.getLogger(__name__)
AGAIN = " Then press Resume."
# A worker that has lost its fence has stopped its tool by then: see fence.py and Child.stop.
STOPPING_SECONDS = fence.HEARTBEAT_SECONDS + 5


class FenceLostError(StrataError):
    """The database went away: somebody else may believe that this merge is theirs."""


async def run(pk: int) -> int:
    """Start the merge, or go on with it where its journal stands; returns the id of its domain.

    Returns at once when it is not its turn, else when it has ended or needs attention, and at once when another worker holds it. When it
    is itself cancelled (the worker stops), the tool is stopped and the journal stays: whoever comes
    next goes on. Raises FenceLostError.
    """
    merge = await db(journal.load, pk)
    if merge.finished or merge.state == MergeState.ATTENTION:
        return merge.domain_id
    current = asyncio.current_task()
    lost = asyncio.Event()

    def on_loss() -> None:
        lost.set()
        if current is not None:
            current.cancel()

    try:
        families = filter(None, [merge.family, merge.other_family])
        async with fence.hold(await db(fence.conninfo), families, on_loss) as ours:
            if ours:
                await _carry_out(await db(journal.load, pk))
    except asyncio.CancelledError:
        if lost.is_set():
            raise FenceLostError("the connection to the database was lost") from None
        raise
    return merge.domain_id


async def _carry_out(merge: Merge) -> None:
    if MergeState(merge.state) not in UNFINISHED:
        return
    work = await db(_work, merge)
    step = None
    try:
        if merge.cancel_requested and await _may_go_back(merge.pk):
            raise CancelledByUserError("cancelled")
        if queue.may_still_work(merge.worker):
            await asyncio.sleep(STOPPING_SECONDS)
        if not await db(queue.claim, merge.pk):
            return
        for step in await db(journal.steps, merge.pk):
            if step.state != StepState.DONE:
                await _step(work, step)
    except CancelledByUserError:
        await _taken_back(work, step, MergeState.CANCELLED, "Cancelled.")
    except (OperationalError, InterfaceError):
        # The database is away, and the fence with it. The journal stays: whoever comes next goes on.
        raise
    except Exception as error:
        await _stopped(work, step, _words(work.pk, error), damage=isinstance(error, DamageError))
    else:
        # First the inventory: whoever hears that a merge has ended must find the new chain there.
        await db(_refresh_inventory, work.pk)
        if work.undoes is not None:
            await db(journal.set_kept, work.undoes.pk, Kept.UNDONE)
        await db(journal.set_state, merge.pk, MergeState.SUCCEEDED)


def _work(merge: Merge) -> Work:
    plan, how = (
        Plan.from_json(merge.plan),
        Options(Verification(merge.verification), merge.rate or 0),
    )
    work = Work(
        merge.pk, merge.domain.path, merge.domain.forbidden, plan,
        expected=None if merge.undoes else estimates.phases(plan, how, merge.domain),
        keep_seconds=merge.domain.keep_seconds, verification=how.verification,
        undoes=merge.undoes, rate=merge.rate, seen=(merge.percent, merge.bytes_done),
    )  # fmt: skip
    steps.unpack(work, merge.plan.get("layers_before", []))
    return work


def _words(pk: int, error: Exception) -> str:
    """What the operator reads of an error."""
    if isinstance(error, StrataError):
        return str(error)
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return "The storage domain is full; free some space and try again."
        return f"The storage answered: {error.strerror}. See to it, then try again."
    logger.error("merge %s met an error of Strata's own", pk, exc_info=error)
    return "Strata met an error of its own; the worker's log has it."


async def _step(work: Work, step: MergeStep) -> None:
    name = StepName(step.name)
    if name not in PAST_RETURN and await db(journal.cancel_requested, work.pk):
        raise CancelledByUserError("cancelled")
    await db(journal.begin, step)
    work.sign = name
    async with watched(work):
        await (undo.RUN if work.undoes else steps.RUN)[name](work, step)
    await db(journal.end, step, StepState.DONE)


async def _may_go_back(pk: int) -> bool:
    journaled = await db(journal.steps, pk)
    return all(s.state == StepState.WAITING for s in journaled if s.name in PAST_RETURN)


async def _stopped(work: Work, step: MergeStep | None, why: str, *, damage: bool = False) -> None:
    """Before the overlays are touched a merge can be given up; after, or on damage, a person decides."""
    if not damage and await _may_go_back(work.pk):
        await _taken_back(work, step, MergeState.FAILED, f"{why.rstrip('.')}.")
        return
    if step is not None:
        await db(journal.end, step, StepState.FAILED)
    await db(_refresh_inventory, work.pk)
    await db(journal.set_state, work.pk, MergeState.ATTENTION, f"{why.rstrip('.')}.{AGAIN}")


async def _taken_back(work: Work, step: MergeStep | None, state: MergeState, message: str) -> None:
    journaled = await db(journal.steps, work.pk)
    try:
        if work.undoes is not None:
            message += " " + await undo.take_back(work)
        else:
            message += " " + steps.left_behind(work, journaled)
            copying = next(s for s in journaled if s.name == StepName.COPY)
            if copying.state != StepState.WAITING:
                await steps.take_back(work, copying)
    except (StrataError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        state, message = (
            MergeState.ATTENTION,
            f"{message} It could not be taken back ({why}).{AGAIN}",
        )
    if step is not None and step.state != StepState.DONE:
        await db(journal.end, step, StepState.FAILED)
    await db(_refresh_inventory, work.pk)
    await db(journal.set_state, work.pk, state, message)


def _refresh_inventory(pk: int) -> None:
    """The pages follow the storage; a domain that can not be read now is read by the next scan."""
    merge = journal.load(pk)
    try:
        scan_paths(merge.domain, _touched(merge))
    except StrataError:
        logger.warning("the disk of merge %s could not be scanned after it", merge.pk)
        return
    disk = journal.load(pk).disk
    if disk is not None:
        inventory.request_blocks(disk, None)


def _touched(merge: Merge) -> set[str]:
    """Every volume that shares a root with those of the merge, and those that it made or removed."""
    plan = Plan.from_json(merge.plan)
    paths = {*plan.layers, *plan.overlays, plan.new_path(merge.undoes_id or merge.pk)}
    if plan.below is not None:
        paths.add(plan.below)
    rows = Volume.objects.filter(domain=merge.domain, path__in=paths).values_list("pk", flat=True)
    return paths | {row.path for row in Families(rows).by_pk.values()}
