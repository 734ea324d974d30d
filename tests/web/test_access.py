"""Every address × every role × every method: who gets what, and who can change nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.crypto import get_random_string
from procrastinate.contrib.django.models import ProcrastinateJob
from rest_framework.authtoken.models import Token

from chains.inventory import services as inventory
from chains.merges import services as merges
from chains.merges.situation import plan_from_inventory
from chains.models import AuditRecord, Merge
from tests.web import samples
from tests.web.access import ADDRESSES, ANY, DENIED

ROLES = list(samples.ROLES)


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


@pytest.fixture
def world(domain, people):
    """What the addresses of the table speak of."""
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


def table_state() -> dict[str, str]:
    """A digest of every table; sessions are no state of Strata's."""
    names = set(connection.introspection.table_names()) - {"django_session"}
    union = " UNION ALL ".join(
        f"SELECT '{name}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t"  # noqa: S608
        for name in sorted(names)
    )
    with connection.cursor() as cursor:
        cursor.execute(union)
        return dict(cursor.fetchall())


class Asker:
    """Asks, says what tables a request changed, and takes the change back."""

    def __init__(self) -> None:
        self.before = table_state()

    def ask(
        self, client: Client, method: str, url: str, body: dict[str, Any] | None = None
    ) -> tuple[int, set[str]]:
        kind = {"content_type": "application/json"} if url.startswith("/api/") else {}
        with transaction.atomic():
            if method == "POST":
                status = client.post(url, body or {}, **kind).status_code
            else:
                status = client.generic(method, url).status_code
            now = table_state()
            transaction.set_rollback(True)
        return status, {name for name, digest in now.items() if self.before.get(name) != digest}


def complaints(route: str, world: dict[str, Any], role: str, client: Client) -> Iterator[str]:
    """What a person of this role gets at the address that the table does not say."""
    address, asker = ADDRESSES[route], Asker()
    url = address.url(world)
    # The admin's views are Django's: one method more is enough there.
    rare = (
        ("DELETE",) if route.startswith("admin/") else ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
    )
    for method in ("GET", *rare, "POST"):
        status, changed = asker.ask(client, method, url, address.body(world))
        wanted = address.wanted(method)[ROLES.index(role)]
        said = f"{role} {method} {url}: {status}, {changed or 'nothing'} changed"
        if status not in (wanted if isinstance(wanted, frozenset) else {wanted}):
            yield f"{said}; not {wanted}"
        may_change = address.changes and method == "POST" and role in address.changers
        if bool(changed) != may_change:
            yield said


AREAS = {
    "pages": [r for r in ADDRESSES if not r.startswith(("api/", "admin/"))],
    "api": [r for r in ADDRESSES if r.startswith("api/")],
    "admin": [r for r in ADDRESSES if r.startswith("admin/")],
}


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("role", ROLES)
def test_who_gets_what(area, role, world, people):
    found = []
    for route in AREAS[area]:
        client = Client()
        if people[role] is not None:
            client.force_login(people[role])
        found += complaints(route, world, role, client)
    assert found == []


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
            status, changed = asker.ask(client, method, address.url(world), address.body(world))
            assert status in DENIED | {302}, (route, method, status)
            assert not changed, (route, method, changed)
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
        status, changed = asker.ask(client, "POST", address.url(world), address.body(world))
        assert status in DENIED | address.without_csrf, (route, status)
        assert not changed, (route, changed)


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
            status, changed = asker.ask(client, "GET", address.url(world), None)
            assert status in DENIED | {405}, (route, status)
            assert not changed


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
                status, changed = asker.ask(client, method, address.url(world), address.body(world))
                assert status in ANY, (route, status)
                assert not changed, (route, method, changed)
