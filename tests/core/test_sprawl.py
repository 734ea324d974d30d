"""What snapshots hold and when domains are full: pure rules."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.forecast import DAY, Outlook, Point, forecast
from chains.core.sprawl import Figures, Own, breaches, figures, is_still

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = 1_800_000_000.0


def own(held, dead=None):
    return Own(held, dead)


def test_a_disk_without_a_snapshot_hides_nothing():
    assert figures(100, [own(50)], None, None) == Figures(shadowed=0)


def test_without_a_map_bounds_are_told():
    found = figures(100, [own(10), own(60), own(70)], THEN, None)
    assert found == Figures(2, 130, THEN, None, 40, 70)


def test_a_map_tells_what_is_hidden_and_copied():
    found = figures(100, [own(10, 0), own(60, 25), own(70, 30)], THEN, [8, 9, 99])
    assert (found.shadowed, found.winnable, found.to_copy) == (55, 55, 9)


@pytest.mark.parametrize("copies", [None, [], [8]])
def test_a_map_of_less_than_the_chain_is_none(copies):
    assert figures(100, [own(10, 0), own(60, 25), own(70, 30)], THEN, copies).shadowed is None


@given(
    st.lists(
        st.tuples(st.integers(0, 2**60), st.none() | st.integers(0, 2**60)), min_size=1, max_size=9
    )
)
def test_bounds_hold(layers):
    found = figures(2**40, [own(held, dead) for held, dead in layers], THEN, None)
    assert found.snapshots == len(layers) - 1
    assert 0 <= found.to_copy <= sum(held for held, _ in layers)
    assert found.winnable >= 0


def test_what_exceeds_the_policy():
    assert breaches(["deep", "snapshot-old", "in-use", "space-low"]) == 2


@pytest.mark.parametrize(
    ("stored", "now", "written", "still"),
    [
        ("1:2:3:4:5", "1:2:3:4:5", False, True), ("1:2:3:4:5", "1:2:9:9:9", False, False),
        ("1:2:3:4:5", "1:2:9:9:9", True, True), ("1:2:3:4:5", "1:7:3:4:5", True, False),
    ],
)  # fmt: skip
def test_whether_a_file_is_still_the_one(stored, now, written, still):
    assert is_still(stored, now, written=written) is still


def past(*notes, capacity=1000):
    """(days ago, free) as notes."""
    return [Point(NOW - days * DAY, free, capacity) for days, free in notes]


@pytest.mark.parametrize(
    ("notes", "free", "outlook"),
    [
        ([], 50, Outlook.SHORT), ([(0.5, 100)], 50, Outlook.SHORT), ([(10, 40)], 50, Outlook.STEADY),
        ([(10, 50)], 50, Outlook.STEADY), ([(10, 100)], 50, Outlook.FILLS), ([(10, 100)], 0, Outlook.FULL),
        ([(10, 10**9 + 1)], 10**9, Outlook.FAR),
    ],
)  # fmt: skip
def test_outlooks(notes, free, outlook):
    assert forecast(past(*notes), Point(NOW, free, 1000)).outlook is outlook


def test_a_forecast_says_its_range():
    found = forecast(past((10, 100), (5, 70)), Point(NOW, 50, 1000))
    days = [(at - NOW) / DAY for at in (found.earliest, found.full_at, found.latest)]
    assert days == pytest.approx([50 / 6, 10, 12.5])
    assert (found.since, found.notes) == (NOW - 10 * DAY, 2)


def test_one_half_may_not_fill_it_at_all():
    found = forecast(past((10, 100), (5, 50)), Point(NOW, 50, 1000))
    assert (found.outlook, found.latest) == (Outlook.FILLS, None)


def test_what_can_not_be_foretold():
    assert forecast([], None).outlook is Outlook.UNKNOWN
    assert forecast([], Point(NOW, 5, None)).outlook is Outlook.UNKNOWN
    assert forecast(past((5, 9), capacity=500), Point(NOW, 5, 1000)).outlook is Outlook.EXTENDED


@given(
    st.lists(st.tuples(st.floats(0.0, 14.0), st.integers(0, 10**15)), max_size=20),
    st.integers(-5, 10**15),
)
def test_a_forecast_is_in_order(notes, free):
    found = forecast(past(*sorted(notes, reverse=True)), Point(NOW, free, 1000))
    if found.outlook is Outlook.FILLS:
        assert NOW <= found.earliest <= found.full_at
        assert found.latest is None or found.latest >= found.full_at
