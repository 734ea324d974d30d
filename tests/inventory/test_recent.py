"""Unpacked maps that are kept for the next zoom: the right ones, and no more than there is room for."""

from datetime import UTC, datetime

import pytest

from chains.core.extents import ExtentMap, Kind
from chains.core.reads import resolve
from chains.inventory import blockmaps, recent, selectors
from chains.models import BlockMap
from tests import images
from tests.inventory.conftest import disk


def view(runs):
    layer = ExtentMap.of(runs * 1024, [(n * 1024, 512, Kind.DATA) for n in range(runs)])
    return recent.DiskView(resolve([layer]), [layer])


def key(number):
    return (number, datetime(2026, 1, 1, tzinfo=UTC), ())


def test_the_oldest_go_when_there_is_no_more_room():
    one = view(1000)
    held = recent.RecentViews(3 * one.size)
    for number in range(3):
        held.put(key(number), view(1000))
    assert held.get(key(0)) is not None, "used again, it is no longer the oldest"
    held.put(key(3), view(1000))
    assert [held.get(key(number)) is not None for number in range(4)] == [True, False, True, True]
    held.put(key(4), view(10_000))
    assert held.get(key(4)) is not None, "the last one is kept, however large"
    assert held.get(key(3)) is None


@pytest.fixture
def found(root, domain, scan):
    images.lesson(root)
    scan()
    blockmaps.read_disk(disk(domain, "snap2.img"))
    return disk(domain, "snap2.img")


def shown(found):
    row = BlockMap.objects.filter(disk=found).defer("data").get()
    return recent.disk_view(row, selectors.chain_of(found.active))


def test_a_zoom_unpacks_nothing_again(found, monkeypatch):
    first = shown(found)
    monkeypatch.setattr(blockmaps, "stored_maps", lambda *_, **__: pytest.fail("unpacked again"))
    assert shown(found) is first


def test_a_map_that_was_read_anew_is_shown_anew(found, root):
    first = shown(found)
    images.write(root / "snap2.img", "qcow2", "write -P 9 50M 3M")
    blockmaps.read_disk(found)
    second = shown(found)
    assert second is not first
    assert second.maps[0].allocated == first.maps[0].allocated + 3 * images.MIB


def test_what_is_missing_is_not_made_up(found):
    found.active.map.delete()
    assert shown(found) is None
