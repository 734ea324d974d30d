"""Running a tool, or our own comparison, to its end: reporting meanwhile, and stopping when asked."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

from chains.core import ranges
from chains.core.chain import read_chain
from chains.core.errors import StrataError
from chains.core.extents import ExtentMap, Kind
from chains.core.names import display
from chains.core.progress import PhaseName
from chains.core.readmap import resolve
from chains.core.reads import read_chain_maps
from chains.merges import journal, views, witness
from chains.merges.threads import aside, db
from chains.merges.work import CancelledByUserError, DamageError, StopError, Work
from chains.models import MergeStep
from chains.qemu import qemu_img
from chains.qemu.command import LONG_WORK, Child, Io, Result, shown, start
from chains.qemu.governor import Allowance, govern

P = ParamSpec("P")
T = TypeVar("T")

# A report costs a transaction; a few a second look alive.
REPORT_SECONDS = 0.2
# A chatty tool does not get more of the journal than this.
WORDS_A_SECOND = 1.0
# The tools print nothing of use on stdout.
STDOUT_KEPT = 4096


class Gauge(NamedTuple):
    """What shows how far a tool is in a phase: the bytes that it has written, or read."""

    phase: PhaseName
    of: Callable[[Io], int]


COPYING = Gauge(PhaseName.COPY, lambda io: io.written)
COMPARING = Gauge(PhaseName.VERIFY, lambda io: io.read)


async def tool(work: Work, step: MergeStep, argv: list[str], gauge: Gauge | None) -> Result:
    """Run one tool to its end; raises CommandError, and with a gauge CancelledByUserError.

    With a gauge it is reported, held to the merge's rate, and may be cancelled.
    """
    await db(journal.note_command, step, shown(argv))
    child = start(argv, cwd=work.root, limits=LONG_WORK, output_cap=STDOUT_KEPT, keep_tail=True)
    tasks = [asyncio.create_task(_note_words(step, child))]
    if gauge and work.rate and "-r" not in argv:
        tasks.append(asyncio.create_task(govern(child, work.rate)))
    try:
        result = await _watched(work, child, gauge)
    finally:
        for task in tasks:
            task.cancel()
        await child.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
    if result.warnings:
        await db(journal.note_stderr, step, result.warnings)
    return qemu_img.checked(result)


async def _watched(work: Work, child: Child, gauge: Gauge | None) -> Result:
    if gauge:
        work.meter.enter(gauge.phase)
        while not child.ended:
            work.sign = io = child.io
            await _report(work, gauge.of(io) if io else 0)
            await child.wait_at_most(REPORT_SECONDS)
    return await child.wait()


async def _note_words(step: MergeStep, child: Child) -> None:
    said = ""
    while True:
        await asyncio.sleep(1 / WORDS_A_SECOND)
        if (says := child.stderr_tail) != said:
            said = says
            await db(journal.note_stderr, step, said)


async def _report(work: Work, done: int = 0) -> None:
    if await db(journal.report, work.pk, work.meter.update(done)):
        raise CancelledByUserError("cancelled")


async def told(
    work: Work, phase: PhaseName, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call what blocks in a thread, as a phase of the merge that goes by the clock.

    Raises what it raises, and CancelledByUserError, when it has ended.
    """
    work.meter.enter(phase)
    calling = asyncio.ensure_future(aside(function, *args, **kwargs))
    try:
        while not calling.done():
            await _report(work)
            await asyncio.wait([calling], timeout=REPORT_SECONDS)
        return await calling
    finally:
        # What is called can not be stopped, and what comes next must find it at its end.
        with contextlib.suppress(StrataError, OSError):
            await asyncio.shield(calling)


async def compared(work: Work, step: MergeStep, argv: list[str]) -> Result:
    """Let qemu-img compare the new volume with the old layers; as `tool`."""
    total = await told(work, PhaseName.SETTLE, _both_sides, work)
    work.meter.enter(PhaseName.VERIFY, total)
    return await tool(work, step, argv, COMPARING)


def _both_sides(work: Work) -> int:
    """The bytes that a comparison through the whole chain reads."""
    maps = read_chain_maps(read_chain(work.root, work.plan.top))
    return 2 * ranges.shown(resolve(maps), Kind.DATA).total


class _Comparison:
    """Where our own comparison stands, told by its thread; and whether it is to stop."""

    def __init__(self, rate: int | None) -> None:
        self.done, self.total = 0, 0
        self.cancelled = threading.Event()
        self._allowance = Allowance(rate, time.monotonic) if rate else None

    @property
    def io(self) -> Io:
        """What was read so far: each byte on both sides."""
        return Io(2 * self.done, 0)

    def tick(self, done: int, total: int) -> None:
        """Takes the bytes compared so far; sleeps as the rate asks, raises CancelledByUserError."""
        self.done, self.total = done, total
        pause = self._allowance.debt(self.io.read) if self._allowance else 0.0
        if self.cancelled.wait(pause) if pause else self.cancelled.is_set():
            raise CancelledByUserError("cancelled")


async def witnessed(work: Work) -> Io:
    """Compare in a thread, and report meanwhile; returns what was read for it.

    Raises DamageError and other StopErrors where the bytes differ, CancelledByUserError.
    """
    comparison = _Comparison(work.rate)
    before = ExtentMap.from_bytes(await db(journal.top_before, work.pk))
    comparing = asyncio.ensure_future(
        aside(witness.compare, work.root, work.plan, before, comparison.tick)
    )
    try:
        while not comparing.done():
            if comparison.total:
                work.meter.enter(PhaseName.VERIFY, comparison.total)
            work.sign = comparison.done
            await _report(work, comparison.done)
            await asyncio.wait([comparing], timeout=REPORT_SECONDS)
        await comparing
        return comparison.io
    except witness.DifferenceError as error:
        raise _differs(work, error) from error
    finally:
        comparison.cancelled.set()
        with contextlib.suppress(StrataError, OSError):
            await comparing


def _differs(work: Work, error: witness.DifferenceError) -> StopError:
    said = f"The joined volume does not read like the old layers: {error}. Nothing is removed"
    if work.written == work.plan.top:
        # Guests read through it already.
        return DamageError(
            f"{said}, but {display(work.plan.top)} is damaged: do not start its guests. Check the"
            " storage for errors, and restore this volume; the layers below it are whole"
        )
    return StopError(f"{said}; check the storage for errors, and try again.")


async def digests(work: Work, paths: list[str]) -> dict[str, str]:
    """The digests of what guests read through these volumes; raises CancelledByUserError, StrataError."""
    stop = threading.Event()
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if stop.is_set():
            raise CancelledByUserError("cancelled")

    reading = asyncio.ensure_future(
        aside(lambda: {path: views.digest(work.root, path, tick) for path in paths})
    )
    try:
        while not reading.done():
            work.sign = done
            await _report(work)
            await asyncio.wait([reading], timeout=REPORT_SECONDS)
        return await reading
    finally:
        stop.set()
        with contextlib.suppress(StrataError, OSError):
            await reading
