"""The tasks of the job queue: thin doors to the services. And the worker that runs them."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.jobs import Status

from chains.inventory import history, scanning
from chains.inventory.jobs import LESSON, MERGE, NOTIFY, PURGE, SCAN
from chains.lessons import keeping as lessons
from chains.lessons import running as lesson_running
from chains.merges import delivery, kept, queue, recovery, runner
from chains.models import Scan, ScanKind, ScanState, WorkerHost

logger = logging.getLogger(__name__)
BEAT_SECONDS = 3.0
STORAGE_THREADS = 64
# Well below the 30 s after which a silent worker is taken for dead.
DRAIN_SECONDS = 5.0
LOOK_SECONDS = 1.0  # how often it is asked whether storage still answers a scan
THIN_SECONDS = 6 * 3600.0
SWEEP_SECONDS = 3600.0
_scanning: set[int] = set()  # what this process reads now; a slow read is not a dead one
_hanging: dict[int, int] = {}  # scans by domain whose storage never answered


@app.task(name=SCAN)
async def scan(pk: int) -> None:
    """Read a domain or a disk."""
    domain = (await database_sync_to_async(Scan.objects.get)(pk=pk)).domain_id
    if domain in _hanging:
        await database_sync_to_async(scanning.still_hangs)(pk)
        return
    _scanning.add(pk)
    reading = _aside(_scan, pk)
    try:
        while not reading.done():
            await asyncio.wait([reading], timeout=LOOK_SECONDS)
            if not reading.done() and scanning.heard.silence(pk) > settings.STORAGE_TIMEOUT:
                _hanging[domain] = pk
                reading.add_done_callback(lambda _: _hanging.pop(domain, None))
                await database_sync_to_async(scanning.give_up)(pk)
                return
        await reading
    finally:
        _scanning.discard(pk)


def _aside(function: Callable[[int], None], pk: int) -> asyncio.Future[None]:
    """Call a function in a thread of its own: those that others share must not wait for storage.

    Nor does the end of the process wait for it: a worker that is stopped leaves what hangs behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def end(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error = None
        try:
            function(pk)
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has stopped
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, name=f"scan {pk}", daemon=True).start()
    return done


def _scan(pk: int) -> None:
    try:
        scan = scanning.run_scan(pk)
        if scan.kind == ScanKind.DOMAIN and scan.state == ScanState.SUCCEEDED:
            kept.reconcile(scan.domain)
    finally:
        connections.close_all()


@app.task(name=MERGE)
async def merge(pk: int) -> None:
    """Carry a merge out, or go on with it; its place is free then."""
    domain = await runner.run(pk)
    await database_sync_to_async(queue.moved_up)(domain)


@app.task(name=PURGE)
async def purge(pk: int) -> None:
    """Delete the old layers that a merge kept aside."""
    await database_sync_to_async(kept.purge)(pk)


@app.task(name=NOTIFY)
async def notify(pk: int) -> None:
    """Begin to send the notices that are due, those of this merge among them; waits for no receiver."""
    await delivery.send_due()


@app.task(name=LESSON)
async def lesson(pk: int) -> None:
    """Run a step of somebody's lesson, or clear its sandbox."""
    await lesson_running.run(pk)


def _beat(storage_host: str, process: str) -> None:
    WorkerHost.objects.update_or_create(
        process=process, defaults={"storage_host": storage_host, "alive_at": timezone.now()}
    )
    scanning.keep_scans(storage_host, list(_scanning))
    scanning.request_due(storage_host)
    recovery.requeue_orphans(storage_host)
    recovery.purge_due(storage_host)
    lessons.see_to(storage_host)


def _leave(process: str) -> None:
    with transaction.atomic():
        WorkerHost.objects.filter(process=process).delete()


async def _keep_house(storage_host: str, process: str) -> None:
    thinned = swept = 0.0
    while True:
        try:
            if time.monotonic() - thinned > THIN_SECONDS:
                thinned = time.monotonic()
                await database_sync_to_async(history.thin)()
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                await database_sync_to_async(lessons.sweep)(storage_host)
            await database_sync_to_async(_beat)(storage_host, process)
            await delivery.send_due()
            for job in await app.job_manager.get_stalled_jobs(queue=storage_host):
                # The journal, not the dead job, says how to go on; see recovery.py.
                await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
        except Exception:
            logger.exception("the worker could not tell that it is alive")
        await asyncio.sleep(BEAT_SECONDS)


async def work(storage_host: str, *, concurrency: int) -> None:
    """Take the jobs of one storage host until a signal ends it."""
    process = queue.own_name()
    # A thread that waits for storage that hangs is lost to the others until it answers.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(STORAGE_THREADS))
    async with app.open_async():
        house = asyncio.create_task(_keep_house(storage_host, process))
        try:
            await app.run_worker_async(
                queues=[storage_host], name=process, concurrency=concurrency, delete_jobs="always",
                fetch_job_polling_interval=1.0, abort_job_polling_interval=5.0,
                shutdown_graceful_timeout=DRAIN_SECONDS,
            )  # fmt: skip
        finally:
            house.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await house
            with contextlib.suppress(Exception):
                await database_sync_to_async(_leave)(process)
