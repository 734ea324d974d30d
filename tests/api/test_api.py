"""The REST API: what it answers, what it refuses, and its OpenAPI document."""

import json

import pytest
import yaml
from django.core.management import call_command
from django.urls import get_resolver

from chains.inventory import services as inventory
from chains.models import AuditRecord, Merge, Scan
from tests.web import samples

HOSTILE = samples.HOSTILE


@pytest.fixture
def api(browser):
    """Calls as an operator (or as `role`): (status, JSON)."""

    def call(method, path, body=None, role="operator"):
        client = browser(role)
        more = (
            {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        )
        response = getattr(client, method)(f"/api/v1/{path}", **more)
        return response.status_code, response.json() if response.content else None

    return call


def test_the_document_is_built_without_a_warning(tmp_path, capfd):
    target = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(target))
    document = yaml.safe_load(target.read_text())
    assert "warning" not in capfd.readouterr().err.lower()
    assert document["openapi"].startswith("3.")
    routes = {
        "/api/v1/" + str(pattern.pattern).replace("<int:pk>", "{id}")
        for resolver in get_resolver().url_patterns if str(resolver.pattern) == "api/v1/"
        for pattern in resolver.url_patterns
    } - {"/api/v1/schema/"}  # fmt: skip
    assert set(document["paths"]) == routes
    assert len(routes) > 10


def test_the_document_is_served_and_names_every_answer(api, browser, db):
    response = browser("auditor").get("/api/v1/schema/", headers={"accept": "application/json"})
    document = yaml.safe_load(response.content)
    merges = document["paths"]["/api/v1/merges/"]
    assert {"201", "409"} <= set(merges["post"]["responses"])
    assert "requestBody" in merges["post"]
    assert "requestBody" not in document["paths"]["/api/v1/merges/{id}/cancel/"]["post"]


def test_a_scan_is_asked_for_once(domain, api):
    before = Scan.objects.count()
    status, first = api("post", f"domains/{domain.pk}/scan/")
    again, second = api("post", f"domains/{domain.pk}/scan/")
    assert (status, again) == (202, 202)
    assert first["id"] == second["id"]
    assert first["state"] == "queued"
    assert Scan.objects.count() == before + 1


def test_a_merge_is_asked_for_followed_and_cancelled(domain, api, people):
    base, top = (samples.volume_of(domain, f"lesson/{n}.img").pk for n in ("base", "snap1"))
    status, merge = api("post", "merges/", {"base": base, "top": top})
    assert status == 201
    assert merge["state"] == "queued"
    assert merge["requested_by"] == people["operator"].pk
    status, live = api("get", f"merges/{merge['id']}/live/", role="auditor")
    assert (status, live["type"], live["finished"]) == (200, "merge", False)
    assert [step["name"] for step in live["steps"]] == [
        "preflight", "copy", "verify", "switch", "remove",
    ]  # fmt: skip
    status, again = api("post", "merges/", {"base": base, "top": top})
    assert status == 409
    assert f"Merge {merge['id']}" in again["reasons"][0]
    assert "operator" in again["reasons"][0], "who to ask"
    status, _ = api("post", f"merges/{merge['id']}/cancel/")
    assert status == 202
    assert Merge.objects.get(pk=merge["id"]).cancel_requested
    assert api("post", f"merges/{merge['id']}/cancel/")[0] == 409
    assert api("post", f"merges/{merge['id']}/resume/")[0] == 409


