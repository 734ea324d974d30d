"""The disks of a domain: one a leaf, and the same one when its active layer is frozen below a new one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chains.core.findings import Code, Finding
from chains.core.layer import Layer
from chains.core.names import display
from chains.core.notes import Notes
from chains.core.rules import Site
from chains.core.sprawl import Figures, Own, breaches, figures
from chains.inventory import bulk, history
from chains.inventory.history import DiskState
from chains.models import Disk, StorageDomain

_COLUMNS = (
    "active", "name", "vm", "key", "layers", "virtual_size", "on_disk", "oldest_snapshot",
    "findings", "severity", "breaches", *Figures._fields,
)  # fmt: skip
_VALUES = ("id", "active_id", *_COLUMNS[1:])
_RANK = {"critical": 3, "warning": 2, "info": 1, "": 0}
_NOTHING = Notes()
_ALONE = figures(0, [Own(0)], None, None)


@dataclass
class _Changes:
    new: list[tuple[Any, ...]] = field(default_factory=list)
    changed: list[tuple[Any, ...]] = field(default_factory=list)
    gone: list[tuple[Any, ...]] = field(default_factory=list)


def save_disks(
    domain: StorageDomain, site: Site, ids: Mapping[str, int], findings: Iterable[Finding],
    *, stored: Sequence[tuple[Any, ...]], now: datetime,
) -> bool:  # fmt: skip
    """Bring disks up to date; returns whether any changed. `stored` are the rows in question."""
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    changes = _compare(site, ids, by_path, stored)
    _record(domain, changes, now)
    Disk.objects.filter(pk__in=[row[0] for row in changes.gone]).delete()
    bulk.update(Disk, _COLUMNS, changes.changed)
    bulk.insert(Disk, ("id", "domain", *_COLUMNS), (
        (row[0], domain.pk, *row[1:]) for row in changes.new
    ))  # fmt: skip
    return bool(changes.new or changes.changed or changes.gone)


def stored_disks(
    domain: StorageDomain, volumes: Sequence[int] | None = None
) -> list[tuple[Any, ...]]:
    """The rows of a domain's disks, or of those whose active layer is one of these."""
    rows = domain.disks.order_by()
    if volumes is not None:
        rows = rows.filter(active__in=volumes)
    return list(rows.values_list(*_VALUES))


def _compare(
    site: Site, ids: Mapping[str, int], by_path: Mapping[str, list[Finding]],
    stored: Sequence[tuple[Any, ...]],
) -> _Changes:  # fmt: skip
    paths = {pk: path for path, pk in ids.items()}
    at = {paths[row[1]]: row for row in stored if row[1] in paths}
    changes = _Changes()
    taken: set[int] = set()
    fresh = []
    for leaf, chain in site.chains.items():
        facts = (
            ids[leaf], *_summary(chain, site.notes.get(leaf, _NOTHING), by_path),
            *_figures(site, leaf, chain),
        )  # fmt: skip
        before = at.get(leaf) or _heir(leaf, chain, at, site, taken)
        if before is None:
            fresh.append(facts)
            continue
        taken.add(before[0])
        if before[1:] != facts:
            changes.changed.append((before[0], *facts))
    numbers = bulk.numbers(Disk, len(fresh))
    changes.new = [(pk, *facts) for pk, facts in zip(numbers, fresh, strict=True)]
    changes.gone = [row for row in stored if row[0] not in taken]
    return changes


def _heir(
    leaf: str,
    chain: Sequence[Layer],
    at: Mapping[str, tuple[Any, ...]],
    site: Site,
    taken: set[int],
) -> tuple[Any, ...] | None:
    """The disk whose active layer has been frozen below this new leaf: the same disk, one snapshot on."""
    for layer in chain[1:]:
        row = at.get(layer.path)
        if row is not None and layer.path not in site.chains and row[0] not in taken:
            return row
    return None


def _summary(
    chain: Sequence[Layer], notes: Notes, by_path: Mapping[str, list[Finding]]
) -> tuple[Any, ...]:
    worst = [found.severity.value for layer in chain for found in by_path.get(layer.path, ())]
    mine: list[Code] = [found.code for found in by_path.get(chain[0].path, ())]
    return (
        display(notes.disk_name) or display(chain[0].path), display(notes.vm),
        display(notes.disk_key), len(chain), min(chain[0].virtual_size, 2**63 - 1),
        sum(layer.on_disk for layer in chain),
        _oldest(chain[1:]),
        len(worst), max(worst, key=lambda severity: _RANK[severity], default=""), breaches(mine),
    )  # fmt: skip


def _figures(site: Site, leaf: str, chain: Sequence[Layer]) -> Figures:
    frozen = site.snapshots(chain)
    if not frozen:
        return _ALONE  # as nearly all disks of many domains are
    own = [Own(layer.on_disk, site.dead.get(layer.path)) for layer in (chain[0], *frozen)]
    size = min(chain[0].virtual_size, 2**63 - 1)
    return figures(size, own, _oldest(frozen), site.copies.get(leaf))


def _oldest(layers: Sequence[Layer]) -> datetime | None:
    """When the oldest of these was written last; only its moment is made one, of a million."""
    if not layers:
        return None
    return min(layers, key=lambda layer: layer.fingerprint.mtime_ns).modified


def _record(domain: StorageDomain, changes: _Changes, now: datetime) -> None:
    """In the history, of what is worth drawing: that a guest has written on is told once a day."""
    news = {row[0]: _state(row) for row in (*changes.new, *changes.changed)}
    gone = {row[0]: _state(row) for row in changes.gone}
    history.record_disks(domain, news, gone, now)


def _state(row: Sequence[Any]) -> DiskState:
    _, _, name, vm, _, layers, virtual_size, on_disk, _, findings, severity, *rest = row
    return DiskState(name, layers, virtual_size, on_disk, findings, severity, vm, *rest)
