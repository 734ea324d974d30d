"""Why the recommended way to merge is recommended: one sentence from the plans side by side. Pure."""

from collections.abc import Sequence

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
    return f"Take {best.strategy}{shared}: {cost}."
