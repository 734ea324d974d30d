"""Every address × every role × every method: who gets what, and who can change nothing."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.crypto import get_random_string
from procrastinate.contrib.django.models import ProcrastinateJob
from rest_framework.authtoken.models import Token

from chains.inventory import services as inventory
from chains.merges import services as merges
from chains.merges.situation import plan_from_inventory
from chains.models import AuditRecord, Merge, Scan
from tests.state import changed, table_state, written
from tests.web import samples
from tests.web.access import ADDRESSES, ANY, DENIED

ROLES = list(samples.ROLES)
RECORDS = {"chains_auditrecord"}


def routes(patterns: Any, before: str = "") -> Iterator[str]:
    """Every route of the resolver, as it is written."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            assert isinstance(pattern, URLPattern)
            yield route


def test_every_address_is_in_the_table():
    known = set(routes(get_resolver().url_patterns))
    assert known - set(ADDRESSES) == set(), "say in tests/web/access.py who may do what there"
    assert set(ADDRESSES) - known == set(), "these are in the table, but not on the site"


@pytest.fixture(scope="module")
def standing(django_db_setup, django_db_blocker, hostile_images):
    """Made once: each test takes back what it does in a transaction inside of this one."""
    hasher = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    # A look at what has not been read for a while asks for a reading: see the test of that.
    late = patch.object(inventory, "LOOK_AGAIN", timedelta(days=1))
    with django_db_blocker.unblock(), hasher, late, transaction.atomic():
        people = samples.people()
        yield people, world_of(samples.inventory_of(hostile_images), people)
        transaction.set_rollback(True)


@pytest.fixture
def people(standing, db):
    """One person of each role."""
    return dict(standing[0])


@pytest.fixture
def world(standing, db):
    """What the addresses of the table speak of."""
    return dict(standing[1])


def world_of(domain, people):
    waiting = samples.merge_of(domain)
    inventory.request_blocks(samples.disk_of(domain, "free/snap2.img"), None)  # a job
    base, top = (samples.volume_of(domain, f"lesson/{n}.img") for n in ("base", "snap1"))
    stuck = merges.request_merge(base, top, None, "test", queue=False)
    free_base, free_top = (samples.volume_of(domain, f"free/{n}.img") for n in ("base", "snap1"))
    Merge.objects.filter(pk=stuck.pk).update(state="attention")
    digest = merges.plan_digest(plan_from_inventory(free_base, free_top))
    kept = samples.kept_merge(free_base, free_top)
    return {
        "kept": kept.pk,
        "scan": samples.check_of(domain).pk,
        "batch": samples.batch_of(domain, waiting).pk,
        "batch_confirmed": samples.confirmation(domain),
        "whole": "whole",
        "finding": samples.finding_of(domain).pk,
        "next_year": samples.next_year(),
        "day": "1d",
        "one": "1",
        "number": 5,
        "seconds": 7200,
        "domain": domain.pk,
        "disk": samples.disk_of(domain, samples.HOSTILE[-1]).pk,
        "volume": samples.volume_of(domain, samples.HOSTILE[3]).pk,
        "merge": waiting.pk,
        "stuck": stuck.pk,
        "free_base": free_base.pk,
        "free_top": free_top.pk,
        "user": people["operator"].pk,
        "storagedomain": domain.pk,
        "auditrecord": AuditRecord.objects.values_list("pk", flat=True)[0],
        "yes": "yes",
        "group": Group.objects.create(name="group").pk,
        "tokenproxy": Token.objects.create(user=people["operator"]).user_id,
        "procrastinatejob": ProcrastinateJob.objects.values_list("pk", flat=True)[0],
        "free_disk": samples.disk_of(domain, "free/snap2.img").pk,
        "digest": digest,
    }


class Asker:
    """Asks, says what tables a request changed, and takes the change back."""

    def __init__(self) -> None:
        self.before = table_state()

    def ask(
        self, client: Client, method: str, url: str, body: dict[str, Any] | None = None
    ) -> tuple[int, set[str]]:
        kind = {"content_type": "application/json"} if url.startswith("/api/") else {}
        with transaction.atomic():
            counts = written()
            if method == "POST":
                status = client.post(url, body or {}, **kind).status_code
            else:
                status = client.generic(method, url).status_code
            found = changed(self.before, dict(written().items() - counts.items()))
            transaction.set_rollback(True)
        return status, found


def complaints(route: str, world: dict[str, Any], role: str, client: Client) -> Iterator[str]:
    """What a person of this role gets at the address that the table does not say."""
    address, asker = ADDRESSES[route], Asker()
    url = address.url(world)
    # The admin's views are Django's: one method more is enough there.
    rare = (
        ("DELETE",) if route.startswith("admin/") else ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
    )
    for method in ("GET", *rare, "POST"):
        status, tables = asker.ask(client, method, url, address.body(world))
        wanted = address.wanted(method)[ROLES.index(role)]
        said = f"{role} {method} {url}: {status}, {tables or 'nothing'} changed"
        if status not in (wanted if isinstance(wanted, frozenset) else {wanted}):
            yield f"{said}; not {wanted}"
        may_change = address.changes and method == "POST" and role in address.changers
        if address.drops_session and method == "POST":
            tables -= RECORDS  # who signs out is on record, and nothing else is
        if bool(tables) != may_change:
            yield said


AREAS = {
    "pages": [r for r in ADDRESSES if not r.startswith(("api/", "admin/"))],
    "api": [r for r in ADDRESSES if r.startswith("api/")],
    "admin": [r for r in ADDRESSES if r.startswith("admin/")],
}


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("role", ROLES)
def test_who_gets_what(area, role, world, people):
    found, before = [], table_state()
    for route in AREAS[area]:
        client = Client()
        if people[role] is not None:
            client.force_login(people[role])
        found += complaints(route, world, role, client)
    assert found == []
    assert changed(before) <= {"chains_user"} | RECORDS, (
        "people signed in, and nothing else is left"
    )


