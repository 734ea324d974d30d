"""The meter owns no time: the tests do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.progress import Meter, Phase, PhaseName, Progress, Throttle
from chains.core.states import LEGAL, UNFINISHED, MergeState, may_go

COPY, SETTLE, VERIFY = PhaseName.COPY, PhaseName.SETTLE, PhaseName.VERIFY


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def phases(copy: float = 10, settle: float = 2, verify: float = 8) -> list[Phase]:
    return [
        Phase(COPY, 1000, 1000, copy), Phase(SETTLE, 0, 0, settle), Phase(VERIFY, 2000, 1000, verify),
    ]  # fmt: skip


def run(meter: Meter, clock: Clock, seconds: float, total: int) -> list[Progress]:
    """A phase that goes at an even speed to its end."""
    told = []
    for part in range(1, 101):
        clock.now += seconds / 100
        told.append(meter.update(total * part // 100))
    return told


def test_a_steady_merge_knows_its_end_as_soon_as_it_has_measured() -> None:
    clock = Clock()
    meter = Meter(phases(), clock)
    began = clock.now
    meter.enter(COPY)
    assert meter.update(0).seconds_left is None
    told = [(clock.now, progress) for progress in run(meter, clock, 20, 1000)]
    meter.enter(VERIFY)
    told += [(clock.now, progress) for progress in run(meter, clock, 16, 2000)]
    # Twice as slow as expected, all of it; but the settling, which took no time.
    halfway = told[49][1]
    assert halfway.percent == pytest.approx(25)
    assert halfway.done == 500
    assert halfway.throughput == pytest.approx(50)
    assert halfway.seconds_left == pytest.approx(10 + 4 + 16, rel=0.05)
    assert told[99][0] == pytest.approx(began + 20)
    assert told[150][1].seconds_left == pytest.approx(8, rel=0.15)


def test_seconds_that_were_measured_before_are_told_at_once() -> None:
    meter = Meter(phases(), Clock(), trusted=True)
    meter.enter(COPY)
    assert meter.update(0).seconds_left == pytest.approx(20)


def test_a_phase_whose_speed_differs_from_what_was_expected() -> None:
    clock = Clock()
    meter = Meter(phases(), clock)
    meter.enter(COPY)
    run(meter, clock, 10, 1000)
    meter.enter(VERIFY)
    told = run(meter, clock, 80, 2000)  # ten times slower
    assert told[9].seconds_left == pytest.approx(72, rel=0.25)
    assert told[49].seconds_left == pytest.approx(40, rel=0.1)


def test_a_tool_that_has_written_all_flushes_and_the_bar_goes_on() -> None:
    clock = Clock()
    meter = Meter(phases(), clock)
    meter.enter(COPY)
    run(meter, clock, 10, 1000)
    told = []
    for _ in range(60):
        clock.now += 0.1
        told.append(meter.update(1003))
    percents = [progress.percent for progress in told]
    assert percents == sorted(set(percents))
    assert 50 < percents[0] < percents[-1] < 60
    assert told[-1].done == 1000
    assert told[-1].throughput is None


def test_the_total_of_a_phase_that_is_known_better_when_it_begins() -> None:
    clock = Clock()
    meter = Meter(phases(settle=0), clock)
    meter.enter(COPY)
    run(meter, clock, 10, 1000)
    meter.enter(VERIFY, 8000)
    assert meter.update(4000).done == 1500


def test_a_merge_that_begins_again_goes_on_from_what_was_seen() -> None:
    clock = Clock()
    meter = Meter(phases(settle=0), clock, seen=(40.0, 900))
    assert meter.update().percent == 40
    meter.enter(COPY)
    told = run(meter, clock, 10, 1000)
    meter.enter(VERIFY)
    told += run(meter, clock, 10, 2000)
    percents = [progress.percent for progress in told]
    assert percents[0] > 40
    assert percents == sorted(percents)
    assert told[99].done == 900 + (2000 - 900) // 2
    assert told[-1].done == 2000
    assert told[-1].percent == 99.9


def test_one_that_verifies_again_has_not_measured_its_copy() -> None:
    clock = Clock()
    meter = Meter(phases(), clock, seen=(75.0, 1500))
    meter.enter(VERIFY)
    told = run(meter, clock, 10, 2000)
    assert told[0].percent >= 75
    assert told[49].seconds_left == pytest.approx(5, rel=0.1)
    assert told[49].percent == pytest.approx(87.5)


def test_a_merge_that_is_not_verified() -> None:
    meter = Meter(phases(verify=0)[:2], Clock())
    meter.enter(COPY)
    meter.enter(VERIFY)  # there is no such phase
    assert meter.update(500).done == 500
    assert meter.total == 1000


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3000), st.sampled_from([None, *PhaseName]))),
    st.floats(0, 100), st.integers(0, 2000), st.booleans(),
)  # fmt: skip
def test_it_never_runs_backwards_nor_says_done(
    readings: list[tuple[float, int, PhaseName | None]], percent: float, done: int, trusted: bool
) -> None:
    clock = Clock()
    meter = Meter(phases(), clock, trusted=trusted, seen=(percent, done))
    for gap, amount, phase in readings:
        clock.now += gap
        if phase:
            meter.enter(phase)
        progress = meter.update(amount)
        assert progress.percent >= percent
        assert progress.percent <= max(99.9, percent)
        assert progress.done >= done
        assert progress.seconds_left is None or progress.seconds_left >= 0
        percent, done = progress.percent, progress.done


def test_the_throttle() -> None:
    clock = Clock()
    throttle = Throttle(10, clock)
    said = 0
    for _ in range(1000):
        clock.now += 0.01
        said += throttle.ready()
    assert 90 <= said <= 101


def test_ended_is_ended() -> None:
    for state in MergeState:
        assert bool(LEGAL[state]) == (state in UNFINISHED)
        assert may_go(state, state)
