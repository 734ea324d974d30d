"""What every page holds: a strict policy, nothing inline, nothing from elsewhere, our own errors."""

import logging
import re

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import get_resolver

from chains.models import AuditRecord
from tests.web import samples
from tests.web.access import ADDRESSES
from tests.web.markup import Page

STATIC = sorted(
    path for path in (settings.BASE_DIR / "static").rglob("*") if path.suffix in {".css", ".js", ".svg"}
)  # fmt: skip
# Names of vocabularies, never fetched.
NAMES = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
POLICY = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
    "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
}  # fmt: skip


@pytest.fixture
def world(domain):
    merge = samples.merge_of(domain)
    return {
        "domain": domain.pk, "merge": merge.pk, "stuck": merge.pk,
        "kept": samples.kept_merge(
            *(samples.volume_of(domain, f"free/{n}.img") for n in ("base", "snap1"))
        ).pk,
        **dict.fromkeys(("free_base", "free_top", "one", "day"), 1),
        "scan": samples.check_of(domain).pk,
        "auditrecord": AuditRecord.objects.latest("pk").pk,
        "batch": samples.batch_of(domain, merge).pk,
        "finding": samples.finding_of(domain).pk, "next_year": samples.next_year(), "whole": "whole",
        "disk": samples.disk_of(domain, samples.HOSTILE[-1]).pk,
        "free_disk": samples.disk_of(domain, "free/snap2.img").pk,
        "volume": samples.volume_of(domain, samples.HOSTILE[1]).pk,
    }  # fmt: skip


def pages(world):
    """The addresses of all pages that somebody can look at."""
    for route, address in ADDRESSES.items():
        is_page = not route.startswith(("api/", "admin/")) and not route.endswith(
            (".svg", ".png", ".dot")
        )
        if is_page and 200 in address.get:
            yield address.url(world)
    yield f"/merges/{world['kept']}/"
    yield f"/disks/{samples.Disk.objects.get(active__path='orphan.qcow2').pk}/"
    yield f"/disks/{world['free_disk']}/?from=0&to=65536"
    yield f"/disks/{world['disk']}/?by=hops&at=0x10000&as=table"
    yield f"/disks/{world['disk']}/?at=%3Cscript%3E%00&by=x&as=y"
    yield f"/domains/{world['domain']}/?q=%3Cscript%3E&sort=-on_disk&cursor=99"
    for day in ("", "1999-01-01", "%3Cscript%3E", "2099-01-01&page=9"):
        yield f"/domains/{world['domain']}/history/?as_of={day}"
    yield f"/domains/{world['domain']}/volumes/?q=%3Cscript%3E&in_use=no"
    yield "/findings/?state=any&q=%00"
    yield "/audit/?person=%3Cb%3E&q=%00&origin=x"
    yield "/audit/?from=x"
    yield "/findings/?state=%3Cscript%3E"
    for more in (
        "",
        "?q=%00&deeper_than=1&scope=older&age=x%00",
        f"?disk={world['disk']}&disk=1&scope=depth&depth=2",
    ):
        yield f"/domains/{world['domain']}/batch/{more}"
    for scope in ("whole", "older&age=1w", "depth&depth=3", "%3Cb%3E"):
        yield f"/disks/{world['disk']}/merge/?scope={scope}"
    yield "/nothing/here/"


def check_policy(response):
    header = response.headers["Content-Security-Policy"]
    found = dict(part.strip().split(" ", 1) for part in header.split(";"))
    assert POLICY.items() <= found.items()
    assert "unsafe" not in header
    assert "http" not in header
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("role", list(samples.ROLES))
def test_no_page_holds_anything_inline_or_from_elsewhere(role, world, browser):
    client = browser(role)
    for url in pages(world):
        response = client.get(url)
        check_policy(response)
        if response.status_code != 302:
            assert Page(response.text).wrong == [], url


def test_the_api_has_the_policy_too(world, browser):
    client = browser("auditor")
    for route, address in ADDRESSES.items():
        if route.startswith("api/"):
            check_policy(client.get(address.url(world)))


def test_the_admin_works_under_the_policy(world, people):
    """Its pages are Django's; what they hold has to work under our policy as well."""
    client = Client()
    client.force_login(people["admin"])
    for url in ("/admin/", "/admin/chains/user/", "/admin/chains/user/add/",
                f"/admin/chains/storagedomain/{world['domain']}/change/"):  # fmt: skip
        response = client.get(url)
        check_policy(response)
        wrong = [said for said in Page(response.text).wrong if "'/admin/jsi18n/'" not in said]
        assert not [said for said in wrong if said.startswith(("inline", "script", "<style"))], url


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_no_static_file_names_another_host(path):
    text = path.read_text()
    for name in NAMES:
        text = text.replace(name, "")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    if path.suffix == ".js":
        text = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
        assert not re.search(
            r"\beval\(|new Function\(|innerHTML|insertAdjacentHTML|document\.write", text
        )
    assert not re.search(
        r"\b(?:https?|wss?|ftp):",
        text.replace('"https:"', "").replace('"wss:"', "").replace('"ws:"', ""),
    ), path
    assert not re.search(r"""["'(]//""", text), path


def test_no_static_file_is_missing(world, browser):
    client = browser("operator")
    found = set()
    for url in pages(world):
        found |= {
            link.split("#")[0] for link in Page(client.get(url).text).links if "/static/" in link
        }
    assert len(found) > 3
    for link in found:
        assert finders.find(link.removeprefix(settings.STATIC_URL)), link


@pytest.mark.parametrize(
    ("url", "status"), [("/nothing/", 404), ("/disks/987654321/", 404), ("/domains/1/scan/", 403)]
)
def test_error_pages_are_ours(url, status, browser):
    client = browser("auditor")
    response = client.post(url) if status == 403 else client.get(url)
    page = Page(response.text)
    assert response.status_code == status
    assert page.wrong == []
    assert "masthead" in response.text, "the frame of all pages"
    assert "/static/" in " ".join(page.links)


def test_the_page_of_a_form_without_its_token_is_ours(people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["operator"])
    response = client.post("/domains/1/scan/")
    assert response.status_code == 403
    assert Page(response.text).wrong == []
    assert "masthead" in response.text
    assert "CSRF" not in response.text, "no words that only programmers know"


def test_an_error_of_our_own_shows_a_page_and_no_traceback(browser, monkeypatch, caplog):
    monkeypatch.setattr("chains.inventory.selectors.domains", lambda: 1 / 0)
    client = browser("auditor")
    client.raise_request_exception = False
    response = client.get("/domains/")
    assert response.status_code == 500
    assert Page(response.text).wrong == []
    assert "ZeroDivisionError" not in response.text
    assert "Traceback" not in response.text


def test_a_hostile_address_makes_one_line_in_the_log(browser, caplog):
    client = browser("auditor")
    with caplog.at_level(logging.DEBUG):
        client.get("/nothing/%0aINJECTED%1b[31m/")
        client.get("/domains/1/?q=%0aINJECTED")
    said = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith(("django.req", "chains"))
    ]
    assert said
    assert all(text.isprintable() for text in said), said


def test_every_handler_is_ours():
    resolver = get_resolver()
    for code in (400, 403, 404, 500):
        assert resolver.resolve_error_handler(code).__module__ == "chains.web.errors"


def test_the_address_of_a_button_shows_a_page_of_ours(world, browser):
    client = browser("operator")
    answer = client.get(f"/domains/{world['domain']}/scan/")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert "This is the address of a button, not of a page" in answer.text
    assert Page(answer.text).wrong == []
