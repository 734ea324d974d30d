"""A merge whose storage hangs says so, and says when it answers again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from django.utils import timezone

from chains.merges import journal
from chains.merges.threads import db
from chains.merges.work import Work

# Long enough for a full flush of a busy array, short enough for a person who looks at the bar.
STALL_SECONDS = 20.0
LOOK_SECONDS = 1.0


@contextlib.asynccontextmanager
async def watched(work: Work) -> AsyncIterator[None]:
    """Tell of a silence of the storage for as long as the block runs."""
    watching = asyncio.create_task(_watch(work))
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(work: Work) -> None:
    seen, since, told = work.sign, time.monotonic(), False
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if work.sign != seen:
                seen, since = work.sign, time.monotonic()
                if told:
                    told = await _say(work, "")
            elif not told and time.monotonic() - since >= STALL_SECONDS:
                told = await _say(work, _words())
    finally:
        if told:
            await asyncio.shield(_say(work, ""))


async def _say(work: Work, text: str) -> bool:
    await db(journal.say, work.pk, text)
    return bool(text)


def _words() -> str:
    now = timezone.localtime()
    return (
        f"The storage has not answered for {STALL_SECONDS:.0f} s ({now:%H:%M:%S}). The merge waits, and goes"
        " on by itself when it answers: see to the mount or the array. Nothing is lost meanwhile."
    )
