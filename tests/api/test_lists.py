"""The long lists of the API: pages by cursor, the filters of the pages, the life of a finding."""

from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from chains.core.findings import Code
from chains.inventory import exports
from chains.models import Disk, Finding, Volume
from tests.api.test_api import api
from tests.web import samples

__all__ = ["api"]


def after(link: str) -> str:
    """The rest of an address behind /api/v1/."""
    parts = urlsplit(link)
    return f"{parts.path.removeprefix('/api/v1/')}?{parts.query}"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("volumes/?limit=7", Volume), ("disks/?limit=7", Disk), ("findings/?state=any&limit=7", Finding),
        ("volumes/?domain={domain}&limit=7", Volume), ("findings/?limit=7", Finding),
        ("disks/?domain={domain}&sort=-oldest_snapshot&limit=7", Disk),
    ],
)  # fmt: skip
def test_following_the_links_gives_every_row_once(path, model, domain, api):
    samples.more_rows(domain, 25)
    url, seen, back = path.format(domain=domain.pk), [], []
    while url:
        status, answer = api("get", url, role="auditor")
        assert status == 200
        assert (answer["count"], answer["count_is_exact"]) == (model.objects.count(), True)
        seen += [row["id"] for row in answer["results"]]
        url = answer["next"] and after(answer["next"])
        if url is None:
            back = answer["previous"]
    assert sorted(seen) == sorted(model.objects.values_list("pk", flat=True))
    before = [row["id"] for row in api("get", after(back))[1]["results"]]
    assert before == seen[-len(answer["results"]) - 7 : -len(answer["results"])]


@pytest.mark.parametrize(
    "asked",
    [
        "limit=0", "limit=x", "limit=-1", "cursor=x", "cursor=%00", "cursor=W10", "in_use=maybe",
        "cursor=" + "9" * 9000,
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_400(asked, domain, api):
    for what in ("volumes", "disks"):
        status, answer = api("get", f"{what}/?domain={domain.pk}&{asked}")
        assert status == 400
        assert answer
    assert api("get", "volumes/?in_use=yes")[0] == 400, "of one domain only"
    assert api("get", "volumes/?domain=987654&in_use=yes")[1]["results"] == []


def test_the_filters(domain, api):
    Disk.objects.filter(active__path_text="lesson/snap2.img").update(vm="mail-7")
    Volume.objects.filter(path_text="lesson/snap2.img").update(in_use=None)
    for url, names in {
        "disks/?q=MAIL": {"lesson/snap2.img"}, "disks/?domain={}&depth=5": {samples.HOSTILE[-1]},
        "disks/?domain={}&in_use=unknown": {"lesson/snap2.img"},
    }.items():  # fmt: skip
        rows = api("get", url.format(domain.pk))[1]["results"]
        paths = set(
            Volume.objects.filter(pk__in=[row["active"] for row in rows]).values_list(
                "path", flat=True
            )
        )
        assert paths == names, url
    rows = api("get", f"volumes/?domain={domain.pk}&image_format=raw&q=lesson")[1]["results"]
    assert [row["path"] for row in rows] == ["lesson/base.img"]
    assert rows[0]["allocated"] is rows[0]["not_seen_since"] is None
    for code in (Code.BACKING_MISSING, Code.DEEP):
        rows = api("get", f"findings/?code={code}&domain={domain.pk}")[1]["results"]
        assert {row["code"] for row in rows} <= {code.value}
    assert api("get", "findings/?severity=critical")[1]["count"] == domain.critical_count
    ranks = [
        ("critical", "warning", "info").index(row["severity"])
        for row in api("get", "findings/")[1]["results"]
    ]
    assert ranks == sorted(ranks)


def test_a_finding_is_acknowledged_and_taken_back(domain, api):
    pk = samples.finding_of(domain).pk
    url = f"findings/{pk}/acknowledge/"
    until = (timezone.now() + timezone.timedelta(days=3)).isoformat()
    for body in ({}, {"reason": "x"}, {"reason": " ", "until": until}, {"reason": "x", "until": "x"}, [],
                 {"reason": "x", "until": "2001-01-01T00:00:00Z"}, {"reason": "x" * 2001, "until": until}):  # fmt: skip
        assert api("post", url, body)[0] == 400, body
    body = {"reason": "known", "until": until}
    assert api("post", url, body, role="auditor")[0] == 403
    status, row = api("post", url, body)
    assert status == 200
    assert (row["acknowledged_by"], row["reason"]) == ("operator", "known")
    assert row["acknowledged_at"]
    assert pk not in {row["id"] for row in api("get", "findings/")[1]["results"]}
    assert [row["id"] for row in api("get", "findings/?state=acknowledged")[1]["results"]] == [pk]
    status, row = api("post", f"findings/{pk}/reopen/")
    assert (status, row["acknowledged_at"], row["reason"]) == (200, None, "")
    assert api("post", "findings/987654321/reopen/")[0] == 404


def test_files_and_answers_have_the_same_words(domain, api):
    """Who goes from the one to the other finds what is in both under one name."""
    for what, columns, more in (
        ("disks", exports.DISK_COLUMNS, {"path", "in_use"}),
        ("volumes", exports.VOLUME_COLUMNS, set()),
        ("findings", exports.FINDING_COLUMNS, set()),
    ):
        known = set(api("get", f"{what}/?state=any")[1]["results"][0])
        named = {name.removesuffix("_id") for name in columns}
        assert named - known == more, what
