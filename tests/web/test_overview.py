"""The first page."""

from django.utils.html import escape

from chains.core.states import MergeState
from chains.inventory import overview
from chains.models import Disk, Finding, Merge, StorageDomain
from tests.web import samples


def waste(disk: Disk, space: int) -> None:
    Disk.objects.filter(pk=disk.pk).update(winnable=space)


def test_the_domain_with_the_least_room_comes_first(domain):
    for name, free, capacity in (("half", 50, 100), ("full", 1, 100), ("unknown", None, None)):
        StorageDomain.objects.create(
            name=name, path=f"/{name}", storage_host="x", free=free, capacity=capacity
        )
    StorageDomain.objects.filter(pk=domain.pk).update(free=90, capacity=100)
    assert [row.name for row in overview.fullest()] == ["full", "half", domain.name, "unknown"]


def test_the_largest_wins_are_a_batch_away(domain, browser):
    Disk.objects.update(winnable=0)
    disks = list(domain.disks.order_by("pk")[:2])
    waste(disks[0], 3 * 1024**3)
    waste(disks[1], 5 * 1024**3)
    (win,) = overview.wins()
    assert (win.gain, win.whole, win.count) == (8 * 1024**3, 8 * 1024**3, 2)
    assert [disk.pk for disk in win.disks] == [disks[1].pk, disks[0].pk]
    page = browser("operator").get("/").text
    assert "Merge these 2 disks and win at least <strong>8 GiB</strong>" in page
    plan = f"/domains/{domain.pk}/batch/?scope=whole&amp;disk={disks[1].pk}&amp;disk={disks[0].pk}"
    assert plan in page
    assert browser("operator").get(plan.replace("&amp;", "&")).status_code == 200


def test_where_strata_may_not_merge_there_is_no_way_to_a_plan(domain, browser):
    Disk.objects.update(winnable=0)
    waste(domain.disks.first(), 3 * 1024**3)
    StorageDomain.objects.filter(pk=domain.pk).update(read_only=True)
    page = browser("operator").get("/").text
    assert "Merge this disk and win at least <strong>3 GiB</strong>" in page
    assert "read-only in Strata" in page
    assert "/batch/" not in page


def test_what_needs_somebody_stands_there(domain, browser):
    StorageDomain.objects.filter(pk=domain.pk).update(unreachable="gone", critical_count=2)
    merge = samples.merge_of(domain)
    Merge.objects.filter(pk=merge.pk).update(state=MergeState.ATTENTION.value)
    page = browser("auditor").get("/").text
    assert f"The storage domain {escape(domain.name)} can not be read." in page
    assert "A merge waits for a decision:" in page
    assert f'href="/merges/{merge.pk}/"' in page
    assert "<strong>2</strong> critical" in page


def test_without_a_domain_it_says_what_to_do(db, browser):
    Finding.objects.all().delete()
    StorageDomain.objects.all().delete()
    page = browser("admin").get("/").text
    assert "No storage domain yet" in page
    assert "manage.py add_domain NAME PATH" in page
