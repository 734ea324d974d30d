"""Going on after a crash.

A worker can die at any line. What it can leave, and what happens next. For every strategy:

=================================  ==========================================================
state left behind                  what is done
=================================  ==========================================================
queued, no step begun              the job runs, or is queued again
preflight begun                    preflight runs again; nothing had been written
copy done, verify begun            the comparison runs again
switch begun, some overlays done   an overlay whose header names the joined volume is left alone,
                                   the others are rebased; each rebase rewrites one header
switch begun, top replaced         (top was the active layer) the rename is atomic: done or not
remove begun, some files gone      nothing may read through the rest: checked again, then deleted
remove done, merge not ended       the merge is ended
cancel asked before the crash      before switch: the merge is taken back and cancelled;
                                   after: the merge goes on, as the page said that it would
undo begun, some layers back       a layer that has its name again is left alone, the others follow
purge begun, some files gone       what is left is deleted
=================================  ==========================================================

And by strategy:

=================================  ==========================================================
convert, copy begun                no or half a new file: deleted, the copy starts again
convert, switch begun              new file unnamed: old layers unchanged? it gets its name
convert, taken back                the new file is deleted: the chain is as it was
commit, copy begun                 base has some of the data of the layers above it, which hide
                                   it: the same commit runs again, over the same layers
commit, taken back                 the same; base is no restore point any more, and the merge's
                                   last word says so
rebase, copy begun                 top has some of what lies below it, and reads the same: the
                                   same rebase runs again
rebase, header rewritten           the tool dies before it has stored its last tables: top may
                                   miss bytes that the old layers, all still there, hold. It is
                                   tied back to them at once, or when a worker is back, which
                                   makes every byte right; then the same rebase runs again
rebase, verify begun               what top held before is in the journal: just what it took up
                                   is compared, with the old layers, which are all still there
rebase, taken back                 top reads right either way; nothing was removed
=================================  ==========================================================

At every one of these points each guest view is what it was before the merge: the layers that a
strategy reads from stay whole until `remove`, and `remove` begins only when every overlay reads
through the joined volume, which a comparison has proven equal.

A merge is an orphan when its state is queued or running, its fence is free and no worker has it:
the fence is freed by the death of its worker's database connection, so this is noticed at once.
"""

from django.db import transaction
from django.db.models.functions import Now

from chains.core.states import Kept, MergeState
from chains.inventory.jobs import MERGE, PURGE, enqueue
from chains.merges import fence, queue
from chains.models import Merge


def requeue_orphans(storage_host: str) -> list[int]:
    """Queue the merges of this host that nobody carries out; returns the ids of those that had begun."""
    running = Merge.objects.filter(
        domain__storage_host=storage_host, state=MergeState.RUNNING.value
    )
    orphans = [merge.pk for merge in running if not fence.is_held(merge.family)]
    with transaction.atomic():
        for pk in orphans:
            enqueue(MERGE, storage_host, pk)
        queue.dispatch(storage_host)
    return orphans


def due(storage_host: str) -> list[int]:
    """The merges whose purge is due by the database's clock, or was broken off half-way."""
    of_host = Merge.objects.filter(domain__storage_host=storage_host)
    found = of_host.filter(kept=Kept.KEPT.value, kept_until__lte=Now())
    return list((found | of_host.filter(kept=Kept.PURGING.value)).values_list("pk", flat=True))


def purge_due(storage_host: str) -> None:
    """Queue their purges."""
    for pk in due(storage_host):
        enqueue(PURGE, storage_host, pk)
