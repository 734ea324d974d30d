"""Why the recommended way to merge is recommended: one sentence from the plans side by side. Pure."""

from collections.abc import Sequence

from chains.core.costs import Strategy
from chains.core.names import display
from chains.core.plans import Plan
from chains.core.units import binary


def advice(found: Sequence[Plan]) -> str:
    """Say why the first of these plans, as `plans.plans` sorts them, is the one to take."""
    best = found[0]
    if best.refusals:
        return "No way is open now: each is refused, for the reasons given."
    open_ = [plan for plan in found[1:] if not plan.refusals]
    if not open_:
        return f"Take {best.strategy}: it is the only way that is not refused."
    others = ", ".join(f"{plan.strategy} {binary(plan.burden)}" for plan in open_)
    cost = f"it has the least to do, {binary(best.burden)} read, written, compared and sought for; {others}"
    shared = ", sharing the blocks of the old layers" if best.by_reference else ""
    undoable = [plan.strategy for plan in open_ if plan.keep_seconds]
    if undoable and not best.keep_seconds:
        cost += f". It can not be undone here; {' and '.join(undoable)} can"
    return f"Take {best.strategy}{shared}: {cost}."


def broken_off(plan: Plan) -> str:
    """Say what this plan leaves when it breaks off half-way: at a crash of anything, at any moment."""
    if plan.copied_aside is not None:
        return f"Nothing has happened: {display(plan.copied_aside)} comes back from its copy."
    return _BROKEN_OFF[Strategy(plan.strategy)]


_BROKEN_OFF = {
    Strategy.CONVERT: "Nothing has happened: the new volume is deleted.",
    Strategy.COMMIT: "Every guest reads right, but the restore points of base and of all below top are spoiled; run it again.",
    Strategy.REBASE: "Every guest reads right, and top may have grown; run it again.",
}
