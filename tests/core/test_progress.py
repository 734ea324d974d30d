"""The meter owns no time: the tests do."""

from hypothesis import given
from hypothesis import strategies as st

from chains.core.progress import Meter, Throttle
from chains.core.states import LEGAL, UNFINISHED, MergeState, may_go


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_steady_copy() -> None:
    clock = Clock()
    meter = Meter(1000, clock)
    for second in range(1, 6):
        clock.now = 100.0 + second
        progress = meter.update(second * 100)
    assert progress.percent == 50
    assert progress.throughput == 100
    assert progress.seconds_left == 5


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2000)), max_size=40), st.integers(0, 1000)
)
def test_it_never_runs_backwards_nor_says_done(
    readings: list[tuple[float, int]], total: int
) -> None:
    clock = Clock()
    meter = Meter(total, clock)
    before = 0.0
    for gap, done in readings:
        clock.now += gap
        progress = meter.update(done)
        assert before <= progress.percent < 100
        assert progress.seconds_left is None or progress.seconds_left >= 0
        before = progress.percent


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
