"""The audit trail's page, files and API; and that people, tokens and sign-ins are on record."""

import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from chains.core.seals import GENESIS, digest
from chains.inventory import audit, lists, trail
from chains.models import AuditRecord, AuditSeal, Role, StorageDomain, User
from chains.web.trail import ACTION_WORDS, RESULT_WORDS
from tests.web import samples


def seal() -> None:
    """As a commit does it."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


@pytest.fixture
def auditor(browser):
    return browser("auditor")


@pytest.fixture
def records(db):
    """Ten of them, on ten days, by two people."""
    rows = [
        AuditRecord(
            at=datetime(2026, 3, day, 12, tzinfo=UTC), actor="ann" if day % 2 else "bob",
            origin=f"10.0.0.{day % 3}", action="scan" if day < 6 else "merge", subject=f"<b>disk {day}</b>",
            result="asked" if day % 5 else "failed", details={"scan": day, "ж": "\n<i>"},
        )
        for day in range(1, 11)
    ]  # fmt: skip
    for row in rows:
        row.save(force_insert=True)
    seal()
    return rows


def told(since: int = 0) -> list[tuple[str, str, str, str]]:
    rows = AuditRecord.objects.filter(pk__gt=since).order_by("pk")
    return list(rows.values_list("actor", "action", "subject", "result"))


def days_of(client, words: str) -> list[int]:
    answer = client.get(f"/audit/?{words}")
    assert answer.status_code == 200
    return [
        row["record"].at.day
        for row in answer.context["rows"]
        if row["record"].at.year == 2026 and row["record"].at.month == 3
    ]


def test_the_words_are_those_of_the_records():
    assert set(ACTION_WORDS) == set(audit.ACTIONS)
    assert set(RESULT_WORDS) == set(lists.RESULTS)


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ("to=2026-03-31", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), ("person=ann&to=2026-03-31", [9, 7, 5, 3, 1]),
        ("action=merge&to=2026-03-31", [10, 9, 8, 7, 6]), ("origin=10.0.0.1", [10, 7, 4, 1]),
        ("result=failed", [10, 5]), ("q=DISK+1&to=2026-03-31", [10, 1]), ("q=%3Cb%3Edisk+3", [3]),
        ("from=2026-03-03&to=2026-03-04", [4, 3]), ("from=2026-03-09T12:00:01Z&to=2026-04-01", [10]),
        ("person=eve", []), ("person=ann&result=failed", [5]), ("q=%25&to=2026-03-31", []),
    ],
)  # fmt: skip
def test_filters_stand_in_the_address(words, days, records, auditor):
    assert days_of(auditor, words) == days
    answer = auditor.get(f"/api/v1/audit/?{words}").json()["results"]
    assert [int(row["at"][8:10]) for row in answer if row["at"] < "2026-04"] == days


@pytest.mark.parametrize(
    "words", ["action=x", "result=x", "from=x", "to=2026-13-01", "from=0001-01-01"]
)
def test_what_makes_no_sense_is_told(words, auditor):
    assert auditor.get(f"/audit/?{words}").status_code == 400
    assert auditor.get(f"/api/v1/audit/?{words}").status_code == 400


def test_pages_go_on_where_one_ended(records, auditor):
    first = auditor.get("/api/v1/audit/?limit=4&to=2026-03-31").json()
    second = auditor.get(first["next"]).json()
    assert [row["seq"] for row in first["results"] + second["results"]] == [10, 9, 8, 7, 6, 5, 4, 3]
    assert first["count"] == 10


def test_the_state_of_the_chain(records, auditor):
    seal()
    count, head = trail.head()
    page = auditor.get("/audit/").content.decode()
    assert f"{count} records" in page
    assert head in page
    assert "&lt;b&gt;disk 3&lt;/b&gt;" in page
    assert "<b>disk" not in page
    assert auditor.get("/api/v1/audit/head/").json() == {
        "type": "audit", "seq": count, "records": count, "head": head,
    }  # fmt: skip


def test_a_record_opens_to_its_details(records, auditor):
    page = auditor.get(f"/audit/{records[2].pk}/").content.decode()
    found = AuditSeal.objects.get(record=records[2])
    assert found.hash in page
    assert found.previous in page
    assert "fits" in page
    assert "\\n&lt;i&gt;" in page or "\n&lt;i&gt;" in page
    assert auditor.get("/audit/987654321/").status_code == 404


def test_a_record_without_a_seal_stands_out(records, auditor):
    fresh = audit.record("eve", "x", "scan", "beside the chain")  # the test never commits it
    assert "no seal" in auditor.get("/audit/").content.decode()
    assert "has no seal" in auditor.get(f"/audit/{fresh.pk}/").content.decode()


def test_a_record_says_what_it_refers_to(domain, auditor):
    merge = samples.merge_of(domain)
    row = AuditRecord.objects.filter(action="merge", result="asked").latest("pk")
    page = auditor.get(f"/audit/{row.pk}/").content.decode()
    assert f'href="/merges/{merge.pk}/"' in page
    assert f'href="/domains/{domain.pk}/"' in page
    assert row.details["plan"]["digest"] in page
    assert "Needed at the peak" in page
    merge.delete()
    page = auditor.get(f"/audit/{row.pk}/").content.decode()
    assert f'href="/merges/{merge.pk}/"' not in page
    assert "not there any more" in page


def test_the_csv_can_be_verified_by_itself(records, auditor):
    """By nothing but the file, and what docs/wire-formats.md says."""
    answer = auditor.get("/audit/?format=csv&to=2026-03-31")
    assert answer["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert len(rows) == 10
    before = GENESIS
    for row in reversed(rows):
        assert row["previous"] == before
        names = ("id", "at", "actor", "origin", "action", "subject", "result", "details")
        before = digest(before, row["sealed_at"], tuple(row[name] for name in names))
        assert row["hash"] == before


def test_the_json_has_the_details_as_they_are(records, auditor):
    rows = json.loads(auditor.get("/audit/?format=json&person=bob&to=2026-03-31").getvalue())
    assert [row["details"]["scan"] for row in rows] == [10, 8, 6, 4, 2]
    assert rows[0]["details"]["ж"] == "\n<i>"
    assert rows[0]["at"] == "2026-03-10T12:00:00.000000Z"


def test_signing_in_and_out_and_failing_to(people):
    client = Client()
    since = audit.record(None, "x", "scan", "start").pk
    address = {"REMOTE_ADDR": "2001:db8::7"}
    client.post("/login/", {"username": "operator", "password": "wrong"}, **address)
    client.post("/login/", {"username": "x" * 5000 + "\x00", "password": "wrong"}, **address)
    client.post("/login/", {"username": "operator", "password": samples.PASSWORD}, **address)
    client.post("/logout/", **address)
    assert told(since) == [
        ("operator", "sign in", "operator", "refused"),
        ("operator", "sign in", "operator", "done"), ("operator", "sign out", "operator", "done"),
    ]  # fmt: skip
    rows = AuditRecord.objects.filter(pk__gt=since)
    assert set(rows.values_list("origin", flat=True)) == {"2001:db8::7"}
    assert not any("wrong" in json.dumps(row.details) for row in rows)


def test_a_long_name_is_cut(db):
    row = audit.record(
        "x" * 5000, "y" * 500, "sign in", "z" * 5000, audit.Result.REFUSED, a=["b" * 9999] * 999
    )
    assert (len(row.actor), len(row.origin), len(row.subject)) == (150, 64, 1000)
    assert len(row.details["a"]) == audit.ITEMS + 1
    assert len(row.details["a"][0]) == audit.TEXT
    row.refresh_from_db()


def test_an_action_that_nobody_knows_is_a_mistake(db):
    with pytest.raises(ValueError, match="no audit record"):
        audit.record(None, "x", "frobnicate", "y")


def test_people_in_the_admin(browser, people):
    client = browser("admin")
    since = AuditRecord.objects.latest("pk").pk
    added = {"username": "new", "password1": samples.PASSWORD, "password2": samples.PASSWORD,
             "role": "auditor", "usable_password": "true"}  # fmt: skip
    assert client.post("/admin/chains/user/add/", added).status_code == 302
    person = User.objects.get(username="new")
    change = {"username": "new", "role": "operator", "is_active": "on", "email": "n@example.org"}
    assert client.post(f"/admin/chains/user/{person.pk}/change/", change).status_code == 302
    secret = {"password1": samples.PASSWORD + "2", "password2": samples.PASSWORD + "2"}
    client.post(f"/admin/chains/user/{person.pk}/password/", secret | {"usable_password": "true"})
    client.post(f"/admin/chains/user/{person.pk}/delete/", {"post": "yes"})
    assert told(since) == [
        ("admin", "add person", "new", "done"), ("admin", "change person", "new", "done"),
        ("admin", "change person", "new", "done"), ("admin", "remove person", "new", "done"),
    ]  # fmt: skip
    rows = list(AuditRecord.objects.filter(pk__gt=since).order_by("pk"))
    assert {row.origin for row in rows} == {"127.0.0.1"}
    assert rows[1].details["role"] == ["auditor", "operator"]
    assert rows[1].details["changed"] == ["email"]
    assert rows[2].details["changed"] == ["password"]
    assert "example.org" not in json.dumps([row.details for row in rows])


def test_people_and_tokens_by_commands(db):
    call_command("createsuperuser", interactive=False, username="root", email="r@example.org")
    person = User.objects.get(username="root")
    Token.objects.create(user=person)
    person.auth_token.delete()
    person.last_login = timezone.now()
    person.save(update_fields=["last_login"])
    assert told() == [
        ("strata", "add person", "root", "done"), ("strata", "add token", "root", "done"),
        ("strata", "remove token", "root", "done"),
    ]  # fmt: skip
    row = AuditRecord.objects.earliest("pk")
    assert (row.origin, row.details["role"]) == ("command line", Role.ADMIN)
    assert row.details["account"]


def test_a_domain_in_the_admin(browser, people):
    domain = StorageDomain.objects.create(name="old", path="/x", path_text="/x", storage_host="h")
    client = browser("admin")
    since = AuditRecord.objects.latest("pk").pk
    client.post(
        f"/admin/chains/storagedomain/{domain.pk}/change/", {"name": "new", "storage_host": "h"}
    )
    client.post(f"/admin/chains/storagedomain/{domain.pk}/delete/", {"post": "yes"})
    assert told(since) == [
        ("admin", "change domain", "old", "done"), ("admin", "remove domain", "new", "done"),
    ]  # fmt: skip
    assert AuditRecord.objects.get(action="change domain").details["name"] == ["old", "new"]


def test_a_scan_is_on_record_from_the_wish_to_the_end(domain):
    assert [row[1:] for row in told() if row[1] == "scan"] == [
        ("scan", domain.name, "asked"), ("scan", domain.name, "succeeded"),
    ]  # fmt: skip


def test_the_foot_of_the_list_counts_and_goes_on(records, auditor):
    for number in range(60):
        audit.record("ann", "x", "scan", f"d{number}")
    page = auditor.get("/audit/?person=ann&action=scan").content.decode()
    assert "63 records" in page
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following
    assert "sort" not in following[1]
    answer = auditor.get("/audit/" + following[1].replace("&amp;", "&"))
    assert len(answer.context["rows"]) == 13
    assert {row["record"].actor for row in answer.context["rows"]} == {"ann"}
