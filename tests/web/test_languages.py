"""Pages in the reader's language and zone; what programs read is the same for everybody."""

import json
import re

import pytest
from django.utils import timezone, translation

from chains.models import Disk, Finding, Scan, Volume
from tests.web.markup import Page

RUSSIAN = {"HTTP_ACCEPT_LANGUAGE": "ru-RU,ru;q=0.9"}
# Three plain English words in a row, as no name, command or option of ours is written.
READ_OUT = re.compile(r'(?:aria-label|title|alt|placeholder|data-confirm[a-z-]*)="([^"]*)"')
ENGLISH = re.compile(r"\b[A-Za-z][a-z]+ [a-z]{2,} [a-z]{2,}\b")


@pytest.fixture(autouse=True)
def as_before():
    """A request chooses language and zone of its thread; other tests know nothing of it."""
    with translation.override("en"), timezone.override(None):
        yield


def english(html: str) -> list[str]:
    """Sentences that nobody translated, apart from commands and what a reader typed."""
    html = re.sub(r"<(script|style|code|kbd|pre|option)\b.*?</\1>", " ", html, flags=re.DOTALL)
    page = Page(html)
    names = " ".join(
        [
            *Volume.objects.values_list("path_text", flat=True),
            *Disk.objects.values_list("name", flat=True),
        ]
    )
    found = [
        found for text in [*page.words, *READ_OUT.findall(html)] for found in ENGLISH.findall(text)
    ]
    return [text for text in found if text not in names]


@pytest.fixture
def addresses(domain):
    disk = Disk.objects.exclude(layers=1).first()
    finding = Finding.objects.first()
    return [
        "/", "/domains/", f"/domains/{domain.pk}/", f"/domains/{domain.pk}/volumes/", "/findings/",
        f"/findings/{finding.pk}/", f"/disks/{disk.pk}/", f"/disks/{disk.pk}/merge/?scope=whole",
        f"/volumes/{disk.active_id}/", f"/domains/{domain.pk}/batch/?all=1&scope=whole", "/activity/",
        "/thresholds/", "/audit/", "/sprawl/", "/lesson/", "/glossary/", f"/domains/{domain.pk}/history/?as_of=2099-01-01", "/nothing/here/",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["auditor", "operator", "admin"])
def test_no_page_has_a_sentence_that_nobody_translated(addresses, browser, role):
    client = browser(role)
    for address in addresses:
        answer = client.get(address, **RUSSIAN)
        assert '<html lang="ru"' in answer.text, address
        assert english(answer.text) == [], address


def test_the_page_to_sign_in_offers_both_languages_in_their_own_words(client, db):
    page = client.get("/login/")
    assert '<html lang="en"' in page.text
    assert "Русский" in page.text
    answer = client.post("/i18n/setlang/", {"language": "ru", "next": "/login/"})
    assert (answer.status_code, answer["Location"]) == (302, "/login/")
    assert client.cookies["django_language"]["httponly"]
    page = client.get("/login/")
    assert '<html lang="ru"' in page.text
    assert "English" in page.text
    assert "Пароль" in page.text


def test_the_choice_goes_over_what_the_browser_wishes(browser, domain):
    client = browser("auditor")
    client.cookies["django_language"] = "en"
    assert '<html lang="en"' in client.get("/findings/", **RUSSIAN).text


def test_nobody_is_sent_elsewhere_by_the_choice(client, db):
    answer = client.post("/i18n/setlang/", {"language": "ru", "next": "https://example.com/"})
    assert answer["Location"] == "/"


@pytest.mark.parametrize("language", ["xx", "ru<script>", "../../etc"])
def test_a_language_that_there_is_not_is_none(client, db, language):
    client.post("/i18n/setlang/", {"language": language, "next": "/login/"})
    client.cookies["django_language"] = language
    assert '<html lang="en"' in client.get("/login/").text


def test_numbers_are_written_as_the_language_does(browser, domain):
    page = browser("auditor").get(f"/domains/{domain.pk}/", **RUSSIAN).text
    assert re.search(r"\d (К|М|Г|Т)иБ", page)
    assert "KiB" not in re.sub(r"<[^>]*>", "", page)
    # What the browser reads stays as it reads it.
    assert re.search(r'<meter[^>]* value="\d+\.\d\d"', page) or "<meter" not in page


def test_what_is_wrong_is_said_in_the_language(browser, domain):
    client = browser("admin")
    answer = client.post(
        f"/domains/{domain.pk}/thresholds/", {"depth": "many"}, follow=True, **RUSSIAN
    )
    assert "укажите целое число, а не «many»" in answer.text
    answer = browser("auditor").post(f"/domains/{domain.pk}/scan/", **RUSSIAN)
    assert answer.status_code == 403
    assert "Ваша роль не позволяет сканировать." in answer.text


