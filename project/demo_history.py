"""A past for the demo's domains, which were made a minute ago: made up, and marked so wherever it is shown.

    python -m project.demo_history

It waits for the first scans of the domains and gives each of them a quarter of a year of notes, once:
snapshots that came and were merged again, and a domain that fills. What scans found later is real.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chains.models import Disk, DiskHistory, DomainHistory, StorageDomain

DAYS: Final = 90
PATIENCE_SECONDS, POLL_SECONDS = 60.0, 0.3
MIB: Final = 1024**2
# How far what is free now would last, in days; the others do not fill.
FILLS: Final = {"demo": 64.0, "ovirt-nfs": 150.0}


@dataclass(frozen=True)
class State:
    """A disk on a day; sizes are bytes."""

    snapshots: int
    held: int
    winnable: int
    to_copy: int
    breaches: int


def make_up(domain: "StorageDomain", now: datetime) -> bool:
    """Give a domain a past that ends before its first note; whether it had none before."""
    from chains.models import DiskHistory, DomainHistory

    first = domain.history.order_by("at").values_list("at", flat=True).first()
    if first is None or first < now - timedelta(days=1) or not domain.disks.exists():
        return False  # it has a past, or nothing to have one
    disks = list(domain.disks.all())
    pasts = {disk.pk: list(_past(disk)) for disk in disks}
    DiskHistory.objects.bulk_create(
        note for disk in disks for note in _disk_notes(disk, pasts[disk.pk], now)
    )
    DomainHistory.objects.bulk_create(_domain_notes(domain, disks, pasts, now))
    return True


def _past(disk: "Disk") -> Iterator[State]:
    """How it stood on each of the days, the oldest first: towards how it stands now."""
    luck = random.Random(disk.name)  # noqa: S311 - a story, no secret
    own, last = disk.snapshots or 0, State(
        disk.snapshots or 0, disk.snapshot_bytes or 0, disk.winnable or 0, disk.to_copy or 0, disk.breaches or 0,
    )  # fmt: skip
    # Before an update somebody takes a snapshot, and merges it some days later.
    updates = [
        (day, day - luck.randrange(2, 9))
        for day in luck.sample(range(12, DAYS), luck.randrange(1, 3))
    ]
    born = sorted(luck.randrange(4, DAYS + 25) for _ in range(own))
    for day in range(DAYS, 0, -1):
        there = sum(age >= day for age in born)
        share = there / own if own else 0.0
        state = State(
            there, int(last.held * share), int(last.winnable * share), int(last.to_copy * share),
            last.breaches if there == own else max(0, last.breaches - 1),
        )  # fmt: skip
        extra = sum(first >= day > end for first, end in updates)
        written = extra * (2 + day % 5) * MIB
        yield replace(
            state, snapshots=there + extra, held=state.held + extra * disk.on_disk // 3 + written,
            winnable=state.winnable + written, to_copy=state.to_copy + written,
        )  # fmt: skip


def _disk_notes(disk: "Disk", past: Sequence[State], now: datetime) -> Iterator["DiskHistory"]:
    from chains.models import DiskHistory

    before: State | None = None
    taken = now - timedelta(days=DAYS + 3)
    for age, state in zip(range(DAYS, 0, -1), past, strict=True):
        if state == before:
            continue
        if before is not None and state.snapshots > before.snapshots == 0:
            taken = now - timedelta(days=age)
        before = state
        since = min(taken, disk.snapshot_since) if disk.snapshot_since else taken
        yield DiskHistory(
            domain_id=disk.domain_id, disk=disk, disk_number=disk.pk, name=disk.name, vm=disk.vm,
            at=now - timedelta(days=age), layers=disk.layers - (disk.snapshots or 0) + state.snapshots,
            virtual_size=disk.virtual_size, on_disk=disk.on_disk, findings=disk.findings,
            severity=disk.severity, snapshots=state.snapshots, snapshot_bytes=state.held,
            snapshot_since=since if state.snapshots else None, shadowed=None if state.snapshots else 0,
            winnable=state.winnable, to_copy=state.to_copy, breaches=state.breaches,
        )  # fmt: skip


def _domain_notes(
    domain: "StorageDomain", disks: Sequence["Disk"], pasts: dict[int, list[State]], now: datetime
) -> Iterator["DomainHistory"]:
    from chains.models import DomainHistory

    luck = random.Random(domain.name)  # noqa: S311
    free, lasts = domain.free or 0, FILLS.get(domain.name)
    for place, age in enumerate(range(DAYS, 0, -1)):
        states = [pasts[disk.pk][place] for disk in disks]
        grown = free / lasts * age * luck.uniform(0.9, 1.1) if lasts else -free * 0.0004 * age
        layers = [
            d.layers - (d.snapshots or 0) + s.snapshots for d, s in zip(disks, states, strict=True)
        ]
        held = sum(state.held for state in states)
        yield DomainHistory(
            domain=domain, at=now - timedelta(days=age), made_up=True, disks=len(disks),
            volumes=sum(layers), deepest=max(layers), virtual=domain.virtual_total,
            on_disk=max(held, int(domain.on_disk_total) - sum(d.snapshot_bytes or 0 for d in disks) + held),
            capacity=domain.capacity, free=min(int(free + grown), domain.capacity or 0),
            critical=domain.critical_count, warning=domain.warning_count, info=domain.info_count,
            snapshots=sum(s.snapshots for s in states), snapshot_bytes=held, shadowed=0,
            winnable=sum(s.winnable for s in states), breaches=sum(s.breaches for s in states),
        )  # fmt: skip


def main() -> None:
    """Wait for the scans of the demo's domains, and give each its past as soon as it is known."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from django.db import transaction
    from django.utils import timezone

    from chains.inventory.services import UNFINISHED
    from chains.models import ScanKind, StorageDomain
    from project.demo import demo_names

    waiting = set(demo_names())
    asked: set[int] = set()
    until = time.monotonic() + PATIENCE_SECONDS
    while waiting and time.monotonic() < until:
        for domain in StorageDomain.objects.filter(name__in=waiting, last_scan__isnull=False):
            if domain.pk not in asked:
                asked.add(domain.pk)
                _map(domain)
            elif not domain.scans.filter(kind=ScanKind.BLOCKS, state__in=UNFINISHED).exists():
                with transaction.atomic():
                    row = StorageDomain.objects.select_for_update().get(pk=domain.pk)
                    make_up(row, timezone.now())
                waiting.discard(domain.name)
        time.sleep(POLL_SECONDS)


def _map(domain: "StorageDomain") -> None:
    """Have the block maps read that tell what is shadowed."""
    from chains.inventory.services import request_blocks

    for disk in domain.disks.filter(snapshots__gt=0).exclude(severity="critical"):
        request_blocks(disk, None)


if __name__ == "__main__":
    main()
