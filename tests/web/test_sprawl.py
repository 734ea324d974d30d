"""The sprawl report: its page, its files, its paper, its dates; by API and command."""

import csv
import io
import json
from datetime import timedelta
from html import escape
from itertools import product

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chains.inventory import sprawl
from chains.inventory.registering import set_datacenter
from chains.inventory.sprawl_asked import BYS, Asked
from chains.models import AuditRecord, DiskHistory, DomainHistory, StorageDomain
from chains.web import sprawl_print
from tests.web.markup import Page

DAY = timedelta(days=1)
MORE = (
    "", "as_of=2099-01-01", "as_of=2001-01-01&with=2099-01-01", "sort=oldest_snapshot", "sort=-name",
    "breaches=1&q=x&snapshots=2&older=3d&days=7", "vm=(none)&datacenter=(none)", "cursor=nonsense",
)  # fmt: skip


def text_of(answer) -> str:
    return answer.getvalue().decode()


@pytest.mark.parametrize("by", BYS)
def test_the_page_in_every_way(by, domain, browser):
    client = browser("auditor")
    for more, form in product(MORE, ("", "&format=print")):
        answer = client.get(f"/sprawl/?by={by}&{more}{form}")
        assert answer.status_code == 200
        assert Page(text_of(answer)).wrong == []


def test_what_makes_no_sense_is_told(domain, browser):
    for words in ("by=x", "older=x", "as_of=x", "with=2026-01-01", "days=9", "format=xml"):
        assert browser("auditor").get(f"/sprawl/?{words}").status_code == 400, words


def test_nothing_yet(db, browser):
    page = browser("auditor").get("/sprawl/").text
    assert "No disk is known yet" in page
    assert "add_domain" in page


def test_what_is_said_where_nothing_is_found(domain, browser):
    client = browser("auditor")
    for words, said in (
        ("q=none-is-named-so", "No disk is like that"), ("as_of=2001-01-01", "Nothing was known then"),
        ("as_of=2099-01-01&with=2099-01-01", "Nothing differs"),
    ):  # fmt: skip
        assert said in client.get(f"/sprawl/?{words}").text


def figures_of(domain):
    return sprawl.report(Asked(by="disk", domain=domain.pk)).total


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_report_as_a_file(kind, domain, browser):
    answer = browser("auditor").get(f"/sprawl/?by=disk&domain={domain.pk}&format={kind}")
    assert answer.streaming
    text = text_of(answer)
    rows = list(csv.DictReader(io.StringIO(text))) if kind == "csv" else json.loads(text)
    assert len(rows) == domain.disks.count()
    assert sum(int(row["snapshots"]) for row in rows) == figures_of(domain).snapshots > 0


def test_a_comparison_as_a_file(past, browser):
    answer = browser("auditor").get(f"/sprawl/?by=disk&as_of={day(30)}&with={day(1)}&format=json")
    rows = {row["name"]: row for row in json.loads(text_of(answer))}
    assert (rows["old"]["state"], rows["old"]["snapshots_before"]) == ("gone", 2)
    assert rows["old"]["snapshots_after"] is None
    assert (rows["young"]["state"], rows["young"]["snapshots_after"]) == ("new", 1)


