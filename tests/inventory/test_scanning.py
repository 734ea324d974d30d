"""Scans in workers: planned, cancelled, checked, on several hosts, and of storage that never answers."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from chains.core.errors import StrataError
from chains.inventory import checks, scanning, selectors, services
from chains.inventory.asking import NotAllowedError
from chains.models import Scan, ScanState, StorageDomain, User, Volume, WorkerHost
from tests import images

MIB = images.MIB
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def worker(host: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A whole worker process of a storage host."""
    argv = [sys.executable, "manage.py", "run_worker", "--storage-host", host, "--concurrency", "1"]
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **settings})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(15) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_for(done: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(scan: Scan) -> str:
    return Scan.objects.values_list("state", flat=True).get(pk=scan.pk)


def domain_at(path: Path, host: str) -> StorageDomain:
    path.mkdir()
    images.lesson(path)
    return services.add_domain(path.name, str(path), "directory", host)


@pytest.mark.django_db(transaction=True)
def test_a_worker_takes_the_work_of_its_own_host(tmp_path):
    """Two workers of two hosts, one database: neither takes what is the other's."""
    one, two = (domain_at(tmp_path / name, name) for name in ("host-a", "host-b"))
    waiting = services.request_scan(two, None, "test")
    with worker("host-a"):
        mine = services.request_scan(one, None, "test")
        wait_for(lambda: state(mine) == ScanState.SUCCEEDED)
        wait_for(lambda: selectors.silent_hosts() == ["host-b"])
        time.sleep(2)
        assert state(waiting) == ScanState.QUEUED
        assert not selectors.worker_alive("host-b")
        with worker("host-b"):
            wait_for(lambda: state(waiting) == ScanState.SUCCEEDED)
            assert selectors.silent_hosts() == []
            assert two.volumes.count() == 3
        wait_for(lambda: selectors.silent_hosts() == ["host-b"], 30)
    WorkerHost.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_storage_that_hangs_blocks_nobody(tmp_path):
    """A FUSE server that is stopped: its domain is given up, the worker's one place is free again."""
    if os.geteuid() != 0 or shutil.which("bindfs") is None:
        pytest.skip("only root with bindfs can mount this")
    store, where = tmp_path / "store", tmp_path / "mount"
    where.mkdir()
    store.mkdir()
    images.lesson(store)
    sound = domain_at(tmp_path / "sound", "here")
    with subprocess.Popen(["bindfs", "-f", store, where]) as server:
        try:
            wait_for(where.is_mount)
            hung = services.add_domain("hung", str(where), "directory", "here")
            scanning.run_scan(services.request_scan(hung, None, "test", queue=False).pk)
            with worker("here", STRATA_STORAGE_TIMEOUT="2"):
                server.send_signal(signal.SIGSTOP)
                first = services.request_scan(hung, None, "test")
                wait_for(lambda: state(first) == ScanState.RUNNING)
                behind = services.request_scan(sound, None, "test")
                wait_for(lambda: state(first) == ScanState.FAILED)
                wait_for(lambda: state(behind) == ScanState.SUCCEEDED)
                hung.refresh_from_db()
                since = hung.unreachable_since
                assert since is not None
                assert "has not answered for 2 seconds" in hung.unreachable
                again = services.request_scan(hung, None, "test")
                wait_for(lambda: state(again) == ScanState.FAILED)
                assert "still does not answer" in Scan.objects.get(pk=again.pk).message
                assert hung.volumes.count() == 3
                server.send_signal(signal.SIGCONT)
                wait_for(lambda: _scanned(hung))
                hung.refresh_from_db()
                assert (hung.unreachable, hung.unreachable_since) == ("", None)
                assert state(first) == ScanState.FAILED, "what comes late is not used"
                server.send_signal(signal.SIGSTOP)
                last = services.request_scan(hung, None, "test")
                wait_for(lambda: state(last) == ScanState.FAILED)
                # And the worker ends in order though one of its threads never does.
        finally:
            server.send_signal(signal.SIGCONT)
            subprocess.run(["umount", where], check=True)


def _scanned(domain: StorageDomain) -> bool:
    scan = services.request_scan(domain, None, "test")
    wait_for(lambda: state(scan) not in {ScanState.QUEUED, ScanState.RUNNING})
    return state(scan) == ScanState.SUCCEEDED


def test_a_running_scan_is_cancelled_and_changes_nothing(root, domain, scan, monkeypatch):
    images.lesson(root)
    scan()
    (root / "snap2.img").unlink()
    asked = services.request_scan(domain, None, "test", queue=False)
    real = scanning.scan_domain

    def late(domain, report, **more):
        scanning.cancel_scan(asked, None, "test")
        time.sleep(0.3)  # the news are sent five times a second
        return real(domain, report, **more)

    monkeypatch.setattr(scanning, "scan_domain", late)
    done = scanning.run_scan(asked.pk)
    assert (done.state, done.message) == (
        ScanState.CANCELLED,
        "Cancelled: the inventory stays as it was.",
    )
    assert domain.volumes.filter(path="snap2.img").exists()
    assert done.finished_at is not None
    domain.refresh_from_db()
    assert domain.last_scan.state == ScanState.SUCCEEDED
    assert domain.unreachable == ""


def test_a_queued_scan_is_cancelled_at_once(domain):
    asked = services.request_scan(domain, None, "test", queue=False)
    auditor = User.objects.create_user("auditor", password="x", role="auditor")
    with pytest.raises(NotAllowedError):
        scanning.cancel_scan(asked, auditor, "test")
    assert state(asked) == ScanState.QUEUED
    scanning.cancel_scan(asked, None, "test")
    assert state(asked) == ScanState.CANCELLED
    assert scanning.run_scan(asked.pk).state == ScanState.CANCELLED
    assert services.request_scan(domain, None, "test", queue=False).pk != asked.pk


def test_a_scan_that_was_given_up_saves_nothing(root, domain, scan, monkeypatch):
    images.lesson(root)
    scan()
    (root / "snap2.img").unlink()
    asked = services.request_scan(domain, None, "test", queue=False)
    real = scanning.scan_domain

    def late(domain, report, **more):
        scanning.give_up(asked.pk)
        return real(domain, report, **more)

    monkeypatch.setattr(scanning, "scan_domain", late)
    assert scanning.run_scan(asked.pk).state == ScanState.FAILED
    assert domain.volumes.filter(path="snap2.img").exists()
    domain.refresh_from_db()
    assert domain.unreachable_since is not None


def test_planned_scans_come_when_it_is_time_and_not_together(tmp_path, db):
    random.seed(7)
    domains = [domain_at(tmp_path / f"d{number}", "here") for number in range(5)]
    domain_at(tmp_path / "elsewhere", "there")
    StorageDomain.objects.filter(pk=domains[4].pk).update(scan_seconds=0)
    scanning.request_due("here")
    assert Scan.objects.count() == 0, "one that has just come waits a little"
    now = timezone.now()
    times = StorageDomain.objects.exclude(next_scan_at=None).values_list("next_scan_at", flat=True)
    assert len(set(times)) == 4
    assert all(now - timedelta(seconds=5) <= at <= now + timedelta(minutes=6) for at in times)
    StorageDomain.objects.filter(pk__in=[d.pk for d in domains[:2]]).update(next_scan_at=now)
    scanning.request_due("here")
    scanning.request_due("here")
    assert {scan.domain_id for scan in Scan.objects.all()} == {d.pk for d in domains[:2]}
    for domain in StorageDomain.objects.filter(pk__in=[d.pk for d in domains[:2]]):
        wait = (domain.next_scan_at - now).total_seconds()
        assert 0.9 * 3600 <= wait <= 1.1 * 3600 + 5


@pytest.fixture
def checked(domain, scan) -> Callable[[str], Scan]:
    def run(path: str) -> Scan:
        scan()
        volume = Volume.objects.get(domain=domain, path=path)
        asked = services.request_check(volume, None, "test", queue=False)
        assert services.request_check(volume, None, "test", queue=False).pk == asked.pk
        done = scanning.run_scan(asked.pk)
        domain.refresh_from_db()
        return done

    return run


def leak(path: Path) -> None:
    """An image whose end was allocated and is used by nothing: what a killed commit leaves."""
    images.write(path, "qcow2", "write -P 1 0 64k")
    content = bytearray(path.read_bytes())
    table = int.from_bytes(content[48:56], "big")
    block = int.from_bytes(content[table : table + 8], "big")
    free = -(-len(content) // 65536)
    content[block + 2 * free : block + 2 * free + 2] = b"\0\1"
    path.write_bytes(content.ljust((free + 1) * 65536, b"\0"))


def test_a_check_finds_leaks_and_what_the_tool_repaired_is_gone(root, domain, checked, scan):
    leak(images.qcow2(root / "leaf.qcow2", MIB))
    assert checked("leaf.qcow2").state == ScanState.SUCCEEDED
    row = domain.findings.open().get()
    assert (row.code, row.space, row.severity) == ("leaked", 65536, "warning")
    scan()
    assert domain.findings.open().exists(), "a scan of what has not changed keeps it"
    images.qemu_img("check", "-q", "-r", "leaks", root / "leaf.qcow2")
    scan()
    assert not domain.findings.open().exists(), "it is another file now: nobody knows"
    assert checked("leaf.qcow2").state == ScanState.SUCCEEDED
    assert Volume.objects.get().check_result["leaks"] == 0
    assert not domain.findings.open().exists()


def test_a_check_finds_overlaps(root, domain, checked):
    path = images.qcow2(root / "leaf.qcow2", MIB, "write -P 1 0 128k")
    content = bytearray(path.read_bytes())
    l1 = int.from_bytes(content[40:48], "big")
    l2 = int.from_bytes(content[l1 : l1 + 8], "big") & 0x00FFFFFFFFFFFE00
    content[l2 + 8 : l2 + 16] = content[l2 : l2 + 8]  # two guest clusters on one of the file
    path.write_bytes(content)
    assert checked("leaf.qcow2").state == ScanState.SUCCEEDED
    row = domain.findings.open().get(code="check-corrupt")
    assert (row.severity, row.endangers) == ("critical", ["leaf.qcow2"])
    assert domain.critical_count == 1


def test_a_chain_that_no_tool_may_open_is_not_checked(root, domain, checked):
    (root / "gone").write_bytes(bytes(MIB))
    images.overlay(root / "leaf.qcow2", "gone", "raw", size=MIB)
    (root / "gone").unlink()
    done = checked("leaf.qcow2")
    assert (done.state, "No tool is started" in done.message) == (ScanState.FAILED, True)


def test_a_raw_volume_has_nothing_to_be_checked(root, domain, checked):
    images.raw(root / "leaf.img", MIB)
    with pytest.raises(StrataError, match="raw"):
        checked("leaf.img")


def test_a_volume_in_use_is_not_checked(root, domain, checked):
    path = images.qcow2(root / "leaf.qcow2", MIB)
    with images.opened(path):
        done = checked("leaf.qcow2")
    assert (done.state, "open in another process" in done.message) == (ScanState.FAILED, True)
    assert Volume.objects.get().check_result is None
    assert Volume.objects.get().in_use


def test_the_tool_that_fails_says_why(root, domain, checked, monkeypatch):
    images.qcow2(root / "leaf.qcow2", MIB)
    monkeypatch.setattr(checks.qemu_img, "check", lambda path: ["qemu-img", "check", "--nonsense"])
    done = checked("leaf.qcow2")
    assert done.state == ScanState.FAILED
    assert "qemu-img check failed" in done.message
