"""Batches and scopes over the REST API."""

import pytest

from chains.models import Batch, Merge
from tests.api.test_api import api
from tests.web import samples

__all__ = ["api"]


def order(domain, **more):
    return {"domain": domain.pk, "query": "lesson", "scope": "whole", **more}


def test_a_batch_is_planned_asked_for_followed_and_cancelled(domain, api, people):
    status, plan = api("post", "batches/plan/", order(domain), role="auditor")
    assert status == 200
    assert (plan["words"], plan["totals"]["merges"], plan["totals"]["fits"]) == (
        "the whole chain", 1, True,
    )  # fmt: skip
    assert Batch.objects.count() == Merge.objects.count() == 0
    confirmed = {str(row["disk"]): row["digest"] for row in plan["rows"]}
    assert api("post", "batches/", order(domain, confirmed=confirmed), role="auditor")[0] == 403
    status, batch = api("post", "batches/", order(domain, confirmed=confirmed, rate=65536))
    assert status == 201
    assert (batch["merge_count"], batch["finished"], batch["can_cancel"]) == (1, False, True)
    [merge] = batch["merges"]
    row = Merge.objects.get(pk=merge["id"])
    assert (row.batch_id, row.rate, row.requested_by) == (batch["id"], 65536, people["operator"])
    status, listed = api("get", f"batches/?domain={domain.pk}", role="auditor")
    assert [found["id"] for found in listed["results"]] == [batch["id"]]
    assert api("get", f"batches/{batch['id']}/", role="auditor")[1]["counts"] == {"queued": 1}
    status, refused = api("post", "batches/", order(domain))
    assert status == 409
    assert f"Merge {merge['id']} of" in refused["reasons"][0]
    assert api("post", f"batches/{batch['id']}/cancel/", role="auditor")[0] == 403
    status, after = api("post", f"batches/{batch['id']}/cancel/")
    assert (status, after["can_cancel"]) == (202, False)
    assert api("post", f"batches/{batch['id']}/cancel/")[0] == 409
    activity = api("get", "activity/")[1]["operations"]
    assert [found["batch"] for found in activity if found["kind"] == "merge"] == [batch["id"]]


def test_a_plan_that_changed_is_not_carried_out(domain, api):
    disk = samples.disk_of(domain, "lesson/snap2.img").pk
    for confirmed in ({}, {str(disk): "0" * 32}):
        status, refused = api("post", "batches/", order(domain, confirmed=confirmed))
        assert status == 409
        assert "look at the new plan" in refused["reasons"][0]
    assert Batch.objects.count() == Merge.objects.count() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "magic"}, {"scope": "older"}, {"scope": "older", "age": "soon"},
        {"scope": "depth"}, {"scope": "depth", "depth": 0}, {"query": ""}, {"disks": "x"},
        {"disks": [-1]}, {"deeper_than": 0}, {"snapshots_older_than": "x"}, {"domain": "x"},
        {"confirmed": {"x": "y"}}, {"confirmed": [1]}, {"rate": 1}, {"verification": "hope"},
        {"disks": list(range(1, 600))}, {"query": "\x00"},
    ],
)  # fmt: skip
def test_a_bad_request_is_told_so(change, domain, api):
    for path in ("batches/", "batches/plan/"):
        if "confirmed" in change and path == "batches/plan/":
            continue
        status, answer = api("post", path, order(domain) | change)
        assert status == 400, answer
    assert Batch.objects.count() == 0


def test_a_domain_or_batch_that_is_not_there(domain, api):
    assert api("post", "batches/plan/", {"domain": 999999, "all": True, "scope": "whole"})[0] == 404
    assert api("get", "batches/999999/")[0] == 404
    assert api("post", "batches/999999/cancel/")[0] == 404


def test_a_merge_is_asked_for_by_its_scope(domain, api):
    disk = samples.disk_of(domain, "lesson/snap2.img").pk
    status, merge = api("post", "merges/", {"disk": disk, "scope": "depth", "depth": 2})
    assert status == 201
    assert (merge["base_text"], merge["top_text"]) == ("lesson/base.img", "lesson/snap1.img")
    status, refused = api("post", "merges/plan/", {"disk": disk, "scope": "depth", "depth": 3})
    assert status == 409
    assert "may have 3" in refused["reasons"][0]
    assert api("post", "merges/", {"disk": 999999, "scope": "whole"})[0] == 404
    for body in ({"disk": disk}, {"scope": "whole"}, {"disk": disk, "scope": "whole", "base": 1},
                 {"disk": disk, "scope": "older"}, {"base": 1, "scope": "whole"}):  # fmt: skip
        assert api("post", "merges/", body)[0] == 400, body
