"""Asking for a merge, cancelling it, going on with it: the one way in for pages, API and commands."""

import hashlib
import os
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.plans import Plan
from chains.core.states import (
    STEPS,
    UNDO,
    UNDO_STEPS,
    UNFINISHED,
    Kept,
    MergeState,
    StepName,
    Verification,
)
from chains.inventory import audit, blockmaps, news, selectors
from chains.inventory.asking import check
from chains.inventory.audit import Result
from chains.inventory.jobs import MERGE, PURGE, enqueue
from chains.inventory.services import request_blocks
from chains.merges import estimates, journal
from chains.merges import selectors as selectors_of_merges
from chains.merges.audited import merge_facts, plan_facts, subject
from chains.merges.options import DEFAULT, Options
from chains.merges.queue import dispatch_domain
from chains.merges.selectors import can_cancel
from chains.merges.situation import AUTO, plan_from_inventory
from chains.models import Disk, Merge, MergeStep, StorageDomain, User, Volume
from chains.permissions import Action


class RefusedError(StrataError):
    """The merge is refused; `reasons` says why, one sentence each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = reasons


def family_key(volume: Volume) -> str:
    """One key for all volumes that share a root with this one."""
    return root_key(selectors.chain_of(volume)[-1])


def root_key(root: Volume) -> str:
    """The same, of the root itself."""
    digest = hashlib.sha256(os.fsencode(root.path)).hexdigest()[:32]
    return f"{root.domain_id}:{digest}"


def request_merge(
    base: Volume, top: Volume, user: User | None, origin: str, *,
    strategy: str = AUTO, confirmed: str | None = None, queue: bool = True, options: Options = DEFAULT,
) -> Merge:  # fmt: skip
    """Plan base…top and queue the merge; raises NotAllowedError, PlanError, RefusedError.

    `strategy` is commit, rebase, convert, or auto for the recommended one.

    `confirmed` is the digest of the plan that the operator saw: another plan is not carried out.
    """
    check(user, Action.MERGE)
    if base.domain_id != top.domain_id:
        raise RefusedError(["base and top are in different storage domains."])
    plan = plan_from_inventory(base, top, strategy)
    disk = Disk.objects.filter(active__in=selectors.leaves_above(top)).order_by("pk").first()
    if plan.refusals:
        if disk is not None and plan.bytes_to_copy is None and queue:
            request_blocks(disk, user)
        raise RefusedError([refusal.text for refusal in plan.refusals])
    if confirmed is not None and confirmed != plan_digest(plan):
        raise RefusedError(
            ["The chain has changed since this plan was shown: look at the new plan."]
        )
    family = family_key(top)
    try:
        with transaction.atomic():
            # Whoever asks for a merge of this domain stands in line here.
            domain = StorageDomain.objects.select_for_update().get(pk=top.domain_id)
            if (other := holding(top)) is not None:
                raise RefusedError([holder_words(other)])
            merge = Merge.objects.create(
                domain=domain, disk=disk, disk_name=disk.name if disk else top.path_text,
                family=family, base_text=base.path_text, top_text=top.path_text, strategy=plan.strategy,
                plan=plan.to_json(), picture=picture(top), requested_by=user,
                verification=options.verification.value, batch=options.batch,
                rate=options.rate_in(domain), seconds_expected=estimates.seconds(plan, options, domain),
                bytes_total=2 * (plan.bytes_to_copy or 0),
            )  # fmt: skip
            _begin(merge, STEPS)
            audit.record(
                user, origin, "merge", str(merge), Result.ASKED, **merge_facts(merge),
                plan=plan_facts(plan, options), rate=merge.rate,
            )  # fmt: skip
            if queue:
                dispatch_domain(domain)
    except IntegrityError:
        raise RefusedError([holder_words(None)]) from None
    return merge


def _begin(merge: Merge, names: Iterable[StepName]) -> None:
    MergeStep.objects.bulk_create(
        MergeStep(merge=merge, position=number, name=name.value)
        for number, name in enumerate(names)
    )
    news.publish("merge", merge.pk, 0)


def holder_words(other: Merge | None) -> str:
    """Why a merge of a chain that another one holds is refused."""
    if other is None:
        return "Another merge held this chain a moment ago: plan again."
    who = other.requested_by.get_username() if other.requested_by else "the command line"
    return f"Merge {other.pk} of {other.base_text}…{other.top_text}, asked for by {who}, holds this chain: wait for its end."


def holding(volume: Volume) -> Merge | None:
    """The unfinished merge that holds this volume's family, if any."""
    key = family_key(volume)
    return Merge.objects.filter(
        Q(family=key) | Q(other_family=key), state__in=[state.value for state in UNFINISHED]
    ).first()


def picture(top: Volume) -> list[dict[str, Any]]:
    """The chain through `top` as it stands, active layer first: what the diagrams are drawn from."""
    active = selectors.leaves_above(top)[0]
    return [
        {
            "path": os.fsencode(volume.path).hex(), "format": volume.format,
            "virtual_size": volume.virtual_size, "on_disk": volume.on_disk,
        }
        for volume in selectors.chain_of(active)
    ]  # fmt: skip


