"""What no guest can reach any more: from the maps of everything that shares a root with a disk."""

from collections.abc import Mapping, Sequence

from chains.core.errors import StrataError
from chains.core.extents import MAX_RUNS, ExtentMap
from chains.core.reach import unreachable
from chains.inventory import blockmaps, selectors
from chains.inventory.drivers import driver_of
from chains.models import Disk, Volume, VolumeMap

# A larger family, or one of which more has not been read yet, is left for when its disks are read:
# the page of one disk should not make a worker read a whole datacenter.
MAX_FAMILY = 2000
MAX_MISSING = 64


def measure_family(disk: Disk) -> None:
    """Find and store what no leaf reads of each volume that shares a root with the disk.

    Leaves that have not been read yet are read, when they are few. Where one can not be, nothing is
    known of the whole family, and that is stored.
    """
    family = selectors.family_of(disk.active)
    maps = _maps(disk, family) if len(family) <= MAX_FAMILY else None
    rows = VolumeMap.objects.filter(volume__in=family)
    if maps is None:
        rows.update(unreachable=None, leaves=None)
        return
    paths = {volume.pk: volume.path for volume in family}
    backing = {volume.path: paths.get(volume.backing_id or 0) for volume in family}
    lost = unreachable(maps, backing)
    leaves = leaves_over(family)
    changed = []
    for row in rows.select_related("volume").defer("data"):
        found, count = lost.get(row.volume.path), leaves.get(row.volume_id)
        if (row.unreachable, row.leaves) != (found, count):
            row.unreachable, row.leaves = found, count
            changed.append(row)
    VolumeMap.objects.bulk_update(changed, ["unreachable", "leaves"], batch_size=500)


def _maps(disk: Disk, family: Sequence[Volume]) -> Mapping[str, ExtentMap] | None:
    """The extents of the whole family by path; None when they are not to be had, or are too many."""
    missing = _missing(family)
    if len(missing) > MAX_MISSING:
        return None
    try:
        for leaf in _leaves_above(family, missing):
            chain = blockmaps.safe_chain(leaf)
            known = blockmaps.known_maps(disk, chain)
            fresh = dict(
                zip(
                    (layer.path for layer in chain.layers),
                    driver_of(disk.domain).maps(chain.root, chain, known, None),
                    strict=True,
                )
            )
            blockmaps.store_layers(
                leaf, chain, {path: found for path, found in fresh.items() if path not in known}
            )
    except StrataError:
        return None
    maps: dict[str, ExtentMap] = {}
    runs = 0
    for row in VolumeMap.objects.filter(volume__in=family).select_related("volume").iterator(64):
        maps[row.volume.path] = ExtentMap.from_bytes(bytes(row.data))
        runs += len(maps[row.volume.path].starts)
        if runs > MAX_RUNS:
            return None
    return maps if len(maps) == len(family) else None


def _missing(family: Sequence[Volume]) -> set[int]:
    """The volumes whose extents are not stored as their files were at the last scan."""
    prints = dict(
        VolumeMap.objects.filter(volume__in=family).values_list("volume_id", "fingerprint")
    )
    return {volume.pk for volume in family if prints.get(volume.pk) != volume.fingerprint}


def _leaves_above(family: Sequence[Volume], missing: set[int]) -> list[Volume]:
    """One leaf above each of the missing volumes: reading its chain reads them."""
    by_pk = {volume.pk: volume for volume in family}
    backed = {volume.backing_id for volume in family}
    chosen, left = [], set(missing)
    for leaf in (volume for volume in family if volume.pk not in backed):
        below = {volume.pk for volume in down(leaf, by_pk)}
        if below & left:
            chosen.append(leaf)
            left -= below
    return chosen


def down(volume: Volume, by_pk: Mapping[int, Volume]) -> list[Volume]:
    """The volume and those of the family below it, top first; a loop is cut where it closes."""
    found: list[Volume] = []
    seen: set[int] = set()
    place: Volume | None = volume
    while place is not None and place.pk not in seen:
        seen.add(place.pk)
        found.append(place)
        place = by_pk.get(place.backing_id or 0)
    return found


def leaves_over(family: Sequence[Volume]) -> dict[int, int]:
    """How many leaves read through each volume, itself when it is one."""
    by_pk = {volume.pk: volume for volume in family}
    backed = {volume.backing_id for volume in family}
    count: dict[int, int] = {}
    for leaf in (volume for volume in family if volume.pk not in backed):
        for volume in down(leaf, by_pk):
            count[volume.pk] = count.get(volume.pk, 0) + 1
    return count
