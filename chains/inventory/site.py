"""What the rules of findings need to know of a domain beside its forest."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chains.core.findings import Code
from chains.core.forest import Forest
from chains.core.rules import Site
from chains.core.sprawl import is_still
from chains.core.thresholds import Thresholds
from chains.inventory import history
from chains.inventory.reading import Reading
from chains.inventory.usage import Usage
from chains.models import BlockMap, GlobalThresholds, StorageDomain, Volume, VolumeMap
from chains.storage.types import Space

# What only a scan of all volumes finds, and so only it may resolve; the records of a management system
# are among it (Driver.judge).
WHOLE_DOMAIN = frozenset({
    Code.UNREFERENCED, Code.IN_USE_UNKNOWN, Code.LEFTOVER, Code.SPACE_LOW, Code.SPACE_ENDS,
    Code.FOLDER_UNREADABLE, Code.NAME_TOO_LONG, Code.SEVERAL_LEAFS, Code.VOLUME_ILLEGAL, Code.VOLUME_FAKE,
    Code.PASSING_LONG, *(code for code in Code if code.startswith(("metadata-", "tag-", "engine-"))),
})  # fmt: skip


def thresholds_of(domain: StorageDomain) -> Thresholds:
    """Those of all domains, changed by the domain's own."""
    return Thresholds.of(global_thresholds(), domain.thresholds)


def global_thresholds() -> dict[str, int]:
    """What an admin has set for all domains."""
    row = GlobalThresholds.objects.first()
    return dict(row.values) if row else {}


def site_of(
    domain: StorageDomain, reading: Reading, usage: Usage, space: Space | None, now: datetime
) -> Site:
    """The domain as the rules take it; no `space` for a part of it."""
    failed = BlockMap.objects.filter(disk__domain=domain).exclude(error="")
    return Site(
        reading.forest, reading.notes, thresholds_of(domain), now.timestamp(), usage.states,
        _dead(domain, reading), _copies(domain, reading), _checks(domain, reading),
        dict(failed.values_list("disk__active__path", "error")), usage.leftovers,
        space.capacity if space else None, space.free if space else None,
        history.growth(domain, space.free, now) if space else None, usage.locks_prove,
    )  # fmt: skip


def _dead(domain: StorageDomain, reading: Reading) -> dict[str, int]:
    """What no guest reads of the volumes that are mapped as they are now."""
    layers, overlays = reading.forest.layers, reading.forest.overlays
    rows = VolumeMap.objects.filter(volume__domain=domain, unreachable__isnull=False).order_by()
    return {
        path: dead or 0
        for path, dead, then in rows.values_list("volume__path", "unreachable", "fingerprint")
        if path in layers
        and is_still(then, layers[path].fingerprint.to_text(), written=path not in overlays)
    }


def _copies(domain: StorageDomain, reading: Reading) -> dict[str, list[int]]:
    """What merges copy of the chains that are mapped as they are now, by their leaves."""
    rows = BlockMap.objects.filter(disk__domain=domain, to_copy__isnull=False, error="").order_by()
    return {
        leaf: copies or []
        for leaf, copies, then in rows.values_list("disk__active__path", "to_copy", "fingerprint")
        if _is_chain(leaf, then.split("\n"), reading.forest)
    }


def _is_chain(leaf: str, then: Sequence[str], forest: Forest) -> bool:
    """Whether these fingerprints, top first, are of the chain below a leaf."""
    path: str | None = leaf
    for at, stored in enumerate(then):
        layer = forest.layers.get(path or "")
        if layer is None or not is_still(stored, layer.fingerprint.to_text(), written=at == 0):
            return False
        path = layer.backing_path
    return path is None


def _checks(domain: StorageDomain, reading: Reading) -> dict[str, dict[str, Any]]:
    """What qemu-img check said of the volumes that are still as they were then."""
    rows = Volume.objects.filter(domain=domain, check_result__isnull=False)
    layers = reading.forest.layers
    return {
        path: said
        for path, said in rows.values_list("path", "check_result")
        if said and path in layers and layers[path].fingerprint.to_text() == said.get("fingerprint")
    }
