"""A domain whose file names try everything, people of every role, and rows to look at."""

import os
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from chains.core.scopes import Scope, ScopeKind
from chains.inventory import blockmaps, scanning
from chains.inventory import services as inventory
from chains.merges import services as merges
from chains.merges.batch_plans import plan_batch
from chains.merges.choosing import Selection
from chains.models import (
    Batch,
    Disk,
    Finding,
    Merge,
    Role,
    Scan,
    ScanState,
    StorageDomain,
    User,
    Volume,
)
from tests import images

# The root first; each is an overlay of the one before it.
HOSTILE = [
    "\"quotes\" & 'apostrophes'.img",
    "<script>alert(1)<script>.qcow2",
    '"><img src=x onerror=alert(1)>.qcow2',
    "new\nline\r\ttab.qcow2",
    "{a|b} \\N \\G <b>&lt;.qcow2",
    os.fsdecode(b"caf\xe9 \xff\xfe.qcow2"),
    "emoji \U0001f980 rtl\u202egnp.qcow2",
    "{{ 7|add:7 }}{% now 'Y' %}${x}`id`.qcow2",
    " -rf leading space; $(reboot) .qcow2",
]
MISSING = "<iframe src=evil>\n.qcow2"
ROLES = {"anonymous": None, "auditor": Role.AUDITOR, "operator": Role.OPERATOR, "admin": Role.ADMIN}
PASSWORD = "strata-Test-9137"


def build(root: Path) -> Path:
    """The images: one long hostile chain, one whose backing file is missing, two classic lessons."""
    below = images.raw(root / HOSTILE[0], images.MIB, "write -P 1 0 256k")
    for number, name in enumerate(HOSTILE[1:], 1):
        images.overlay(
            root / name, f"./{below.name}", "raw" if number == 1 else "qcow2",
            f"write -P {number} {number * 64}k 64k",
        )  # fmt: skip
        below = root / name
    gone = images.raw(root / MISSING, images.MIB)
    images.overlay(root / "orphan.qcow2", f"./{MISSING}", "raw")
    gone.unlink()
    for name in ("lesson", "free"):
        images.lesson(root / name)
    return root


def people() -> dict[str, User | None]:
    """One person of each role; nobody for "anonymous"."""
    found: dict[str, User | None] = {}
    for name, role in ROLES.items():
        is_admin = role == Role.ADMIN
        found[name] = role and User.objects.create_user(
            name, password=PASSWORD, role=role, is_staff=is_admin, is_superuser=is_admin
        )
    return found


def inventory_of(root: Path, name: str = "<b>hostile & domain") -> StorageDomain:
    """The domain, scanned, every block map read."""
    domain = inventory.add_domain(name, str(root), "directory", "here")
    scan = scanning.run_scan(inventory.request_scan(domain, None, "test", queue=False).pk)
    assert scan.state == ScanState.SUCCEEDED, scan.message
    for disk in domain.disks.select_related("active"):
        if disk.severity != "critical":
            blockmaps.read_disk(disk)
    domain.refresh_from_db()
    return domain


def disk_of(domain: StorageDomain, path: str) -> Disk:
    return Disk.objects.get(domain=domain, active__path=path)


def volume_of(domain: StorageDomain, path: str) -> Volume:
    return Volume.objects.get(domain=domain, path=path)


def merge_of(domain: StorageDomain) -> Merge:
    """A merge that waits for a worker."""
    base, top = (volume_of(domain, path) for path in (HOSTILE[1], HOSTILE[4]))
    return merges.request_merge(base, top, None, "test", queue=False)


def kept_merge(base: Volume, top: Volume) -> Merge:
    """A merge that is over and can be undone, as far as the database knows."""
    merge = merges.request_merge(base, top, None, "test", strategy="rebase", queue=False)
    Merge.objects.filter(pk=merge.pk).update(
        state="succeeded", kept="kept", kept_bytes=4096, joined=top.fingerprint,
        kept_until=timezone.now() + timedelta(days=1),
        plan=merge.plan | {"below": top.backing_path},  # as if it had been carried out
    )  # fmt: skip
    merge.refresh_from_db()
    return merge


def check_of(domain: StorageDomain) -> Scan:
    """A check that waits for a worker."""
    return inventory.request_check(volume_of(domain, HOSTILE[2]), None, "test", queue=False)


def batch_of(domain: StorageDomain, merge: Merge) -> Batch:
    """A batch that this merge is the only one of; every other disk was left out."""
    plan = plan_batch(domain, Selection(everything=True), Scope(ScopeKind.WHOLE), None)
    batch = Batch.objects.create(
        domain=domain, scope=plan.scope.to_json(),
        plan=plan.to_json() | {"rows": [row.to_json() | {"merge": None} for row in plan.rows]},
    )  # fmt: skip
    Merge.objects.filter(pk=merge.pk).update(batch=batch)
    return batch


def confirmation(domain: StorageDomain) -> str:
    """What the page of a batch sends of the plan of every disk's whole chain."""
    plan = plan_batch(domain, Selection(everything=True), Scope(ScopeKind.WHOLE), None)
    assert plan.merges
    return " ".join(f"{disk}:{digest}" for disk, digest in plan.confirmation.items())


def finding_of(domain: StorageDomain) -> Finding:
    """The worst that is wrong with the domain."""
    return Finding.objects.filter(domain=domain).order_by("rank", "id")[0]


def next_year() -> str:
    """A day that is still to come."""
    return (timezone.localdate() + timedelta(days=365)).isoformat()


def counts() -> dict[str, int]:
    return {
        model.__name__: model.objects.count()
        for model in (Disk, Volume, Finding, Merge, Scan, User)
    }


def more_rows(
    domain: StorageDomain, count: int = 30, name: str = "clone ", backing: Volume | None = None,
    *, disks: bool = True,
) -> None:  # fmt: skip
    """Disks, volumes, findings and domains as many as a page shows, without files behind them."""
    model = volume_of(domain, HOSTILE[-1])
    for number in range(count):
        model.pk, model.path = None, f"{name}{number}"
        model.path_text = model.path
        if backing is not None:
            model.backing = backing
        model.save(force_insert=True)
        if not disks:
            continue
        Disk.objects.create(domain=domain, active_id=model.pk, name=model.path, layers=2)
        Finding.objects.create(
            domain=domain, volume_id=model.pk, path=model.path, path_text=model.path,
            code="dirty", severity="warning", rank=2, detail="x",
        )  # fmt: skip
        other = StorageDomain.objects.create(
            name=f"of {name}{number}", path="/x", storage_host="there"
        )
        Scan.objects.create(domain=other, state=ScanState.SUCCEEDED)
        StorageDomain.objects.filter(pk=other.pk).update(last_scan=other.scans.get())
    domain.refresh_from_db()
    domain.volume_count, domain.disk_count = domain.volumes.count(), domain.disks.count()
    domain.save()
