"""What domains and disks were like: kept when it changes, thinned with age, asked for by a date."""

from datetime import UTC, datetime, timedelta

import pytest

from chains.inventory import history
from chains.models import DiskHistory, DomainHistory, Finding, Scan, ScanState, StorageDomain
from tests import images

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def noted(domain, at, free=100, **facts):
    return DomainHistory.objects.create(
        domain=domain, at=at, free=free, capacity=1000,
        **{"volumes": 1, "disks": 1, "deepest": 1, "virtual": 1, "on_disk": 1, "critical": 0,
           "warning": 0, "info": 0, **facts},
    )  # fmt: skip


def disk_noted(domain, number, at, layers=1, gone=False):
    return DiskHistory.objects.create(
        domain=domain, disk_number=number, name=f"disk{number}", at=at, layers=layers, virtual_size=1,
        on_disk=1, findings=0, gone=gone,
    )  # fmt: skip


def test_a_disk_s_past_outlives_it(root, domain, scan):
    images.lesson(root)
    scan()
    number = domain.disks.get().pk
    images.overlay(root / "snap3.img", "snap2.img", "qcow2")
    scan()
    (root / "snap3.img").unlink()
    (root / "snap2.img").unlink()
    (root / "snap1.img").unlink()
    scan()
    rows = list(DiskHistory.objects.filter(disk_number=number))
    assert [(row.layers, row.gone) for row in rows] == [(3, False), (4, False), (4, True)]
    assert rows[0].disk is None
    moment = rows[1].at
    assert [row.layers for row in history.disks_as_of(domain, moment)] == [4]
    now = [row.name for row in history.disks_as_of(domain, NOW.replace(year=2099))]
    assert now == ["base.img"]
    assert list(history.disks_as_of(domain, rows[0].at - DAY)) == []
    assert history.domain_as_of(domain, rows[0].at - DAY) is None
    assert history.domain_as_of(domain, moment).deepest == 4


def test_one_note_a_day_while_nothing_changes(root, domain, scan):
    images.lesson(root)
    scan()
    DomainHistory.objects.update(at=NOW - 3 * DAY)
    domain.refresh_from_db()
    for minutes in (0, 5, 10):
        history.record_domain(domain, NOW + timedelta(minutes=minutes))
    assert DomainHistory.objects.count() == 2
    history.record_domain(domain, NOW + DAY + timedelta(minutes=1))
    assert DomainHistory.objects.count() == 3


def test_old_notes_are_thinned(domain):
    for hours in range(24 * 3):
        noted(domain, NOW - timedelta(hours=hours))  # every hour of the last days
        noted(domain, NOW - 30 * DAY - timedelta(hours=hours))
        noted(domain, NOW - 200 * DAY - timedelta(hours=hours))
    noted(domain, NOW - 400 * DAY)
    disk_noted(domain, 1, NOW - 400 * DAY, layers=2)
    disk_noted(domain, 1, NOW - 380 * DAY, layers=3)
    disk_noted(domain, 2, NOW - 400 * DAY)
    disk_noted(domain, 2, NOW - 390 * DAY, gone=True)
    history.thin(NOW)
    ages = [round((NOW - row.at) / DAY) for row in DomainHistory.objects.all()]
    assert len([age for age in ages if age < 7]) == 72
    assert 3 <= len([age for age in ages if 20 < age < 60]) <= 4, "one a day"
    assert 1 <= len([age for age in ages if 100 < age < 300]) <= 2, "one a week"
    assert max(ages) < 366
    # The last note of a disk that is still there tells how it stands, however old it is.
    assert list(DiskHistory.objects.values_list("disk_number", "layers")) == [(1, 3)]
    history.thin(NOW)
    assert len(ages) == DomainHistory.objects.count(), "thinned once is thinned"


def test_what_else_is_forgotten(domain):
    old = NOW - 400 * DAY
    facts = {
        "domain": domain,
        "path": "x",
        "path_text": "x",
        "code": "dirty",
        "severity": "warning",
    }
    Finding.objects.create(**facts, resolved_at=old)
    kept = Finding.objects.create(**facts, first_seen=old)
    scans = [
        Scan.objects.create(domain=domain, state=state)
        for state in ScanState.values
        if state != "queued"
    ]
    Scan.objects.update(requested_at=NOW - 40 * DAY)
    StorageDomain.objects.filter(pk=domain.pk).update(last_scan=scans[1])
    history.thin(NOW)
    assert list(Finding.objects.all()) == [kept]
    assert set(Scan.objects.values_list("state", flat=True)) == {"running", "succeeded"}


@pytest.mark.parametrize(
    ("notes", "free", "expected"),
    [
        ([], 50, None),
        ([(0.5, 100)], 50, None),
        ([(2, 100)], 100 - 2 * 86_400, 1.0),
        ([(2, 100)], 100 + 2 * 86_400, -1.0),
        ([(20, 10**9), (4, 100)], 100 - 4 * 86_400, 1.0),
        ([(2, None)], 50, None),
        ([(2, 100)], None, None),
    ],
)
def test_how_fast_a_domain_fills(notes, free, expected, domain):
    StorageDomain.objects.update(capacity=1000)
    domain.refresh_from_db()
    for days, was in notes:
        noted(domain, NOW - days * DAY, free=was)
    assert history.growth(domain, free, NOW) == expected


def test_growth_is_not_known_when_the_domain_was_extended(domain):
    StorageDomain.objects.update(capacity=2000)
    domain.refresh_from_db()
    noted(domain, NOW - 2 * DAY, free=100)
    assert history.growth(domain, 50, NOW) is None
