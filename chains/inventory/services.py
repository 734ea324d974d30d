"""Asking for scans and block maps, and carrying them out: the one way in for pages, API and commands."""

import time
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.progress import Throttle
from chains.inventory import audit, blockmaps, families, news
from chains.inventory.jobs import SCAN, enqueue
from chains.inventory.scan import scan_domain
from chains.models import BlockMap, Disk, Scan, ScanKind, ScanState, StorageDomain, User
from chains.permissions import Action, allows

UNFINISHED = (ScanState.QUEUED, ScanState.RUNNING)
SILENCE = timedelta(seconds=30)
NAME_LIMIT = 80  # as wide as its column
WAIT = timedelta(seconds=10)
# How long what a page shows of a disk's reads may be unseen by a worker while somebody looks at it.
LOOK_AGAIN = timedelta(seconds=30)
_TAKEN = "There is a domain named {} already; choose another name."


class BadRequestError(StrataError):
    """What was asked makes no sense, whoever asks."""


class NotAllowedError(StrataError):
    """The person's role does not include what was asked."""


def check(user: User | None, action: Action) -> None:
    """Raises NotAllowedError; None is the command line, which owns the machine."""
    if user is not None and not allows(user, action):
        raise NotAllowedError(f"Your role ({user.get_role_display()}) may not {action.value}.")


def add_domain(
    name: str, path: str, kind: str, storage_host: str, *, read_only: bool = False,
    user: User | None = None, origin: str = "command line",
) -> StorageDomain:  # fmt: skip
    """Register a storage domain.

    Raises NotAllowedError, BadRequestError when name or path are none, StrataError when the name or
    the place is taken.
    """
    check(user, Action.MANAGE_DOMAINS)
    if not name.strip() or "/" in name:
        raise BadRequestError("A domain's name is some text without a slash.")
    if len(name) > NAME_LIMIT:
        raise BadRequestError(f"A domain's name has at most {NAME_LIMIT} characters.")
    if not path.strip("/"):
        raise BadRequestError(
            "The root directory is no storage domain: give the directory that holds the images."
        )
    if StorageDomain.objects.filter(name=name).exists():
        raise StrataError(_TAKEN.format(name))
    for other in StorageDomain.objects.filter(storage_host=storage_host):
        if _overlap(other.path, path):
            raise StrataError(
                f"{display(path)} overlaps the storage domain {other.name} ({other.path_text}): a volume belongs to one domain, so that two merges can not meet on it."
            )
    try:
        with transaction.atomic():
            domain = StorageDomain.objects.create(
                name=name, path=path, path_text=display(path), kind=kind,
                storage_host=storage_host, read_only=read_only,
            )  # fmt: skip
            audit.record(
                user, origin, "add domain", name, path=domain.path_text, read_only=read_only
            )
    except IntegrityError:
        raise StrataError(_TAKEN.format(name)) from None
    return domain


def _overlap(one: str, other: str) -> bool:
    """Whether one directory is the other or lies inside it."""
    first, second = (path.rstrip("/") + "/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)


def request_scan(
    domain: StorageDomain, user: User | None, origin: str, *, queue: bool = True
) -> Scan:
    """A scan of the domain: the one that waits or runs already, or a new one; raises NotAllowedError."""
    check(user, Action.SCAN)
    scan = _request(ScanKind.DOMAIN, domain, None, user, queue=queue)
    audit.record(user, origin, "scan", domain.name, scan=scan.pk)
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
    kind: ScanKind, domain: StorageDomain, disk: Disk | None, user: User | None, *, queue: bool
) -> Scan:
    unfinished = Scan.objects.filter(kind=kind, domain=domain, disk=disk, state__in=UNFINISHED)
    try:
        with transaction.atomic():
            scan = Scan.objects.create(kind=kind, domain=domain, disk=disk, requested_by=user)
            if queue:
                enqueue(SCAN, domain.storage_host, scan.pk)
            news.publish("scan", scan.pk, 0)
    except IntegrityError:
        found = unfinished.first()
        return found if found is not None else _request(kind, domain, disk, user, queue=queue)
    return scan


def run_scan(pk: int) -> Scan:
    """Carry a scan out; its failure is its state, never an exception."""
    claimed = Scan.objects.filter(pk=pk, state=ScanState.QUEUED).update(
        state=ScanState.RUNNING, started_at=timezone.now(), alive_at=timezone.now()
    )
    scan = Scan.objects.select_related("domain", "disk__active", "disk__domain").get(pk=pk)
    if not claimed:
        return scan
    _step(scan)
    try:
        if scan.disk is not None:
            blockmaps.read_disk(scan.disk, _reporter(scan))
            families.measure_family(scan.disk)
        else:
            scan_domain(scan.domain, _reporter(scan))
    except StrataError as error:
        _end(scan, ScanState.FAILED, str(error))
    except Exception:
        _end(scan, ScanState.FAILED, "Strata met an error of its own; the worker's log has it.")
        raise
    else:
        _end(scan, ScanState.SUCCEEDED, "")
    scan.refresh_from_db()
    return scan


def follow_scan(pk: int) -> Scan:
    """Wait for a scan that somebody else carries out."""
    while True:
        scan = Scan.objects.select_related("domain").get(pk=pk)
        if scan.state not in UNFINISHED:
            return scan
        time.sleep(0.3)


def _reporter(scan: Scan) -> Callable[[int, int], None]:
    throttle = Throttle(5, time.monotonic)

    def report(done: int, total: int) -> None:
        if throttle.ready() or done == total:
            _step(scan, done=done, total=total, alive_at=timezone.now())

    return report


def _step(scan: Scan, **values: object) -> None:
    with transaction.atomic():
        Scan.objects.filter(pk=scan.pk).update(seq=F("seq") + 1, **values)
        scan.refresh_from_db(fields=["seq"])
        news.publish("scan", scan.pk, scan.seq)


def _end(scan: Scan, state: ScanState, message: str) -> None:
    _step(scan, state=state, message=message, finished_at=timezone.now())
    if scan.kind == ScanKind.DOMAIN and state == ScanState.SUCCEEDED:
        StorageDomain.objects.filter(pk=scan.domain_id).update(last_scan=scan)


def keep_scans(storage_host: str, own: list[int]) -> None:
    """Say that a worker's own scans are alive; see to those that nobody carries out.

    A scan whose worker died is ended: it changed nothing, so nothing is repaired. One that has waited
    for long may have lost its job with a worker, and is queued again; twice queued is once done.
    """
    now = timezone.now()
    Scan.objects.filter(pk__in=own, state=ScanState.RUNNING).update(alive_at=now)
    of_host = Scan.objects.filter(domain__storage_host=storage_host)
    for scan in of_host.filter(state=ScanState.RUNNING, alive_at__lt=now - SILENCE):
        _end(scan, ScanState.FAILED, "The worker that ran this went away; ask for it again.")
    for scan in of_host.filter(state=ScanState.QUEUED, requested_at__lt=now - WAIT):
        enqueue(SCAN, storage_host, scan.pk)
