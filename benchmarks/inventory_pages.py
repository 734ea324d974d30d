"""Every list of the inventory at a million volumes: pages, API and searches, at random places.

    python -m benchmarks.inventory_pages [--volumes N] [--views N] [--dir DIR]

The inventory is written straight into an embedded database: see datacenter.py. Each page is then asked
for at N places through Django's test client, as a browser does: middleware, session, template and all.
The named peer is Django's Paginator (OFFSET, and a COUNT of all rows) at the same places of the same
lists, its queries alone.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.database import embedded
from benchmarks.measuring import machine, verdict

LIMIT_MS = 200.0
WARM = 3


@dataclass(frozen=True)
class Deep:
    """A list at a random depth: its rows, its order, how many there are, and where it is shown."""

    rows: Any
    order: Any
    count: int
    url: str


def percentiles(taken: list[float]) -> tuple[float, float]:
    """The median and the 95th of a hundred."""
    taken = sorted(taken)
    return statistics.median(taken), taken[int(0.95 * (len(taken) - 1))]


def timed(run: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1000


def deep_lists(large: Any) -> dict[str, Deep]:
    """Every list in every order that it has."""
    from chains.inventory import lists
    from chains.models import Disk, Finding, Volume

    found = {}
    for down in (False, True):
        for order in (replace(order, descending=down) for order in lists.DISK_ORDERS.values()):
            found[f"disks by {order.text}"] = Deep(
                lists.disks(large, lists.DiskFilter()), order, large.disk_count,
                f"/domains/{large.pk}/?sort={order.text}",
            )  # fmt: skip
    found["volumes by path"] = Deep(
        lists.volumes(large, lists.VolumeFilter()), lists.BY_PATH, large.volume_count,
        f"/domains/{large.pk}/volumes/?",
    )  # fmt: skip
    for state, words in {"open": "", "resolved": "&state=resolved", "any": "&state=any"}.items():
        asked = lists.FindingFilter(state=state)
        rows = asked.rows()
        found[f"findings, {state}"] = Deep(rows, asked.order, rows.count(), f"/findings/?{words}")
    found["API disks"] = Deep(
        Disk.objects.all(), lists.BY_ID, Disk.objects.count(), "/api/v1/disks/?"
    )
    found["API volumes"] = Deep(
        Volume.objects.all(), lists.BY_ID, Volume.objects.count(), "/api/v1/volumes/?"
    )
    found["API findings"] = Deep(
        lists.FindingFilter().rows(), lists.WORST_FIRST, Finding.objects.to_see().count(),
        "/api/v1/findings/?",
    )  # fmt: skip
    return found


def offset_page(deep: Deep, place: int, size: int) -> list[Any]:
    """What Django's Paginator asks for: the count, and the rows by their number."""
    from django.core.paginator import Paginator
    from django.db.models import F

    column = deep.order.column
    ends = (column.desc(nulls_last=True), F("pk").desc()) if deep.order.descending else (
        column.asc(nulls_last=True), F("pk").asc())  # fmt: skip
    rows = deep.rows.annotate(place=column).order_by(*ends)
    return list(Paginator(rows, size).get_page(place // size + 1).object_list)


def searches(place: Any, smallest: int, luck: random.Random) -> dict[str, Iterator[str]]:
    """Addresses of searches and filters, endlessly."""
    from benchmarks.datacenter import CODES
    from chains.inventory import lists

    def chain() -> str:
        return f"vm{luck.randrange(place.disk_count):06}"

    def forever(make: Callable[[], str]) -> Iterator[str]:
        while True:
            yield make()

    one, at = luck.choice, f"/domains/{place.pk}/"
    severities = ("any", *lists.SEVERITIES)
    made: dict[str, Callable[[], str]] = {
        "the overview": lambda: "/", "all domains": lambda: "/domains/",
        "a domain that is drawn": lambda: f"/domains/{smallest}/",
        "disks: a name": lambda: f"{at}?q={chain()}",
        "disks: a part of names": lambda: f"{at}?q={chain()[2:6]}&sort={one(list(lists.DISK_ORDERS))}",
        "disks: a VM": lambda: f"{at}?q=guest-{luck.randrange(16**3):03x}",
        "disks: two letters": lambda: f"{at}?q={luck.randrange(256):02x}",
        "disks: nothing of the name": lambda: f"{at}?q=none{luck.randrange(10**6)}",
        "disks: with findings": lambda: f"{at}?severity={one(severities)}&sort=-{one(list(lists.DISK_ORDERS))}",
        "disks: deep chains": lambda: f"{at}?depth={luck.randrange(2, 30)}",
        "disks: in use or not": lambda: f"{at}?in_use={one(lists.USES)}",
        "disks: all filters": lambda: f"{at}?q={chain()[:5]}&in_use=yes&depth=3&severity=any",
        "volumes: a path": lambda: f"{at}volumes/?q={chain()}",
        "volumes: a part of paths": lambda: f"{at}volumes/?q={chain()[2:6]}",
        "volumes: nothing of the path": lambda: f"{at}volumes/?q=none{luck.randrange(10**6)}",
        "volumes: format and use": lambda: f"{at}volumes/?image_format={one(lists.FORMATS)}&in_use={one(lists.USES)}",
        "volumes: not seen": lambda: f"{at}volumes/?seen=no",
        "findings: a domain": lambda: f"/findings/?domain={luck.randrange(1, 7)}",
        "findings: severity and code": lambda: f"/findings/?severity={one(lists.SEVERITIES)}&code={one(CODES)}",
        "findings: code in a domain": lambda: f"/findings/?domain={luck.randrange(1, 7)}&code={one(CODES)}",
        "findings: a path": lambda: f"/findings/?q={chain()}&state={one(lists.STATES)}",
        "findings: acknowledged": lambda: "/findings/?state=acknowledged",
        "a template with its clones": lambda: "/volumes/1/",
        "a volume": lambda: f"/volumes/{luck.randrange(2, place.volume_count)}/",
        "activity": lambda: "/activity/",
        "API disks: a name": lambda: f"/api/v1/disks/?q={chain()}",
        "API disks: of a domain": lambda: f"/api/v1/disks/?domain={place.pk}&in_use={one(lists.USES)}",
        "API volumes: a path": lambda: f"/api/v1/volumes/?q={chain()}",
        "API volumes: of a domain": lambda: f"/api/v1/volumes/?domain={place.pk}&in_use={one(lists.USES)}",
        "API findings: filters": lambda: f"/api/v1/findings/?domain={luck.randrange(1, 7)}&severity={one(lists.SEVERITIES)}",
    }  # fmt: skip
    return {name: forever(make) for name, make in made.items()}


def measure(folder: Path, volumes: int, views: int) -> None:
    """Fill the database, then ask for every list."""
    # Models can be imported once Django is set up.
    from django.contrib.auth import get_user_model
    from django.test import Client

    from benchmarks.datacenter import fill
    from chains.inventory.paging import PAGE
    from chains.models import Disk, Finding, StorageDomain, Volume

    print(f"{machine()}; in {folder}")
    start = time.perf_counter()
    places = fill(volumes)
    counts = ", ".join(
        f"{model.objects.count():,} {words}"
        for model, words in ((Volume, "volumes"), (Disk, "disks"), (Finding, "findings"))
    )
    print(f"{counts} written in {time.perf_counter() - start:.0f} s")
    large = StorageDomain.objects.get(pk=places[0].pk)
    person = get_user_model().objects.create(username="benchmark", role="operator")
    client = Client()
    client.force_login(person)
    luck = random.Random(1)

    def ask(url: str) -> None:
        assert client.get(url).status_code == 200, url

    reached = []
    print(f"{'at random places':34} {'p50':>7} {'p95':>7} ms   Paginator's queries: p50, p95 ms")
    for name, deep in deep_lists(large).items():
        ours, peer = _deep(deep, ask, luck, views, PAGE)
        reached.append(percentiles(ours)[1])
        middle, most = percentiles(peer)
        print(f"{name:34} {_line(ours):22} {middle:7.0f} {most:7.0f}")
    print("searches and filters")
    for name, urls in searches(large, places[-1].pk, luck).items():
        for url in islice(urls, WARM):
            ask(url)
        taken = [timed(partial(ask, next(urls))) for _ in range(views)]
        reached.append(percentiles(taken)[1])
        print(f"{name:34} {_line(taken)}")
    disks = list(
        Disk.objects.filter(domain=large, layers__gt=5).values_list("pk", flat=True)[:5000]
    )
    taken = [timed(partial(ask, f"/disks/{luck.choice(disks)}/")) for _ in range(views)]
    reached.append(percentiles(taken)[1])
    print(f"{'a disk':34} {_line(taken)}")
    print(f"the slowest p95 of {len(reached)} lists: {verdict(max(reached), LIMIT_MS, at_least=False)} ms")  # fmt: skip


def _deep(
    deep: Deep, ask: Callable[[str], None], luck: random.Random, views: int, size: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of our pages and of the peer's queries, in turn, at the same places."""
    from chains.inventory.paging import Cursor

    ours: list[float] = []
    peer: list[float] = []
    for view in range(views + WARM):
        # The first page, then places anywhere.
        place = 0 if view < WARM else luck.randrange(deep.count // size) * size
        rows: list[Any] = []
        waited = timed(lambda: rows.extend(offset_page(deep, place, size)))  # noqa: B023 - called at once
        row = rows[0]
        cursor = Cursor(row.place, row.pk, luck.random() < 0.3).to_text(deep.order)
        url = deep.url if place == 0 else f"{deep.url}&cursor={cursor}"
        took = timed(partial(ask, url))
        if view >= WARM:
            ours.append(took)
            peer.append(waited)
    return ours, peer


def _line(taken: list[float]) -> str:
    middle, most = percentiles(taken)
    return f"{middle:7.0f} {most:7.0f} {'MISSED' if most > LIMIT_MS else ''}"


def main() -> None:
    """Run the benchmark on an embedded database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--volumes", type=int, default=1_000_000)
    parser.add_argument("--views", type=int, default=40, help="places of each list")
    parser.add_argument("--dir", help="where the database is (default: the temporary directory)")
    options = parser.parse_args()
    embedded(options.dir, partial(measure, volumes=options.volumes, views=options.views))


if __name__ == "__main__":
    main()
