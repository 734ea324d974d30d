"""Reading a storage domain into the inventory. Runs in workers and commands, never in the web process."""

import os
from collections.abc import Callable, Iterable

from django.db import transaction

from chains.core.errors import StrataError
from chains.core.facts import stored_facts
from chains.core.forest import Forest, hints, link, outdated
from chains.core.layer import Layer, read_layer
from chains.core.names import display
from chains.core.paths import real_root
from chains.core.situation import DATA_FILE, ENCRYPTION
from chains.models import BlockMap, Disk, Finding, StorageDomain, Volume
from chains.storage import directory
from chains.storage.locks import in_use

Report = Callable[[int, int], None]
_RANK = {"critical": 3, "warning": 2, "info": 1, "": 0}
_FACTS = (
    "path_text", "format", "virtual_size", "file_size", "on_disk", "cluster_size", "backing_file",
    "backing_format", "backing_path", "features", "header", "fingerprint", "modified",
    "in_use",
)  # fmt: skip
_SUMMARY = (
    "active_id", "name", "layers", "virtual_size", "on_disk", "oldest_snapshot", "findings", "severity",
)  # fmt: skip


class UnreachableError(StrataError):
    """The domain's directory can not be read; the text says why and what to do."""


def read_forest(root: str, report: Report | None = None) -> Forest:
    """Read every header below `root`; raises UnreachableError."""
    try:
        paths = list(directory.list_files(root))
    except OSError as error:
        raise UnreachableError(
            f"{display(root)} can not be read ({error.strerror}): mount it, or correct the path"
        ) from error
    layers: dict[str, Layer] = {}
    real = real_root(root)
    real.listed(paths)
    for number, path in enumerate(paths):
        layers[path] = read_layer(real, path, tables=True)
        if report is not None:
            report(number + 1, len(paths))
    recorded = hints(layers)
    while stale := outdated(layers):
        for path, image_format in stale.items():
            layers[path] = read_layer(real, path, image_format, tables=True)
    kept = {path: layer for path, layer in layers.items() if _is_volume(layer, recorded)}
    return link(kept, root)


def _is_volume(layer: Layer, recorded: Iterable[str]) -> bool:
    return (
        layer.format == "qcow2" or directory.is_image_name(layer.path) or layer.path in recorded
        or bool(layer.findings)
    )  # fmt: skip


def features(layer: Layer) -> list[str]:
    """What a layer carries beside guest data, in the words of a refusal."""
    header = layer.header
    if header is None:
        return []
    found = []
    if header.snapshots:
        found.append(f"{header.snapshots} internal snapshot(s)")
    if header.bitmaps:
        found.append(f"{header.bitmaps} persistent bitmap(s)")
    if header.has_data_file:
        found.append(DATA_FILE)
    if header.encryption:
        found.append(ENCRYPTION)
    return found


def scan_domain(domain: StorageDomain, report: Report | None = None) -> Forest:
    """Read the domain and bring its rows up to date in one transaction; raises UnreachableError.

    A scan that can not read the domain changes nothing but the note that it is unreachable.
    """
    try:
        forest = read_forest(domain.path, report)
        room = directory.space(domain.path)
        shares = not domain.read_only and directory.shares_blocks(domain.path)
    except (UnreachableError, OSError) as error:
        StorageDomain.objects.filter(pk=domain.pk).update(unreachable=str(error))
        raise (
            error if isinstance(error, UnreachableError) else UnreachableError(str(error))
        ) from error
    with transaction.atomic():
        StorageDomain.objects.select_for_update().get(pk=domain.pk)
        save(domain, forest)
        StorageDomain.objects.filter(pk=domain.pk).update(
            capacity=room.capacity, free=room.free, unreachable="", shares_blocks=shares
        )
    return forest


def save(domain: StorageDomain, forest: Forest) -> None:
    """Make the domain's rows say what the forest says, touching only what changed."""
    volumes = _save_volumes(domain, forest)
    _save_findings(domain, forest, volumes)
    _save_disks(domain, forest, volumes)


def facts_of(root: str, layer: Layer) -> dict[str, object]:
    """The columns of a volume that follow from its layer."""
    return {
        "path_text": display(layer.path),
        "format": layer.format,
        "virtual_size": min(layer.virtual_size, 2**63 - 1),
        "file_size": layer.file_size,
        "on_disk": layer.on_disk,
        "cluster_size": layer.cluster_size,
        "backing_file": layer.backing_file,
        "backing_format": None if layer.backing_format is None else display(layer.backing_format),
        "backing_path": layer.backing_path,
        "features": features(layer),
        "header": stored_facts(layer),
        "fingerprint": layer.fingerprint.to_text(),
        "modified": layer.modified,
        "in_use": _in_use(root, layer.path),
    }


def _in_use(root: str, path: str) -> bool:
    try:
        return in_use(os.path.join(root, path))
    except OSError:
        return False


