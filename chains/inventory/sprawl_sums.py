"""The figures of the disks of whole domains, kept current on the rows of these: pages add up a few of them."""

# ruff: noqa: S608 - every word of these statements is our own; what is asked for goes in as parameters

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from chains.models import StorageDomain

FIGURES: Final[Mapping[str, str]] = {
    "disks": "count(*)",
    "snapshots": "sum(d.snapshots)",
    "depth": "max(d.layers)",
    "oldest_snapshot": "min(d.snapshot_since)",
    "snapshot_bytes": "sum(d.snapshot_bytes)",
    "shadowed": "sum(d.shadowed)",
    "winnable": "sum(d.winnable)",
    "to_copy": "sum(d.to_copy)",
    "breaches": "sum(d.breaches)",
    "breaching": "count(*) FILTER (WHERE d.breaches > 0)",
    "snapped": "count(*) FILTER (WHERE d.snapshots > 0)",
    "mapped": "count(*) FILTER (WHERE d.snapshots > 0 AND d.shadowed IS NOT NULL)",
    "unknown": "count(*) FILTER (WHERE d.snapshots IS NULL)",
}
"""Of a group of disks d; what is not known is left out of a sum, and counted."""
_SUMS: Final = f"SELECT {', '.join(FIGURES.values())} FROM chains_disk d WHERE d.domain_id = %s"


class Figures(NamedTuple):
    """Of some disks; sizes are bytes. None: not known of any of them, or not recorded then.

    `snapped` have snapshots, `mapped` of these have a block map, so that `shadowed` holds what is hidden in
    them; `breaching` exceed a threshold; of `unknown` nothing but layers was recorded.
    """

    disks: int
    snapshots: int | None
    depth: int | None
    oldest_snapshot: datetime | None
    snapshot_bytes: int | None
    shadowed: int | None
    winnable: int | None
    to_copy: int | None
    breaches: int | None
    breaching: int
    snapped: int
    mapped: int
    unknown: int

    @property
    def is_mapped(self) -> bool:
        """Whether all that is shadowed is known."""
        return self.mapped == self.snapped and not self.unknown

    @property
    def is_partly_mapped(self) -> bool:
        """Whether some of it is."""
        return self.mapped > 0 and not self.is_mapped


_ADDED: Final = tuple(n for n in Figures._fields if n not in ("depth", "oldest_snapshot"))
NOTHING: Final = Figures(0, 0, None, None, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def figures(values: Sequence[Any]) -> Figures:
    """From a row of a query for FIGURES."""
    plain: list[Any] = [int(v) if isinstance(v, Decimal) else v for v in values]
    return _honest(Figures._make(plain))


def summed(parts: Iterable[Figures]) -> Figures:
    """The figures of all disks of some groups together."""
    rows = list(parts)

    def known(name: str) -> list[Any]:
        return [value for row in rows if (value := getattr(row, name)) is not None]

    added: dict[str, Any] = {
        name: sum(known(name)) if known(name) or not rows else None for name in _ADDED
    }  # fmt: skip
    return _honest(Figures(
        **added, depth=max(known("depth"), default=None),
        oldest_snapshot=min(known("oldest_snapshot"), default=None),
    ))  # fmt: skip


def _honest(found: Figures) -> Figures:
    """A sum is zero where there is nothing, and not known where nothing of it is known."""
    if not found.disks:
        return NOTHING
    if found.snapped and not found.mapped:
        return found._replace(shadowed=None)  # zero is what disks without a snapshot have
    return found


def keep(domain: StorageDomain) -> Figures:
    """Add up the disks of a domain, and note it on its row: whoever has changed disks calls this."""
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, [domain.pk])
        found = figures(cursor.fetchone())
    since = found.oldest_snapshot
    kept = found._asdict() | {"oldest_snapshot": since.isoformat() if since else None}
    if domain.sprawl != kept:
        StorageDomain.objects.filter(pk=domain.pk).update(sprawl=kept)
        domain.sprawl = kept
    return found


def kept(domain: StorageDomain) -> Figures | None:
    """What was noted; None where the domain has not been scanned for this yet."""
    stored = domain.sprawl
    if stored is None or set(stored) != set(Figures._fields):
        return None
    since = stored["oldest_snapshot"]
    return Figures(
        **{**stored, "oldest_snapshot": datetime.fromisoformat(since) if since else None}
    )
