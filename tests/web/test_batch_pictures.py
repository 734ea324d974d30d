"""Before and after of the disks of a batch, on its plan and on its own page."""

import re

import pytest

from chains.core.scopes import Scope, ScopeKind
from chains.merges.batch_plans import plan_batch
from chains.merges.batches import request_batch
from chains.merges.choosing import Selection
from chains.models import Merge
from chains.web import batch_pictures
from tests.web.markup import Page


@pytest.fixture
def whole(domain):
    """Selection and scope of every disk's whole chain."""
    return Selection(everything=True), Scope(ScopeKind.WHOLE)


def listed(page: str) -> list[str]:
    part = page.split('id="batch-pictures"')[1].split("</section>", maxsplit=1)[0]
    return re.findall(r"layers: (\d+ → \d+)", part)


def test_the_plan_of_a_batch_shows_each_disk_before_and_after(domain, whole, browser):
    plan = plan_batch(domain, *whole, None)
    response = browser("auditor").get(f"/domains/{domain.pk}/batch/?all=1&scope=whole")
    assert Page(response.text).wrong == []
    wanted = [f"{len(row.plan.layers)} → 1" for row in plan.merges]
    assert listed(response.text) == wanted
    assert len(wanted) > 1
    total = sum(len(row.plan.layers) for row in plan.merges)
    assert f"in all, {total} joined layers become {len(wanted)}" in response.text
    part = response.text.split('id="batch-pictures"')[1].split("</section>")[0]
    assert part.count("<svg xmlns") == 2 * len(wanted)
    assert "dg-mark-removed" in part


def test_the_page_of_a_batch_shows_what_came_of_it(domain, whole, browser):
    batch = request_batch(domain, *whole, None, "test", queue=False)
    first = batch.merges.order_by("pk")[0]
    Merge.objects.filter(pk=first.pk).update(state="succeeded")
    page = browser("auditor").get(f"/batches/{batch.pk}/").text
    assert len(listed(page)) == batch.merges.count() > 1
    part = page.split('id="batch-pictures"')[1].split("</section>")[0]
    assert f'href="/merges/{first.pk}/"' in part
    items = part.split("<li>")[1:]
    # What is over, or has not come yet, is pale: the first has been merged, the others wait.
    assert 'class="is-past"><figcaption>Before' in items[0]
    assert 'class="is-past"><figcaption>After' in items[1]


def test_of_many_disks_the_first_are_shown_and_the_others_by_a_link(
    domain, whole, browser, monkeypatch
):
    monkeypatch.setattr(batch_pictures, "FIRST", 1)
    batch = request_batch(domain, *whole, None, "test", queue=False)
    others = batch.merges.count() - 1
    client = browser("auditor")
    address = f"/batches/{batch.pk}/"
    page = client.get(address).text
    assert len(listed(page)) == 1
    words = f"and {others} more disk{'s' if others > 1 else ''}"
    assert words in page
    link = page.split(f">{words}")[0].rsplit('href="', 1)[1].split('"')[0]
    more = client.get(address + link.replace("&amp;", "&").split("#")[0]).text
    assert len(listed(more)) == others + 1
    assert words not in more
    monkeypatch.setattr(batch_pictures, "MOST", 1)
    page = client.get(f"/batches/{batch.pk}/?pictures=all").text
    assert "which the list above leads to" in page
