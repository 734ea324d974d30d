"""The page of a volume: its witnesses, its check, and the buttons that stop a scan."""

import pytest
from django.utils import timezone

from chains.inventory import scanning
from chains.inventory import services as inventory
from chains.inventory.selectors import scan_brief
from chains.models import AuditRecord, Finding, Scan, ScanState, Volume
from tests.web import samples

NOTES = {
    "disk_key": "img", "vm": "<b>shop</b>",
    "metadata": {
        "status": "ok", "format": "RAW", "voltype": "LEAF", "parent": "x", "alias": "<i>alias",
    },
    "tags": {"image": "img", "parent": "x", "slot": 7},
}  # fmt: skip


@pytest.fixture
def volume(domain):
    return samples.volume_of(domain, "lesson/snap1.img")


def test_a_volume_without_notes_has_no_table(volume, browser):
    page = browser("auditor").get(f"/volumes/{volume.pk}/").text
    assert "What is said of it" not in page
    assert "It has not been checked yet." in page
    assert "Check with qemu-img</button>" not in page, "an auditor changes nothing"


def test_witnesses_stand_side_by_side_and_lead_to_their_findings(volume, browser):
    Volume.objects.filter(pk=volume.pk).update(
        notes=NOTES, in_use=None, not_seen_since=timezone.now()
    )
    finding = Finding.objects.create(
        domain=volume.domain, volume=volume, path=volume.path, path_text=volume.path_text,
        code="metadata-format", severity="critical", detail="differs",
    )  # fmt: skip
    page = browser("auditor").get(f"/volumes/{volume.pk}/").text
    for words in ("Image header", "what QEMU reads", "Metadata", "what oVirt believes", "LV tags"):
        assert words in page
    assert "&lt;b&gt;shop&lt;/b&gt;" in page
    assert "contradiction" in page
    assert f'href="#finding-{finding.pk}"' in page
    assert f'id="finding-{finding.pk}"' in page
    assert "Not seen since" in page
    assert "the worker could not open the file" in page
    found = browser("auditor").get(f"/api/v1/volumes/{volume.pk}/").json()
    row = next(row for row in found["witnesses"] if row["fact"] == "format")
    assert row["differs"]
    assert row["says"]["metadata"] == "raw (RAW)"
    assert found["in_use"] is None
    assert found["in_use_why"]
    assert found["notes"]["vm"] == "<b>shop</b>"


def test_a_check_from_the_button_to_its_result(volume, browser):
    client = browser("operator")
    assert client.post(f"/volumes/{volume.pk}/check/").status_code == 302
    scan = Scan.objects.get(kind="check")
    assert "Cancel" in client.get(f"/volumes/{volume.pk}/").text
    assert scan_brief(scan) | {"percent": 0} == {
        "kind": "check", "id": scan.pk, "state": "queued", "percent": 0, "disk": None,
        "domain": volume.domain_id, "volume": volume.pk, "message": "", "finished": False,
        "cancel_requested": False, "title": "Check of lesson/snap1.img",
        "url": f"/volumes/{volume.pk}/",
    }  # fmt: skip
    done = scanning.run_scan(scan.pk)
    assert (done.state, done.message) == (ScanState.SUCCEEDED, "")
    page = client.get(f"/volumes/{volume.pk}/").text
    assert "sound" in page
    assert "has changed since" not in page
    found = client.get(f"/api/v1/volumes/{volume.pk}/check/").json()
    assert (found["verdict"], found["current"], found["running"]) == ("sound", True, None)
    assert found["result"]["at"]
    Volume.objects.filter(pk=volume.pk).update(fingerprint="1:2:3:4:5")
    assert "The file has changed since it was checked" in client.get(f"/volumes/{volume.pk}/").text
    assert not client.get(f"/api/v1/volumes/{volume.pk}/check/").json()["current"]


def test_a_raw_volume_is_not_checked(domain, browser):
    raw = samples.volume_of(domain, "lesson/base.img")
    client = browser("operator")
    assert "no tables that could be checked" in client.get(f"/volumes/{raw.pk}/").text
    client.post(f"/volumes/{raw.pk}/check/")
    assert client.post(f"/api/v1/volumes/{raw.pk}/check/").status_code == 409
    assert not Scan.objects.filter(kind="check").exists()


def test_a_queued_scan_is_cancelled_at_once(domain, browser):
    scan = inventory.request_scan(domain, None, "test", queue=False)
    client = browser("operator")
    for page in ("/domains/", f"/domains/{domain.pk}/", "/activity/"):
        assert f"/scans/{scan.pk}/cancel/" in client.get(page).text
        assert f"/scans/{scan.pk}/cancel/" not in browser("auditor").get(page).text
        client = browser("operator")
    done = client.post(f"/scans/{scan.pk}/cancel/", {"next": "activity"})
    assert done.headers["location"] == "/activity/"
    scan.refresh_from_db()
    assert (scan.state, scan.message) == ("cancelled", "Cancelled before it began.")
    assert scan_brief(scan)["finished"]
    assert "cancelled" in client.get("/activity/").text
    assert AuditRecord.objects.filter(action="cancel scan", actor="operator").exists()
    again = client.post(f"/scans/{scan.pk}/cancel/", follow=True)
    assert "It has ended already." in again.text
    assert client.post(f"/api/v1/scans/{scan.pk}/cancel/").status_code == 409


def test_a_running_scan_is_asked_to_stop(domain, browser):
    scan = inventory.request_scan(domain, None, "test", queue=False)
    Scan.objects.filter(pk=scan.pk).update(state=ScanState.RUNNING)
    answer = browser("operator").post(f"/api/v1/scans/{scan.pk}/cancel/")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    assert answer.json()["state"] == "running"
    assert "Cancelling…" in browser("operator").get(f"/domains/{domain.pk}/").text
