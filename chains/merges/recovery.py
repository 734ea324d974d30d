"""Going on after a crash.

A worker can die at any line. What it can leave, for the strategy convert, and what happens next:

=================================  ==========================================================
state left behind                  what is done
=================================  ==========================================================
queued, no step begun              the job runs, or is queued again
preflight begun                    preflight runs again; nothing had been written
copy begun: no or half a new file  the file is deleted, the copy starts again
copy done, verify begun            the comparison runs again over the same new file
switch begun, new file unnamed     old layers unchanged since the preflight? it gets its name
switch begun, some overlays done   an overlay whose header names the new volume is left alone,
                                   the others are rebased; each rebase rewrites one header
switch begun, top replaced         (top was the active layer) the rename is atomic: done or not
remove begun, some files gone      nothing may read through the rest: checked again, then deleted
remove done, merge not ended       the merge is ended
cancel asked before the crash      before switch: the new file is deleted, the merge cancelled;
                                   after: the merge goes on, as the page said that it would
=================================  ==========================================================

At every one of these points each guest view is what it was before the merge: the old layers stay
whole until `remove`, and `remove` begins only when every overlay reads through the new volume,
which a comparison has proven equal.

A merge is an orphan when its state is queued or running, its fence is free and no worker has it:
the fence is freed by the death of its worker's database connection, so this is noticed at once.
"""

from django.db import transaction

from chains.core.states import MergeState
from chains.inventory.jobs import MERGE, enqueue
from chains.merges import fence
from chains.models import Merge


def requeue_orphans(storage_host: str) -> list[int]:
    """Queue the merges of this host that nobody carries out; returns their ids."""
    unfinished = Merge.objects.filter(
        domain__storage_host=storage_host,
        state__in=[MergeState.QUEUED.value, MergeState.RUNNING.value],
    )
    orphans = [merge.pk for merge in unfinished if not fence.is_held(merge.family)]
    for pk in orphans:
        with transaction.atomic():
            enqueue(MERGE, storage_host, pk)
    return orphans
