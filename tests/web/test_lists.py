"""The pages of disks, volumes and findings: filters, files, the life of a finding, and their queries."""

import asyncio
import csv
import io
import json
import zlib
from datetime import timedelta

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test import AsyncRequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chains.core.names import portable
from chains.inventory import exports
from chains.inventory.selectors import disks_above
from chains.models import AuditRecord, Disk, Finding, StorageDomain, Volume
from chains.web.downloads import download
from tests.web import samples
from tests.web.markup import Page


def words(response) -> str:
    page = Page(response.text)
    assert response.status_code == 200
    assert page.wrong == []
    return " ".join(page.text.split())


def following(response, rel: str) -> str | None:
    """The address behind "Next" or "Previous"."""
    _, found, after = response.text.partition(f'rel="{rel}" href="')
    return after.partition('"')[0].replace("&amp;", "&") if found else None


PAGES = {
    "overview": "/", "domains": "/domains/", "domain": "/domains/{domain}/", "sorted": "/domains/{domain}/?sort=-layers",
    "searched": "/domains/{domain}/?q=clone", "volumes": "/domains/{domain}/volumes/",
    "some volumes": "/domains/{domain}/volumes/?q=clone&image_format=qcow2",
    "findings": "/findings/", "some findings": "/findings/?domain={domain}&severity=warning&q=clone",
    "all findings": "/findings/?state=any", "finding": "/findings/{finding}/",
    "template": "/volumes/{template}/", "disk": "/disks/{disk}/", "activity": "/activity/",
    "api disks": "/api/v1/disks/?domain={domain}&q=clone", "api volumes": "/api/v1/volumes/",
    "api findings": "/api/v1/findings/?domain={domain}", "api domains": "/api/v1/domains/",
}  # fmt: skip


FORESTS = {"domain", "sorted", "searched"}


def test_a_page_asks_as_many_queries_of_much_as_of_little(domain, browser):
    template = samples.volume_of(domain, "lesson/base.img")
    disk = samples.disk_of(domain, "lesson/snap2.img")
    numbers = {
        "domain": domain.pk, "finding": samples.finding_of(domain).pk, "template": template.pk,
        "disk": disk.pk,
    }  # fmt: skip
    client = browser("operator")
    counted = []
    for count in (120, 400):  # both are more than a page
        samples.more_rows(domain, count, f"clone {count}-", template)
        counted.append({name: _asked(client, url.format(**numbers)) for name, url in PAGES.items()})
    for name in PAGES:
        little, much = (len(queries[name]) for queries in counted)
        # Of a large domain the forest is left to a request of its own.
        assert much <= little if name in FORESTS else much == little, (name, counted[1][name])
        assert little <= 16, (name, counted[0][name])


def _asked(client, url: str) -> list[str]:
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return [query["sql"][:80] for query in queries]


def test_one_turns_the_pages_of_the_disks(domain, browser):
    samples.more_rows(domain, 120)
    client = browser("auditor")
    url, seen = f"/domains/{domain.pk}/?q=clone&sort=-name", []
    response = client.get(url)
    assert "120 disks" in words(response)
    while True:
        seen.append([disk.name for disk in response.context["page"].rows])
        if (more := following(response, "next")) is None:
            break
        assert "sort=-name" in more
        response = client.get(f"/domains/{domain.pk}/{more}")
    assert [len(names) for names in seen] == [50, 50, 20]
    assert [name for names in seen for name in names] == sorted(
        (f"clone {n}" for n in range(120)), reverse=True
    )
    back = client.get(f"/domains/{domain.pk}/{following(response, 'prev')}")
    assert [disk.name for disk in back.context["page"].rows] == seen[1]


def test_many_are_said_to_be_many(domain, browser, monkeypatch):
    monkeypatch.setattr("chains.inventory.paging.total.__defaults__", (100,))
    samples.more_rows(domain, 120)
    assert "more than 100 disks" in words(browser("auditor").get(f"/domains/{domain.pk}/?q=clone"))


def test_a_vm_is_found_and_shown(domain, browser):
    client = browser("auditor")
    assert ">VM</th>" not in client.get(f"/domains/{domain.pk}/").text
    disk = samples.disk_of(domain, "lesson/snap2.img")
    Disk.objects.filter(pk=disk.pk).update(vm="<b>mail-7</b>")
    response = client.get(f"/domains/{domain.pk}/?q=MAIL")
    assert [row.pk for row in response.context["page"].rows] == [disk.pk]
    assert "<b>mail-7</b>" in words(response)
    assert ">VM</th>" in response.text


