"""When a storage domain is full, as far as its past tells: a straight line, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from chains.core.thresholds import DAY

PAST_SECONDS: Final = 14 * DAY
"""Growth is judged from so much of the past,"""
LEAST_SECONDS: Final = DAY
"""once there is so much of it."""
FAR_SECONDS: Final = 10 * 365 * DAY


class Outlook(StrEnum):
    """What the past says of a domain's future."""

    FILLS = "fills"
    STEADY = "not filling"
    FAR = "not within ten years"
    FULL = "full"
    SHORT = "too little history"
    EXTENDED = "extended lately"
    UNKNOWN = "capacity not known"


class Point(NamedTuple):
    """What was free at a moment (seconds since 1970), and how large the domain was; bytes."""

    at: float
    free: int
    capacity: int | None


@dataclass(frozen=True)
class Forecast:
    """`rate` is bytes a second by which the free space shrinks; `since`, `earliest`, `full_at` and `latest`
    are seconds since 1970.

    The line goes from the first note of the last fortnight to now. The range is that of the lines through
    its older and its newer half; `latest` is None where one of the two does not fall at all.
    """

    outlook: Outlook
    rate: float | None = None
    since: float | None = None
    notes: int = 0
    full_at: float | None = None
    earliest: float | None = None
    latest: float | None = None


def growth(first: Point | None, now: Point) -> float | None:
    """Bytes a second by which the free space has shrunk since a moment; None while nobody can say."""
    if first is None or now.at - first.at < LEAST_SECONDS:
        return None
    if first.capacity != now.capacity:
        return None  # it was extended since: what was free then tells nothing
    return (first.free - now.free) / (now.at - first.at)


def forecast(past: Sequence[Point], now: Point | None) -> Forecast:
    """Foretell from the notes of the last fortnight, oldest first; None for `now`: nothing is known."""
    if now is None or not now.capacity:
        return Forecast(Outlook.UNKNOWN)
    if now.free <= 0:
        return Forecast(Outlook.FULL, notes=len(past))
    first = past[0] if past else None
    rate = growth(first, now)
    if first is None or rate is None:
        is_extended = first is not None and first.capacity != now.capacity
        return Forecast(Outlook.EXTENDED if is_extended else Outlook.SHORT, notes=len(past))
    if rate <= 0:
        return Forecast(Outlook.STEADY, rate, first.at, len(past))
    left = now.free / rate
    if left > FAR_SECONDS:
        return Forecast(Outlook.FAR, rate, first.at, len(past))
    rates = [rate, *_halves(first, past, now)]
    slowest, fastest = min(rates), max(rates)
    return Forecast(
        Outlook.FILLS, rate, first.at, len(past), now.at + left, now.at + now.free / fastest,
        now.at + now.free / slowest if slowest * FAR_SECONDS > now.free else None,
    )  # fmt: skip


def _halves(first: Point, past: Sequence[Point], now: Point) -> list[float]:
    """The rates of the older and of the newer half, where a note stands between them."""
    middle = min(past, key=lambda point: abs(point.at - (first.at + now.at) / 2))
    ends = [(first, middle), (middle, now)]
    return [(a.free - b.free) / (b.at - a.at) for a, b in ends if b.at > a.at]
