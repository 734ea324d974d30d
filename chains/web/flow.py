"""A merge as it runs, drawn as it stands; static/js/flow.js goes on from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from chains.core.costs import Strategy
from chains.core.names import display
from chains.core.plans import Plan
from chains.core.states import MergeState, StepName, StepState
from chains.diagrams.flow import Bar, FlowPicture, Part, flow_svg
from chains.models import Merge
from chains.words.numbers import binary, number

MOST_BARS = 12
# What is said of each stage. The page's script says the same: it gets these words with the page.
WORDS = {
    "queued": _("It waits: nothing has moved yet."),
    "preflight": _("The chain is being checked: nothing has moved yet."),
    "copy": _("%(done)s of %(whole)s have flowed into %(target)s."),
    "verify": _("All %(whole)s are in %(target)s; %(percent)s of that have been compared."),
    "switch": _("All is in %(target)s. What reads it is put onto it now."),
    "remove": _("All is in %(target)s. What nothing reads any more goes now."),
    "succeeded": _("%(target)s holds all of it; the old layers are out of the chain."),
    "failed": _("Stopped, for it has failed: nothing flows any more. What it left is told above."),
    "cancelled": _(
        "Stopped, for it was cancelled: nothing flows any more. What it left is told above."
    ),
    "attention": _("Stopped half-way: nothing flows until somebody resumes it."),
}


@dataclass(frozen=True)
class ShownFlow:
    """The drawing, its words, and what the script needs to go on with both."""

    drawing: SafeString
    stage: str
    words: str
    patterns: Mapping[str, Any]
    target: str
    moved: int


def flow(merge: Merge, plan: Plan, live: Mapping[str, Any]) -> ShownFlow | None:
    """The flow of a merge as it stands; None for an undo, of which nothing flows."""
    if merge.is_undo:
        return None
    done = {step["name"]: step["state"] == StepState.DONE for step in live["steps"]}
    moved, share = plan.bytes_to_copy or 0, live["flow"]
    view = FlowPicture(
        _bars(merge, plan), moved, share["copy"], share["verify"],
        done.get(StepName.SWITCH, False), done.get(StepName.REMOVE, False),
    )  # fmt: skip
    stage, target = stage_of(live), display(os.path.basename(plan.new_path(merge.pk)))
    facts = {
        "done": binary(int(share["copy"] * moved)), "whole": binary(moved), "target": target,
        "percent": f"{number(str(int(share['verify'] * 100)))} %",
    }  # fmt: skip
    # The drawing is built element by element, and escapes all text.
    drawing = mark_safe(flow_svg(view))  # noqa: S308
    return ShownFlow(drawing, stage, WORDS[stage] % facts, WORDS, target, moved)


def stage_of(live: Mapping[str, Any]) -> str:
    """Which of WORDS tells how a merge stands; flow.js has the same rule."""
    if live["state"] != MergeState.RUNNING:
        return str(live["state"])
    open_steps = (step["name"] for step in live["steps"] if step["state"] != StepState.DONE)
    return str(next(open_steps, StepName.REMOVE))


def _bars(merge: Merge, plan: Plan) -> list[Bar]:
    """The joined layers, top first, and what they become: for a new volume one more, below."""
    held = {os.fsdecode(bytes.fromhex(row["path"])): row["on_disk"] or 0 for row in merge.picture}
    written = {Strategy.COMMIT: plan.base, Strategy.REBASE: plan.top}.get(Strategy(plan.strategy))
    new = os.path.basename(plan.new_path(merge.pk))
    bars = []
    for path in plan.layers:
        name, size = os.path.basename(path), held.get(path, 0)
        if path == written:
            note = "" if name == new else gettext("becomes %(name)s") % {"name": display(new)}
            bars.append(Bar(name, Part.TARGET, size, note=note))
        else:
            goes = plan.strategy != Strategy.REBASE or path in plan.removed
            bars.append(Bar(name, Part.SOURCE, size, goes))
    if written is None:
        bars.append(Bar(new, Part.TARGET, 0, note=gettext("the new volume")))
    return _folded(bars)


def _folded(bars: list[Bar]) -> list[Bar]:
    """Of many bars those in the middle, all sources, are one: a picture is seen at a glance."""
    if len(bars) <= MOST_BARS:
        return bars
    half = MOST_BARS // 2
    middle = bars[half:-half]
    words = ngettext("%(count)s layer", "%(count)s layers", len(middle)) % {"count": len(middle)}
    one = Bar(
        f"\N{HORIZONTAL ELLIPSIS} {words}", Part.SOURCE, sum(bar.held for bar in middle),
        all(bar.goes for bar in middle),
    )  # fmt: skip
    return [*bars[:half], one, *bars[-half:]]
