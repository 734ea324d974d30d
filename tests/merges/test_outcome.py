"""What a merge tells and proves: storage that hangs, whole views, and what was done beside the plan."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from channels.db import database_sync_to_async

from chains.core.states import StepName
from chains.merges import runner, watch
from chains.models import Merge, StorageDomain
from tests import images
from tests.merges.conftest import run, small_chain

MIB = images.MIB
WAYS = ["commit", "rebase", "convert"]
Ask = Callable[..., Merge]


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
