"""Reading the inventory: everything that pages, API and sockets show of it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Prefetch, QuerySet
from django.utils import timezone

from chains.models import (
    Disk,
    Finding,
    Scan,
    ScanKind,
    ScanState,
    StorageDomain,
    Volume,
    WorkerHost,
)

WORKER_SILENCE = timedelta(seconds=20)
MAX_LAYERS = 1100
MAX_TWINS = 20

_DOWN = """
WITH RECURSIVE chain(id, backing_id, level) AS (
    SELECT id, backing_id, 0 FROM chains_volume WHERE id = %s
  UNION ALL
    SELECT v.id, v.backing_id, c.level + 1
    FROM chains_volume v JOIN chain c ON v.id = c.backing_id WHERE c.level < %s
) CYCLE id SET looped USING path
SELECT v.*, c.level FROM chains_volume v JOIN chain c ON c.id = v.id WHERE NOT c.looped ORDER BY c.level
"""
_UP = """
WITH RECURSIVE family(id) AS (
    SELECT id FROM chains_volume WHERE id = %s
  UNION
    SELECT v.id FROM chains_volume v JOIN family f ON v.backing_id = f.id
)
SELECT v.* FROM chains_volume v JOIN family f ON f.id = v.id ORDER BY v.id
"""
_DISKS = """
WITH RECURSIVE family(id, level, place) AS (
    SELECT %(volume)s::bigint, 0, 1::bigint
  UNION ALL
    SELECT v.id, f.level + 1, row_number() OVER (ORDER BY v.id)
    FROM family f JOIN chains_volume v ON v.backing_id = f.id
    WHERE f.place <= %(most)s AND f.level < %(levels)s
)
SELECT d.* FROM chains_disk d JOIN (SELECT DISTINCT id FROM family) f ON d.active_id = f.id
ORDER BY d.id LIMIT %(most)s
"""


# The disks of other chains that share a layer with this one, with the id of the lowest layer shared.
_BESIDE = """
WITH RECURSIVE beside(origin, id, level, place) AS (
    SELECT v.backing_id, v.id, 0, row_number() OVER (ORDER BY v.id)
    FROM chains_volume v WHERE v.backing_id = ANY(%(chain)s) AND NOT v.id = ANY(%(chain)s)
  UNION ALL
    SELECT b.origin, v.id, b.level + 1, row_number() OVER (ORDER BY v.id)
    FROM beside b JOIN chains_volume v ON v.backing_id = b.id
    WHERE b.place <= %(most)s AND b.level < %(levels)s
)
SELECT b.origin, d.id, d.name FROM beside b JOIN chains_disk d ON d.active_id = b.id
ORDER BY d.id LIMIT %(most)s
"""


def domains() -> QuerySet[StorageDomain]:
    """All domains with their last scans, and in `running_scans` the one that waits or runs."""
    unfinished = Scan.objects.filter(
        kind=ScanKind.DOMAIN, state__in=[ScanState.QUEUED, ScanState.RUNNING]
    )
    running = Prefetch("scans", queryset=unfinished, to_attr="running_scans")
    return StorageDomain.objects.select_related("last_scan").prefetch_related(running)


def domain_names() -> list[tuple[int, str]]:
    """(id, name) of every domain, to choose from."""
    return list(StorageDomain.objects.order_by("name").values_list("pk", "name"))


def chain_of(volume: Volume) -> list[Volume]:
    """The volume and everything below it, top first; a loop is cut where it closes."""
    return list(Volume.objects.raw(_DOWN, [volume.pk, MAX_LAYERS]))


def above(volume: Volume) -> list[Volume]:
    """The volume and everything that reads through it."""
    return list(Volume.objects.raw(_UP, [volume.pk]))


def disks_above(volume: Volume, most: int) -> list[Disk]:
    """Disks that read through this volume, at most so many.

    Of each level only some layers are followed further: under a template there may be any number.
    """
    found = Disk.objects.raw(_DISKS, {"volume": volume.pk, "most": most, "levels": MAX_LAYERS})
    return list(found)


def disks_beside(chain: Sequence[Volume], most: int) -> list[tuple[int, int, str]]:
    """(layer, disk, its name) of other disks that read through a layer of this chain, at most so many."""
    with connection.cursor() as link:
        link.execute(_BESIDE, {
            "chain": [volume.pk for volume in chain], "most": most, "levels": MAX_LAYERS,
        })  # fmt: skip
        return [(int(layer), int(disk), str(name)) for layer, disk, name in link.fetchall()]


def is_preview(active: Volume) -> bool:
    """Whether a leaf is a second overlay on a snapshot of the same disk, as a preview of it is."""
    key = (active.notes or {}).get("disk_key")
    if not key or active.backing_id is None:
        return False
    twins = Volume.objects.filter(backing=active.backing_id, notes__disk_key=key)
    twin = (
        twins.exclude(pk=active.pk)
        .annotate(frozen=Exists(Volume.objects.filter(backing=OuterRef("pk"))))
        .first()
    )
    return twin is not None and (twin.frozen or twin.modified < active.modified)


def leaves_above(volume: Volume) -> list[Volume]:
    """The active layers that read through this volume, itself when it is one."""
    found = above(volume)
    frozen = {row.backing_id for row in found}
    return [row for row in found if row.pk not in frozen]


def family_of(volume: Volume) -> list[Volume]:
    """All volumes that share a root with this one."""
    return above(chain_of(volume)[-1])


def overlay_counts(volumes: Sequence[Volume]) -> dict[int, int]:
    """How many overlays each of these volumes has, by its id."""
    rows = Volume.objects.filter(pk__in=[v.pk for v in volumes]).annotate(n=Count("overlays"))
    return dict(rows.values_list("pk", "n"))


def findings() -> QuerySet[Finding]:
    """Findings with what is shown of them."""
    return Finding.objects.select_related("domain", "volume__disk", "acknowledged_by")


def findings_of(volumes: Sequence[Volume]) -> QuerySet[Finding]:
    """What is wrong with these volumes, worst first."""
    rows = Finding.objects.open().filter(volume__in=volumes).order_by("rank", "id")
    return rows.select_related("acknowledged_by")


def worst_of(domain: StorageDomain) -> QuerySet[Finding]:
    """What is wrong in a domain and known to nobody, worst first."""
    return domain.findings.to_see().order_by("rank", "id").select_related("acknowledged_by")


def twins(disk: Disk) -> list[Disk]:
    """The same disk on other domains, as in the midst of a storage migration: by what they call it."""
    if not disk.key:
        return []
    rows = Disk.objects.filter(key=disk.key).exclude(domain=disk.domain_id)
    return list(rows.select_related("domain").order_by("domain__name", "id")[:MAX_TWINS])


def worker_alive(storage_host: str) -> bool:
    """Whether a worker of this host has spoken lately."""
    since = timezone.now() - WORKER_SILENCE
    return WorkerHost.objects.filter(storage_host=storage_host, alive_at__gte=since).exists()


def silent_hosts() -> list[str]:
    """Storage hosts that a domain names and no live worker serves."""
    since = timezone.now() - WORKER_SILENCE
    alive = set(
        WorkerHost.objects.filter(alive_at__gte=since).values_list("storage_host", flat=True)
    )
    named = StorageDomain.objects.values_list("storage_host", flat=True).distinct()
    return sorted(set(named) - alive)


SCAN_TITLES = {
    ScanKind.DOMAIN: "Scan of", ScanKind.BLOCKS: "Block map of", ScanKind.CHECK: "Check of",
}  # fmt: skip


def scan_brief(scan: Scan) -> dict[str, Any]:
    """A scan as the activity message carries it."""
    kind = ScanKind(scan.kind)
    if scan.volume is not None:
        subject, page = scan.volume.path_text, f"/volumes/{scan.volume_id}/"
    elif scan.disk is not None:
        subject, page = scan.disk.name, f"/disks/{scan.disk_id}/"
    else:
        subject, page = scan.domain.name, f"/domains/{scan.domain_id}/"
    return {
        "kind": "scan" if kind is ScanKind.DOMAIN else kind.value, "id": scan.pk, "state": scan.state,
        "percent": round(100.0 * scan.done / scan.total, 1) if scan.total else 0.0,
        "domain": scan.domain_id, "disk": scan.disk_id, "volume": scan.volume_id,
        "title": f"{SCAN_TITLES[kind]} {subject}", "url": page, "message": scan.message,
        "cancel_requested": scan.cancel_requested,
        "finished": scan.state not in {ScanState.QUEUED, ScanState.RUNNING},
    }  # fmt: skip


def all_scans() -> QuerySet[Scan]:
    """All scans, the newest first, with whom and what they are about."""
    return Scan.objects.select_related("domain", "disk", "volume", "requested_by").order_by("-id")


def scans(limit: int = 100) -> QuerySet[Scan]:
    """The newest of them."""
    return all_scans()[:limit]
