"""Carrying a merge out: the journal's next step, until the last one is done."""

import asyncio
import logging

from django.db import InterfaceError, OperationalError

from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.core.states import PAST_RETURN, UNFINISHED, MergeState, StepName, StepState
from chains.inventory import services as inventory
from chains.inventory.scan import scan_domain
from chains.merges import fence, journal
from chains.merges.steps import RUN, discard, left_behind, unpacked
from chains.merges.threads import aside, db
from chains.merges.work import CancelledByUserError, DamageError, Work
from chains.models import Merge, MergeStep

logger = logging.getLogger(__name__)


class FenceLostError(StrataError):
    """The database went away: somebody else may believe that this merge is theirs."""


async def run(pk: int) -> None:
    """Start the merge, or go on with it where its journal stands.

    Returns when it has ended or needs attention, and at once when another worker holds it. When it
    is itself cancelled (the worker stops), the tool is stopped and the journal stays: whoever comes
    next goes on. Raises FenceLostError.
    """
    merge = await db(journal.load, pk)
    if merge.finished or merge.state == MergeState.ATTENTION:
        return
    current = asyncio.current_task()
    lost = asyncio.Event()

    def on_loss() -> None:
        lost.set()
        if current is not None:
            current.cancel()

    try:
        async with fence.hold(await db(fence.conninfo), merge.family, on_loss) as ours:
            if ours:
                await _carry_out(await db(journal.load, pk))
    except asyncio.CancelledError:
        if lost.is_set():
            raise FenceLostError("the connection to the database was lost") from None
        raise


async def _carry_out(merge: Merge) -> None:
    if MergeState(merge.state) not in UNFINISHED:
        return
    plan = dict(merge.plan)
    fingerprints = unpacked(plan.pop("fingerprints", []))
    work = Work(
        merge.pk, merge.domain.path, merge.domain.read_only, Plan.from_json(plan), fingerprints
    )
    step = None
    try:
        if merge.cancel_requested and await _may_go_back(merge.pk):
            raise CancelledByUserError("cancelled")
        await db(journal.set_state, merge.pk, MergeState.RUNNING)
        for step in await db(journal.steps, merge.pk):
            if step.state != StepState.DONE:
                await _step(work, step)
    except CancelledByUserError:
        await _taken_back(work, step, MergeState.CANCELLED, "Cancelled.")
    except (OperationalError, InterfaceError):
        # The database is away, and the fence with it. The journal stays: whoever comes next goes on.
        raise
    except StrataError as error:
        await _stopped(work, step, str(error), damage=isinstance(error, DamageError))
    except OSError as error:
        await _stopped(
            work, step, f"The storage answered: {error.strerror}. See to it, then try again."
        )
    except Exception:
        logger.exception("merge %s met an error of Strata's own", merge.pk)
        await _stopped(work, step, "Strata met an error of its own; the worker's log has it.")
    else:
        # First the inventory: whoever hears that a merge has ended must find the new chain there.
        await db(_refresh_inventory, work.pk)
        await db(journal.set_state, merge.pk, MergeState.SUCCEEDED)


async def _step(work: Work, step: MergeStep) -> None:
    name = StepName(step.name)
    if name not in PAST_RETURN and await db(journal.cancel_requested, work.pk):
        raise CancelledByUserError("cancelled")
    await db(journal.begin, step)
    await RUN[name](work, step)
    await db(journal.end, step, StepState.DONE)


async def _may_go_back(pk: int) -> bool:
    steps = await db(journal.steps, pk)
    return all(s.state == StepState.WAITING for s in steps if s.name in PAST_RETURN)


async def _stopped(work: Work, step: MergeStep | None, why: str, *, damage: bool = False) -> None:
    """Before the overlays are touched a merge can be given up; after, or on damage, a person decides."""
    if not damage and await _may_go_back(work.pk):
        await _taken_back(work, step, MergeState.FAILED, f"{why.rstrip('.')}.")
        return
    if step is not None:
        await db(journal.end, step, StepState.FAILED)
    await db(_refresh_inventory, work.pk)
    await db(
        journal.set_state, work.pk, MergeState.ATTENTION, f"{why.rstrip('.')}. Then press Resume."
    )


async def _taken_back(work: Work, step: MergeStep | None, state: MergeState, message: str) -> None:
    message += " " + left_behind(work, await db(journal.steps, work.pk))
    try:
        await aside(discard, work)
    except OSError as error:
        message += f" Only {work.temporary} could not be removed ({error.strerror}): delete it."
    if step is not None and step.state != StepState.DONE:
        await db(journal.end, step, StepState.FAILED)
    await db(_refresh_inventory, work.pk)
    await db(journal.set_state, work.pk, state, message)


def _refresh_inventory(pk: int) -> None:
    """The pages follow the storage; a domain that can not be read now is read by the next scan."""
    merge = journal.load(pk)
    try:
        scan_domain(merge.domain)
    except StrataError:
        logger.warning("the domain of merge %s could not be scanned after it", merge.pk)
        return
    disk = journal.load(pk).disk
    if disk is not None:
        inventory.request_blocks(disk, None)
