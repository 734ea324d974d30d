"""The words of the pages: each is explained where it stands first, and only once."""

import re
from html import unescape

import pytest
from django.conf import settings

from chains.words.glossary import CHAPTERS, TERMS
from tests.web.markup import Page
from tests.web.test_markup import pages, world  # noqa: F401  a fixture

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
# Pages whose words stand on them.
OWN_WORDS = ("/glossary/", "/sprawl/")
TERM = re.compile(r'<span class="term"><button.*?</span></span>')
HEADING = re.compile(r"<(dt|th|h1|h2)\b[^>]*>(.*?)</\1>", re.DOTALL)
# What a heading says, and the word that it speaks of.
SPEAKS_OF = {
    "virtual size": "virtual-size", "virtual": "virtual-size", "on disk": "on-disk",
    "layers": "layer", "oldest snapshot": "snapshot", "chain": "chain", "deepest chain": "chain",
    "findings": "finding", "shadowed": "shadowed", "holds": "holds", "answers": "answers",
    "l2 tables": "l2-tables", "redirected reads": "redirected-read", "hops, on average": "hops",
    "hops": "hops", "base": "base", "top": "top", "over-commit": "over-commit",
    "backing file": "backing-file", "cluster size": "cluster", "allocated": "allocated",
    "image ends": "image-end", "image end": "image-end", "overlays": "overlay", "in use": "in-use",
    "strategy": "strategy", "way": "strategy", "needed meanwhile": "needed-meanwhile",
    "needed at the peak": "needed-meanwhile", "won at the end": "won", "undo": "undo",
    "restore points that vanish": "restore-point", "verification": "verification",
    "merges": "merge", "batches": "batch", "thresholds of findings": "threshold",
    "storage domains": "domain", "storage host": "storage-host", "active layer": "active-layer",
    "data file": "data-file", "l2 entries": "subclusters", "bitmaps": "bitmap",
    "internal snapshots": "internal-snapshot", "convert": "convert", "commit": "commit",
    "rebase": "rebase",
}  # fmt: skip


def headings(text: str) -> set[str]:
    """What the page's headings say, in small letters and without the “?”."""
    plain = TERM.sub("", text)
    found = {unescape(re.sub(r"<[^>]+>", " ", inner)) for _, inner in HEADING.findall(plain)}
    return {re.sub(r"\s+", " ", said).strip().lower() for said in found}


def test_every_word_that_a_template_names_is_explained():
    used = set()
    for path in TEMPLATES:
        text = path.read_text()
        used |= set(re.findall(r'{% term "([^"]*)" %}', text))
        used |= set(re.findall(r'sort_header\.html"[^%]* word="([^"]*)"', text))
    assert len(used) > 40
    assert used - set(TERMS) == set()
    assert set(SPEAKS_OF.values()) - set(TERMS) == set()


def test_a_word_is_one_line_with_one_name():
    terms = [term for chapter in CHAPTERS for term in chapter.terms]
    assert (
        len({term.key for term in terms}) == len({str(term.name) for term in terms}) == len(terms)
    )
    for term in terms:
        assert re.fullmatch(r"[a-z0-9-]+", term.key)
        assert 20 < len(str(term.words)) < 260, term.key
        assert str(term.words).endswith(".")


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_no_page_leaves_a_word_unexplained(role, world, browser):  # noqa: F811
    client = browser(role)
    addresses = [*pages(world), "/lesson/?step=7", f"/merges/{world['merge']}/"]
    explained, left = set(), {}
    for url in addresses:
        response = client.get(url)
        if response.status_code != 200:
            continue
        ids = re.findall(r'id="term-([\w-]+)" popover', response.text)
        assert len(ids) == len(set(ids)), url
        assert set(ids) == set(re.findall(r'popovertarget="term-([\w-]+)"', response.text)), url
        said = headings(response.text)
        wanted = {key for words, key in SPEAKS_OF.items() if words in said}
        if wanted - set(ids) and not url.startswith(OWN_WORDS):
            left[url] = wanted - set(ids)
        explained |= set(ids)
    assert not left, left
    assert len(explained) > 30


def test_the_glossary_has_them_all(browser):
    response = browser("auditor").get("/glossary/")
    assert Page(response.text).wrong == []
    for key in TERMS:
        assert response.text.count(f'id="{key}"') == 1
        assert f'href="#{key}"' in response.text
    assert 'href="/lesson/"' in response.text
