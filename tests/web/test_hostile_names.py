"""File names that try everything are shown as they are, and nothing in them comes to life."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chains.core.names import display, portable
from chains.models import Notice
from tests.web import samples
from tests.web.markup import Page

HOSTILE = samples.HOSTILE


def clean(response, *, pictures=0):
    page = Page(response.text)
    assert response.status_code == 200
    assert page.wrong == []
    # Our own icons are <svg><use>, our logo the one <img>; no name may add an element.
    assert "iframe" not in page.tags
    assert "b" not in page.tags
    assert page.tags.count("img") <= 2
    assert "49" not in page.text.split(), "a template in a name was carried out"
    assert page.tags.count("svg") >= pictures
    return page


def everything(page) -> str:
    return page.text + "\n" + "\n".join(page.attributes)


def test_the_page_of_the_domain(domain, browser):
    page = clean(browser("auditor").get(f"/domains/{domain.pk}/"), pictures=2)
    seen = everything(page)
    assert "<b>hostile & domain" in page.text
    for name in HOSTILE:
        assert display(name) in seen, name
    assert display(samples.MISSING) in seen
    assert display(HOSTILE[-1]) in page.text


def test_the_page_of_the_disk(domain, browser):
    disk = samples.disk_of(domain, HOSTILE[-1])
    page = clean(browser("operator").get(f"/disks/{disk.pk}/"), pictures=2)
    for name in HOSTILE:
        assert display(name) in page.text, name
    assert "Redirected reads" in page.text
    assert "Hops, on average" in page.text


def test_the_page_of_each_volume(domain, browser):
    client = browser("auditor")
    for name in HOSTILE:
        page = clean(client.get(f"/volumes/{samples.volume_of(domain, name).pk}/"))
        assert display(name) in page.text, name


def test_the_header_on_the_page_of_a_volume(domain, browser):
    volume = samples.volume_of(domain, HOSTILE[1])
    names = ["<b>x</b>", "{{ 7*7 }}", "a\\xff\u202e", '"><img src=x onerror=alert(1)>']
    header = volume.header | {
        "data_file": names[0], "data_file_raw": True, "encryption": "luks", "dirty": True,
        "features": {"incompatible": names, "compatible": [], "autoclear": names},
        "snapshot_count": 400, "bitmap_count": 1,
        "snapshots": [
            {"id": name, "name": name, "date": "2024-02-03T04:05:06Z", "vm_state_size": 2**64 - 1,
             "disk_size": 2**64 - 1} for name in names
        ],
        "bitmaps": [{"name": names[3], "granularity": 65536, "enabled": False, "in_use": True}],
    }  # fmt: skip
    samples.Volume.objects.filter(pk=volume.pk).update(header=header)
    client = browser("auditor")
    page = clean(client.get(f"/volumes/{volume.pk}/"))
    for name in names:
        assert display(name) in page.text
    for words in ("400", "luks", "reads as a raw image", "not closed in order", "16 bits"):
        assert words in page.text
    assert client.get(f"/api/v1/volumes/{volume.pk}/").json()["header"] == header
    samples.Volume.objects.filter(pk=volume.pk).update(header=None)
    assert "Reference counts" not in clean(client.get(f"/volumes/{volume.pk}/")).text


def test_the_pages_of_a_merge(domain, browser):
    client = browser("operator")
    disk = samples.disk_of(domain, HOSTILE[-1])
    base, top = (samples.volume_of(domain, HOSTILE[n]).pk for n in (1, 6))
    plan = clean(client.get(f"/disks/{disk.pk}/merge/?base={base}&top={top}"), pictures=2)
    merge = samples.merge_of(domain)
    page = clean(client.get(f"/merges/{merge.pk}/"), pictures=2)
    for name in HOSTILE[1:5]:
        assert display(name) in everything(plan), name
        assert display(name) in everything(page), name
    clean(client.get("/activity/"))


def test_a_search_for_markup(domain, browser):
    client = browser("auditor")
    for query in ("<script>alert(1)</script>", '"><img src=x>', "\x00\x01", "%", "\\", "'; DROP--"):
        clean(client.get(f"/domains/{domain.pk}/", {"q": query, "sort": query, "page": query}))


def test_the_api_gives_names_as_json(domain, browser):
    client = browser("auditor")
    text = client.get(f"/api/v1/volumes/?domain={domain.pk}").content.decode("utf-8")
    paths = {row["path"] for row in json.loads(text)["results"]}
    assert {portable(name) for name in HOSTILE} <= paths
    disk = samples.disk_of(domain, HOSTILE[-1])
    chain = client.get(f"/api/v1/disks/{disk.pk}/").json()["chain"]
    assert [row["path"] for row in chain] == [portable(name) for name in reversed(HOSTILE)]
    findings = client.get("/api/v1/findings/").json()["results"]
    assert any(display(samples.MISSING) in row["detail"] for row in findings)
    merge = samples.merge_of(domain)
    for url in (
        "merges/",
        f"merges/{merge.pk}/",
        f"merges/{merge.pk}/live/",
        "activity/",
        "disks/",
        "domains/",
    ):
        response = client.get(f"/api/v1/{url}")
        assert response.headers["Content-Type"] == "application/json"
        response.content.decode("utf-8")


@pytest.mark.parametrize("page", ["/", "/domains/", "/domains/{domain}/"])
def test_more_rows_ask_no_more_queries(page, domain, browser):
    client = browser("operator")
    url = page.format(domain=domain.pk)
    client.get(url)
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.get(url)
    samples.more_rows(domain)
    with CaptureQueriesContext(connection) as many:
        response = client.get(url)
    assert "clone 29" in response.text or page in ("/", "/domains/")
    assert len(many) == len(few) <= 20, [query["sql"][:90] for query in many]


def test_the_notices_on_the_page_of_a_merge(domain, browser):
    merge, now = samples.merge_of(domain), timezone.now()
    evil = '<script>alert(1)</script>\u202e {{ 7|add:7 }} "><img src=x onerror=alert(1)>'
    rows = [
        {"due_at": now}, {"sent_at": now, "attempts": 1},
        {"due_at": now, "attempts": 2, "error": evil}, {"attempts": 32, "error": evil},
        {"due_at": now, "attempts": 1},
    ]  # fmt: skip
    for row in rows:
        Notice.objects.create(merge=merge, channel="webhook", event="attention", body={}, **row)
    client = browser("auditor")
    page = clean(client.get(f"/merges/{merge.pk}/"))
    for words in ("webhook, needs attention: waits for a worker", "needs attention: sent",
                  f"failed: {display(evil)}; tried again", "given up after 32 attempts",
                  "being sent"):  # fmt: skip
        assert words in page.text, page.text
    told = client.get(f"/api/v1/merges/{merge.pk}/").json()["notices"]
    assert [(row["attempts"], row["error"]) for row in told] == [
        (0, ""), (1, ""), (2, evil), (32, evil), (1, ""),
    ]  # fmt: skip
    assert client.get("/api/v1/merges/").json()["results"][0]["notices"] == told


def test_the_plan_of_a_batch_and_its_journal(domain, browser, people):
    address = f"/domains/{domain.pk}/batch/?all=1&scope=whole"
    page = clean(browser("auditor").get(address))
    assert display(HOSTILE[-1]) in page.text
    client = browser("operator")
    done = client.post(address, {"confirmed": samples.confirmation(domain)})
    assert done.status_code == 302
    page = clean(client.get(done["Location"]))
    assert display(HOSTILE[-1]) in page.text
    assert display(HOSTILE[0]) in page.text
