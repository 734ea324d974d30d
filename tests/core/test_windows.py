"""Maintenance windows."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.windows import WindowError, is_open, opens, parse

SATURDAY = datetime(2026, 11, 28)  # noqa: DTZ001  the planner takes local wall-clock times


@pytest.mark.parametrize(
    ("text", "at", "wanted"),
    [
        ("", SATURDAY, True),
        ("Sat 02:00–05:00", SATURDAY.replace(hour=2), True),
        ("Sat 02:00-05:00", SATURDAY.replace(hour=5), False),
        ("sat 2:00-5:00", SATURDAY.replace(hour=1, minute=59), False),
        ("Fri 22:00-06:00", SATURDAY.replace(hour=5), True),
        ("Sat 22:00-06:00", SATURDAY.replace(hour=5), False),
        ("22:00-06:00", SATURDAY.replace(hour=23), True),
        ("daily 00:00-24:00", SATURDAY.replace(hour=12), True),
        ("Fri-Mon 01:00-02:00", SATURDAY.replace(hour=1), True),
        ("Mon,Sat 01:00-02:00; Tue 09:00-10:00", SATURDAY.replace(hour=1), True),
        ("Mon-Fri 01:00-02:00; Tue 09:00-10:00", SATURDAY.replace(hour=1), False),
    ],
)
def test_it_is_open_when_it_says(text: str, at: datetime, wanted: bool) -> None:
    assert is_open(parse(text), at) is wanted


@pytest.mark.parametrize(
    "text",
    ["Sat", "02:00", "Sat 2-5", "Sat 25:00-26:00", "Sat 02:60-03:00", "Xyz 02:00-03:00", "Sat 02:00-02:00",
     "Sat-Xyz 01:00-02:00", "Sat 24:00-01:00", "🦆 01:00-02:00", "Sat 01:00-02:00 x"],
)  # fmt: skip
def test_what_is_no_window_says_how_to_write_one(text: str) -> None:
    with pytest.raises(WindowError, match="write it like"):
        parse(text)


@given(
    st.sampled_from(
        ["Sat 02:00-05:00", "Mon-Fri 22:00-06:00", "Sun,Wed 00:30-01:00; Thu 13:00-13:05"]
    ),
    st.integers(0, 14 * 24 * 60),
)
def test_the_next_one_begins_when_the_clock_gets_there(text: str, minutes: int) -> None:
    spans = parse(text)
    now = SATURDAY + timedelta(minutes=minutes)
    begin = opens(spans, now)
    slow = now
    while not is_open(spans, slow):
        slow += timedelta(minutes=1)
    assert (begin or now) == slow