def test_the_filters_of_the_volumes(domain, browser):
    client = browser("auditor")
    paths = {"lesson/snap1.img": True, "lesson/snap2.img": None}
    for path, used in paths.items():
        Volume.objects.filter(path_text=path).update(
            in_use=used, allocated=4096, not_seen_since=timezone.now()
        )
    url = f"/domains/{domain.pk}/volumes/"
    for asked, found in (
        ("in_use=yes", {"lesson/snap1.img"}), ("in_use=unknown", {"lesson/snap2.img"}),
        ("seen=no", set(paths)), ("q=LESSON&image_format=raw", {"lesson/base.img"}),
    ):  # fmt: skip
        response = client.get(f"{url}?{asked}")
        assert {row.path_text for row in response.context["page"].rows} == found, asked
    text = words(client.get(f"{url}?seen=no"))
    for said in ("unknown", "in use", "Not seen since", "2 volumes"):
        assert said in text
    StorageDomain.objects.filter(pk=domain.pk).update(kind="ovirt-block")
    Volume.objects.filter(path_text="lesson/snap1.img").update(image_end=1024)
    text = words(client.get(f"{url}?seen=no"))
    for said in ("LV size", "4 KiB", "Image end", "1 KiB"):
        assert said in text
    assert "No such volume" in words(client.get(f"{url}?q=nothing"))


@pytest.mark.parametrize(
    "url",
    [
        "/findings/?state=x", "/findings/?code=%3Cb%3E", "/findings/?domain=%00",
        "/domains/{domain}/?depth=x", "/domains/{domain}/?severity=x", "/findings/?format=xml",
        "/domains/{domain}/?format=x", "/domains/{domain}/volumes/?in_use=1",
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_told_so(url, domain, browser):
    response = browser("auditor").get(url.format(domain=domain.pk))
    assert response.status_code == 400
    page = Page(response.text)
    assert page.wrong == []
    assert "is one of" in page.text or "whole number" in page.text


@pytest.mark.parametrize("cursor", ["x", "%00", "W10", "9" * 5000, "%F0%9F%A6%80"])
def test_a_cut_off_address_shows_the_first_page(cursor, domain, browser):
    client = browser("auditor")
    for url in (f"/domains/{domain.pk}/", f"/domains/{domain.pk}/volumes/", "/findings/"):
        whole = client.get(url).context["page"].rows
        assert client.get(f"{url}?cursor={cursor}").context["page"].rows == whole


def test_a_finding_is_acknowledged_and_taken_back(domain, browser):
    finding = samples.finding_of(domain)
    other = Finding.objects.filter(domain=domain).exclude(pk=finding.pk)[0]
    before = domain.critical_count
    client, url = browser("operator"), f"/findings/{finding.pk}/"
    assert "By nobody" in words(client.get(url))
    wrong = client.post(f"{url}acknowledge/", {"reason": "because <b>", "until": "2001-01-01"})
    assert wrong.status_code == 400
    assert "within the next ten years" in wrong.text
    assert "because &lt;b&gt;" in wrong.text, "what was typed stays"
    for until in ("", "x", "9999-12-31", "0001-01-01"):
        answer = client.post(f"{url}acknowledge/", {"reason": "x", "until": until})
        assert answer.status_code == 400, until
    done = client.post(
        f"{url}acknowledge/", {"reason": "<i>known</i>", "until": samples.next_year()}, follow=True
    )
    assert "By operator" in words(done)
    assert "<i>known</i>" in words(done)
    domain.refresh_from_db()
    assert domain.critical_count == before - 1
    assert finding.pk not in _shown(client, "")
    assert _shown(client, "state=acknowledged") == {finding.pk}
    assert other.pk in _shown(client, "")
    assert AuditRecord.objects.order_by("-id")[0].action == "acknowledge finding"
    client.post(f"{url}reopen/")
    domain.refresh_from_db()
    assert domain.critical_count == before
    assert finding.pk in _shown(client, "")


def _shown(client, asked: str) -> set[int]:
    return {row.pk for row in client.get(f"/findings/?{asked}").context["page"].rows}


def test_an_auditor_sees_findings_and_no_button(domain, browser):
    finding = samples.finding_of(domain)
    client = browser("auditor")
    assert "Acknowledge<" not in client.get("/findings/").text
    assert "acknowledge/" not in client.get(f"/findings/{finding.pk}/").text
    assert client.post(f"/findings/{finding.pk}/acknowledge/").status_code == 403


def test_the_life_of_findings_on_their_page(domain, browser):
    rows = list(Finding.objects.filter(domain=domain).order_by("rank", "id"))
    now = timezone.now()
    Finding.objects.filter(pk=rows[0].pk).update(
        resolved_at=now, last_seen=now - timedelta(days=2), space=3 * 2**20,
        endangers=["<b>mail</b>", "web"], endangered=1200,
    )  # fmt: skip
    client = browser("auditor")
    assert _shown(client, "") == {row.pk for row in rows[1:]}
    assert _shown(client, "state=resolved") == {rows[0].pk}
    assert _shown(client, "state=any") == {row.pk for row in rows}
    assert _shown(client, f"code={rows[1].code}") >= {rows[1].pk}
    text = words(client.get("/findings/?state=resolved"))
    for said in (
        "1,200 guests would pause, or not start: <b>mail</b>, web",
        "3 MiB",
        "last seen 2 d ago",
        "resolved",
    ):
        assert said in text
    ranks = [row.rank for row in client.get("/findings/").context["page"].rows]
    assert ranks == sorted(ranks)


FILES = {
    "disks": ("/domains/{domain}/?format={kind}", Disk, exports.DISK_COLUMNS),
    "volumes": ("/domains/{domain}/volumes/?format={kind}", Volume, exports.VOLUME_COLUMNS),
    "findings": ("/findings/?state=any&format={kind}", Finding, exports.FINDING_COLUMNS),
}


@pytest.mark.parametrize("name", FILES)
def test_a_list_as_a_file(name, domain, browser):
    url, model, columns = FILES[name]
    samples.more_rows(domain, 70)
    client = browser("auditor")
    answer = client.get(url.format(domain=domain.pk, kind="json"))
    assert answer.streaming
    assert answer["Content-Type"] == "application/json"
    assert f'filename="{name}' in answer["Content-Disposition"]
    found = json.loads(b"".join(answer))
    assert {row["id"] for row in found} == set(model.objects.values_list("pk", flat=True))
    assert all(list(row) == list(columns) for row in found)
    answer = client.get(url.format(domain=domain.pk, kind="csv"))
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode(), newline="")))
    assert [row["id"] for row in table] == [str(row["id"]) for row in found]
    for name_ in samples.HOSTILE if name == "volumes" else []:
        assert portable(name_) in {row["path"] for row in found}


