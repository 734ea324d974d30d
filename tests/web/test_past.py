"""The history of domains and disks, on pages and in the API."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from chains.models import Disk, DiskHistory, DomainHistory, StorageDomain
from tests.web.markup import Page

DAY = timedelta(days=1)


@pytest.fixture
def past(domain):
    """Two months of a domain; one disk that is no more, one that has grown."""
    now = timezone.now()
    DomainHistory.objects.filter(domain=domain).delete()
    DiskHistory.objects.filter(domain=domain).delete()
    DomainHistory.objects.bulk_create(
        DomainHistory(
            domain=domain, at=now - n * DAY, volumes=100 - n, disks=9, deepest=3, virtual=10**29,
            on_disk=4096 * n, capacity=None, free=None, critical=1, warning=0, info=0,
        )
        for n in range(60, 0, -1)
    )  # fmt: skip
    disk = domain.disks.first()

    def note(number, name, ago, layers, *, kept=None, gone=False):
        DiskHistory.objects.create(
            domain=domain, disk=kept, disk_number=number, name=name, at=now - ago * DAY,
            layers=layers, virtual_size=2**30, on_disk=2**20, findings=1, severity="warning", gone=gone,
        )  # fmt: skip

    note(disk.pk, disk.name, 50, 2, kept=disk)
    note(disk.pk, disk.name, 10, 5, kept=disk)
    note(10**9, "=cmd|' /C calc'!A0", 40, 7)
    note(10**9, "=cmd|' /C calc'!A0", 5, 7, gone=True)
    return domain


def day(ago):
    return (timezone.now() - ago * DAY).date().isoformat()


def test_a_chart_stands_on_both_pages(past, browser):
    page = browser("auditor").get(f"/domains/{past.pk}/").text
    assert page.count("dg-trend-line") == 4, "what is free was never known"
    assert "The same as a table" in page
    disk = past.disks.first()
    page = browser("auditor").get(f"/disks/{disk.pk}/").text
    assert page.count("dg-trend-line") == 2
    assert Page(page).wrong == []


def test_no_history_is_no_error(domain, browser):
    DomainHistory.objects.all().delete()
    DiskHistory.objects.all().delete()
    assert "Nothing has been noted yet" in browser("auditor").get(f"/domains/{domain.pk}/").text
    disk = domain.disks.first()
    assert "disk-trend" not in browser("auditor").get(f"/disks/{disk.pk}/").text
    page = browser("auditor").get(f"/domains/{domain.pk}/history/?as_of=2020-01-01").text
    assert "Nothing was known then" in page


@pytest.mark.parametrize(("ago", "layers", "gone"), [(45, {2}, 0), (20, {2, 7}, 1), (1, {5}, 0)])
def test_as_of_a_day(past, browser, ago, layers, gone):
    client = browser("auditor")
    page = client.get(f"/domains/{past.pk}/history/?as_of={day(ago)}")
    assert page.status_code == 200
    assert page.text.count("gone since") == gone
    assert f"<dd>{100 - ago}</dd>" in page.text
    found = client.get(f"/api/v1/domains/{past.pk}/history/?as_of={day(ago)}").json()
    assert {row["layers"] for row in found["disks"]} == layers
    assert found["count"] == len(layers)
    assert found["domain"]["volumes"] == 100 - ago
    assert found["domain"]["virtual"] == 10**29


def test_the_disks_of_a_day_are_exported(past, browser):
    url = f"/domains/{past.pk}/history/?as_of={day(20)}&format="
    answer = browser("auditor").get(f"{url}csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert {row["layers"] for row in rows} == {"2", "7"}
    assert any(row["name"].startswith("'=cmd") for row in rows), "text, no formula"
    answer = browser("auditor").get(f"{url}json")
    rows = json.loads(b"".join(answer.streaming_content))
    assert {row["name"] for row in rows} >= {"=cmd|' /C calc'!A0"}
    assert ".json" in answer.headers["Content-Disposition"]
    answer = browser("auditor").get(f"/domains/{past.pk}/history/?as_of=2001-01-01&format=json")
    assert json.loads(b"".join(answer.streaming_content)) == []


@pytest.mark.parametrize(
    "words", ["yesterday", "2026-13-01", "9999-12-31", "0001-01-01", "%00", "2026-11-01T99:00", "1"]
)
def test_what_is_no_day(past, browser, words):
    client = browser("auditor")
    page = client.get(f"/domains/{past.pk}/history/?as_of={words}")
    if words == "%00":
        assert page.status_code == 200
        return
    assert page.status_code == 400
    assert "Give a day" in page.text
    for name in ("as_of", "since"):
        answer = client.get(f"/api/v1/domains/{past.pk}/history/?{name}={words}")
        assert answer.status_code == 400
        assert "Give a day" in answer.json()["detail"]


def test_notes_since_a_moment(past, browser):
    client = browser("auditor")
    url = f"/api/v1/domains/{past.pk}/history/"
    assert len(client.get(url).json()["notes"]) == 60
    since = (datetime.now(UTC) - timedelta(days=9.5)).strftime("%Y-%m-%dT%H:%MZ")
    notes = client.get(f"{url}?since={since}").json()["notes"]
    assert len(notes) == 9
    assert notes[0]["at"] < notes[-1]["at"]
    assert client.get(f"{url}?as_of={day(20)}&limit=1&offset=1").json()["count"] == 2
    assert len(client.get(f"{url}?as_of={day(20)}&limit=1&offset=1").json()["disks"]) == 1
    assert client.get(f"{url}?as_of={day(20)}&limit=x").status_code == 400


def test_pages_of_many_disks(domain, browser):
    now = timezone.now()
    DiskHistory.objects.bulk_create(
        DiskHistory(
            domain=domain, disk_number=10**9 + n, name=f"old {n:03}", at=now - DAY, layers=1,
            virtual_size=1, on_disk=1, findings=0,
        )
        for n in range(120)
    )  # fmt: skip
    DomainHistory.objects.filter(domain=domain).update(at=now - DAY)
    page = browser("auditor").get(f"/domains/{domain.pk}/history/?as_of={day(0)}&page=2").text
    assert "page 2 of 3" in page


def test_the_list_costs_the_same_for_many_domains(domain, browser, django_assert_max_num_queries):
    client = browser("operator")
    for number in range(30):
        StorageDomain.objects.create(
            name=f"d{number}", path=f"/x{number}", storage_host="there", kind="ovirt-block",
            virtual_total=3 * 10**15, capacity=10**15, unreachable="gone",
            unreachable_since=timezone.now(), facts={"version": 5},
        )  # fmt: skip
    with django_assert_max_num_queries(8):
        page = client.get("/domains/").text
    assert page.count("guests may come to write 3.0 × what fits") == 30
    assert "Not reachable since" in page
    with django_assert_max_num_queries(8):
        found = client.get("/api/v1/domains/?limit=100").json()["results"]
    row = next(row for row in found if row["name"] == "d1")
    assert (row["overcommit"], row["block"], row["worker_alive"]) == (3.0, True, False)
    assert row["virtual_total"] == 3 * 10**15
    assert Disk.objects.exists()
