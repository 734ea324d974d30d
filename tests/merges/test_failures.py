"""Failures of the storage, of the database and of people, each caused for real."""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from channels.db import database_sync_to_async
from django.db import connection, connections
from django.utils import timezone

from chains.core.states import StepName
from chains.inventory.scan import scan_domain
from chains.merges import files, recovery, runner, services, steps, watch
from chains.merges.work import Work
from chains.models import Merge, StorageDomain, User
from tests import images
from tests.merges.conftest import volume
from tests.merges.test_worker_kills import chain, orphaned, worker

MIB = images.MIB
DAY = 24 * 3600
WAYS = ["commit", "rebase", "convert"]
Ask = Callable[..., Merge]


def run(merge: Merge) -> Merge:
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    return merge


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[StepName, Callable[[], None]], None]:
    """Have something happen when a step is done, once."""

    def hook(name: StepName, happen: Callable[[], None]) -> None:
        real = steps.RUN[name]

        async def step(work: Work, row: object) -> None:
            await real(work, row)  # type: ignore[arg-type]
            monkeypatch.setitem(steps.RUN, name, real)
            happen()

        monkeypatch.setitem(steps.RUN, name, step)

    return hook


def small_chain(root: Path) -> str:
    """16 MiB of base, 12 MiB above it, an overlay; returns the guest's view."""
    images.qcow2(root / "base.qcow2", 64 * MIB, "write -P 0xb1 0 16M")
    images.overlay(root / "mid.qcow2", "base.qcow2", "qcow2", "write -P 0xc2 8M 12M")
    images.overlay(root / "top.qcow2", "mid.qcow2", "qcow2", "write -P 0xd3 30M 1M")
    return images.view(root / "top.qcow2")


@pytest.fixture
def mounted(
    request: pytest.FixtureRequest, domain: StorageDomain, tmp_path: Path
) -> Iterator[Path]:
    """The domain on a file system of its own; `param` is its kind and size in MiB."""
    kind, size = request.param
    where = tmp_path / "mounted"
    where.mkdir()
    with images.mounted(where, kind, size * MIB):
        StorageDomain.objects.update(path=str(where))
        domain.refresh_from_db()
        yield where


@pytest.mark.parametrize("mounted", [("ext4", 112)], indirect=True)
@pytest.mark.parametrize("strategy", WAYS)
def test_a_full_disk(
    mounted: Path, domain: StorageDomain, asked: Ask,
    after: Callable[[StepName, Callable[[], None]], None], strategy: str,
) -> None:  # fmt: skip
    before = small_chain(mounted)
    merge = asked("base.qcow2", "mid.qcow2", strategy)

    def fill() -> None:
        with (mounted / "filler").open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(bytes(MIB)):
                    pass
            file.truncate(file.tell() - 2 * MIB)

    after(StepName.PREFLIGHT, fill)
    assert run(merge).state == "failed", merge.message
    assert "he storage domain is full; free some space" in merge.message
    assert images.view(mounted / "top.qcow2") == before
    left = {path.name for path in mounted.iterdir()} - {"filler", "lost+found"}
    assert left == {"base.qcow2", "mid.qcow2", "top.qcow2"}
    (mounted / "filler").unlink()
    again = run(asked("base.qcow2", "mid.qcow2", strategy))
    assert again.state == "succeeded", again.message
    assert images.view(mounted / "top.qcow2") == before


def spoil(store: Path, pattern: bytes) -> tuple[int, bytes]:
    """Damage a block of data in the store of a file system; returns how to mend it."""
    data = store.read_bytes()
    at = data.find(pattern * 65536) + 32768
    assert at > 32768
    with store.open("r+b") as file:
        file.seek(at)
        file.write(b"rotten" * 600)
    return at, data[at : at + 3600]


