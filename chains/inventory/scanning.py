"""Carrying scans, block maps and checks out in a worker: their life from the queue to their end."""

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Any

from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.progress import Throttle
from chains.inventory import audit, blockmaps, checks, families, figures, news
from chains.inventory.asking import check
from chains.inventory.jobs import SCAN, enqueue
from chains.inventory.reach import note_unreachable
from chains.inventory.reading import CancelledByUserError
from chains.inventory.scan import scan_domain
from chains.inventory.services import UNFINISHED, request_blocks, request_planned
from chains.models import BlockMap, Scan, ScanKind, ScanState, StorageDomain, User
from chains.permissions import Action

SILENCE = timedelta(seconds=30)
WAIT = timedelta(seconds=10)
BEAT_SECONDS = 5.0
# How many chains that could not be mapped are tried again after a scan.
TRIED_AGAIN = 50
CANCELLED = "Cancelled: the inventory stays as it was."


class Heard:
    """When storage answered each scan of this process last; safe to be asked by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: dict[int, float] = {}

    def beat(self, pk: int) -> None:
        """Storage has answered."""
        self._last[pk] = time.monotonic()

    def rest(self, pk: int) -> None:
        """It is not asked any more."""
        self._last[pk] = math.inf

    def silence(self, pk: int) -> float:
        """Seconds since it answered last; 0 when it is not asked."""
        return max(0.0, time.monotonic() - self._last.get(pk, math.inf))

    def forget(self, pk: int) -> None:
        """The scan is over."""
        self._last.pop(pk, None)


heard = Heard()
_stored: set[int] = set()  # scans of this process whose findings are in the database


def run_scan(pk: int) -> Scan:
    """Carry a scan out; its failure is its state, never an exception."""
    claimed = Scan.objects.filter(pk=pk, state=ScanState.QUEUED).update(
        state=ScanState.RUNNING, started_at=timezone.now(), alive_at=timezone.now()
    )
    scan = Scan.objects.select_related("domain", "disk__active", "disk__domain").get(pk=pk)
    if not claimed:
        return scan
    _step(scan)
    heard.beat(pk)
    try:
        _carry_out(scan)
    except KeyboardInterrupt:
        _end_interrupted(scan)
        raise
    except CancelledByUserError:
        _end(scan, ScanState.CANCELLED, CANCELLED)
    except StrataError as error:
        _end(scan, ScanState.FAILED, str(error))
    except Exception:
        _end(scan, ScanState.FAILED, "Strata met an error of its own; the worker's log has it.")
        raise
    else:
        _end(scan, ScanState.SUCCEEDED, "")
    finally:
        heard.forget(pk)
        _stored.discard(pk)
    scan.refresh_from_db()
    return scan


def _end_interrupted(scan: Scan) -> None:
    """Somebody pressed Ctrl-C, maybe in the middle of a query: that connection may be of no use.

    What was stored by then is not taken back: such a scan has succeeded.
    """
    stored = scan.pk in _stored
    how = (ScanState.SUCCEEDED, "") if stored else (ScanState.CANCELLED, CANCELLED)
    try:
        _end(scan, *how)
    except Error:
        connection.close()
        _end(scan, *how)


def _carry_out(scan: Scan) -> None:
    report = _reporter(scan)
    if scan.kind == ScanKind.CHECK:
        assert scan.volume is not None
        checks.check_volume(scan.volume, lambda: report(0, 0))
    elif scan.disk is not None:
        blockmaps.read_disk(scan.disk, report)
        families.measure_family(scan.disk)
        figures.refresh(scan.disk)
    else:
        scan_domain(scan.domain, report, may_save=lambda: _may_save(scan))
        _try_again(scan.domain)


def _may_save(scan: Scan) -> bool:
    """Whether nobody has given the scan up while it waited for storage; it waits no more."""
    heard.rest(scan.pk)
    transaction.on_commit(lambda: _stored.add(scan.pk))
    if not Scan.objects.filter(pk=scan.pk, state=ScanState.RUNNING).exists():
        return False
    _stop_if_asked(scan)
    return True


def _stop_if_asked(scan: Scan) -> None:
    if Scan.objects.filter(pk=scan.pk, cancel_requested=True).exists():
        raise CancelledByUserError


def _try_again(domain: StorageDomain) -> None:
    """What could not be mapped may have been a passing fault of the storage."""
    failed = BlockMap.objects.filter(disk__domain=domain).exclude(error="")
    for row in failed.exclude(disk__severity="critical").select_related("disk")[:TRIED_AGAIN]:
        request_blocks(row.disk, None)


@contextmanager
def kept_alive(pk: int) -> Iterator[None]:
    """For a command, which no worker speaks for: its scan may be silent for as long as storing takes."""
    over = Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            Scan.objects.filter(pk=pk, state=ScanState.RUNNING).update(alive_at=timezone.now())
            connection.close()

    thread = Thread(target=beat, name="alive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def follow_scan(pk: int) -> Scan:
    """Wait for a scan that somebody else carries out."""
    while True:
        scan = Scan.objects.select_related("domain").get(pk=pk)
        if scan.state not in UNFINISHED:
            return scan
        time.sleep(0.3)


def _reporter(scan: Scan) -> Callable[[int, int], None]:
    throttle = Throttle(5, time.monotonic)
    last = -1

    def report(done: int, total: int) -> None:
        nonlocal last
        if not total or done != last:  # a map is told of while it waits, too
            heard.beat(scan.pk)
            last = done
        if throttle.ready() or (done == total and total):
            _stop_if_asked(scan)
            _step(scan, done=done, total=total, alive_at=timezone.now())

    return report


def _step(scan: Scan, **values: object) -> None:
    with transaction.atomic():
        Scan.objects.filter(pk=scan.pk).update(seq=F("seq") + 1, **values)
        scan.refresh_from_db(fields=["seq"])
        news.publish("scan", scan.pk, scan.seq)
    news.let_go()


def _end(scan: Scan, state: ScanState, message: str) -> None:
    """One that was given up stays so, whatever comes of it in the end."""
    running = Scan.objects.filter(pk=scan.pk, state__in=UNFINISHED)
    with transaction.atomic():
        if not running.update(state=state, message=message, finished_at=timezone.now()):
            return
        _step(scan)
        if scan.kind == ScanKind.DOMAIN and state == ScanState.SUCCEEDED:
            StorageDomain.objects.filter(pk=scan.domain_id).update(last_scan=scan)
        _record_end(scan.pk)


def _record_end(pk: int) -> None:
    """Block maps are read because somebody looks: of these only the end that somebody asked for counts."""
    scan = Scan.objects.select_related("domain", "volume", "requested_by").get(pk=pk)
    if scan.kind == ScanKind.BLOCKS and not scan.cancel_requested:
        return
    facts = {
        "domain": scan.domain_id, "volume": scan.volume_id, "scan": scan.pk, "message": scan.message,
        "asked_by": scan.requested_by.get_username() if scan.requested_by else "",
    }  # fmt: skip
    told: dict[str, Any] = {name: value for name, value in facts.items() if value}
    if scan.started_at is not None:
        told["seconds"] = audit.seconds_since(scan.started_at)
    audit.record(
        None,
        audit.WORKER,
        scan.get_kind_display(),
        _subject(scan),
        audit.Result(scan.state),
        **told,
    )


def _subject(scan: Scan) -> str:
    """As the record says it in which it was asked for."""
    if scan.kind == ScanKind.CHECK and scan.volume is not None:
        return f"{scan.domain.name}: {scan.volume.path_text}"
    return scan.domain.name


def give_up(pk: int) -> None:
    """End a scan whose storage does not answer; what it may still bring is not used."""
    scan = Scan.objects.select_related("domain").get(pk=pk)
    why = (
        f"{scan.domain.path_text} has not answered for {settings.STORAGE_TIMEOUT} seconds: its server may be down,"
        " or the network. The inventory stays as it was; the scan is tried again as planned."
    )
    note_unreachable(scan.domain, why)
    _end(scan, ScanState.FAILED, why)


def still_hangs(pk: int) -> None:
    """End a scan that was not even begun, because an earlier one of this worker still waits."""
    scan = Scan.objects.select_related("domain").get(pk=pk)
    _end(scan, ScanState.FAILED, f"{scan.domain.path_text} still does not answer an earlier scan.")


def cancel_scan(scan: Scan, user: User | None, origin: str) -> None:
    """Stop a scan, which changes nothing then; raises NotAllowedError, StrataError when it has ended."""
    check(user, Action.SCAN)
    with transaction.atomic():
        unfinished = Scan.objects.filter(pk=scan.pk, state__in=UNFINISHED)
        if not unfinished.update(cancel_requested=True):
            raise StrataError("It has ended already.")
        audit.record(
            user, origin, f"cancel {scan.get_kind_display()}", _subject(scan), audit.Result.ASKED,
            domain=scan.domain_id, scan=scan.pk,
        )  # fmt: skip
        _step(scan)
    if unfinished.filter(state=ScanState.QUEUED).exists():
        _end(scan, ScanState.CANCELLED, "Cancelled before it began.")


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


def _between(least: float, most: float) -> float:
    return random.uniform(least, most)  # noqa: S311 - nothing is to be kept secret by it


def request_due(storage_host: str) -> None:
    """Ask for the scans of this host's domains whose time has come, and set the next time.

    Several workers may ask at once: who changes the row has asked. A domain that has just come is
    scanned within the first tenth of its time, so that many do not begin together.
    """
    now = timezone.now()
    planned = StorageDomain.objects.filter(storage_host=storage_host, scan_seconds__gt=0)
    due = planned.filter(Q(next_scan_at=None) | Q(next_scan_at__lte=now))
    for domain in due.only("scan_seconds", "next_scan_at", "storage_host", "name"):
        first = domain.next_scan_at is None
        wait = domain.scan_seconds * (_between(0, 0.1) if first else _between(0.9, 1.1))
        mine = planned.filter(pk=domain.pk, next_scan_at=domain.next_scan_at)
        if mine.update(next_scan_at=now + timedelta(seconds=wait)) and not first:
            request_planned(domain)