@pytest.mark.parametrize("role", ["auditor", "operator", "admin"])
def test_a_closed_account_gets_nothing(role, world, people):
    client = Client()
    client.force_login(people[role])
    token = Token.objects.get_or_create(user=people[role])[0].key
    type(people[role]).objects.filter(pk=people[role].pk).update(is_active=False)
    asker = Asker()
    for route, address in ADDRESSES.items():
        if address.public:
            continue
        for method in ("GET", "POST"):
            status, tables = asker.ask(client, method, address.url(world), address.body(world))
            assert status in DENIED | {302}, (route, method, status)
            assert not tables, (route, method, tables)
    header = {"Authorization": f"Token {token}"}
    assert client.get("/api/v1/domains/", headers=header).status_code in DENIED
    assert not client.login(username=role, password=samples.PASSWORD)


@pytest.mark.parametrize("role", ["auditor", "operator", "admin"])
def test_a_post_without_the_csrf_token_is_refused(role, world, people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people[role])
    asker = Asker()
    for route, address in ADDRESSES.items():
        if address.wanted("POST")[ROLES.index(role)] == 405 or route == "logout/":
            continue
        status, tables = asker.ask(client, "POST", address.url(world), address.body(world))
        assert status in DENIED | address.without_csrf, (route, status)
        assert not tables, (route, tables)


def test_signing_out_needs_the_csrf_token_too(people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["operator"])
    assert client.post("/logout/").status_code == 403
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(("role", "status"), [("auditor", 403), ("operator", 202), ("admin", 202)])
def test_a_token_speaks_for_its_owner(role, status, world, people):
    client = Client(enforce_csrf_checks=True)
    header = {"Authorization": f"Token {Token.objects.get_or_create(user=people[role])[0].key}"}
    url = f"/api/v1/domains/{world['domain']}/scan/"
    assert client.post(url, headers=header).status_code == status
    assert client.get("/api/v1/merges/", headers=header).status_code == 200
    wrong = {"Authorization": f"Token {get_random_string(40)}"}
    assert client.get("/api/v1/merges/", headers=wrong).status_code in DENIED


def test_a_role_that_does_not_exist_may_nothing(world, people):
    client = Client()
    client.force_login(people["auditor"])
    type(people["auditor"]).objects.filter(pk=people["auditor"].pk).update(role="root")
    asker = Asker()
    for route, address in ADDRESSES.items():
        if not address.public and not route.startswith("admin/"):
            status, tables = asker.ask(client, "GET", address.url(world), None)
            assert status in DENIED | {405}, (route, status)
            assert not tables


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_staff_is_no_way_around_the_role(role, world, people):
    """A person who is let into the admin by mistake reads there at most."""
    client = Client()
    type(people[role]).objects.filter(pk=people[role].pk).update(is_staff=True)
    client.force_login(people[role])
    asker = Asker()
    for route, address in ADDRESSES.items():
        if route.startswith("admin/"):
            for method in ("GET", "POST"):
                status, tables = asker.ask(client, method, address.url(world), address.body(world))
                assert status in ANY, (route, status)
                assert not tables - (RECORDS if address.drops_session else set()), (route, method)


READINGS = {"chains_scan", "procrastinate_jobs", "procrastinate_events"}


def test_a_look_may_ask_for_a_reading_of_block_maps_and_for_nothing_else(world, people):
    client = Client()
    client.force_login(people["auditor"])
    last = Scan.objects.latest("pk").pk
    with patch.object(inventory, "LOOK_AGAIN", timedelta(0)):
        status, tables = Asker().ask(client, "GET", f"/disks/{world['disk']}/")
        assert (status, tables) == (200, READINGS)
        client.get(f"/disks/{world['disk']}/")
    asked = Scan.objects.filter(pk__gt=last)
    assert {(scan.kind, scan.requested_by) for scan in asked} == {("blocks", people["auditor"])}


METHODS = ("GET", "PUT", "PATCH", "DELETE", "TRACE")


def test_an_auditor_changes_nothing_whatever_is_asked(world, people):
    """Every address with every method, with a session and with a token, one after another, nothing
    taken back between: then the whole database is as it was, but for the record of signing out.
    """
    auditor = people["auditor"]
    token = {"Authorization": f"Token {Token.objects.create(user=auditor).key}"}
    client, stranger = Client(), Client()
    client.force_login(auditor)
    before, last = table_state(), AuditRecord.objects.latest("pk").pk
    for route, address in ADDRESSES.items():
        kind = "application/json" if route.startswith("api/") else "application/octet-stream"
        for method in METHODS:
            client.generic(method, address.url(world), content_type=kind)
        form = {"content_type": kind} if route.startswith("api/") else {}
        client.post(address.url(world), address.body(world), **form)
        if form:
            stranger.post(address.url(world), address.body(world), **form, headers=token)
            stranger.delete(address.url(world), headers=token)
        if address.drops_session:
            client.force_login(auditor)
    auditor.save(update_fields=["last_login"])
    records = AuditRecord.objects.filter(pk__gt=last)
    assert set(records.values_list("actor", "action")) == {
        ("auditor", "sign in"), ("auditor", "sign out"),
    }  # fmt: skip
    assert changed(before) - RECORDS <= {"chains_user"}, "the moment of the last sign-in"
    type(auditor).objects.filter(pk=auditor.pk).update(last_login=None)
    assert records.exclude(result="done").count() == 0
