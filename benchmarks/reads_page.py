"""The page with the redirected reads of a fragmented disk, from the stored map, at many zooms.

    python -m benchmarks.reads_page [--views N] [--dir DIR]

The chain is W2 of images.py: 256 GiB, 10 layers of 50,000 random clusters. A worker's part (read,
store) is done first and timed apart; then the page is asked for at N slices, from the whole disk to
one cluster, none of them seen before. The named peer is what a page would have to do without a stored
map: run `qemu-img map` for each view.
"""

import argparse
import random
import statistics
import time
from functools import partial
from pathlib import Path

from benchmarks import images
from benchmarks.database import embedded
from benchmarks.measuring import interleaved, machine, run_tool, verdict

LIMIT_MS = 200.0


def slices(views: int, size: int) -> list[str]:
    """The whole disk, then random slices of all widths, as queries."""
    luck = random.Random(1)
    found = [""]
    for number in range(views - 1):
        width = max(images.CLUSTER, size >> (number % 22))
        start = luck.randrange(0, size - width + 1) // images.CLUSTER * images.CLUSTER
        found.append(f"?from={start}&to={start + width}")
    return found


def measure(folder: Path, views: int) -> None:
    """Read the chain as a worker does, then ask for its page as a browser does."""
    # Models can be imported once Django is set up.
    from django.contrib.auth import get_user_model
    from django.test import Client

    from chains.inventory import blockmaps, scan, services
    from chains.models import BlockMap, Disk, VolumeMap

    print(machine())
    top = images.build(folder, next(w for w in images.workloads() if w.name == "W2"))
    domain = services.add_domain("benchmark", str(folder), "directory", "here")
    scan.scan_domain(domain)
    disk = Disk.objects.get(domain=domain, active__path=top.name)
    start = time.perf_counter()
    blockmaps.read_disk(disk)
    read = time.perf_counter() - start
    again = time.perf_counter()
    blockmaps.read_disk(disk)
    unchanged = time.perf_counter() - again
    stored = len(BlockMap.objects.get(disk=disk).data or b"") + sum(
        len(row.data) for row in VolumeMap.objects.filter(volume__domain=domain)
    )
    print(
        f"read and stored in {read:.2f} s, {stored / images.MIB:.1f} MiB; "
        f"unchanged, asked again: {unchanged * 1000:.0f} ms"
    )
    person = get_user_model().objects.create(username="benchmark", role="auditor")
    client = Client()
    client.force_login(person)
    client.get("/")  # templates and routes are loaded once
    taken = []
    for query in slices(views, 256 * images.GIB):
        start = time.perf_counter()
        response = client.get(f"/disks/{disk.pk}/{query}")
        taken.append((time.perf_counter() - start) * 1000)
        assert response.status_code == 200
        assert b"dg-guest" in response.content
    taken.sort()
    p95 = taken[int(0.95 * (len(taken) - 1))]
    print(
        f"{views} views: first quarter {taken[len(taken) // 4]:.0f} ms, median "
        f"{statistics.median(taken):.0f} ms, 95 % within {verdict(p95, LIMIT_MS, at_least=False)} ms, "
        f"slowest {taken[-1]:.0f} ms"
    )
    argv = ["qemu-img", "map", "--output=json", "-f", "qcow2", str(top)]
    peer = interleaved({"map": partial(run_tool, argv)}, 3)["map"]
    print(
        f"qemu-img map for each view: {peer:.2f} s, {peer * 1000 / statistics.median(taken):.0f} ×"
    )


def main() -> None:
    """Run the benchmark on an embedded database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--views", type=int, default=100)
    parser.add_argument("--dir", help="where the chain is built (default: the temporary directory)")
    options = parser.parse_args()
    embedded(options.dir, partial(measure, views=options.views))


if __name__ == "__main__":
    main()
