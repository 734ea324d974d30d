"""Whether a domain can be reached, and since when it can not."""

import os
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from chains.inventory.known import Known
from chains.inventory.reading import Reading, UnreachableError
from chains.models import StorageDomain
from chains.storage.directory import shares_blocks
from chains.storage.types import Space


def device_of(path: str) -> int | None:
    """The device that a domain's directory is on; None for what is no directory of this host."""
    try:
        return os.stat(path).st_dev if os.path.isdir(path) else None
    except OSError:
        return None


def still_mounted(domain: StorageDomain, reading: Reading, known: Mapping[str, Known]) -> None:
    """Raises UnreachableError when the directory is there and its storage is not.

    What lies under a mount point is another file system, and none of the volumes is in it.
    """
    before, device = domain.root_device, device_of(domain.path)
    if (
        before is not None and device != before
        and known and not set(known) & set(reading.forest.layers)
    ):  # fmt: skip
        raise UnreachableError(
            f"{domain.path_text} is there, but it is another file system than at the last scan and holds"
            " none of the volumes: mount the storage domain. The inventory stays as it was."
        )


def note_unreachable(domain: StorageDomain, why: str) -> None:
    """Note why, and since when, unless that is known already."""
    rows = StorageDomain.objects.filter(pk=domain.pk)
    rows.exclude(unreachable=why).update(unreachable=why)
    rows.filter(unreachable_since=None).update(unreachable_since=timezone.now())


def looked_at(domain: StorageDomain, reading: Reading, space: Space) -> dict[str, Any]:
    """What the domain as a whole is like now, as the columns of its row; this asks its storage."""
    return {
        "capacity": space.capacity, "free": space.free, "unreachable": "", "unreachable_since": None,
        "root_device": device_of(domain.path), "facts": dict(reading.facts),
        "shares_blocks": not domain.forbidden and shares_blocks(domain.path),
    }  # fmt: skip
