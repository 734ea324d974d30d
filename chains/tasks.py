"""The tasks of the job queue: thin doors to the services. And the worker that runs them."""

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor

from channels.db import database_sync_to_async
from django.db import transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.jobs import Status

from chains.inventory import services as inventory
from chains.inventory.jobs import MERGE, NOTIFY, PURGE, SCAN
from chains.merges import delivery, kept, queue, recovery, runner
from chains.models import ScanState, WorkerHost

logger = logging.getLogger(__name__)
BEAT_SECONDS = 3.0
STORAGE_THREADS = 64
# Well below the 30 s after which a silent worker is taken for dead.
DRAIN_SECONDS = 5.0
_scanning: set[int] = set()  # what this process reads now; a slow read is not a dead one


@app.task(name=SCAN)
async def scan(pk: int) -> None:
    """Read a domain or a disk."""
    _scanning.add(pk)
    try:
        scan = await database_sync_to_async(inventory.run_scan)(pk)
        if scan.disk_id is None and scan.state == ScanState.SUCCEEDED:
            await database_sync_to_async(kept.reconcile)(scan.domain)
    finally:
        _scanning.discard(pk)


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


def _beat(storage_host: str, process: str) -> None:
    WorkerHost.objects.update_or_create(
        process=process, defaults={"storage_host": storage_host, "alive_at": timezone.now()}
    )
    inventory.keep_scans(storage_host, list(_scanning))
    recovery.requeue_orphans(storage_host)
    recovery.purge_due(storage_host)


def _leave(process: str) -> None:
    with transaction.atomic():
        WorkerHost.objects.filter(process=process).delete()


async def _keep_house(storage_host: str, process: str) -> None:
    while True:
        try:
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