def request_maps(volume: Volume, user: User | None) -> None:
    """Ask a worker for the block maps that a plan of this chain needs."""
    disk = Disk.objects.filter(active__in=selectors.leaves_above(volume)).order_by("pk").first()
    if disk is not None:
        request_blocks(disk, user)


def read_maps_for(volume: Volume) -> None:
    """Read the block maps that a plan of this chain needs, in this process; raises StrataError."""
    disk = Disk.objects.filter(active__in=selectors.leaves_above(volume)).order_by("pk").first()
    if disk is not None and blockmaps.stored_maps(selectors.chain_of(volume)) is None:
        blockmaps.read_disk(disk)


def plan_digest(plan: Plan) -> str:
    """What stands for a plan in a confirmation: its work, not the free space of the moment."""
    return plan.digest


def request_undo(merge: Merge, user: User | None, origin: str, *, queue: bool = True) -> Merge:
    """Queue the undo of a merge, a merge of its own; raises NotAllowedError, RefusedError."""
    check(user, Action.MERGE)
    if why := selectors_of_merges.undo_refusal(merge):
        raise RefusedError([why])
    plan = Plan.from_json(merge.plan)
    joined = merge.domain.volumes.filter(path=plan.new_path(merge.pk)).first()
    if joined is None:
        raise RefusedError(["The joined volume is not in the inventory: scan the domain."])
    try:
        with transaction.atomic():
            domain = StorageDomain.objects.select_for_update().get(pk=merge.domain_id)
            row = Merge.objects.select_for_update().get(pk=merge.pk)
            if why := selectors_of_merges.undo_refusal(row):
                raise RefusedError([why])
            if (other := holding(joined)) is not None:
                raise RefusedError([holder_words(other)])
            undo = Merge.objects.create(
                domain=domain, disk=merge.disk, disk_name=merge.disk_name,
                family=family_key(joined), other_family=merge.family, base_text=merge.base_text,
                top_text=merge.top_text, strategy=UNDO, plan=merge.plan, picture=merge.picture,
                requested_by=user, undoes=row, verification=Verification.NONE.value,
            )  # fmt: skip
            _begin(undo, UNDO_STEPS)
            journal.set_kept(row.pk, Kept.UNDOING)
            audit.record(user, origin, "undo merge", str(merge), Result.ASKED,
                         **merge_facts(merge), undo=undo.pk)  # fmt: skip
            if queue:
                dispatch_domain(domain)
    except IntegrityError:
        raise RefusedError([holder_words(None)]) from None
    return undo


def request_purge(merge: Merge, user: User | None, origin: str) -> None:
    """Give back at once what a merge keeps aside; raises NotAllowedError, RefusedError."""
    check(user, Action.MERGE)
    with transaction.atomic():
        row = Merge.objects.select_for_update().get(pk=merge.pk)
        if row.kept != Kept.KEPT:
            raise RefusedError(["This merge keeps nothing aside (any more)."])
        if row.domain.forbidden:
            raise RefusedError([row.domain.forbidden])
        _change(row, kept_until=timezone.now())
        audit.record(user, origin, "purge", str(row), Result.ASKED, **merge_facts(row),
                     bytes=row.kept_bytes)  # fmt: skip
        enqueue(PURGE, row.domain.storage_host, row.pk)


def cancel(merge: Merge, user: User | None, origin: str) -> None:
    """Ask the worker to stop and take everything back; raises NotAllowedError, RefusedError."""
    check(user, Action.MERGE)
    with transaction.atomic():
        row = Merge.objects.select_for_update().get(pk=merge.pk)
        if not can_cancel(row, list(row.steps.all())):
            raise RefusedError(
                [
                    "This merge can not be cancelled any more: its overlays are being switched, or it has ended."
                ]
            )
        _change(row, cancel_requested=True)
        audit.record(user, origin, "cancel merge", subject(row), Result.ASKED, **merge_facts(row))
        enqueue(MERGE, row.domain.storage_host, row.pk)


def resume(merge: Merge, user: User | None, origin: str) -> None:
    """Go on with a merge that needs attention; raises NotAllowedError, RefusedError."""
    check(user, Action.MERGE)
    with transaction.atomic():
        row = Merge.objects.select_for_update().get(pk=merge.pk)
        if row.state != MergeState.ATTENTION:
            raise RefusedError(["Only a merge that needs attention can be resumed."])
        _change(row, state=MergeState.RUNNING.value, message="")
        audit.record(user, origin, "resume merge", subject(row), Result.ASKED, **merge_facts(row))
        enqueue(MERGE, row.domain.storage_host, row.pk)


def _change(merge: Merge, **values: Any) -> None:
    Merge.objects.filter(pk=merge.pk).update(seq=F("seq") + 1, **values)
    merge.refresh_from_db()
    news.publish("merge", merge.pk, merge.seq)
