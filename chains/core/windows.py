"""Maintenance windows: when merges may start. Pure; wall-clock times of the zone that the caller uses."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chains.core.errors import StrataError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)
_PART = re.compile(
    r"(?:(?P<days>[a-z][a-z,\s-]*?)\s+)?"
    r"(?P<h1>[0-9]{1,2}):(?P<m1>[0-9]{2})\s*-\s*(?P<h2>[0-9]{1,2}):(?P<m2>[0-9]{2})"
)
HINT = "write it like Sat 02:00-05:00, or Mon-Fri 22:00-06:00; Sat,Sun 00:00-24:00"


class WindowError(StrataError):
    """A window that can not be read; the text says how to write one."""


@dataclass(frozen=True)
class Span:
    """On some days of the week (0 is Monday), from a minute of the day, for some minutes."""

    days: frozenset[int]
    start: int
    length: int

    def begins(self, day: datetime) -> datetime:
        """When it begins on the date of `day`."""
        return day.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(
            minutes=self.start
        )


def parse(text: str) -> tuple[Span, ...]:
    """Read windows divided by semicolons; none means always. Raises WindowError."""
    plain = text.strip().lower().replace("–", "-")
    return tuple(_span(part.strip()) for part in plain.split(";") if part.strip())


def is_open(spans: tuple[Span, ...], now: datetime) -> bool:
    """Whether a merge may start now; `now` is local time."""
    return not spans or any(
        span.begins(day) <= now < span.begins(day) + timedelta(minutes=span.length)
        for span in spans
        for day in (now - _DAY, now)
        if day.weekday() in span.days
    )


def opens(spans: tuple[Span, ...], now: datetime) -> datetime | None:
    """When the next window begins, in local time; None when one is open now."""
    if is_open(spans, now):
        return None
    return min(
        begin
        for span in spans
        for number in range(8)
        if (day := now + number * _DAY).weekday() in span.days and (begin := span.begins(day)) > now
    )


def _span(part: str) -> Span:
    found = _PART.fullmatch(part)
    if found is None:
        raise WindowError(f"“{part[:60]}” is no maintenance window: {HINT}.")
    start = _minute(found["h1"], found["m1"], part)
    end = _minute(found["h2"], found["m2"], part)
    if start in {end, 24 * 60}:
        raise WindowError(f"“{part[:60]}” is no maintenance window, it has no length: {HINT}.")
    return Span(_days(found["days"], part), start, (end - start) % (24 * 60) or 24 * 60)


def _minute(hour: str, minute: str, part: str) -> int:
    at = int(hour) * 60 + int(minute)
    if int(minute) > 59 or at > 24 * 60:
        raise WindowError(f"“{part[:60]}” has no such time of day: {HINT}.")
    return at


def _days(text: str | None, part: str) -> frozenset[int]:
    if text is None or text.strip() == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for name in text.split(","):
        first, _, last = (word.strip() for word in name.partition("-"))
        if first not in DAYS or (last and last not in DAYS):
            raise WindowError(f"“{part[:60]}” has no such day: {HINT}.")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days |= {number % 7 for number in range(begin, begin + (end - begin) % 7 + 1)}
    return frozenset(days)