@pytest.mark.parametrize(("strategy", "pattern"), [("commit", b"\xc2"), ("rebase", b"\xb1"), ("convert", b"\xb1")])  # fmt: skip
def test_a_layer_that_can_not_be_read(
    domain: StorageDomain, asked: Ask, tmp_path: Path, strategy: str, pattern: bytes
) -> None:
    """btrfs knows the checksum of each block: one that has rotted is an error of the disk."""
    where = tmp_path / "rotten"
    where.mkdir()
    store = tmp_path / "rotten.btrfs"
    StorageDomain.objects.update(path=str(where))
    domain.refresh_from_db()
    with images.mounted(where, "btrfs"):
        before = small_chain(where)
    at, whole = spoil(store, pattern)
    with images.mounted_again(store, where):
        merge = run(asked("base.qcow2", "mid.qcow2", strategy))
        assert merge.state == "failed"
        assert "Input/output error" in merge.message or "while reading" in merge.message
        assert sorted(p.name for p in where.iterdir()) == ["base.qcow2", "mid.qcow2", "top.qcow2"]
    with store.open("r+b") as file:
        file.seek(at)
        file.write(whole)
    with images.mounted_again(store, where):
        assert images.view(where / "top.qcow2") == before


def test_a_guest_that_starts_in_the_midst(
    domain: StorageDomain, asked: Ask, after: Callable[[StepName, Callable[[], None]], None]
) -> None:
    root = Path(domain.path)
    before = small_chain(root)
    merge = asked("base.qcow2", "mid.qcow2", "convert")
    holders = []

    def start() -> None:
        holder = images.opened(root / "top.qcow2")
        holder.__enter__()
        holders.append(holder)

    after(StepName.VERIFY, start)
    try:
        assert run(merge).state == "attention"
        assert "top.qcow2. Shut it down" in merge.message
    finally:
        holders[0].__exit__(None, None, None)
    services.resume(merge, None, "test")
    assert run(merge).state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before


@pytest.mark.parametrize("strategy", WAYS)
@pytest.mark.parametrize("how", ["written", "replaced"])
def test_a_layer_that_somebody_changes_in_the_midst(
    domain: StorageDomain, asked: Ask, after: Callable[[StepName, Callable[[], None]], None],
    strategy: str, how: str,
) -> None:  # fmt: skip
    root = Path(domain.path)
    small_chain(root)
    merge = asked("base.qcow2", "mid.qcow2", strategy)
    victim = root / ("mid.qcow2" if strategy != "rebase" else "base.qcow2")

    def change() -> None:
        if how == "written":
            images.write(victim, "qcow2", "write -P 0xee 60M 64k")
        else:
            copy = victim.with_suffix(".copy")
            copy.write_bytes(victim.read_bytes())
            copy.replace(victim)

    after(StepName.COPY, change)
    assert run(merge).state == "failed"
    assert "was changed by somebody else" in merge.message
    assert {path.name for path in root.iterdir()} == {"base.qcow2", "mid.qcow2", "top.qcow2"}
    scan_domain(domain)
    assert not domain.findings.exists()


