"""Running a tool, or our own comparison, to its end: reporting meanwhile, and stopping when asked."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from chains.core.errors import StrataError
from chains.core.extents import ExtentMap
from chains.core.names import display
from chains.core.progress import Throttle
from chains.merges import journal, witness
from chains.merges.threads import aside, db
from chains.merges.work import CancelledByUserError, DamageError, StopError, Work
from chains.models import MergeStep
from chains.qemu import qemu_img
from chains.qemu.command import LONG_WORK, Child, clean, shown, start

TICK_SECONDS = 0.1


def written(work: Work, child: Child, output: bytes) -> int | None:
    """Bytes that the tool has written: how far a copy is."""
    io = child.io_bytes()
    return min(io[1], work.plan.bytes_to_copy or 0) if io else None


def compared(work: Work, child: Child, output: bytes) -> int | None:
    """How far a comparison is, by the percent that the tool prints."""
    share = qemu_img.percent(output)
    copied = work.plan.bytes_to_copy or 0
    return None if share is None else copied + int(copied * share / 100)


async def tool(
    work: Work, step: MergeStep, argv: list[str],
    measure: Callable[[Work, Child, bytes], int | None] | None,
) -> None:  # fmt: skip
    """Run one tool to its end, reporting; raises CommandError, CancelledByUserError."""
    await db(journal.note_command, step, shown(argv))
    tail = bytearray()

    def keep(chunk: bytes) -> None:
        tail.extend(chunk)
        del tail[:-4096]

    child = work.child = await start(argv, cwd=work.root, limits=LONG_WORK, on_output=keep)
    ending = asyncio.ensure_future(child.wait())
    throttle, words = Throttle(8, time.monotonic), Throttle(1, time.monotonic)
    said = ""
    try:
        while not ending.done():
            await asyncio.wait([ending], timeout=TICK_SECONDS)
            if words.ready() and child.stderr_tail != said:
                said = child.stderr_tail
                await db(journal.note_stderr, step, said)
            done = measure(work, child, bytes(tail)) if measure else None
            if done is not None and throttle.ready():
                if await db(journal.report, work.pk, work.meter.update(done)):
                    raise CancelledByUserError("cancelled")
            elif throttle.ready() and measure and await db(journal.cancel_requested, work.pk):
                raise CancelledByUserError("cancelled")
        result = await ending
    finally:
        await child.stop()
        work.child = None
        ending.cancel()
    said = clean(result.stderr)
    if said:
        await db(journal.note_stderr, step, said)
    qemu_img.checked(result)


async def witnessed(work: Work) -> None:
    """Compare in a thread, and report meanwhile."""
    done = 0
    cancelled = threading.Event()

    def tick(compared: int) -> None:
        nonlocal done
        done = compared
        if cancelled.is_set():
            raise CancelledByUserError("cancelled")

    before = ExtentMap.from_bytes(await db(journal.top_before, work.pk))
    copied = work.plan.bytes_to_copy or 0
    comparing = asyncio.ensure_future(aside(witness.compare, work.root, work.plan, before, tick))
    throttle = Throttle(8, time.monotonic)
    try:
        while not comparing.done():
            await asyncio.wait([comparing], timeout=TICK_SECONDS)
            if throttle.ready() and await db(
                journal.report, work.pk, work.meter.update(copied + done)
            ):
                raise CancelledByUserError("cancelled")
        await comparing
    except witness.DifferenceError as error:
        said = f"The joined volume does not read like the old layers: {error}. Nothing is removed"
        if work.written == work.plan.top:
            # Guests read through it already.
            raise DamageError(
                f"{said}, but {display(work.plan.top)} is damaged: do not start its guests. Check the"
                " storage for errors, and restore this volume; the layers below it are whole"
            ) from error
        raise StopError(f"{said}; check the storage for errors, and try again.") from error
    finally:
        cancelled.set()
        with contextlib.suppress(StrataError, OSError):
            await comparing
