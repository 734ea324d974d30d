"""Cancel, shutdown and crash at every step: the guest's view stays, and the merge ends by itself."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.core.states import StepName
from chains.merges import recovery, runner, services, steps, threads
from chains.merges.work import Work
from chains.models import Merge, StorageDomain
from tests import images

Ask = Callable[..., Merge]


class PowerCutError(BaseException):
    """Nothing after it runs: no cleaning up, no journal."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[StepName, bool], None]:
    """Make a step die at its begin, or when its work is done and not yet recorded."""

    def at(name: StepName, late: bool) -> None:
        real = steps.RUN[name]

        async def dying(work: Work, step: object) -> None:
            if late:
                await real(work, step)  # type: ignore[arg-type]
            raise PowerCutError

        monkeypatch.setitem(steps.RUN, name, dying)

    return at


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", list(StepName))
@pytest.mark.parametrize(
    ("strategy", "top", "left"),
    [
        ("convert", "snap1.img", {"snap2.img", "base-merged-N.img"}),
        ("convert", "snap2.img", {"snap2.img"}),
        ("commit", "snap1.img", {"snap2.img", "base.img"}),
        ("rebase", "snap1.img", {"snap2.img", "snap1.img"}),
        ("rebase", "snap2.img", {"snap2.img"}),
    ],
)
def test_a_crash_at_every_step(
    domain: StorageDomain, asked: Ask, cut: Callable[[StepName, bool], None],
    monkeypatch: pytest.MonkeyPatch, name: StepName, late: bool, strategy: str, top: str,
    left: set[str],
) -> None:  # fmt: skip
    root = Path(domain.path)
    images.lesson(root)
    before = images.view(root / "snap2.img")
    merge = asked("base.img", top, strategy)
    cut(name, late)
    with pytest.raises(PowerCutError):
        asyncio.run(runner.run(merge.pk))
    assert images.view(root / "snap2.img") == before
    monkeypatch.undo()
    merge.refresh_from_db()
    assert merge.state == "running"
    assert recovery.requeue_orphans("here") == [merge.pk]
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "succeeded", merge.message
    assert images.view(root / "snap2.img") == before
    expected = {path.replace("-N", f"-{merge.pk}") for path in left}
    assert {path.name for path in root.iterdir()} == expected


def test_a_shutdown_stops_the_tool_and_keeps_the_journal(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    images.lesson(root)
    merge = asked("base.img", "snap1.img")

    async def interrupted() -> None:
        task = asyncio.create_task(runner.run(merge.pk))
        await asyncio.sleep(0.15)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    merge.refresh_from_db()
    if merge.state == "running":
        asyncio.run(runner.run(merge.pk))
        merge.refresh_from_db()
    assert merge.state == "succeeded"


def test_cancel_before_it_begins(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    images.lesson(root)
    merge = asked("base.img", "snap1.img")
    services.cancel(merge, None, "test")
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "cancelled"
    assert {path.name for path in root.iterdir()} == {"base.img", "snap1.img", "snap2.img"}


def test_cancel_while_it_copies(
    domain: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(domain.path)
    images.lesson(root)
    before = images.view(root / "snap2.img")
    merge = asked("base.img", "snap1.img")
    real = steps.RUN[StepName.COPY]

    async def cancelling(work: Work, step: object) -> None:
        await threads.db(services.cancel, merge, None, "test")
        await real(work, step)  # type: ignore[arg-type]

    monkeypatch.setitem(steps.RUN, StepName.COPY, cancelling)
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "cancelled", merge.message
    assert {path.name for path in root.iterdir()} == {"base.img", "snap1.img", "snap2.img"}
    assert images.view(root / "snap2.img") == before


def test_cancel_is_refused_once_the_overlays_are_switched(
    domain: StorageDomain, asked: Ask, cut: Callable[[StepName, bool], None]
) -> None:
    images.lesson(Path(domain.path))
    merge = asked("base.img", "snap1.img")
    cut(StepName.REMOVE, False)
    with pytest.raises(PowerCutError):
        asyncio.run(runner.run(merge.pk))
    with pytest.raises(services.RefusedError, match="can not be cancelled"):
        services.cancel(merge, None, "test")


def test_a_layer_touched_before_it_is_removed_is_kept(
    domain: StorageDomain,
    asked: Ask,
    cut: Callable[[StepName, bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(domain.path)
    base, _, _ = images.lesson(root)
    merge = asked("base.img", "snap1.img")
    cut(StepName.REMOVE, False)
    with pytest.raises(PowerCutError):
        asyncio.run(runner.run(merge.pk))
    monkeypatch.undo()
    images.write(base, "raw", "write -P 7 0 64k")
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "attention"
    assert base.exists()


def test_two_workers_that_both_believe_it_is_theirs(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    images.lesson(root)
    merge = asked("base.img", "snap1.img")

    async def both() -> None:
        await asyncio.gather(runner.run(merge.pk), runner.run(merge.pk), runner.run(merge.pk))

    asyncio.run(both())
    merge.refresh_from_db()
    assert merge.state == "succeeded"
    assert merge.steps.filter(state="done").count() == 5
