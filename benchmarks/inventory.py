"""A datacenter's domain: the first scan, a scan of what has not changed, and the loop of qemu-img info.

    python -m benchmarks.inventory [--volumes N] [--chain N] [--sample N] [--rounds N] [--dir DIR]

A domain of sparse qcow2 images is generated, a folder a VM. The named peer is a loop of `qemu-img info`
over the same volumes; it is run on a sample, and its time is extrapolated.
"""

import argparse
import os
import random
import resource
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
from django.db.backends.utils import CursorWrapper

from benchmarks import images
from benchmarks.database import embedded
from benchmarks.measuring import interleaved, machine, run_tool, verdict

FIRST, AGAIN, RATIO, MEMORY = 25.0, 5.0, 20.0, 500.0


def build(root: Path, volumes: int, length: int) -> list[Path]:
    """Chains of `length` layers, each in a folder of its own; returns every path."""
    none = np.zeros(0, np.int64)
    model = root / "model"
    images.write_layer(model, 10 * images.GIB, none)
    first = model.read_bytes()
    images.write_layer(model, 10 * images.GIB, none, backing="0.qcow2")
    overlay = model.read_bytes()
    model.unlink()
    paths = []
    for number in range(volumes):
        vm, layer = divmod(number, length)
        folder = root / f"{vm // 1000:03}" / f"vm{vm:06}"
        if layer == 0:
            folder.mkdir(parents=True)
        path = folder / f"{layer}.qcow2"
        content = overlay.replace(b"0.qcow2", b"%d.qcow2" % (layer - 1), 1) if layer else first
        with path.open("wb") as file:
            file.write(content[: images.CLUSTER])
            for at in range(images.CLUSTER, len(content), images.CLUSTER):
                if part := content[at : at + images.CLUSTER].rstrip(b"\0"):
                    os.pwrite(file.fileno(), part, at)
            os.ftruncate(file.fileno(), len(content))
        paths.append(path)
    return paths


def measure(root: Path, options: argparse.Namespace) -> None:
    """Build, scan, scan again, and run the tool on a sample."""
    from django.db import connection

    from chains.inventory import scan, services
    from chains.models import Disk, StorageDomain, Volume

    start = time.perf_counter()
    paths = build(root, options.volumes, options.chain)
    print(f"{len(paths)} volumes built in {time.perf_counter() - start:.0f} s; {machine()}")
    services.add_domain("benchmark", str(root), "directory", "here")
    first = _timed(scan.scan_domain)
    found = Volume.objects.count(), Disk.objects.count()
    assert found == (len(paths), -(-len(paths) // options.chain)), found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        written = _written(cursor)
    again = [_timed(scan.scan_domain) for _ in range(options.rounds)]
    with connection.cursor() as cursor:
        touched = _written(cursor) - written
    peak_again = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sample = random.Random(1).sample(paths, options.sample)
    argv = ["qemu-img", "info", "--output=json", "-f", "qcow2"]
    tool = interleaved(
        {"info": lambda: [run_tool([*argv, str(path)]) for path in sample]}, options.rounds
    )["info"]
    whole = tool / len(sample) * len(paths)
    middle = statistics.median(again)
    scale = len(paths) / 100_000
    print(f"first scan {verdict(first, FIRST * scale, at_least=False)} s")
    print(f"unchanged, {options.rounds} times: {verdict(middle, AGAIN * scale, at_least=False)} s, "
          f"rows of the inventory written: {touched}")  # fmt: skip
    print(f"memory at the peak {verdict(max(peak, peak_again), MEMORY, at_least=False)} MiB")
    print(
        f"qemu-img info, {len(sample)} of them: {tool / len(sample) * 1000:.1f} ms each, {whole:.0f} s for all:"
        f" {verdict(whole / first, RATIO)} × the first scan, {whole / middle:.0f} × the next"
    )
    assert StorageDomain.objects.get().volume_count == len(paths)


def _timed(scan_domain: object) -> float:
    from chains.models import StorageDomain

    assert callable(scan_domain)
    start = time.perf_counter()
    scan_domain(StorageDomain.objects.get())
    return time.perf_counter() - start


def _written(cursor: CursorWrapper) -> int:
    """Rows inserted, updated and deleted so far in the tables of the inventory."""
    names = ("volume", "disk", "finding", "diskhistory", "domainhistory")
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute(
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
        " WHERE relname = ANY(%s)",
        [[f"chains_{name}" for name in names]],
    )
    return int(cursor.fetchone()[0])


def main() -> None:
    """Run the benchmark on an embedded database of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--volumes", type=int, default=100_000)
    parser.add_argument("--chain", type=int, default=5, help="layers of each chain")
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", help="where it is built (default: the temporary directory)")
    options = parser.parse_args()
    embedded(options.dir, partial(measure, options=options))


if __name__ == "__main__":
    main()