def test_a_base_that_is_replaced_while_it_is_written(
    domain: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is verified: the old layers are not removed for a file that nobody has written."""
    root = Path(domain.path)
    before = small_chain(root)
    merge = asked("base.qcow2", "mid.qcow2", "commit")
    Merge.objects.filter(pk=merge.pk).update(verification="none")
    real = files.settle_in_place
    whole = (root / "base.qcow2").read_bytes()

    def replaced(work: Work, written: str) -> None:
        (root / "copy").write_bytes(whole)
        (root / "copy").replace(root / "base.qcow2")
        real(work, written)

    monkeypatch.setattr(files, "settle_in_place", replaced)
    assert run(merge).state == "failed"
    assert "base.qcow2 was replaced by another file" in merge.message
    assert images.view(root / "top.qcow2") == before


@pytest.mark.parametrize("strategy", WAYS)
def test_a_backing_file_that_is_renamed_under_us(
    domain: StorageDomain, asked: Ask, after: Callable[[StepName, Callable[[], None]], None],
    strategy: str,
) -> None:  # fmt: skip
    root = Path(domain.path)
    before = small_chain(root)
    merge = asked("base.qcow2", "mid.qcow2", strategy)
    after(
        StepName.PREFLIGHT, lambda: (root / "base.qcow2").rename(root / "elsewhere.qcow2") and None
    )
    assert run(merge).state in {"failed", "attention"}
    assert "base.qcow2" in merge.message
    (root / "elsewhere.qcow2").rename(root / "base.qcow2")
    assert images.view(root / "top.qcow2") == before
    if merge.state == "attention":
        services.resume(merge, None, "test")
        run(merge)
    else:
        merge = run(asked("base.qcow2", "mid.qcow2", strategy))
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before


def test_a_database_that_ends_all_connections_in_the_midst(
    domain: StorageDomain, asked: Ask
) -> None:
    root = Path(domain.path)
    before = images.view(chain(root))
    merge = asked("base.qcow2", "mid.qcow2", "convert")
    with worker(merge.pk) as process:
        wait_for_step(merge, "copy")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert process.wait(30) != 0
    assert images.view(root / "top.qcow2") == before
    merge.refresh_from_db()
    assert merge.state == "running"
    orphaned(merge)
    assert recovery.requeue_orphans("here") == [merge.pk]
    assert run(merge).state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before


def wait_for_step(merge: Merge, name: str) -> None:
    for _ in range(3000):
        if merge.steps.get(name=name).state == "running":
            return
        threading.Event().wait(0.01)
    raise AssertionError(name)


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_jumps(
    domain: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    StorageDomain.objects.update(keep_seconds=DAY)
    root = Path(domain.path)
    before = small_chain(root)
    merge = asked("base.qcow2", "mid.qcow2", "convert")
    real, calls = timezone.now, 0

    def jumping() -> object:
        nonlocal calls
        calls += 1
        return real() + timedelta(hours=hours if calls > 3 else 0)

    monkeypatch.setattr(timezone, "now", jumping)
    run(merge)
    # The purge goes by the clock of the database alone.
    assert recovery.due("here") == []
    assert (merge.state, merge.kept, merge.percent) == ("succeeded", "kept", 100)
    assert images.view(root / "top.qcow2") == before


@pytest.mark.parametrize("strategy", WAYS)
@pytest.mark.parametrize("moment", ["early", "late"])
def test_a_cancel_and_a_crash_together(
    domain: StorageDomain, asked: Ask, strategy: str, moment: str
) -> None:
    root = Path(domain.path)
    before = images.view(chain(root))
    merge = asked("base.qcow2", "mid.qcow2", strategy)
    with worker(merge.pk, "copy", moment) as process:
        assert process.wait(30) == -signal.SIGKILL
    services.cancel(merge, None, "test")
    orphaned(merge)
    assert run(merge).state == "cancelled", merge.message
    assert images.view(root / "top.qcow2") == before
    assert {path.name for path in root.iterdir()} == {"base.qcow2", "mid.qcow2", "top.qcow2"}
    scan_domain(domain)
    assert volume(domain, "mid.qcow2").backing_path == "base.qcow2"


def test_two_operators_at_the_same_instant(domain: StorageDomain) -> None:
    """Exactly one wins; the other is told who and what."""
    root = Path(domain.path)
    small_chain(root)
    images.overlay(root / "leaf.qcow2", "top.qcow2", "qcow2")
    scan_domain(domain)
    services.read_maps_for(volume(domain, "leaf.qcow2"))
    asked_for = {"anna": ("base.qcow2", "mid.qcow2"), "bert": ("mid.qcow2", "top.qcow2")}
    people = {name: User.objects.create_user(name, role="operator") for name in asked_for}
    for _ in range(5):
        barrier, answers = threading.Barrier(2), {}

        def ask(name: str, barrier: threading.Barrier, answers: dict[str, object]) -> None:
            base, top = (volume(domain, path) for path in asked_for[name])
            barrier.wait()
            try:
                answers[name] = services.request_merge(base, top, people[name], "test", queue=False)
            except services.RefusedError as error:
                answers[name] = str(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=ask, args=(n, barrier, answers)) for n in asked_for]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = (name for name, answer in answers.items() if isinstance(answer, Merge))
        (loser,) = asked_for.keys() - {winner}
        base, top = asked_for[winner]
        merge = answers[winner]
        assert f"Merge {merge.pk} of {base}…{top}, asked for by {winner}, holds this chain" in str(
            answers[loser]
        )
        merge.delete()


@pytest.fixture
def hanging(domain: StorageDomain, tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """The domain on a FUSE mount whose server can be stopped: storage that hangs."""
    if (
        os.geteuid() != 0
        or subprocess.run(["which", "bindfs"], capture_output=True, check=False).returncode
    ):
        pytest.skip("only root with bindfs can mount this")
    store, where = tmp_path / "store", tmp_path / "hung"
    store.mkdir()
    where.mkdir()
    with subprocess.Popen(["bindfs", "-f", store, where]) as server:
        while not os.path.ismount(where):
            assert server.poll() is None
        StorageDomain.objects.update(path=str(where))
        domain.refresh_from_db()
        try:
            yield where, server.send_signal
        finally:
            server.send_signal(signal.SIGCONT)
            subprocess.run(["umount", where], check=True)


def test_storage_that_hangs_in_the_midst(
    hanging: tuple[Path, Callable[[int], None]], asked: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge says that it waits, and for what; it ends by itself when the storage answers again."""
    root, send = hanging
    before = small_chain(root)
    merge = asked("base.qcow2", "mid.qcow2", "convert")
    monkeypatch.setattr(watch, "STALL_SECONDS", 1.5)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    said: list[str] = []

    async def hang() -> None:
        send(signal.SIGSTOP)
        merging = asyncio.create_task(runner.run(merge.pk))
        while not said:
            await asyncio.sleep(0.1)
            row = await database_sync_to_async(Merge.objects.get)(pk=merge.pk)
            assert row.state in {"queued", "running"}
            said.extend([row.message] if row.message else [])
        send(signal.SIGCONT)
        await merging

    asyncio.run(asyncio.wait_for(hang(), 60))
    merge.refresh_from_db()
    assert "has not answered" in said[0]
    assert "goes on by itself" in said[0]
    assert (merge.state, merge.message) == ("succeeded", "")
    assert images.view(root / "top.qcow2") == before


@pytest.mark.parametrize("strategy", WAYS)
def test_whole_views_are_compared_when_asked_for(
    domain: StorageDomain, asked: Ask, strategy: str,
    after: Callable[[StepName, Callable[[], None]], None],
) -> None:  # fmt: skip
    """A byte that changes between the verification and the removal is seen: nothing is removed."""
    root = Path(domain.path)
    before = small_chain(root)
    images.overlay(root / "clone.qcow2", "mid.qcow2", "qcow2", "write -P 0xee 1M 64k")
    for spoiled in (True, False):
        merge = asked("base.qcow2", "mid.qcow2", strategy)
        Merge.objects.filter(pk=merge.pk).update(verification="content")
        if spoiled:
            after(
                StepName.SWITCH,
                lambda: images.write(root / "top.qcow2", "qcow2", "write -P 0 3M 64k"),
            )
            assert run(merge).state == "attention", merge.message
            assert "top.qcow2 is not what it was" in merge.message
            assert len(merge.views) == 2
            assert (root / ("mid.qcow2" if strategy != "rebase" else "base.qcow2")).exists()
            merge.delete()
            for path in root.iterdir():
                path.unlink()
            assert small_chain(root) == before
    assert run(merge).state == "succeeded", merge.message
    assert images.view(root / "top.qcow2") == before


@pytest.mark.parametrize("strategy", WAYS)
def test_the_journal_keeps_what_was_done_beside_what_was_planned(
    domain: StorageDomain, asked: Ask, strategy: str
) -> None:
    small_chain(Path(domain.path))
    merge = run(asked("base.qcow2", "mid.qcow2", strategy))
    plan, actual = merge.plan, merge.actual
    assert merge.state == "succeeded"
    assert abs(actual["written"] - plan["bytes_written"]) < MIB
    assert 0 < actual["read"] < plan["bytes_read"] + 2 * MIB
    assert abs(actual["grown"] - plan["space_needed"]) < 6 * MIB
    assert set(actual["seconds"]) == set(actual["moved"]) == {"copy", "verify"}
    assert not actual["again"]
