"""Failures of the storage, of the database and of people, each caused for real."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, connections
from django.utils import timezone

from chains.core.states import StepName
from chains.inventory.scan import scan_domain
from chains.merges import files, recovery, services
from chains.merges.work import Work
from chains.models import Merge, StorageDomain, User
from tests import images
from tests.merges.conftest import run, small_chain, volume
from tests.merges.test_worker_kills import chain, orphaned, worker

MIB = images.MIB
DAY = 24 * 3600
WAYS = ["commit", "rebase", "convert"]
Ask = Callable[..., Merge]


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
    # The connections of the tests' own process ended too, in whichever thread they were.
    connection.close()
    connection.close_pool()
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
