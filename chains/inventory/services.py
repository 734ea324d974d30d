"""Asking for scans and block maps, and carrying them out: the one way in for pages, API and commands."""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from chains.core.errors import StrataError
from chains.inventory import audit, news
from chains.inventory.asking import check
from chains.inventory.audit import Result
from chains.inventory.jobs import SCAN, enqueue
from chains.inventory.registering import Wish, register
from chains.inventory.volumes import check_refusal
from chains.models import (
    BlockMap,
    Disk,
    Scan,
    ScanKind,
    ScanState,
    StorageDomain,
    User,
    Volume,
)
from chains.permissions import Action

UNFINISHED = (ScanState.QUEUED, ScanState.RUNNING)
# How long what a page shows of a disk's reads may be unseen by a worker while somebody looks at it.
LOOK_AGAIN = timedelta(seconds=30)


def add_domain(
    name: str, path: str, kind: str, storage_host: str, *, read_only: bool = False,
    user: User | None = None, origin: str = "command line",
) -> StorageDomain:  # fmt: skip
    """Register a storage domain of which nothing else is said; raises what `register` does."""
    wish = Wish(kind=kind, read_only=read_only)
    return register(name, path, storage_host, wish, user=user, origin=origin)


def request_scan(
    domain: StorageDomain, user: User | None, origin: str, *, queue: bool = True
) -> Scan:
    """A scan of the domain: the one that waits or runs already, or a new one; raises NotAllowedError."""
    check(user, Action.SCAN)
    with transaction.atomic():
        scan = _request(ScanKind.DOMAIN, domain, None, user, queue=queue)
        audit.record(
            user, origin, "scan", domain.name, Result.ASKED, domain=domain.pk, scan=scan.pk
        )
    return scan


def request_planned(domain: StorageDomain) -> Scan:
    """A scan that nobody asked for: its time has come."""
    return _request(ScanKind.DOMAIN, domain, None, None, queue=True)


def request_check(volume: Volume, user: User | None, origin: str, *, queue: bool = True) -> Scan:
    """A check of a volume with qemu-img; raises NotAllowedError, StrataError for one that has no tables."""
    check(user, Action.SCAN)
    if why := check_refusal(volume):
        raise StrataError(why)
    with transaction.atomic():
        scan = _request(ScanKind.CHECK, volume.domain, None, user, volume=volume, queue=queue)
        audit.record(
            user, origin, "check", f"{volume.domain.name}: {volume.path_text}", Result.ASKED,
            domain=volume.domain_id, volume=volume.pk, scan=scan.pk,
        )  # fmt: skip
    return scan


def request_blocks(disk: Disk, user: User | None, *, queue: bool = True) -> Scan:
    """A reading of the disk's block map, which changes nothing: whoever may look may ask."""
    check(user, Action.VIEW)
    return _request(ScanKind.BLOCKS, disk.domain, disk, user, queue=queue)


def freshen_blocks(disk: Disk, user: User | None) -> None:
    """Have a worker look whether the disk's stored block map is still true, unless one just did.

    Looking costs a worker the headers of the chain; only what has changed is read.
    """
    lately = timezone.now() - LOOK_AGAIN
    if not BlockMap.objects.filter(disk=disk, read_at__gte=lately).exists():
        request_blocks(disk, user)


def _request(
    kind: ScanKind, domain: StorageDomain, disk: Disk | None, user: User | None, *, queue: bool,
    volume: Volume | None = None,
) -> Scan:  # fmt: skip
    what = {"kind": kind, "domain": domain, "disk": disk, "volume": volume}
    unfinished = Scan.objects.filter(**what, state__in=UNFINISHED)
    try:
        with transaction.atomic():
            scan = Scan.objects.create(**what, requested_by=user)
            if queue:
                enqueue(SCAN, domain.storage_host, scan.pk)
            news.publish("scan", scan.pk, 0)
    except IntegrityError:
        found = unfinished.first()
        if found is not None:
            return found
        return _request(kind, domain, disk, user, queue=queue, volume=volume)
    return scan
