"""Batches: many merges of one domain asked for as one, cancelled as one, and their journal."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from chains.core.errors import StrataError
from chains.core.scopes import Scope
from chains.core.states import UNFINISHED, MergeState
from chains.inventory import audit
from chains.inventory.asking import check
from chains.inventory.audit import Result
from chains.merges import services
from chains.merges.audited import batch_moved, domain_facts
from chains.merges.batch_plans import Row, Verdict, plan_batch
from chains.merges.choosing import Selection
from chains.merges.options import DEFAULT, Options
from chains.merges.queue import dispatch_domain
from chains.merges.selectors import can_cancel
from chains.merges.services import RefusedError
from chains.models import Batch, Merge, MergeStep, StorageDomain, User, Volume
from chains.permissions import Action

TOLD = 20
NOT_CONFIRMED = "It was not to be merged in the plan that was confirmed: look at the new plan."
CHANGED = "Its chain has changed since the plan was shown: look at the new plan."


def request_batch(
    domain: StorageDomain, selection: Selection, scope: Scope, user: User | None, origin: str, *,
    confirmed: Mapping[int, str] | None = None, options: Options = DEFAULT, queue: bool = True,
) -> Batch:  # fmt: skip
    """Plan the batch anew and queue its merges; those that are not started are on record with the reason.

    `confirmed` are the digests of the plans that the operator saw, by disk: another plan is not carried
    out. Raises NotAllowedError, BadRequestError; RefusedError when not one merge was started.
    """
    check(user, Action.MERGE)
    plan = plan_batch(domain, selection, scope, user, options=options)
    batch = Batch.objects.create(
        domain=domain, scope=scope.to_json(), plan=plan.to_json(), requested_by=user
    )
    how = replace(options, batch=batch)
    record = [_start(row, user, origin, confirmed, how) for row in plan.rows]
    started = sum(row["merge"] is not None for row in record)
    if not started:
        batch.delete()
        raise RefusedError(_reasons(record))
    batch.plan = plan.to_json() | {"rows": record}
    with transaction.atomic():
        batch.save(update_fields=["plan"])
        audit.record(
            user, origin, "batch", str(batch), Result.ASKED, **domain_facts(domain), batch=batch.pk,
            scope=scope.words, started=started, left_out=len(record) - started,
            plans={row["name"]: row["digest"] for row in record if row["merge"]},
        )  # fmt: skip
        batch_moved(batch.pk)
        if queue:
            dispatch_domain(StorageDomain.objects.get(pk=domain.pk))
    return batch


def _start(
    row: Row, user: User | None, origin: str, confirmed: Mapping[int, str] | None, how: Options
) -> dict[str, Any]:
    """Queue the merge of one disk; its row for the record, with the merge or the reasons."""
    facts = row.to_json() | {"merge": None}
    if row.verdict is not Verdict.MERGE or row.run is None or row.plan is None:
        return facts
    refused = facts | {"verdict": Verdict.REFUSED.value}
    if confirmed is not None and confirmed.get(row.disk_id) != row.digest:
        return refused | {"reasons": [CHANGED if row.disk_id in confirmed else NOT_CONFIRMED]}
    try:
        # The domain's queue is looked at once, when all of them stand in it.
        merge = services.request_merge(
            row.run.base, row.run.top, user, origin, strategy=row.plan.strategy,
            confirmed=row.digest, queue=False, options=how,
        )  # fmt: skip
    except RefusedError as error:
        return refused | {"reasons": error.reasons}
    except StrataError as error:
        return refused | {"reasons": [str(error)]}
    except Volume.DoesNotExist:
        return refused | {"reasons": ["Its chain is gone from the inventory: scan the domain."]}
    return facts | {"merge": merge.pk}


def _reasons(record: list[dict[str, Any]]) -> list[str]:
    told = [f"{row['name']}: {' '.join(row['reasons'])}" for row in record]
    if len(told) > TOLD:
        told[TOLD:] = [f"So it is with {len(told) - TOLD} more disks."]
    return told or ["No disk is chosen so."]


def cancel_batch(batch: Batch, user: User | None, origin: str) -> int:
    """Cancel every merge of it that still can be; how many those are. Raises NotAllowedError, RefusedError."""
    check(user, Action.MERGE)
    cancelled = 0
    # The last first: the place of one that ends is not taken by one that is to be cancelled too.
    for merge in batch.merges.filter(state__in=[s.value for s in UNFINISHED]).order_by("-pk"):
        try:
            services.cancel(merge, user, origin)
        except RefusedError:
            continue
        cancelled += 1
    if not cancelled:
        raise RefusedError(["No merge of this batch can be cancelled any more."])
    audit.record(user, origin, "cancel batch", str(batch), Result.ASKED, **domain_facts(batch.domain),
                 batch=batch.pk, merges=cancelled)  # fmt: skip
    return cancelled


def batches() -> QuerySet[Batch]:
    """All batches, the newest first, with how many of their merges there are and have ended."""
    unfinished = Q(merges__state__in=[state.value for state in UNFINISHED])
    rows = Batch.objects.select_related("domain", "requested_by").order_by("-id")
    return rows.annotate(
        merge_count=Count("merges"), open_count=Count("merges", filter=unfinished),
        attention_count=Count("merges", filter=Q(merges__state=MergeState.ATTENTION.value)),
    )  # fmt: skip


def brief(batch: Batch) -> dict[str, Any]:
    """A batch of `batches()` in a list."""
    figures: Any = batch
    return {
        "id": batch.pk, "domain": batch.domain_id, **batch.scope,
        "words": Scope.from_json(batch.scope).words, "merge_count": figures.merge_count,
        "open_count": figures.open_count, "attention_count": figures.attention_count,
        "finished": figures.open_count == 0,
        "requested_by": batch.requested_by_id, "requested_at": batch.requested_at.isoformat(),
    }  # fmt: skip


def merges_of(batch: Batch) -> list[Merge]:
    """The merges of a batch in the order of its queue."""
    rows = batch.merges.select_related("disk", "requested_by").order_by("pk")
    return list(rows.defer("plan", "picture", "top_before"))


def journal(batch: Batch) -> dict[str, Any]:
    """How a batch stands: its merges, what was left out and why, the totals of its plan, its progress."""
    merges = merges_of(batch)
    counts: dict[str, int] = {}
    for merge in merges:
        counts[merge.state] = counts.get(merge.state, 0) + 1
    steps: dict[int, list[MergeStep]] = {}
    for step in MergeStep.objects.filter(merge__batch=batch, merge__state=MergeState.RUNNING.value):
        steps.setdefault(step.merge_id, []).append(step)
    whole = sum(_weight(merge) for merge in merges)
    done = sum(_weight(merge) * (100 if merge.finished else merge.percent) for merge in merges)
    return {
        "counts": counts, "finished": all(merge.finished for merge in merges),
        "ended": sum(merge.finished for merge in merges),
        "percent": round(done / whole, 1) if whole else 100.0,
        "can_cancel": any(can_cancel(merge, steps.get(merge.pk, [])) for merge in merges),
        "totals": batch.plan["totals"], "merges": [_merge(merge) for merge in merges],
        "left_out": _left_out(batch, merges),
    }  # fmt: skip


def _left_out(batch: Batch, merges: list[Merge]) -> list[dict[str, Any]]:
    """The disks that no merge was started for, with the reasons."""
    # The rows of a batch whose request was broken off do not name its merges.
    started = {(merge.base_text, merge.top_text) for merge in merges}
    return [
        {
            "disk": row["disk"], "name": row["name"], "verdict": row["verdict"],
            "reasons": row["reasons"] or ["It was not started: the request was broken off."],
        }
        for row in batch.plan["rows"]
        if row.get("merge") is None
        and (row["verdict"] != Verdict.MERGE or (row["base_text"], row["top_text"]) not in started)
    ]  # fmt: skip


def _weight(merge: Merge) -> int:
    """What a merge counts for in the bar of its batch; one that moves nothing counts, too."""
    return max(1, merge.bytes_total)


def _merge(merge: Merge) -> dict[str, Any]:
    return {
        "id": merge.pk, "disk": merge.disk_id, "disk_name": merge.disk_name,
        "base_text": merge.base_text, "top_text": merge.top_text, "strategy": merge.strategy,
        "state": merge.state, "finished": merge.finished, "percent": round(merge.percent, 1),
        "message": merge.message, "url": f"/merges/{merge.pk}/",
    }  # fmt: skip


def detail(batch: Batch) -> dict[str, Any]:
    """A batch of `batches()` with its journal."""
    return brief(batch) | journal(batch)
