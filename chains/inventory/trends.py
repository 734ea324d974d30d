"""How several domains went together, and when each of them is full: from their notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from chains.core.forecast import Forecast, Point, forecast
from chains.inventory.history import GROWTH_PAST
from chains.inventory.sprawl_asked import NONE, Asked
from chains.models import DomainHistory, StorageDomain

SPANS: Final = (7, 30, 365)
SPAN: Final = 30
_POINTS: Final = 60
_TREND: Final = """
SELECT t.at, count(*), sum(h.on_disk), sum(h.snapshots), sum(h.snapshot_bytes), sum(h.winnable), sum(h.breaches),
    bool_and(h.snapshots IS NOT NULL), bool_or(h.made_up)
FROM unnest(%(moments)s::timestamptz[]) t(at), unnest(%(domains)s::bigint[]) d(id), LATERAL (
    SELECT * FROM chains_domainhistory WHERE domain_id = d.id AND at <= t.at ORDER BY at DESC, id DESC LIMIT 1
) h GROUP BY t.at ORDER BY t.at
"""
# One note a day is enough, and the first of all: the rule of growth begins with it.
_FREE: Final = """
SELECT DISTINCT ON (domain_id, date_trunc('day', at)) domain_id, at, free, capacity FROM chains_domainhistory
WHERE domain_id = ANY(%(domains)s) AND at >= %(since)s AND at <= %(until)s AND free IS NOT NULL
ORDER BY domain_id, date_trunc('day', at), at
"""


class Moment(NamedTuple):
    """Sums over the domains that had been noted by then; None: not recorded then. Bytes are bytes."""

    at: datetime
    domains: int
    on_disk: int
    snapshots: int | None
    snapshot_bytes: int | None
    winnable: int | None
    breaches: int | None
    made_up: bool


@dataclass(frozen=True)
class Outlook:
    """A domain and its forecast; `full_at` and its bounds are moments."""

    domain: StorageDomain
    forecast: Forecast
    free: int | None
    capacity: int | None

    @property
    def full_at(self) -> datetime | None:
        """The day on which it is full."""
        return _moment(self.forecast.full_at)

    @property
    def earliest(self) -> datetime | None:
        """By the faster half of the basis."""
        return _moment(self.forecast.earliest)

    @property
    def latest(self) -> datetime | None:
        """By the slower half; None where that does not fill it within ten years."""
        return _moment(self.forecast.latest)

    @property
    def since(self) -> datetime | None:
        """The first note that it is drawn from."""
        return _moment(self.forecast.since)

    @property
    def a_day(self) -> int | None:
        """Bytes that it grows by in a day."""
        rate = self.forecast.rate
        return None if rate is None else round(rate * 86_400)


def domains_of(asked: Asked) -> QuerySet[StorageDomain]:
    """The domains whose disks may be asked for, by name."""
    rows = StorageDomain.objects.order_by("name")
    if asked.datacenter:
        rows = rows.filter(datacenter="" if asked.datacenter == NONE else asked.datacenter)
    return rows if asked.domain is None else rows.filter(pk=asked.domain)


def trend(
    domains: Sequence[StorageDomain], days: int, until: datetime | None = None
) -> list[Moment]:
    """How these domains stood together over so many days, at evenly spread moments."""
    until = until or timezone.now()
    step = timedelta(days=days) / _POINTS
    moments = [until - step * n for n in range(_POINTS, -1, -1)]
    with connection.cursor() as cursor:
        cursor.execute(_TREND, {"moments": moments, "domains": [row.pk for row in domains]})
        return [_told(line) for line in cursor.fetchall()]


def _told(line: Sequence[object]) -> Moment:
    at, *sums, recorded, made_up = line
    count, on_disk, *rest = [None if value is None else int(str(value)) for value in sums]
    snapshots, held, won, breaches = rest if recorded else [None] * len(rest)
    assert isinstance(at, datetime)
    return Moment(at, count or 0, on_disk or 0, snapshots, held, won, breaches, bool(made_up))


def outlooks(domains: Sequence[StorageDomain], moment: datetime | None = None) -> list[Outlook]:
    """When each of these domains is full, by what was known at a moment: the soonest first."""
    until = moment or timezone.now()
    past: dict[int, list[Point]] = {row.pk: [] for row in domains}
    facts: dict[str, Any] = {"domains": list(past), "since": until - GROWTH_PAST, "until": until}
    with connection.cursor() as cursor:
        cursor.execute(_FREE, facts)
        for pk, at, free, capacity in cursor.fetchall():
            past[pk].append(Point(at.timestamp(), free, capacity))
    found = [_outlook(row, past[row.pk], moment, until) for row in domains]
    return sorted(found, key=lambda one: one.forecast.full_at or float("inf"))


def _outlook(
    domain: StorageDomain, past: Sequence[Point], moment: datetime | None, until: datetime
) -> Outlook:
    free, capacity = domain.free, domain.capacity
    if moment is not None:
        last = (
            DomainHistory.objects.filter(domain=domain, at__lte=moment)
            .order_by("-at", "-id")
            .first()
        )
        free, capacity = (last.free, last.capacity) if last else (None, None)
    now = None if free is None else Point(until.timestamp(), free, capacity)
    return Outlook(domain, forecast(past, now), free, capacity)


def _moment(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.get_current_timezone())