def test_every_change_is_in_the_record(domain, api):
    base, top = (samples.volume_of(domain, f"lesson/{n}.img").pk for n in ("base", "snap1"))
    before = AuditRecord.objects.latest("id").pk
    merge = api("post", "merges/", {"base": base, "top": top})[1]
    api("post", f"merges/{merge['id']}/cancel/")
    api("post", f"domains/{domain.pk}/scan/")
    records = AuditRecord.objects.filter(pk__gt=before).order_by("id")
    records = records.exclude(action__in=["sign in", "sign out"])
    assert [row.action for row in records] == ["merge", "cancel merge", "scan"]
    assert {row.actor for row in records} == {"operator"}
    assert {row.origin for row in records} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"base": 1}, 400), ({"base": "x", "top": None}, 400), ({"base": -1, "top": 0}, 400),
        ([], 400), ("text", 400), ({"base": 987654321, "top": 987654321}, 404),
        ({"base": 10**30, "top": 10**30}, 400), ({"base": [1], "top": {"a": 1}}, 400),
        ({"base": 1.5, "top": True}, 400),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_so(body, status, api, db):
    assert api("post", "merges/", body)[0] in {status, 404}
    assert Merge.objects.count() == 0


@pytest.mark.parametrize("text", ["{", "\x00", '{"base": 1', "\ufeff[]", "[" * 3000])
def test_a_body_that_is_no_json(text, browser, db):
    client = browser("operator")
    response = client.post("/api/v1/merges/", text, content_type="application/json")
    assert response.status_code == 400
    other = client.post("/api/v1/merges/", "base=1&top=2", content_type="text/plain")
    assert other.status_code == 415


def test_a_merge_that_makes_no_sense_is_refused(domain, api, tmp_path):
    lesson, free = (samples.volume_of(domain, f"{d}/snap1.img").pk for d in ("lesson", "free"))
    base = samples.volume_of(domain, "lesson/base.img").pk
    orphan = samples.volume_of(domain, "orphan.qcow2").pk
    for one, two in ((lesson, base), (lesson, free), (base, base), (orphan, orphan)):
        status, answer = api("post", "merges/", {"base": one, "top": two})
        assert status == 409, (one, two)
        assert answer["reasons"]
        assert all(reason.strip() for reason in answer["reasons"])
    other = inventory.add_domain("other", str(tmp_path), "directory", "here")
    samples.Volume.objects.filter(pk=free).update(domain=other)
    status, answer = api("post", "merges/", {"base": base, "top": free})
    assert status == 409
    assert "different storage domains" in answer["detail"]
    assert Merge.objects.count() == 0


def test_a_volume_has_its_header(domain, api):
    for name, header in (("lesson/base.img", None), ("lesson/snap1.img", 3)):
        pk = samples.volume_of(domain, name).pk
        found = api("get", f"volumes/{pk}/", role="auditor")[1]["header"]
        assert (found and found["version"]) == header


def test_lists_have_pages_and_filters(domain, api, tmp_path):
    other = inventory.add_domain("other", str(tmp_path), "directory", "here")
    status, answer = api("get", "volumes/?limit=2")
    assert (status, len(answer["results"]), answer["count"]) == (200, 2, domain.volumes.count())
    for what in ("volumes", "disks", "findings"):
        assert api("get", f"{what}/?domain={other.pk}")[1]["count"] == 0
        assert api("get", f"{what}/?domain={domain.pk}")[1]["count"] > 0
    for odd in ("-1", "x", "9" * 40, "%00", "²"):
        for what in ("volumes", "disks", "findings", "merges", "domains"):
            url = f"{what}/?domain={odd}&limit={odd}&offset={odd}&cursor={odd}"
            assert api("get", url)[0] in {200, 400, 404}, url


def test_the_figures_are_those_of_the_domain(domain, api, people):
    found = api("get", f"domains/{domain.pk}/", role="auditor")[1]
    assert found["name"] == domain.name
    assert found["path"] == domain.path
    assert found["capacity"] >= found["free"] > 0
    disk = api("get", f"disks/{samples.disk_of(domain, HOSTILE[-1]).pk}/")[1]
    assert disk["layers"] == len(disk["chain"]) == len(HOSTILE)
    assert disk["chain"][-1]["backing_file"] is None
    assert disk["chain"][-1]["format"] == "raw"
