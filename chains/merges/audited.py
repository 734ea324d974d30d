"""What the audit records of merges and batches say: with which plan, and what came of it."""

from typing import Any, Final

from chains.core.names import display
from chains.core.plans import Plan
from chains.core.states import UNDO, UNFINISHED, MergeState
from chains.inventory import audit
from chains.inventory.audit import Result
from chains.merges.options import Options
from chains.models import Batch, Merge, MergeStep, StorageDomain

_RESULTS: Final = {
    MergeState.RUNNING: Result.STARTED, MergeState.SUCCEEDED: Result.SUCCEEDED,
    MergeState.FAILED: Result.FAILED, MergeState.CANCELLED: Result.CANCELLED,
    MergeState.ATTENTION: Result.ATTENTION,
}  # fmt: skip


def domain_facts(domain: StorageDomain) -> dict[str, Any]:
    """What a record refers to."""
    return {"domain": domain.pk, "domain_name": domain.name}


def merge_facts(merge: Merge) -> dict[str, Any]:
    """The same of a merge."""
    facts = domain_facts(merge.domain) | {"merge": merge.pk, "disk": merge.disk_id}
    return facts | ({"batch": merge.batch_id} if merge.batch_id else {})


def plan_facts(plan: Plan, options: Options | None = None) -> dict[str, Any]:
    """What a plan would do, as far as somebody has to know who looks at it years later; bytes."""
    facts: dict[str, Any] = {
        "digest": plan.digest, "strategy": plan.strategy,
        "layers": [display(path) for path in plan.layers],
        "removes": [display(path) for path in plan.removed],
        "restore_points": len(plan.restore_points), "bytes_to_copy": plan.bytes_to_copy,
        "space_needed": plan.space_needed, "space_won": plan.space_won,
        "keep_seconds": plan.keep_seconds,
    }  # fmt: skip
    if options is not None:
        facts["verification"] = options.verification.value
    return facts


def merge_moved(merge: Merge, state: MergeState, message: str) -> None:
    """A merge came to another state, which `merge` has not yet; in the transaction that moves it."""
    again = state == MergeState.RUNNING and merge.started_at is not None
    if state == merge.state or state not in _RESULTS or again:
        return
    row = Merge.objects.select_related("domain", "requested_by").get(pk=merge.pk)
    facts = merge_facts(row) | {"worker": row.worker, "asked_by": _asker(row)}
    if state != MergeState.RUNNING:
        facts |= _outcome(row) | ({"message": message} if message else {})
    action = "undo merge" if row.strategy == UNDO else "merge"
    audit.record(None, audit.WORKER, action, subject(row), _RESULTS[state], **facts)
    if state not in UNFINISHED and row.batch_id is not None:
        batch_moved(row.batch_id)


def subject(merge: Merge) -> str:
    """What a record about a merge is about; of an undo, the merge that it takes back."""
    if merge.undoes_id is None:
        return str(merge)
    return f"merge {merge.undoes_id} of {merge.disk_name}"


def batch_moved(pk: int) -> None:
    """A merge of a batch has ended; the last one ends the batch. In the transaction that ends it."""
    # Two that end at once stand in line here, so that one of them sees that it was the last.
    batch = Batch.objects.select_for_update(no_key=True).get(pk=pk)
    counts: dict[str, int] = {}
    for state in batch.merges.values_list("state", flat=True):
        counts[state] = counts.get(state, 0) + 1
    asked = any(row.get("merge") for row in batch.plan["rows"])
    if not asked or any(state in counts for state in UNFINISHED):
        return
    facts = domain_facts(batch.domain) | {"batch": pk, "merges": counts}
    all_good = set(counts) == {MergeState.SUCCEEDED.value}
    only = next(iter(counts)) if len(counts) == 1 else MergeState.FAILED.value
    result = Result.SUCCEEDED if all_good else _RESULTS[MergeState(only)]
    audit.record(None, audit.WORKER, "batch", str(batch), result, **facts)


def _outcome(merge: Merge) -> dict[str, Any]:
    """What was done; seconds, and bytes as the tools moved them."""
    steps = MergeStep.objects.filter(merge=merge).order_by("position")
    facts: dict[str, Any] = {
        "plan": plan_facts(Plan.from_json(merge.plan)) if merge.plan else None,
        "bytes_done": merge.bytes_done,
        "commands": [line for step in steps for line in step.command.splitlines()],
    }  # fmt: skip
    for name in ("read", "written", "grown"):
        if merge.actual.get(name) is not None:
            facts[name] = merge.actual[name]
    if merge.started_at is not None:
        facts["seconds"] = audit.seconds_since(merge.started_at)
    return facts


def _asker(merge: Merge) -> str:
    return merge.requested_by.get_username() if merge.requested_by else ""
