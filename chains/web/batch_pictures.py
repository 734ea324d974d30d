"""Before and after of every disk of a batch, small: of what is planned, and of what was carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chains.core.plans import Plan
from chains.core.states import MergeState
from chains.diagrams.chain_dot import chain_dot
from chains.merges.batch_plans import BatchPlan
from chains.merges.services import picture
from chains.models import Batch
from chains.web.pictures import before_after_nodes, many

# As many as are seen at a glance; more when somebody asks for them, and no more than a page can hold.
FIRST, MOST = 12, 96
# Longer chains are folded here: the page of each merge has the whole.
FOLD_OVER = 6
UNDONE = {MergeState.CANCELLED.value, MergeState.FAILED.value}


@dataclass(frozen=True)
class Pair:
    """One disk: its chain before and after, in layers; `past` is which of both is no longer, or not yet,
    true: before, after, both or "".
    """

    name: str
    address: str
    before: SafeString
    after: SafeString
    was: int
    becomes: int
    past: str


@dataclass(frozen=True)
class Pairs:
    """The disks that are shown, how many are not, and the layers of all of them before and after."""

    shown: list[Pair]
    more: int
    more_address: str
    was: int
    becomes: int


@dataclass(frozen=True)
class _Wanted:
    name: str
    address: str
    chain: list[dict[str, Any]]
    plan: Plan
    number: int | str
    state: str


def of_plan(plan: BatchPlan, query: QueryDict) -> Pairs:
    """What the merges of a plan would make of their chains."""
    rows = [row for row in plan.merges if row.plan is not None and row.run is not None]
    wanted = [
        _Wanted(row.name, f"/disks/{row.disk_id}/", picture(row.run.top), row.plan, "N", "")
        for row in rows[: _limit(query)]
        if row.plan is not None and row.run is not None
    ]
    layers = [len(row.plan.layers) for row in rows if row.plan is not None]
    return _pairs(wanted, layers, query)


def of_batch(batch: Batch, query: QueryDict) -> Pairs:
    """What the merges of a batch made of their chains, or will."""
    merges = list(batch.merges.order_by("pk")[: _limit(query)])
    wanted = [
        _Wanted(
            merge.disk_name, f"/merges/{merge.pk}/", merge.picture, Plan.from_json(merge.plan),
            merge.pk, merge.state,
        )
        for merge in merges
    ]  # fmt: skip
    plans = batch.merges.order_by("pk").values_list("plan__layers", flat=True)
    return _pairs(wanted, [len(layers) for layers in plans], query)


def _limit(query: QueryDict) -> int:
    return MOST if query.get("pictures") == "all" else FIRST


def _pairs(wanted: Sequence[_Wanted], layers: Sequence[int], query: QueryDict) -> Pairs:
    """`layers` are those that each merge of the batch joins, also of the disks that are not shown."""
    nodes = [
        before_after_nodes(w.chain, w.plan, w.number, planned=w.state not in UNDONE) for w in wanted
    ]
    sources = [chain_dot(side, fold_over=FOLD_OVER) for pair in nodes for side in pair]
    drawn = many(sources, _("A chain before and after its merge")) if sources else []
    shown = [
        Pair(
            w.name, w.address, drawn[2 * n], drawn[2 * n + 1], len(nodes[n][0]), len(nodes[n][1]),
            _past(w.state),
        )
        for n, w in enumerate(wanted)
    ]  # fmt: skip
    asked = query.copy()
    asked["pictures"] = "all"
    more = len(layers) - len(shown)
    address = f"?{asked.urlencode()}#batch-pictures" if more and _limit(query) < MOST else ""
    return Pairs(shown, more, address, sum(layers), len(layers))


def _past(state: str) -> str:
    if state == MergeState.SUCCEEDED:
        return "before"
    return "both" if state in UNDONE else "after"
