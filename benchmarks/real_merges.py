"""Real merges in this process, with a database of their own: what other benchmarks watch."""

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import images
from benchmarks.measuring import run_tool

if TYPE_CHECKING:
    from chains.models import Merge

STRATEGIES = ("commit", "rebase", "convert")


@contextmanager
def database(folder: Path) -> Iterator[None]:
    """Django, set up on an embedded server that lives in `folder` and goes with it."""
    import django

    from project.postgres import acquire

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from django.db import connections

    from project.postgres_commands import use
    from project.postgres_schema import migrate_if_needed

    with acquire(folder) as lease:
        use(lease.url)
        migrate_if_needed()
        yield
        connections.close_all()
    lease.wait_stopped()


def chain(folder: Path, mib: int, seed: int = 1) -> None:
    """Write a chain of three layers whose lower two show about `mib` MiB: runs here and there, some
    over others, on a disk four times as large.
    """
    luck = random.Random(seed)
    below = ""
    for number, (name, count) in enumerate(
        (("base", mib // 50), ("snap", mib // 50), ("top", mib // 500))
    ):
        path = folder / f"{name}.qcow2"
        over = ["-b", below, "-F", "qcow2"] if below else []
        run_tool(["qemu-img", "create", "-q", "-f", "qcow2", *over, str(path), f"{4 * mib}M"])
        for _ in range(count):
            start, length = luck.randrange(4 * mib - 64), luck.choice([8, 16, 32, 32, 64])
            write = f"write -P {number + 1} {start}M {length}M"
            run_tool(["qemu-io", "-f", "qcow2", "-c", write, str(path)])
        below = path.name


def asked(folder: Path, strategy: str) -> "Merge":
    """Scan the folder as a domain, and ask for the merge of base and snap; nobody has begun it."""
    from chains.inventory import services as inventory
    from chains.inventory.scan import scan_domain
    from chains.merges import services
    from chains.models import Volume

    domain = inventory.add_domain(folder.name, str(folder), "directory", "here")
    domain.keep_seconds = 0
    domain.save()
    scan_domain(domain)
    volumes = Volume.objects.filter(domain=domain)
    services.read_maps_for(volumes.get(path="top.qcow2"))
    images.drop_caches(sorted(folder.iterdir()))
    return services.request_merge(
        volumes.get(path="base.qcow2"), volumes.get(path="snap.qcow2"), None, "benchmark",
        strategy=strategy, queue=False,
    )  # fmt: skip


def carry_out(merge: "Merge") -> None:
    """Run a merge to its end; raises SystemExit when it does not succeed."""
    from chains.merges import runner

    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    if merge.state != "succeeded":
        raise SystemExit(f"merge {merge.pk} {merge.state}: {merge.message}")