def _save_volumes(domain: StorageDomain, forest: Forest) -> dict[str, Volume]:
    before = {volume.path: volume for volume in domain.volumes.all()}
    new, changed = [], []
    for path, layer in forest.layers.items():
        facts = facts_of(domain.path, layer)
        volume = before.get(path)
        if volume is None:
            new.append(Volume(domain=domain, path=path, **facts))
        elif any(getattr(volume, name) != value for name, value in facts.items()):
            for name, value in facts.items():
                setattr(volume, name, value)
            changed.append(volume)
    Volume.objects.bulk_create(new, batch_size=1000)
    Volume.objects.bulk_update(changed, _FACTS, batch_size=500)
    volumes = {path: v for path, v in before.items() if path in forest.layers}
    volumes |= {volume.path: volume for volume in new}
    relinked = []
    for path, layer in forest.layers.items():
        backing = volumes.get(layer.backing_path) if layer.backing_path is not None else None
        if volumes[path].backing_id != (backing.pk if backing else None):
            volumes[path].backing = backing
            relinked.append(volumes[path])
    Volume.objects.bulk_update(relinked, ["backing"], batch_size=500)
    return volumes


def _save_findings(domain: StorageDomain, forest: Forest, volumes: dict[str, Volume]) -> None:
    wanted = {(f.path, f.code.value, f.severity.value, f.detail) for f in forest.findings}
    kept = set()
    stale = []
    for row in domain.findings.all():
        key = (row.path, row.code, row.severity, row.detail)
        if key in wanted and key not in kept:
            kept.add(key)
        else:
            stale.append(row.pk)
    Finding.objects.filter(pk__in=stale).delete()
    Finding.objects.bulk_create(
        Finding(
            domain=domain, volume=volumes.get(path), path=path, path_text=display(path),
            code=code, severity=severity, detail=detail,
        )
        for path, code, severity, detail in sorted(wanted - kept)
    )  # fmt: skip


def _save_disks(domain: StorageDomain, forest: Forest, volumes: dict[str, Volume]) -> None:
    gone = [v.pk for v in domain.volumes.exclude(pk__in=[v.pk for v in volumes.values()])]
    disks = {disk.active_id: disk for disk in domain.disks.all()}
    before = {disk.pk: _row(disk) for disk in disks.values()}
    leaves = {volumes[path].pk: path for path in forest.leaves}
    for pk, path in leaves.items():
        if pk not in disks:
            heir = _inherited(volumes[path], disks, leaves)
            disk = heir or Disk(domain=domain)
            disk.active, disk.name = volumes[path], display(path)
            disks[pk] = disk
    by_path: dict[str, list[str]] = {}
    for finding in forest.findings:
        by_path.setdefault(finding.path, []).append(finding.severity.value)
    for pk, path in leaves.items():
        _summarise(disks[pk], forest, path, by_path)
    found = [disks[pk] for pk in leaves]
    changed = [disk for disk in found if disk.pk in before and _row(disk) != before[disk.pk]]
    Disk.objects.bulk_create([disk for disk in found if disk.pk is None])
    Disk.objects.bulk_update(changed, _SUMMARY, batch_size=500)
    domain.disks.exclude(active_id__in=leaves).delete()
    Volume.objects.filter(pk__in=gone).delete()
    # What could not be mapped may have been a passing fault of the storage: it is read again.
    failed = BlockMap.objects.filter(disk__domain=domain).exclude(error="")
    failed.exclude(disk__severity="critical").delete()


def _row(disk: Disk) -> list[object]:
    return [getattr(disk, name) for name in _SUMMARY]


def _inherited(leaf: Volume, disks: dict[int, Disk], leaves: dict[int, str]) -> Disk | None:
    """The disk whose active layer has been frozen below this new leaf: the same disk, one snapshot on."""
    seen, volume = set(), leaf.backing
    while volume is not None and volume.pk not in seen:
        seen.add(volume.pk)
        if volume.pk in disks and volume.pk not in leaves:
            return disks.pop(volume.pk)
        volume = volume.backing
    return None


def _summarise(disk: Disk, forest: Forest, path: str, findings: dict[str, list[str]]) -> None:
    layers: list[Layer] = []
    place: str | None = path
    seen: set[str] = set()
    while place is not None and place in forest.layers and place not in seen:
        seen.add(place)
        layers.append(forest.layers[place])
        place = forest.layers[place].backing_path
    worst = [severity for layer in layers for severity in findings.get(layer.path, [])]
    disk.layers = len(layers)
    disk.virtual_size = min(layers[0].virtual_size, 2**63 - 1)
    disk.on_disk = sum(layer.on_disk for layer in layers)
    disk.oldest_snapshot = min((layer.modified for layer in layers[1:]), default=None)
    disk.findings = len(worst)
    disk.severity = max(worst, key=lambda severity: _RANK[severity], default="")
