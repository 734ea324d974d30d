"""The queue of a domain: which merge may start now, and why another waits.

A merge starts when its domain's queue is not paused, a maintenance window is open, and fewer merges
than the domain allows are running. What runs goes on to its end; so does what goes on after a crash.
"""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chains.core import windows
from chains.core.states import MergeState
from chains.inventory import news
from chains.inventory.jobs import MERGE, enqueue
from chains.merges import journal
from chains.models import Merge, StorageDomain


def waits_for(merge: Merge, ahead: Iterable[Merge] | None = None) -> str:
    """Why a queued merge does not start now, in words; "" when it may.

    `ahead` are the merges that hold the domain's places: those that run, when it is not given.
    """
    domain = merge.domain
    if domain.paused:
        return "The queue of this domain is paused: an operator resumes it."
    # A window is of the site, whoever looks at it from which zone.
    now = timezone.localtime(timezone=timezone.get_default_timezone())
    opens = windows.opens(windows.parse(domain.window), now)
    if opens is not None:
        return f"It waits for the maintenance window ({domain.window}): {opens:%a %d %b, %H:%M}."
    places = list(_running(domain) if ahead is None else ahead)
    if len(places) >= domain.merges_at_once:
        names = ", ".join(f"merge {other.pk}" for other in places[:3])
        return (
            f"It waits for its turn: {names} {'holds' if len(places) == 1 else 'hold'} the domain's"
            f" {'place' if domain.merges_at_once == 1 else f'{domain.merges_at_once} places'}."
        )
    return ""


def _running(domain: StorageDomain) -> list[Merge]:
    return list(domain.merges.filter(state=MergeState.RUNNING.value).order_by("pk"))


def claim(pk: int) -> bool:
    """Take a place for a merge and begin it, or say no. One that runs already has its place."""
    with transaction.atomic():
        merge = journal.load(pk)
        # Everybody who takes a place of this domain stands in line here.
        merge.domain = StorageDomain.objects.select_for_update().get(pk=merge.domain_id)
        merge.refresh_from_db(fields=["state"])
        if merge.state == MergeState.QUEUED and waits_for(merge):
            return False
        journal.set_state(pk, MergeState.RUNNING)
        Merge.objects.filter(pk=pk).update(worker=own_name())
    return True


def own_name() -> str:
    """This process, as the others know it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def may_still_work(worker: str) -> bool:
    """Whether the process that carried a merge out before may still be stopping its tool: a worker that
    loses its connection loses its fence with it, and notices a moment later.
    """
    host, _, pid = worker.rpartition(":")
    if not host or worker == own_name():
        return False
    return host != socket.gethostname() or Path(f"/proc/{pid}").exists()


def dispatch(storage_host: str) -> None:
    """Queue the jobs of the merges that may start, the oldest first; those cancelled while they wait,
    too: a worker ends them.
    """
    for domain in StorageDomain.objects.filter(
        storage_host=storage_host, merges__state=MergeState.QUEUED.value
    ).distinct():
        dispatch_domain(domain)


def dispatch_domain(domain: StorageDomain) -> None:
    """The same for one domain."""
    places = _running(domain)
    for merge in domain.merges.filter(state=MergeState.QUEUED.value).order_by("pk"):
        merge.domain = domain
        if merge.cancel_requested:
            enqueue(MERGE, domain.storage_host, merge.pk)
        elif not waits_for(merge, places):
            enqueue(MERGE, domain.storage_host, merge.pk)
            places.append(merge)


def moved_up(pk: int) -> None:
    """A place of this domain is free: start whose turn it is, and tell the others."""
    domain = StorageDomain.objects.get(pk=pk)
    with transaction.atomic():
        dispatch_domain(domain)
        tell_waiting(domain)


def tell_waiting(domain: StorageDomain) -> None:
    """Send the news of every queued merge: what it waits for has changed."""
    with transaction.atomic():
        queued = domain.merges.filter(state=MergeState.QUEUED.value)
        queued.update(seq=F("seq") + 1)
        for pk, seq in queued.values_list("pk", "seq"):
            news.publish("merge", pk, seq)
