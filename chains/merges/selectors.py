"""Reading merges: what pages, API and sockets show of them."""

from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from chains.core.states import PAST_RETURN, UNFINISHED, MergeState, StepState
from chains.inventory.news import next_activity_seq
from chains.inventory.selectors import scan_brief
from chains.models import Merge, MergeStep, Scan, ScanState

RECENT_SECONDS = 60


def merges() -> QuerySet[Merge]:
    """All merges, the newest first."""
    return Merge.objects.select_related("domain", "disk", "requested_by").order_by("-id")


def can_cancel(merge: Merge, steps: list[MergeStep]) -> bool:
    """Before the overlays are touched, a merge can be taken back without a trace."""
    begun = {step.name for step in steps if step.state != StepState.WAITING}
    return (
        merge.state in {MergeState.QUEUED, MergeState.RUNNING}
        and not merge.cancel_requested
        and not begun & PAST_RETURN
    )


def merge_live(pk: int) -> dict[str, Any]:
    """The whole state of one merge, as the socket and the API give it; raises Merge.DoesNotExist."""
    merge = Merge.objects.get(pk=pk)
    steps = list(merge.steps.all())
    return {
        "type": "merge", "id": merge.pk, "seq": merge.seq, "state": merge.state,
        "finished": merge.finished, "percent": round(merge.percent, 1),
        "bytes_done": merge.bytes_done, "bytes_total": merge.bytes_total,
        "throughput": merge.throughput, "seconds_left": merge.seconds_left,
        "message": merge.message, "cancel_requested": merge.cancel_requested,
        "can_cancel": can_cancel(merge, steps), "can_resume": merge.state == MergeState.ATTENTION,
        "steps": [
            {
                "name": step.name, "state": step.state, "command": step.command,
                "stderr": step.stderr, "started_at": _iso(step.started_at),
                "finished_at": _iso(step.finished_at),
            }
            for step in steps
        ],
    }  # fmt: skip


def _iso(at: Any) -> str | None:
    return at.isoformat() if at is not None else None


def _merge_brief(merge: Merge) -> dict[str, Any]:
    return {
        "kind": "merge", "id": merge.pk, "state": merge.state, "percent": round(merge.percent, 1),
        "domain": merge.domain_id, "disk": merge.disk_id, "title": f"Merge of {merge.disk_name}",
        "url": f"/merges/{merge.pk}/", "message": merge.message, "finished": merge.finished,
    }  # fmt: skip


def activity_live() -> dict[str, Any]:
    """What runs and what has just ended, as the socket and the API give it."""
    seq = next_activity_seq()  # taken first: a newer number never carries an older state
    lately = Q(finished_at__gte=timezone.now() - timedelta(seconds=RECENT_SECONDS))
    running = Scan.objects.filter(Q(state__in=[ScanState.QUEUED, ScanState.RUNNING]) | lately)
    open_merges = Merge.objects.filter(Q(state__in=[s.value for s in UNFINISHED]) | lately)
    operations = [_merge_brief(merge) for merge in open_merges.order_by("-id")[:200]]
    operations += [
        scan_brief(scan) for scan in running.select_related("domain", "disk").order_by("-id")[:200]
    ]
    return {"type": "activity", "seq": seq, "operations": operations}
