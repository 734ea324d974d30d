"""How domains and disks stood: written when they change, kept a year, thinned with age."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from chains.core import forecast
from chains.core.forecast import Point
from chains.core.sprawl import Figures
from chains.inventory import bulk, sprawl_sums
from chains.inventory.asking import BadRequestError
from chains.inventory.sprawl_sums import Figures as Sums
from chains.models import Disk, DiskHistory, DomainHistory, Finding, Scan, ScanState, StorageDomain

KEPT = timedelta(days=366)
# Older than this, one row a day is enough; and then one a week.
DAILY_AFTER, WEEKLY_AFTER = timedelta(days=7), timedelta(days=60)
SCANS_KEPT = timedelta(days=30)
MOMENT_YEARS = (1971, 9000)  # with room for every zone
GROWTH_PAST = timedelta(seconds=forecast.PAST_SECONDS)

_DISK = (
    "domain", "disk", "disk_number", "name", "at", "layers", "virtual_size", "on_disk", "findings",
    "severity", "vm", "breaches", *Figures._fields, "gone",
)  # fmt: skip
_THIN = """
DELETE FROM {table} WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY {whose}, date_trunc(%s, at) ORDER BY at DESC, id DESC
        ) AS place FROM {table} WHERE at < %s AND at >= %s
    ) ranked WHERE place > 1
)
"""


class DiskState(NamedTuple):
    """A disk as the history holds it; sizes are bytes. From `breaches` on it is as in core.sprawl."""

    name: str
    layers: int
    virtual_size: int
    on_disk: int
    findings: int
    severity: str
    vm: str
    breaches: int | None
    snapshots: int | None
    snapshot_bytes: int | None
    snapshot_since: datetime | None
    shadowed: int | None
    winnable: int | None
    to_copy: int | None

    @classmethod
    def of(cls, disk: Disk) -> "DiskState":
        """As its row has it."""
        return cls._make(getattr(disk, name) for name in cls._fields)


def record_disks(
    domain: StorageDomain, changed: Mapping[int, DiskState], gone: Mapping[int, DiskState],
    now: datetime,
) -> None:  # fmt: skip
    """Note how disks stand from now on, by their ids; `gone` are no more, as they were last."""
    rows: list[tuple[Any, ...]] = [
        (domain.pk, pk, pk, state.name, now, *state[1:], False) for pk, state in changed.items()
    ]
    rows += [(domain.pk, None, pk, state.name, now, *state[1:], True) for pk, state in gone.items()]
    bulk.insert(DiskHistory, _DISK, rows)


def record_domain(domain: StorageDomain, now: datetime) -> None:
    """Note how a domain stands, when that differs from its last note or the last note is a day old."""
    domain.refresh_from_db()
    facts = {
        "volumes": domain.volume_count, "disks": domain.disk_count, "deepest": domain.deepest,
        "virtual": domain.virtual_total, "on_disk": domain.on_disk_total,
        "capacity": domain.capacity, "free": domain.free, "critical": domain.critical_count,
        "warning": domain.warning_count, "info": domain.info_count, **_held(sprawl_sums.keep(domain)),
    }  # fmt: skip
    last = domain.history.order_by("-at", "-id").first()
    # Other users of the file system move `free` all the time: that alone is noted once a day.
    told = {name: value for name, value in facts.items() if name not in ("free", "capacity")}
    if (
        last is not None
        and last.at > now - timedelta(days=1)
        and all(getattr(last, name) == value for name, value in told.items())
    ):
        return
    DomainHistory.objects.create(domain=domain, at=now, **facts)


def _held(found: Sums) -> dict[str, int | None]:
    """What snapshots hold; nothing where a disk has not been looked at for that yet."""
    names = ("snapshots", "snapshot_bytes", "shadowed", "winnable", "breaches")
    return {name: getattr(found, name) if not found.unknown else None for name in names}


def growth(domain: StorageDomain, free: int | None, now: datetime) -> float | None:
    """Bytes a second by which the free space has shrunk lately; None while nobody can say."""
    past = domain.history.filter(at__gte=now - GROWTH_PAST, free__isnull=False).order_by("at")
    first = past.values_list("at", "free", "capacity").first()
    if first is None or first[1] is None or free is None:
        return None
    then = Point(first[0].timestamp(), first[1], first[2])
    return forecast.growth(then, Point(now.timestamp(), free, domain.capacity))


def domain_history(domain: StorageDomain, since: datetime | None = None) -> list[DomainHistory]:
    """The notes of a domain, oldest first."""
    rows = domain.history.all()
    return list(rows if since is None else rows.filter(at__gte=since))


def domain_as_of(domain: StorageDomain, moment: datetime) -> DomainHistory | None:
    """How the domain stood at a moment; None when nobody had looked by then."""
    return domain.history.filter(at__lte=moment).order_by("-at", "-id").first()


def disks_as_of(domain: StorageDomain, moment: datetime) -> QuerySet[DiskHistory]:
    """How each disk stood at a moment, by name; those that were gone by then are left out."""
    newest = (
        DiskHistory.objects.filter(domain=domain, at__lte=moment)
        .order_by("disk_number", "-at", "-id")
        .distinct("disk_number")
    )
    rows = DiskHistory.objects.filter(pk__in=newest.values("pk"), gone=False)
    return rows.order_by("name", "disk_number")


def disk_history(disk: Disk) -> list[DiskHistory]:
    """The notes of a disk, oldest first."""
    return list(DiskHistory.objects.filter(disk_number=disk.pk, gone=False).order_by("at", "id"))


def moment_of(text: str) -> datetime:
    """Read a moment: a day means its end, in the zone of the settings. Raises BadRequestError."""
    wrong = BadRequestError("Give a day like 2026-11-01, or a moment like 2026-11-01T12:00.")
    try:
        if (day := parse_date(text.strip())) is not None:
            text = f"{day.isoformat()}T23:59:59.999999"
        found = parse_datetime(text.strip())
        if found is None or not MOMENT_YEARS[0] <= found.year <= MOMENT_YEARS[1]:
            raise wrong
        return found if timezone.is_aware(found) else timezone.make_aware(found)
    except (ValueError, OverflowError):
        raise wrong from None


def thin(now: datetime | None = None) -> None:
    """Let go of what nobody will ask for: old notes, resolved findings and finished scans of long ago."""
    now = now or timezone.now()
    for table, whose in (
        ("chains_domainhistory", "domain_id"),
        ("chains_diskhistory", "disk_number"),
    ):
        with connection.cursor() as cursor:
            sentence = _THIN.format(table=table, whose=whose)
            cursor.execute(sentence, ["day", now - DAILY_AFTER, now - WEEKLY_AFTER])
            cursor.execute(sentence, ["week", now - WEEKLY_AFTER, now - KEPT])
    DomainHistory.objects.filter(at__lt=now - KEPT).delete()
    _forget_disks(now - KEPT)
    Finding.objects.filter(resolved_at__lt=now - KEPT).delete()
    ended = [ScanState.SUCCEEDED, ScanState.FAILED, ScanState.CANCELLED]
    current = StorageDomain.objects.exclude(last_scan=None).values("last_scan")
    Scan.objects.filter(state__in=ended, requested_at__lt=now - SCANS_KEPT).exclude(
        pk__in=current
    ).delete()


def _forget_disks(before: datetime) -> None:
    """The last note of a disk that is still there is kept, however old: it tells how the disk stands."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM chains_diskhistory old WHERE at < %s AND (gone OR EXISTS (
                SELECT FROM chains_diskhistory newer
                WHERE newer.disk_number = old.disk_number AND newer.at < %s
                  AND (newer.at, newer.id) > (old.at, old.id)
            ))
            """,
            [before, before],
        )


def states(rows: Sequence[tuple[Any, ...]]) -> dict[int, DiskState]:
    """(id, *DiskState) rows by id."""
    return {row[0]: DiskState._make(row[1:]) for row in rows}
