"""The shares of a copy and a verification, told from one count of bytes for both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.costs import Strategy
from chains.core.flow import Flow, flow_of
from chains.core.plans import Plan
from chains.core.progress import Meter, PhaseName, of_merge

RUNNING, DONE = "running", "done"
COPIED = 10_000


def plan() -> Plan:
    return Plan(
        Strategy.COMMIT.value, ("top", "base"), None, None, True, "qcow2", 65536, 2**20, "", (),
        ("base",), (), COPIED, COPIED, COPIED, 0, None, 0,
    )  # fmt: skip


def meter(seen: tuple[float, int] = (0.0, 0)) -> Meter:
    ticks = iter(range(10**6))
    return of_merge(plan(), lambda: float(next(ticks)), verified=True, seen=seen)


@pytest.mark.parametrize("seen", [(0.0, 0), (30.0, 6_000), (80.0, 17_000)])
@given(share=st.floats(0.01, 0.99))
def test_the_share_is_that_of_the_run_at_hand(seen: tuple[float, int], share: float) -> None:
    """Also of one that began again after a crash, when more was shown than it has done."""
    one = meter(seen)
    begun = {"copy": seen[1]}
    one.enter(PhaseName.COPY)
    done = one.update(int(share * COPIED)).done
    found = flow_of({"copy": RUNNING}, begun, done, one.total, COPIED)
    assert found.copy == pytest.approx(share, abs=0.002)
    assert found.verify == 0
    one.enter(PhaseName.SETTLE)
    begun["verify"] = one.update().done
    one.enter(PhaseName.VERIFY)
    done = one.update(int(share * COPIED)).done
    found = flow_of({"copy": DONE, "verify": RUNNING}, begun, done, one.total, COPIED)
    assert found.copy == 1
    assert found.verify == pytest.approx(share, abs=0.002)


def test_nothing_runs_ahead() -> None:
    assert flow_of({}, {}, 0, 0, 0) == Flow(0, 0)
    assert flow_of({"copy": "waiting"}, {}, 5, 10, 5) == Flow(0, 0)
    assert flow_of({"copy": RUNNING}, {"copy": 8}, 8, 10, 5) == Flow(0, 0)
    # A verification whose beginning was not noted tells nothing before its end.
    assert flow_of({"copy": DONE, "verify": RUNNING}, {}, 9, 10, 5) == Flow(1, 0)
    assert flow_of({"copy": DONE, "verify": DONE}, {}, 10, 10, 5) == Flow(1, 1)
    assert flow_of({"copy": "failed"}, {}, 3, 10, 6) == Flow(0.5, 0)
