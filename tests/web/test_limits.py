"""Thresholds and schedules: by page, by API and by command, one rule."""

import pytest

from chains.core.findings import Code
from chains.inventory import scanning
from chains.inventory import services as inventory
from chains.inventory.site import thresholds_of
from chains.models import AuditRecord, GlobalThresholds, Scan, StorageDomain


def deep(domain):
    scan = inventory.request_scan(domain, None, "test", queue=False)
    assert scanning.run_scan(scan.pk).state == "succeeded"
    return domain.findings.open().filter(code=Code.DEEP).count()


def test_the_page_of_all_and_a_domain_of_its_own(domain, browser):
    client = browser("admin")
    assert client.get("/thresholds/").status_code == 200
    saved = client.post("/thresholds/", {"depth": "2", "snapshot_seconds": "90d"}, follow=True)
    assert "They hold from the next scan on." in saved.text
    assert GlobalThresholds.objects.get().values == {"depth": 2, "snapshot_seconds": 90 * 86_400}
    assert deep(domain) > 0
    page = client.post(f"/domains/{domain.pk}/thresholds/", {"depth": "1000"}, follow=True).text
    assert "of this domain" in page
    domain.refresh_from_db()
    assert domain.thresholds == {"depth": 1000}
    assert thresholds_of(domain).snapshot_seconds == 90 * 86_400
    assert deep(domain) == 0
    assert f"/domains/{domain.pk}/#limits-heading" in client.get("/thresholds/").text
    client.post(f"/domains/{domain.pk}/thresholds/", {"depth": ""})
    domain.refresh_from_db()
    assert domain.thresholds == {}
    records = AuditRecord.objects.filter(action="change thresholds").order_by("pk")
    assert [(row.subject, row.details.get("depth")) for row in records] == [
        ("all domains", ["", "2"]), (domain.name, ["", "1000"]), (domain.name, ["1000", ""]),
    ]  # fmt: skip


def test_a_scan_is_offered(domain, browser):
    client = browser("admin")
    page = client.get(f"/domains/{domain.pk}/").text
    assert "Scan now, so that the findings follow" in page
    client.post(f"/domains/{domain.pk}/thresholds/", {"depth": "3", "scan": "1"})
    assert Scan.objects.filter(domain=domain, kind="domain", state="queued").exists()
    Scan.objects.all().delete()
    StorageDomain.objects.create(name="other", path="/x", storage_host="there")
    client.post("/thresholds/", {"depth": "3", "scan": "1"})
    assert Scan.objects.filter(kind="domain", state="queued").count() == 2


@pytest.mark.parametrize("bad", ["-1", "lots", "1e3", "9" * 50, "<b>", "\x00?"])
def test_what_is_no_threshold_changes_nothing(domain, browser, bad):
    client = browser("admin")
    for url in ("/thresholds/", f"/domains/{domain.pk}/thresholds/"):
        assert "notice-critical" in client.post(url, {"depth": bad}, follow=True).text
    assert not GlobalThresholds.objects.exclude(values={}).exists()
    assert not AuditRecord.objects.filter(action="change thresholds").exists()


def test_the_same_by_the_api(domain, browser):
    client, json = browser("admin"), "application/json"
    assert client.get("/api/v1/thresholds/").json()["values"]["depth"] == 8
    found = client.post("/api/v1/thresholds/", {"depth": 5, "winnable": 0}, json).json()
    assert found["set"] == {"depth": 5, "winnable": 0}
    url = f"/api/v1/domains/{domain.pk}/thresholds/"
    assert client.post(url, {"depth": 3}, json).json()["values"]["depth"] == 3
    assert client.post(url, {"reserve_percent": 5}, json).json()["set"] == {
        "depth": 3, "reserve_percent": 5,
    }  # fmt: skip
    assert client.post(url, {"depth": None}, json).json()["values"]["depth"] == 5
    assert client.get(f"/api/v1/domains/{domain.pk}/").json()["thresholds"] == {
        "reserve_percent": 5
    }
    for bad in ({"depth": "3"}, {"depth": True}, {"depth": -1}, {"deepth": 3}, {"x": None}, [1], 5):
        answer = client.post(url, bad, json)
        assert answer.status_code == 400, bad


def test_a_schedule(domain, browser):
    client = browser("admin")
    assert "Saved." in client.post(
        f"/domains/{domain.pk}/schedule/", {"scan_every": "15min"}, follow=True
    ).text  # fmt: skip
    domain.refresh_from_db()
    assert (domain.scan_seconds, domain.next_scan_at) == (900, None)
    wrong = client.post(f"/domains/{domain.pk}/schedule/", {"scan_every": "1s"}, follow=True)
    assert "60 s" in wrong.text
    url = f"/api/v1/domains/{domain.pk}/schedule/"
    answer = client.post(url, {"scan_seconds": 0}, "application/json")
    assert (answer.status_code, answer.json()["scan_seconds"]) == (200, 0)
    assert "only when asked" in client.get(f"/domains/{domain.pk}/").text
    for bad in ({"scan_seconds": 5}, {"scan_seconds": -1}, {}, {"scan_seconds": 10**12}):
        assert client.post(url, bad, "application/json").status_code == 400, bad


@pytest.mark.parametrize(
    ("form", "words", "field"),
    [
        ("policy", {"keep": "1d", "window": "Someday", "merges_at_once": "3"}, 'value="Someday"'),
        ("thresholds", {"depth": "many"}, 'value="many"'),
        ("schedule", {"scan_every": "often"}, 'value="often"'),
    ],
)
def test_what_was_typed_into_a_refused_form_comes_back_once(form, words, field, domain, browser):
    client = browser("admin")
    page = f"/domains/{domain.pk}/"
    assert client.post(f"{page}{form}/", words).status_code == 302
    told = client.get(page).text
    assert field in told
    assert 'role="alert"' in told
    assert "open>" in told
    assert field not in client.get(page).text
