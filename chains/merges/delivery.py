"""Sending the notices that are due: at least once each, whatever dies on the way.

A notice is claimed by moving its due time past the moment at which its sending is over in any case.
Nothing is locked while a receiver thinks, two workers never claim the same row, and the notice of a
worker that dies is due again a little later. A receiver is waited for by a thread of the notice's own,
which nothing else waits for: neither a merge nor the worker's end.
"""

import asyncio
import logging
from concurrent.futures import Future
from datetime import timedelta
from threading import Thread

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from chains.merges import channels
from chains.merges.threads import db
from chains.models import Notice

logger = logging.getLogger(__name__)
AT_ONCE = 8
GIVEN_UP_ON_SECONDS = 90  # a name server may be slow before a channel's own clock begins
CLAIM_SECONDS = 120
FIRST_WAIT, LONGEST_WAIT = 10, 3600
MOST_ATTEMPTS = 32  # their waits make 23 h 25 min
_sending: set[asyncio.Task[None]] = set()


def wait_after(attempts: int) -> int | None:
    """Seconds from a failed attempt to the next: 10 s, twice as long each time, at most 1 h; None for
    never.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    return min(FIRST_WAIT << (attempts - 1), LONGEST_WAIT)


async def send_due() -> list[asyncio.Task[None]]:
    """Claim what is due and begin to send it; waits for no receiver. Returns the deliveries begun."""
    begun = []
    for notice in await db(claim, AT_ONCE - len(_sending)):
        task = asyncio.create_task(_deliver(notice))
        _sending.add(task)
        task.add_done_callback(_sending.discard)
        begun.append(task)
    return begun


def claim(most: int) -> list[Notice]:
    """Take at most so many notices that are due: nobody else gets them for the time of an attempt."""
    if most <= 0:
        return []
    with transaction.atomic():
        due = Notice.objects.filter(due_at__lte=Now()).order_by("due_at", "pk")
        rows = list(due.select_for_update(skip_locked=True)[:most])
        Notice.objects.filter(pk__in=[row.pk for row in rows]).update(
            attempts=F("attempts") + 1, due_at=Now() + timedelta(seconds=CLAIM_SECONDS)
        )
    for row in rows:
        row.attempts += 1
    return rows


async def _deliver(notice: Notice) -> None:
    try:
        error = await _answer(notice)
        await db(_record, notice, error)
    except Exception:
        # Whatever it is, the claim runs out and the notice is tried again.
        logger.exception("notice %s could not be seen to", notice.pk)


async def _answer(notice: Notice) -> str:
    """Why the receiver did not take it, or ""."""
    done: Future[str] = Future()
    done.set_running_or_notify_cancel()  # from here on it is the thread's, also if nobody waits
    Thread(target=_send, args=(notice, done), daemon=True).start()
    try:
        await asyncio.wait_for(asyncio.wrap_future(done), GIVEN_UP_ON_SECONDS)
    except channels.UndeliveredError as error:
        return str(error)
    except TimeoutError:
        return "no answer in time"
    return ""


def _send(notice: Notice, done: Future[str]) -> None:
    try:
        answer = channels.send(notice.channel, {**notice.body, "id": notice.pk})
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(answer)


def _record(notice: Notice, error: str) -> None:
    row = Notice.objects.filter(pk=notice.pk)
    if not error:
        row.update(sent_at=Now(), due_at=None, error="")
        return
    wait = wait_after(notice.attempts)
    row.update(due_at=None if wait is None else Now() + timedelta(seconds=wait), error=error)
    ending = "given up" if wait is None else f"tried again in {wait} s"
    logger.warning(
        "%s notice %s of merge %s: %s; %s",
        notice.channel, notice.pk, notice.merge_id, error, ending,
    )  # fmt: skip
