"""How much room many merges need at the peak, carried out a few at a time. Pure."""

from collections.abc import Sequence

from chains.core.plans import Plan


def peak(plans: Sequence[Plan], at_once: int) -> int:
    """Bytes beside what is there now, never too few: all that stays, and the largest that pass.

    What a merge needs stays when its old layers are kept aside for an undo; else only what the joined
    volume has beyond the old ones. The rest goes at its end, so that as many of them meet as run at
    once. What earlier merges give back is left out of the account.
    """
    passing = sorted((_needed(plan) - _stays(plan) for plan in plans), reverse=True)
    return sum(map(_stays, plans)) + sum(passing[:at_once])


def _needed(plan: Plan) -> int:
    return max(0, plan.space_needed or 0)


def _stays(plan: Plan) -> int:
    if plan.keep_seconds:
        return _needed(plan)
    return min(_needed(plan), max(0, -(plan.space_won or 0)))