def test_paper_has_every_row_and_says_of_what_it_is(domain, browser):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sprawl, "PART", 2)  # so that it comes in parts
        answer = browser("auditor").get(
            f"/sprawl/?by=disk&domain={domain.pk}&older=1s&format=print"
        )
        parts = list(answer.streaming_content)
    text = b"".join(parts).decode()
    count = sprawl.report(Asked(by="disk", domain=domain.pk, older=1)).total.disks
    assert len(parts) == 2 + -(-count // 2)
    assert text.count('<th scope="row" class="names">') == count
    assert "by auditor" in text
    assert escape(domain.name) in text
    assert "age of a snapshot, at most: <strong>30d</strong>" in text
    assert sprawl_print._ROWS not in text
    assert Page(text).wrong == []


def day(ago):
    return (timezone.now() - ago * DAY).date().isoformat()


@pytest.fixture
def past(domain):
    """A disk that is gone since, one that came, and one that has grown."""
    now = timezone.now()

    def note(number, name, ago, snapshots, *, gone=False):
        DiskHistory.objects.create(
            domain=domain, disk_number=number, name=name, at=now - ago * DAY, layers=snapshots + 1,
            virtual_size=2**30, on_disk=2**20, findings=1, severity="info", gone=gone, vm="",
            snapshots=snapshots, snapshot_bytes=snapshots * 4096, snapshot_since=now - 90 * DAY, winnable=0,
            to_copy=0, breaches=0,
        )  # fmt: skip

    note(10**9, "old", 50, 2)
    note(10**9, "old", 10, 2, gone=True)
    note(10**9 + 1, "young", 20, 1)
    note(10**9 + 2, "grown", 50, 1)
    note(10**9 + 2, "grown", 5, 4)
    return domain


def test_two_dates_beside_one_another(past, browser):
    page = browser("auditor").get(f"/sprawl/?by=disk&as_of={day(30)}&with={day(1)}").text
    assert "1 → 4" in page
    assert "+12 KiB" in page
    assert page.count(">new<") == page.count(">gone<") == 1
    turned = browser("auditor").get(f"/sprawl/?by=disk&as_of={day(1)}&with={day(30)}").text
    assert "1 → 4" in turned, "the earlier one comes first, however they are given"


def test_the_trend_and_its_table(domain, browser):
    now = timezone.now()
    facts = {
        "volumes": 1,
        "disks": 1,
        "deepest": 1,
        "virtual": 1,
        "on_disk": 1,
        "critical": 0,
        "warning": 0,
        "info": 0,
    }
    DomainHistory.objects.create(domain=domain, at=now - 20 * DAY, **facts)
    DomainHistory.objects.create(
        domain=domain, at=now - 10 * DAY, **facts, snapshots=7, snapshot_bytes=10**29, winnable=1, breaches=2,
        made_up=True,
    )  # fmt: skip
    page = browser("auditor").get(f"/sprawl/?domain={domain.pk}&days=30").text
    assert page.count("dg-trend-line") == 5
    assert "The past of this demo is made up" in page
    moments = browser("auditor").get(f"/api/v1/sprawl/?domain={domain.pk}&days=30").json()["trend"]
    assert moments[0]["snapshots"] is None, "not recorded then"
    assert moments[-20]["snapshot_bytes"] == 10**29


def test_by_api_page_by_page(domain, browser):
    client = browser("auditor")
    url, names = f"/api/v1/sprawl/?by=disk&limit=3&domain={domain.pk}&sort=name", []
    while url:
        found = client.get(url).json()
        names += [row["name"] for row in found["results"]]
        url = found["next"]
    assert len(names) == domain.disks.count()
    assert names == sorted(names)
    assert found["total"]["snapshots"] == figures_of(domain).snapshots
    assert found["forecasts"][0]["outlook"] == "too little history"
    for words in ("by=x", "cursor=x", "limit=0", "days=1"):
        assert client.get(f"/api/v1/sprawl/?{words}").status_code == 400


def test_a_comparison_by_api(past, browser):
    url = f"/api/v1/sprawl/?by=disk&q=grown&as_of={day(30)}&with={day(1)}"
    found = browser("auditor").get(url).json()
    row = found["results"][0]
    assert (row["before"]["snapshots"], row["after"]["snapshots"]) == (1, 4)
    assert (found["total"]["snapshots"], found["total_with"]["snapshots"]) == (1, 4)


def test_by_command(past, capsys):
    call_command("sprawl_report", by="disk", as_of=day(30), domain=past.name)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("disk\tin\tdisks")
    assert any(line.startswith("old\t") for line in lines)
    assert lines[-1].startswith("in all\t")
    call_command("sprawl_report", "--json", by="disk", as_of=day(30))
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == {"old", "grown"}
    call_command(
        "sprawl_report", "--as-of", day(30), "--with", day(1), "--by", "disk", "--q", "grown"
    )
    assert "1 → 4" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no length of time"):
        call_command("sprawl_report", older="x")


def test_a_domain_says_its_datacenter(domain, browser):
    set_datacenter(domain, "north", None, "test")
    assert AuditRecord.objects.latest("id").details["datacenter"] == "north"
    row = browser("auditor").get("/api/v1/sprawl/?by=datacenter").json()["results"][0]
    assert row["name"] == "north"
    call_command("set_domain", domain.name, "--datacenter", "", stdout=io.StringIO())
    assert StorageDomain.objects.get(pk=domain.pk).datacenter == ""
    with pytest.raises(CommandError, match="plain text"):
        call_command("set_domain", domain.name, "--datacenter", "a\nb", stdout=io.StringIO())


FILES = (
    "/activity/?list=merges", "/activity/?list=scans", "/activity/?list=batches", "/activity/?",
    "/domains/{domain}/history/?",
)  # fmt: skip


def test_other_lists_as_files(domain, browser):
    for url, kind in product(FILES, ("csv", "json")):
        answer = browser("auditor").get(f"{url.format(domain=domain.pk)}&format={kind}")
        assert answer.status_code == 200
        text = text_of(answer)
        rows = list(csv.DictReader(io.StringIO(text))) if kind == "csv" else json.loads(text)
        if "history" in url:
            assert int(rows[0]["snapshot_bytes"]) == figures_of(domain).snapshot_bytes
    assert browser("auditor").get("/activity/?list=x&format=csv").status_code == 400
