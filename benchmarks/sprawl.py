"""The sprawl report of 100,000 disks in twenty domains: pages, dates, comparisons, files.

    python -m benchmarks.sprawl [--disks N] [--views N] [--sample N] [--dir DIR]

The inventory is written straight into an embedded database: see sprawl_filling.py. Pages are asked for
through Django's test client: middleware, session, template and all. The named peer is a query for each
disk, summed up in Python: run on a sample, and its time extrapolated.
"""

import argparse
import os
import random
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.database import embedded
from benchmarks.inventory_pages import percentiles, timed
from benchmarks.measuring import machine, verdict

PAGE_MS, FIRST_BYTE_MS, RATIO, FLAT_MIB = 100.0, 1000.0, 100.0, 16.0
WARM = 3


def urls(days: dict[str, str]) -> dict[str, str]:
    """What is asked for, by what it is called; the live pages first."""
    live = {
        "by datacenter": "by=datacenter", "by domain": "by=domain", "by VM": "by=vm", "by disk": "by=disk",
        "by disk, the oldest first": "by=disk&sort=oldest_snapshot", "by VM of a datacenter": "by=vm&datacenter=dc1",
        "disks of a domain": "by=disk&domain=3", "disks named alike": "by=disk&q=guest-0012",
        "breaches only, by domain": "breaches=1", "five snapshots and more, by disk": "by=disk&snapshots=5",
    }  # fmt: skip
    past = {
        "as of a day, by domain": f"as_of={days['then']}", "as of a day, by disk": f"by=disk&as_of={days['then']}",
        "two days compared, by domain": f"as_of={days['before']}&with={days['now']}",
        "two days compared, by disk": f"by=disk&as_of={days['before']}&with={days['now']}",
    }  # fmt: skip
    others = {
        "the overview": "/", "all domains": "/domains/", "a domain": "/domains/3/", "its volumes": "/domains/3/volumes/",
        "findings": "/findings/", "activity": "/activity/", "the audit trail": "/audit/",
    }  # fmt: skip
    return {name: f"/sprawl/?{words}" for name, words in (live | past).items()} | others


def measure(folder: Path, disks: int, views: int, sample: int) -> None:
    """Fill the database, then ask for every page and file."""
    from datetime import timedelta

    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.utils import timezone

    from benchmarks.sprawl_filling import fill

    print(f"{machine()}; in {folder}")
    fill(disks)
    client = Client()
    client.force_login(get_user_model().objects.create(username="benchmark", role="auditor"))
    ages = {"now": 0, "then": 5, "before": 40}
    days = {
        name: (timezone.now() - timedelta(days=age)).date().isoformat()
        for name, age in ages.items()
    }

    def ask(url: str) -> None:
        assert client.get(url).status_code == 200, url

    reached = {}
    print(f"{'page':34} {'p50':>7} {'p95':>7} ms")
    for name, url in urls(days).items():
        for _ in range(WARM):
            ask(url)
        middle, most = percentiles([timed(partial(ask, url)) for _ in range(views)])
        reached[name] = most
        print(f"{name:34} {middle:7.0f} {most:7.0f}")
    live = [most for name, most in reached.items() if "days" not in name and "as of" not in name]
    print(
        f"the slowest p95 of {len(live)} live pages: {verdict(max(live), PAGE_MS, at_least=False)} ms"
    )
    _peer(disks, sample, reached["by domain"])
    for kind in ("csv", "json", "print"):
        _file(client, kind)


def _peer(disks: int, sample: int, ours: float) -> None:
    """A query for each disk, summed up by domain."""
    from chains.models import Disk

    sums: dict[Any, int] = defaultdict(int)
    chosen = random.Random(1).sample(list(Disk.objects.values_list("pk", flat=True)), sample)
    start = time.perf_counter()
    for pk in chosen:
        row = Disk.objects.select_related("domain").get(pk=pk)
        sums[row.domain.name] += row.snapshot_bytes or 0
    taken = (time.perf_counter() - start) * 1000 / sample * disks
    print(
        f"a query for each disk: {taken / 1000:.0f} s for all: {verdict(taken / ours, RATIO)} × the page by domain"
    )


def _file(client: Any, kind: str) -> None:
    """All disks as a file: how long until its first byte, how long for all, and what memory it takes."""
    start = time.perf_counter()
    parts = iter(client.get(f"/sprawl/?by=disk&format={kind}").streaming_content)
    size = len(next(parts))
    first = (time.perf_counter() - start) * 1000
    held = []
    for part in parts:
        size += len(part)
        held.append(_resident())
    taken = time.perf_counter() - start
    grown = (max(held) - held[len(held) // 10]) / 1024**2
    print(
        f"{kind:6} first byte after {verdict(first, FIRST_BYTE_MS, at_least=False)} ms, {size / 1e6:.0f} MB in {taken:.1f} s"
        f", grown by {verdict(grown, FLAT_MIB, at_least=False)} MiB from the first tenth on"
    )


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run the benchmark on an embedded database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--disks", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=40)
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--dir", help="where the database is (default: the temporary directory)")
    options = parser.parse_args()
    run = partial(measure, disks=options.disks, views=options.views, sample=options.sample)
    embedded(options.dir, run)


if __name__ == "__main__":
    main()
