"""kill -9 of the worker, with its tool, at each step and at random moments: every view stays, the
images are sound, and the merge then ends by itself.
"""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from chains.core.states import StepName
from chains.merges import fence, queue, recovery, runner
from chains.models import Merge, StorageDomain
from tests import images

ROOT = Path(__file__).resolve().parents[2]
MIB = images.MIB
DAY = 24 * 3600
WAYS = ["commit", "rebase", "convert"]


def chain(root: Path) -> Path:
    """Enough data that a copy takes a while; layers that overlap, and zeroes between."""
    images.qcow2(root / "base.qcow2", 192 * MIB, "write -P 1 0 120M")
    images.overlay(root / "mid.qcow2", "base.qcow2", "qcow2", "write -P 2 40M 90M", "write -z 0 8M")
    return images.overlay(root / "top.qcow2", "mid.qcow2", "qcow2", "write -P 3 100M 20M")


@contextmanager
def worker(pk: int, *death: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the merge out, from the moment that it begins."""
    argv = [sys.executable, "-m", "tests.merges.worker", str(pk), *death]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def orphaned(merge: Merge) -> None:
    """Wait until the database has noticed the death: the fence is free within a moment."""
    deadline = time.monotonic() + 10
    while fence.is_held(merge.family):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_images(root: Path) -> None:
    for path in root.iterdir():
        if path.is_file() and not path.name.startswith(".strata"):
            argv = ["qemu-img", "check", "-q", "-f", "qcow2", str(path)]
            # 3: a cluster that was taken when the tool died, and is used by nothing. Never 2, corrupt.
            assert subprocess.run(argv, capture_output=True, check=False).returncode in {0, 3}


def tools_of(root: Path) -> list[str]:
    """The tools that have this domain's images open, by the kernel's list of processes."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"qemu-img") and any(os.fsencode(root) in word for word in words):
            found.append(place.parent.name)
    return found


def finish(merge: Merge, root: Path, before: str, *, count: int) -> None:
    """A worker is back: the merge ends, and nothing is left over."""
    assert not tools_of(root)  # the tool died with its worker
    assert images.view(root / "top.qcow2") == before
    check_images(root)
    merge.refresh_from_db()
    if not merge.finished:
        orphaned(merge)
        assert recovery.requeue_orphans("here") == [merge.pk] * (merge.state == "running")
        asyncio.run(runner.run(merge.pk))
        merge.refresh_from_db()
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before
    check_images(root)
    assert len([p for p in root.iterdir() if not p.name.startswith(".strata-kept")]) == count


RUNS = [("commit", "mid.qcow2", 2), ("rebase", "mid.qcow2", 2), ("convert", "top.qcow2", 1)]
QUICK = {
    (StepName.COPY, "late", "commit", 0), (StepName.COPY, "late", "rebase", DAY),
    (StepName.VERIFY, "early", "rebase", 0), (StepName.VERIFY, "late", "convert", DAY),
    (StepName.SWITCH, "late", "convert", DAY), (StepName.SWITCH, "early", "commit", 0),
    (StepName.REMOVE, "late", "convert", DAY), (StepName.PREFLIGHT, "late", "commit", 0),
}  # fmt: skip


def deaths() -> list[object]:
    """Every step, at its begin and at its end, in every way; a few of them in each run of the tests."""
    all_ = itertools.product(StepName, ("early", "late"), RUNS, (0, DAY))
    return [
        pytest.param(
            step, moment, *run, keep,
            marks=[] if (step, moment, run[0], keep) in QUICK else pytest.mark.slow,
        )
        for step, moment, run, keep in all_
    ]  # fmt: skip


@pytest.mark.parametrize(("step", "moment", "strategy", "top", "left", "keep"), deaths())
def test_a_worker_that_is_killed_at_each_step(
    domain: StorageDomain, asked: Callable[..., Merge], step: StepName, moment: str, strategy: str,
    top: str, left: int, keep: int,
) -> None:  # fmt: skip
    StorageDomain.objects.update(keep_seconds=keep)
    root = Path(domain.path)
    before = images.view(chain(root))
    merge = asked("base.qcow2", top, strategy)
    with worker(merge.pk, step.value, moment) as process:
        assert process.wait(30) == -signal.SIGKILL
    finish(merge, root, before, count=left)


def killed_at_random(
    domain: StorageDomain, asked: Callable[..., Merge], strategy: str, seed: int, kills: int
) -> None:
    luck = random.Random(seed)  # noqa: S311
    StorageDomain.objects.update(keep_seconds=DAY * (seed % 2))
    root = Path(domain.path)
    before = images.view(chain(root))
    merge = asked("base.qcow2", "mid.qcow2", strategy)
    for _ in range(kills):
        orphaned(merge)
        with worker(merge.pk) as process:
            time.sleep(luck.uniform(0.05, 0.9))
            process.kill()
            process.wait()
        time.sleep(0.05)
        assert not tools_of(root)
        assert images.view(root / "top.qcow2") == before
        merge.refresh_from_db()
        if merge.finished:
            break
    finish(merge, root, before, count=2)


@pytest.mark.parametrize("strategy", WAYS)
def test_a_worker_that_is_killed_again_and_again(
    domain: StorageDomain, asked: Callable[..., Merge], strategy: str
) -> None:
    killed_at_random(domain, asked, strategy, WAYS.index(strategy), 3)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", WAYS)
@pytest.mark.parametrize("seed", range(100, 116))
def test_two_hundred_kills_of_the_worker(
    domain: StorageDomain, asked: Callable[..., Merge], strategy: str, seed: int
) -> None:
    killed_at_random(domain, asked, strategy, seed, 5)


def test_the_next_worker_goes_on_by_itself(
    domain: StorageDomain, asked: Callable[..., Merge]
) -> None:
    """Whole worker processes: one is killed in the copy, the other ends the merge within 60 s."""
    root = Path(domain.path)
    before = images.view(chain(root))
    merge = asked("base.qcow2", "mid.qcow2", "convert")
    argv = [sys.executable, "manage.py", "run_worker", "--storage-host", "here"]
    queue.dispatch("here")
    with subprocess.Popen(argv, cwd=ROOT) as first:
        wait_for(merge, lambda: merge.steps.get(name="copy").state == "running")
        first.kill()
    assert images.view(root / "top.qcow2") == before
    merge.refresh_from_db()
    assert merge.state == "running"
    began = time.monotonic()
    with subprocess.Popen(argv, cwd=ROOT) as second:
        try:
            wait_for(merge, lambda: merge.finished)
            assert time.monotonic() - began < 60
        finally:
            second.send_signal(signal.SIGTERM)
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before


def wait_for(merge: Merge, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
        merge.refresh_from_db()


def test_two_that_believe_it_is_theirs_never_write_at_once(
    domain: StorageDomain, asked: Callable[..., Merge]
) -> None:
    """The database drops the first one's lock; the second takes it, and waits until the first has stopped."""
    root = Path(domain.path)
    before = images.view(chain(root))
    merge = asked("base.qcow2", "mid.qcow2", "commit")
    Merge.objects.filter(pk=merge.pk).update(rate=30 * MIB)
    most = 0
    with worker(merge.pk) as first:
        wait_for(merge, lambda: bool(tools_of(root)))
        drop_locks()
        with worker(merge.pk) as second:
            while second.poll() is None:
                most = max(most, len(tools_of(root)))
                time.sleep(0.02)
        assert first.wait(20) != 0  # it says that it has lost the database
    merge.refresh_from_db()
    assert most == 1
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before


def drop_locks() -> None:
    """End the connections that hold fences, as a server that restarts would."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE l.locktype = 'advisory' AND l.classid = %s AND d.datname = current_database()",
            [fence.SPACE],
        )