def test_a_file_has_what_the_address_asks_for(domain, browser):
    samples.more_rows(domain, 70)
    client = browser("auditor")
    url = f"/domains/{domain.pk}/?format=json&q=clone&sort=-name&cursor=x"
    names = [row["name"] for row in json.loads(b"".join(client.get(url)))]
    assert names == sorted((f"clone {n}" for n in range(70)), reverse=True)
    nothing = client.get(f"/domains/{domain.pk}/volumes/?format=json&q=nothing")
    assert json.loads(b"".join(nothing)) == []
    nothing = client.get(f"/domains/{domain.pk}/volumes/?format=csv&q=nothing")
    assert b"".join(nothing).decode() == ",".join(exports.VOLUME_COLUMNS) + "\r\n"


EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "=cmd|' /C calc'!A0", "＝1"]


def test_no_cell_is_carried_out(domain, browser):
    template = Finding.objects.filter(domain=domain)[0]
    for text in EVIL:
        template.pk, template.detail, template.path_text = None, text, text
        template.path = text
        template.save(force_insert=True)
    answer = browser("auditor").get("/findings/?state=any&format=csv")
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode(), newline="")))
    assert {f"'{text}" for text in EVIL} <= {row["detail"] for row in table}
    for row in table:
        for cell in row.values():
            assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "＝")), cell


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_server_sends_while_it_reads():
    request = AsyncRequestFactory().get("/")
    assert isinstance(request, ASGIRequest)
    sent, read = [], []

    def parts():
        for number in range(3):
            read.append(number)
            yield b"%d" % number

    async def take() -> None:
        async for part in download(request, "x", "csv", parts()):
            state = part, len(read)
            sent.append(state)

    asyncio.run(take())
    assert sent == [(b"0", 1), (b"1", 2), (b"2", 3)]


def test_a_template_lists_some_of_what_stands_on_it(domain, browser):
    template = samples.volume_of(domain, "lesson/base.img")
    samples.more_rows(domain, 250, "clone ", template)
    response = browser("auditor").get(f"/volumes/{template.pk}/")
    assert "the first 200 of those that use it" in words(response)
    assert "the first 200" in words(response)
    assert len(response.context["disks"]) == 200


def test_disks_above_are_found_however_wide_the_layers_between(domain):
    """More layers than are followed of a level; all of the leaves lie beyond."""
    base = samples.volume_of(domain, "lesson/base.img")
    ours = set(
        Disk.objects.filter(active__path_text__startswith="lesson/").values_list("pk", flat=True)
    )
    samples.more_rows(domain, 30, "middle ", base, disks=False)
    for middle in Volume.objects.filter(path_text__startswith="middle "):
        samples.more_rows(domain, 1, f"leaf on {middle.pk} ", middle)
    found = disks_above(base, 10)
    assert len(found) == 10
    assert {disk.pk for disk in found} <= ours | set(
        Disk.objects.filter(name__startswith="leaf").values_list("pk", flat=True)
    )
    assert len(disks_above(base, 100)) == 31


def test_a_loop_ends(domain):
    one, two = (samples.volume_of(domain, f"lesson/{name}.img") for name in ("base", "snap1"))
    Volume.objects.filter(pk=one.pk).update(backing=two)
    assert [disk.active.path_text for disk in disks_above(one, 10)] == ["lesson/snap2.img"]


def test_a_packed_file_is_one_whole_stream():
    """Browsers read the first of several gzip members only, and believe that it was all."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"accept-encoding", b"gzip, br")],
    }
    request = ASGIRequest(AsyncRequestFactory()._base_scope(path="/") | scope, io.BytesIO())
    answer = download(request, "x", "csv", iter([b"one\n" * 1000, b"two\n" * 1000]))

    async def sent() -> bytes:
        return b"".join([part async for part in answer])

    packed = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert packed.decompress(asyncio.run(sent())) == b"one\n" * 1000 + b"two\n" * 1000
    assert packed.eof
    assert packed.unused_data == b""
    assert answer["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer["Vary"]
