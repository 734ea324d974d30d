"""Reading merges: what pages, API and sockets show of them."""

from datetime import timedelta
from typing import Any

from django.db.models import Case, Q, QuerySet, When
from django.utils import timezone

from chains.core.flow import flow_of
from chains.core.names import display
from chains.core.plans import Plan
from chains.core.states import PAST_RETURN, UNFINISHED, Kept, MergeState, StepState
from chains.inventory.news import next_activity_seq
from chains.inventory.selectors import scan_brief
from chains.merges.queue import waits_for
from chains.models import Merge, MergeStep, Scan, ScanState, StorageDomain

RECENT_SECONDS = 60
NOTHING_YET: dict[str, Any] = {"read": None, "written": None, "grown": None, "seconds": {}}


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


def undo_refusal(merge: Merge) -> str:
    """Why a merge can not be undone, as far as the database knows; "" when it can."""
    if merge.kept != Kept.KEPT:
        words = {
            Kept.UNDOING: "It is being undone.", Kept.UNDONE: "It has been undone.",
            Kept.PURGING: "Its old layers are being deleted.",
            Kept.PURGED: "Its old layers have been deleted.",
        }  # fmt: skip
        return words.get(Kept(merge.kept), "Nothing was kept aside of this merge.")
    if merge.domain.forbidden:
        return merge.domain.forbidden
    plan = Plan.from_json(merge.plan)
    joined = merge.domain.volumes.filter(path=plan.new_path(merge.pk)).first()
    if joined is None or joined.fingerprint != merge.joined:
        name = display(plan.new_path(merge.pk))
        return f"{name} has been written, merged or replaced since: the merge can not be undone any more."
    if joined.backing_path != plan.below:
        return f"{display(joined.path)} lies over another layer since: undo what was merged below it first."
    return ""


def kept_facts(merge: Merge) -> dict[str, Any]:
    """What a merge keeps aside, for its page, socket and API."""
    refusal = undo_refusal(merge)
    return {
        "state": merge.kept, "bytes": merge.kept_bytes, "until": _iso(merge.kept_until),
        "can_undo": not refusal, "refusal": refusal if merge.kept else "",
        "undone_by": merge.undos.values_list("pk", flat=True).first() if merge.kept else None,
    }  # fmt: skip


def reclaimable(domain: StorageDomain) -> tuple[int, list[Merge]]:
    """Bytes that the domain's merges keep aside, and those merges, the next to be purged first."""
    rows = list(domain.merges.filter(kept=Kept.KEPT.value).order_by("kept_until"))
    return sum(row.kept_bytes for row in rows), rows


def queue_of(domain: StorageDomain) -> list[tuple[Merge, str]]:
    """The unfinished merges of a domain in their order, each with what it waits for ("" when it runs)."""
    rows = list(domain.merges.filter(state__in=[s.value for s in UNFINISHED]).order_by("pk"))
    for row in rows:
        row.domain = domain
    ahead = [row for row in rows if row.state == MergeState.RUNNING]
    return [
        (row, waits_for(row, ahead) if row.state == MergeState.QUEUED else "") for row in rows[:200]
    ]


def merge_live(pk: int) -> dict[str, Any]:
    """The whole state of one merge, as the socket and the API give it; raises Merge.DoesNotExist."""
    merge = Merge.objects.select_related("domain").get(pk=pk)
    steps = list(merge.steps.all())
    return {
        "type": "merge", "id": merge.pk, "seq": merge.seq, "state": merge.state,
        "finished": merge.finished, "percent": round(merge.percent, 1),
        "bytes_done": merge.bytes_done, "bytes_total": merge.bytes_total,
        "throughput": merge.throughput, "seconds_left": merge.seconds_left,
        "flow": _flow(merge, steps),
        "waits": waits_for(merge) if merge.state == MergeState.QUEUED else "",
        "kept": kept_facts(merge), "actual": NOTHING_YET | merge.actual,
        "message": merge.message, "cancel_requested": merge.cancel_requested,
        "can_cancel": can_cancel(merge, steps), "can_resume": merge.state == MergeState.ATTENTION,
        "steps": [
            {
                "name": step.name, "state": step.state, "command": step.command,
                "stderr": step.stderr,
                "warning": step.state == StepState.DONE and bool(step.stderr),
                "started_at": _iso(step.started_at),
                "finished_at": _iso(step.finished_at),
            }
            for step in steps
        ],
    }  # fmt: skip


def _flow(merge: Merge, steps: list[MergeStep]) -> dict[str, float]:
    # An undo has the plan of what it takes back, and copies nothing.
    copied = 0 if merge.is_undo else merge.plan.get("bytes_to_copy") or 0
    states = {step.name: step.state for step in steps}
    begun = merge.actual.get("begun", {})
    found = flow_of(states, begun, merge.bytes_done, merge.bytes_total, copied)
    return {"copy": round(found.copy, 4), "verify": round(found.verify, 4)}


def _iso(at: Any) -> str | None:
    return at.isoformat() if at is not None else None


def _merge_brief(merge: Merge) -> dict[str, Any]:
    return {
        "kind": "merge", "id": merge.pk, "state": merge.state, "percent": round(merge.percent, 1),
        "domain": merge.domain_id, "disk": merge.disk_id, "batch": merge.batch_id, "title": f"{'Undo of a merge' if merge.is_undo else 'Merge'} of {merge.disk_name}",
        "url": f"/merges/{merge.pk}/", "message": merge.message, "finished": merge.finished,
    }  # fmt: skip


def activity_live() -> dict[str, Any]:
    """What runs and what has just ended, as the socket and the API give it."""
    seq = next_activity_seq()  # taken first: a newer number never carries an older state
    lately = Q(finished_at__gte=timezone.now() - timedelta(seconds=RECENT_SECONDS))
    running = Scan.objects.filter(Q(state__in=[ScanState.QUEUED, ScanState.RUNNING]) | lately)
    open_merges = Merge.objects.filter(Q(state__in=[s.value for s in UNFINISHED]) | lately)
    # Of a batch hundreds may wait: what runs or has ended stands before them.
    waits = Case(When(state=MergeState.QUEUED.value, then=1), default=0)
    operations = [_merge_brief(merge) for merge in open_merges.order_by(waits, "-id")[:200]]
    operations += [
        scan_brief(scan)
        for scan in running.select_related("domain", "disk", "volume").order_by("-id")[:200]
    ]
    return {"type": "activity", "seq": seq, "operations": operations}
