"""The room that many merges need: held against every order in which they can be carried out."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.peaks import peak
from chains.core.plans import Plan, plan_merge
from tests.core.test_plans import line

MODEL = plan_merge(line("a", "b", "c"), "a", "b", None)


def costing(needed: int, won: int, keep: int = 0) -> Plan:
    return replace(MODEL, space_needed=needed, space_won=won, keep_seconds=keep)


@pytest.mark.parametrize(
    ("plans", "at_once", "wanted"),
    [
        ([], 1, 0),
        ([costing(10, 5)], 1, 10),
        ([costing(10, 5), costing(8, 5)], 1, 10),
        ([costing(10, 5), costing(8, 5)], 2, 18),
        # What grows for good stays while the next one runs.
        ([costing(10, -4), costing(8, 5)], 1, 12),
        # Old layers that are kept aside give nothing back.
        ([costing(10, 5, 3600), costing(8, 5, 3600)], 1, 18),
        ([costing(10, 5, 3600), costing(8, 5)], 1, 18),
    ],
)
def test_peaks(plans: list[Plan], at_once: int, wanted: int) -> None:
    assert peak(plans, at_once) == wanted


PLANS = st.lists(
    st.builds(costing, st.integers(0, 50), st.integers(-50, 50), st.sampled_from([0, 60])).filter(
        lambda plan: -(plan.space_won or 0) <= (plan.space_needed or 0)
    ),
    max_size=5,
)


def highest(order: tuple[Plan, ...], at_once: int) -> int:
    """What is really needed when each starts as the one before it ends (of those at once, the oldest)."""
    now, top, running = 0, 0, []
    for plan in order:
        if len(running) == at_once:
            first = running.pop(0)
            now -= 0 if first.keep_seconds else (first.space_needed or 0) + (first.space_won or 0)
        now += plan.space_needed or 0
        running.append(plan)
        top = max(top, now)
    return top


@given(PLANS, st.integers(1, 3))
def test_it_is_never_too_little(plans: list[Plan], at_once: int) -> None:
    said = peak(plans, at_once)
    assert all(highest(order, at_once) <= said for order in permutations(plans))
    assert said <= sum(plan.space_needed or 0 for plan in plans)
