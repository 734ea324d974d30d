"""Pages of scopes and batches, and that they say what the API says."""

import json
import os
import time

import pytest

from chains.inventory.scan import scan_domain
from chains.models import Batch, Disk, Merge, StorageDomain, Volume
from tests.web import samples


def aged(domain: StorageDomain, path: str, hours: float) -> None:
    """Only in the inventory: the images are shared by all tests."""
    then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))
    Volume.objects.filter(domain=domain, path=path).update(modified=then)


@pytest.fixture
def lesson(domain) -> Disk:
    for name, hours in (("base", 200), ("snap1", 100), ("snap2", 1)):
        aged(domain, f"lesson/{name}.img", hours)
    return samples.disk_of(domain, "lesson/snap2.img")


def chosen(page: str) -> tuple[str, str]:
    """The names of base and top that a plan's page has chosen."""
    parts = page.split(" selected>")[1:]
    return parts[0].split("<")[0], parts[1].split("<")[0]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("scope=whole", ("base.img", "snap2.img")),
        ("scope=older&age=150h", ("base.img", "snap1.img")),
        ("scope=older&age=4d", ("base.img", "snap2.img")),
        ("scope=depth&depth=2", ("base.img", "snap1.img")),
    ],
)
def test_a_preset_chooses_base_and_top(query, wanted, lesson, browser):
    page = browser("auditor").get(f"/disks/{lesson.pk}/merge/?{query}")
    assert chosen(page.text) == wanted
    assert "Ways to merge" in page.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("scope=older&age=30d", "older than 30d"),
        ("scope=older&age=abc", "no length of time"),
        ("scope=depth&depth=3", "It has 3 layers, and may have 3."),
        ("scope=depth&depth=0", "whole number"),
        ("scope=magic", "A scope is whole, older or depth."),
    ],
)
def test_a_preset_that_joins_nothing_says_why(query, words, lesson, browser):
    page = browser("operator").get(f"/disks/{lesson.pk}/merge/?{query}")
    assert page.status_code == 200
    assert words in page.text
    assert "Ways to merge" not in page.text
    assert "start-merge" not in page.text


def test_the_domain_page_leads_to_a_batch(domain, browser):
    page = browser("auditor").get(f"/domains/{domain.pk}/").text
    assert page.count('name="disk"') == domain.disks.count()
    assert f"/domains/{domain.pk}/batch/" in page


def test_an_auditor_sees_the_plan_and_can_not_start_it(lesson, domain, browser):
    address = f"/domains/{domain.pk}/batch/?disk={lesson.pk}&scope=whole"
    client = browser("auditor")
    page = client.get(address).text
    assert "1 merge of 1 disk" in page
    assert "start-batch" not in page
    assert "an operator can" in page
    assert client.post(address, {"confirmed": ""}).status_code == 403
    assert Merge.objects.count() == 0


def test_an_operator_starts_and_cancels(lesson, domain, browser):
    client = browser("operator")
    address = f"/domains/{domain.pk}/batch/?all=1&scope=depth&depth=2&q=lesson"
    page = client.get(address).text
    confirmed = page.split('name="confirmed" value="')[1].split('"')[0]
    done = client.post(address, {"confirmed": confirmed, "verification": "content", "rate": "50M"})
    batch = Batch.objects.get()
    assert done["Location"] == f"/batches/{batch.pk}/"
    merge = batch.merges.get()
    assert (merge.verification, merge.rate) == ("content", 50 * 1024**2)
    assert (merge.base_text, merge.top_text) == ("lesson/base.img", "lesson/snap1.img")
    journal = client.get(done["Location"]).text
    assert f'href="/merges/{merge.pk}/"' in journal
    assert "1 queued" in journal
    assert f"/batches/{batch.pk}/" in client.get("/activity/").text
    assert f"batch {batch.pk}" in client.get(f"/merges/{merge.pk}/").text
    assert "Cancel the rest" not in browser("auditor").get(done["Location"]).text
    client = browser("operator")
    assert client.post(f"/batches/{batch.pk}/cancel/").status_code == 302
    merge.refresh_from_db()
    assert merge.cancel_requested
    again = client.post(f"/batches/{batch.pk}/cancel/", follow=True).text
    assert "can be cancelled any more" in again


@pytest.mark.parametrize(
    ("confirmed", "more", "words"),
    [
        ("", {}, "look at the new plan"),
        ("1:x nonsense 2", {}, "look at the new plan"),
        (None, {"rate": "fast"}, "is no size"),
        (None, {"verification": "hope"}, "no such verification"),
    ],
)
def test_a_start_that_is_refused_says_why(confirmed, more, words, lesson, domain, browser):
    client = browser("operator")
    address = f"/domains/{domain.pk}/batch/?disk={lesson.pk}&scope=whole"
    right = samples.confirmation(domain)
    done = client.post(address, {"confirmed": right if confirmed is None else confirmed, **more})
    assert done.status_code == 409
    assert words in done.text
    assert (Batch.objects.count(), Merge.objects.count()) == (0, 0)


def test_page_and_api_agree(lesson, domain, browser):
    client = browser("auditor")
    body = {"domain": domain.pk, "query": "lesson", "scope": "older", "age": "150h"}
    answer = client.post(
        "/api/v1/batches/plan/", json.dumps(body), content_type="application/json"
    ).json()
    page = client.get(f"/domains/{domain.pk}/batch/?q=lesson&scope=older&age=150h").text
    [row] = answer["rows"]
    assert (row["verdict"], row["disk"]) == ("merge", lesson.pk)
    assert (row["base_text"], row["top_text"]) == ("lesson/base.img", "lesson/snap1.img")
    assert answer["totals"]["bytes_to_copy"] == row["bytes_to_copy"] > 0
    browser("operator")
    page = client.get(f"/domains/{domain.pk}/batch/?q=lesson&scope=older&age=150h").text
    assert f'value="{lesson.pk}:{row["digest"]}"' in page
    client = browser("auditor")
    base, top = (samples.volume_of(domain, f"lesson/{n}.img").pk for n in ("base", "snap1"))
    single = client.post(
        "/api/v1/merges/plan/",
        json.dumps({"disk": lesson.pk, "scope": "older", "age": "150h"}),
        content_type="application/json",
    ).json()
    picked = client.post(
        "/api/v1/merges/plan/",
        json.dumps({"base": base, "top": top}),
        content_type="application/json",
    ).json()
    assert single == picked
    assert (single["strategy"], single["bytes_to_copy"]) == (row["strategy"], row["bytes_to_copy"])


def test_a_domain_that_is_not_there(browser, db):
    assert browser("operator").get("/domains/99/batch/?all=1").status_code == 404
    assert browser("operator").get("/batches/99/").status_code == 404


def test_a_scan_keeps_the_ages(hostile_images, domain):
    """What a scope calls old is what the scan read of the file."""
    scan_domain(domain)
    row = samples.volume_of(domain, "lesson/base.img")
    written = os.stat(hostile_images / "lesson/base.img").st_mtime
    assert abs(row.modified.timestamp() - written) < 1
