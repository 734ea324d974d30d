"""What a block map tells of the snapshots of disks, on their rows as soon as a worker has read it."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from chains.core.sprawl import Figures, Own, figures, is_still
from chains.inventory import bulk, families, history, selectors
from chains.inventory.history import DiskState
from chains.models import BlockMap, Disk, StorageDomain, Volume, VolumeMap

_MAPPED = ("shadowed", "winnable", "to_copy")  # what only a map tells, or tells better


def refresh(disk: Disk) -> None:
    """Bring the figures of all disks that share a root with this one up to date.

    What follows from headers alone stays as the last scan found it; so do families too large to measure.
    """
    family = selectors.family_of(disk.active)
    if len(family) > families.MAX_FAMILY:
        return
    with transaction.atomic():
        domain = StorageDomain.objects.select_for_update().get(pk=disk.domain_id)
        found = _found(family)
        rows = Disk.objects.filter(pk__in=list(found), snapshots__isnull=False)
        changed = [row for row in rows if _take(row, found[row.pk])]
        bulk.update(Disk, _MAPPED, [
            (row.pk, *(getattr(row, name) for name in _MAPPED)) for row in changed
        ])  # fmt: skip
        states = {row.pk: DiskState.of(row) for row in changed}
        if states:
            now = timezone.now()
            history.record_disks(domain, states, {}, now)
            history.record_domain(domain, now)


def _found(family: Sequence[Volume]) -> dict[int, Figures]:
    """The figures of the disks above these volumes, as their stored maps tell them."""
    dead = _dead(family)
    leaves = families.leaves_over(family)
    by_pk = {volume.pk: volume for volume in family}
    maps = BlockMap.objects.filter(disk__active__in=by_pk, error="", to_copy__isnull=False)
    copies = {
        pk: (then, found) for pk, then, found in maps.values_list("disk", "fingerprint", "to_copy")
    }
    found = {}
    for pk, active in Disk.objects.filter(active__in=by_pk).values_list("pk", "active"):
        chain = families.down(by_pk[active], by_pk)
        own = [chain[0], *(layer for layer in chain[1:] if leaves.get(layer.pk) == 1)]
        then, to_copy = copies.get(pk, ("", None))
        found[pk] = figures(
            chain[0].virtual_size,
            [Own(layer.on_disk, dead.get(layer.pk)) for layer in own],
            min((layer.modified for layer in own[1:]), default=None),
            to_copy if _is_of(then, chain) else None,
        )
    return found


def _dead(family: Sequence[Volume]) -> dict[int, int]:
    frozen = {volume.backing_id for volume in family}
    now = {volume.pk: volume for volume in family}
    rows = VolumeMap.objects.filter(volume__in=now, unreachable__isnull=False)
    return {
        pk: dead or 0
        for pk, dead, then in rows.values_list("volume", "unreachable", "fingerprint")
        if is_still(then, now[pk].fingerprint, written=pk not in frozen)
    }


def _is_of(then: str, chain: Sequence[Volume]) -> bool:
    """Whether a block map is of this chain, top first, as it is now."""
    stored = then.split("\n")
    return len(stored) == len(chain) and all(
        is_still(text, volume.fingerprint, written=at == 0)
        for at, (text, volume) in enumerate(zip(stored, chain, strict=True))
    )


def _take(row: Disk, found: Figures) -> bool:
    """Take the figures over; whether any differs."""
    told = {name: getattr(found, name) for name in _MAPPED}
    differs = any(getattr(row, name) != value for name, value in told.items())
    for name, value in told.items():
        setattr(row, name, value)
    return differs