def test_the_api_speaks_english_and_knows_no_zone(browser, domain):
    client = browser("auditor")
    plain = client.get("/api/v1/findings/").json()
    client.cookies["django_language"] = "ru"
    client.cookies["strata_zone"] = "Asia/Tokyo"
    assert client.get("/api/v1/findings/", **RUSSIAN).json() == plain
    missing = client.get("/api/v1/disks/999999/", **RUSSIAN)
    assert missing.status_code == 404
    assert missing.json() == {"detail": "No Disk matches the given query."}
    assert "Vary" not in missing or "Accept-Language" not in missing["Vary"]


def test_a_file_is_the_same_in_every_language(browser, domain):
    client = browser("auditor")
    address = f"/domains/{domain.pk}/volumes/?format=csv"
    assert client.get(address).getvalue() == client.get(address, **RUSSIAN).getvalue()


def test_what_is_stored_stays_english(browser, domain):
    client = browser("operator")
    client.post(f"/domains/{domain.pk}/scan/", **RUSSIAN)
    scan = Scan.objects.latest("pk")
    client.post(f"/scans/{scan.pk}/cancel/", **RUSSIAN)
    scan.refresh_from_db()
    assert scan.message == "Cancelled before it began."
    assert "Отменено до начала." in client.get("/activity/", **RUSSIAN).text


class TestWords:
    """The words of the scripts."""

    def address(self, page: str) -> str:
        return re.search(r'<script src="(/words/[^"]+)"', page)[1]

    def test_they_lie_at_an_address_of_their_language(self, client, db):
        russian = self.address(client.get("/login/", **RUSSIAN).text)
        assert russian.startswith("/words/ru/")
        # Whoever asks: the address says which.
        answer = client.get(russian, HTTP_ACCEPT_LANGUAGE="en")
        assert answer["Content-Type"].startswith("text/javascript")
        words = json.loads(re.search(r"newcatalog = (\{.*?\});", answer.text, re.DOTALL)[1])
        assert words["Reconnecting…"] == "Восстановление связи…"
        assert len(words["%(count)s disk chosen"]) == 4
        assert "immutable" in answer["Cache-Control"]
        assert self.address(client.get("/login/").text).startswith("/words/en/")

    def test_there_are_none_of_another_language(self, client, db):
        assert client.get("/words/xx/1.js").status_code == 404


class TestZone:
    """The zone that the browser names."""

    def moments(self, page: str) -> list[str]:
        return re.findall(r'<time datetime="[^"]+" title="([^"]+)"', page)

    def test_times_are_in_it(self, browser, domain):
        client = browser("auditor")
        client.cookies["strata_zone"] = "Asia/Tokyo"
        page = client.get("/findings/").text
        assert 'data-zone="Asia/Tokyo"' in page
        assert "Times are in the zone Asia/Tokyo" in page
        assert self.moments(page)
        assert all(moment.endswith(" JST") for moment in self.moments(page))

    def test_without_it_the_site_has_its_own_and_names_it(self, browser, domain, settings):
        settings.TIME_ZONE = "Europe/Prague"
        page = browser("auditor").get("/findings/").text
        assert "data-zone" not in page
        assert "Times are in the zone Europe/Prague" in page
        assert all(moment.endswith((" CET", " CEST")) for moment in self.moments(page))

    @pytest.mark.parametrize(
        "name",
        [
            "Mars/Olympus",
            "../../../etc/passwd",
            "/etc/localtime",
            "UTC\x00",
            "a" * 5000,
            "<b>",
            "localtime",
        ],
    )
    def test_what_is_no_zone_is_not_believed(self, browser, domain, name):
        client = browser("auditor")
        client.cookies["strata_zone"] = name
        page = client.get("/findings/")
        assert page.status_code == 200
        assert "data-zone" not in page.text
        assert "Times are in the zone UTC" in page.text

    def test_a_day_is_the_readers(self, browser, domain):
        client = browser("auditor")
        client.cookies["strata_zone"] = "Asia/Tokyo"
        page = client.get(f"/domains/{domain.pk}/history/?as_of=2099-01-01T12:00").text
        assert "2099-01-01 12:00 JST" in page

    def test_a_maintenance_window_is_the_sites(self, browser, domain):
        client = browser("admin")
        client.cookies["strata_zone"] = "Asia/Tokyo"
        assert "Mon-Fri 22:00-06:00 (UTC)" in client.get(f"/domains/{domain.pk}/").text
