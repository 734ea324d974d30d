"""Whether a domain can be reached, and since when it can not."""

import os
import stat
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from chains.core.names import brief, display
from chains.inventory.known import Known
from chains.inventory.reading import Reading, UnreachableError
from chains.models import StorageDomain
from chains.models.domains import DATACENTER_LIMIT
from chains.storage.directory import shares_blocks
from chains.storage.types import Space


def mark_of(path: str) -> str:
    """What tells a domain's directory from another one at its place; "" for what is no directory."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}" if stat.S_ISDIR(status.st_mode) else ""


def still_mounted(domain: StorageDomain, reading: Reading, known: Mapping[str, Known]) -> None:
    """Raises UnreachableError when a directory is there and the domain's storage is not.

    What lies under a mount point is another directory, and none of the volumes is in it.
    """
    lost = known and known.keys().isdisjoint(reading.forest.layers)
    if lost and domain.root_mark and mark_of(domain.path) != domain.root_mark:
        raise UnreachableError(
            f"{domain.path_text} is another directory than at the last scan and holds none of the"
            f" {len(known)} volumes: mount the storage domain. The inventory stays as it was. If they are gone"
            f" for good, scan it once with manage.py scan_domain {display(domain.name)} --accept-empty."
        )


def note_unreachable(domain: StorageDomain, why: str) -> None:
    """Note why, and since when, unless that is known already."""
    rows = StorageDomain.objects.filter(pk=domain.pk)
    rows.exclude(unreachable=why).update(unreachable=why)
    rows.filter(unreachable_since=None).update(unreachable_since=timezone.now())


def datacenter(domain: StorageDomain, reading: Reading) -> dict[str, str]:
    """What oVirt calls the domain's datacenter, as the columns of its row; {} where that is not known, or
    somebody has set another name by hand.

    Only the metadata of a master domain says it; the others are of the same pool.
    """
    before = str(domain.facts.get("datacenter") or "")
    found = brief(str(reading.facts.get("pool_description") or ""), DATACENTER_LIMIT) or before
    if not found and (pools := reading.facts.get("pools")):
        others = StorageDomain.objects.filter(facts__pools__contains=list(pools)[:1])
        told = others.exclude(pk=domain.pk).values_list("facts", flat=True)
        found = next((str(facts["datacenter"]) for facts in told if facts.get("datacenter")), "")
    return {"datacenter": found} if found and domain.datacenter in ("", before) else {}


def looked_at(domain: StorageDomain, reading: Reading, space: Space) -> dict[str, Any]:
    """What the domain as a whole is like now, as the columns of its row; this asks its storage."""
    named = datacenter(domain, reading)
    return {
        **named, "capacity": space.capacity, "free": space.free, "unreachable": "", "unreachable_since": None,
        "root_mark": mark_of(domain.path), "facts": dict(reading.facts) | named,
        "shares_blocks": not domain.forbidden and shares_blocks(domain.path),
    }  # fmt: skip
