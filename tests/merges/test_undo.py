"""Undo: each restore point comes back byte for byte, whatever happens between; and the purge."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from chains.core.plans import Plan
from chains.core.states import StepName
from chains.inventory.scan import scan_domain
from chains.merges import kept, recovery, runner, services, undo
from chains.merges.work import Work
from chains.models import Merge, StorageDomain, Volume
from tests import images

MIB = images.MIB
DAY = 24 * 3600
Ask = Callable[..., Merge]
NAMES = ["base.qcow2", "s1.qcow2", "s2.qcow2", "s3.qcow2"]


def chain(root: Path) -> dict[str, str]:
    """Four layers that overlap, with zeroes and a size that grows; returns what each shows."""
    images.qcow2(root / NAMES[0], 32 * MIB, "write -P 1 0 8M")
    for number, writes in ((1, ["write -P 2 2M 4M"]), (2, ["write -P 3 4M 6M", "write -z 0 1M"])):
        images.overlay(root / NAMES[number], NAMES[number - 1], "qcow2", *writes)
    images.overlay(root / NAMES[3], NAMES[2], "qcow2", "write -P 4 9M 2M", size=40 * MIB)
    return {name: images.view(root / name) for name in NAMES}


@pytest.fixture(params=["plain", "xfs", pytest.param("btrfs", marks=pytest.mark.slow)])
def keeping(
    request: pytest.FixtureRequest, domain: StorageDomain, tmp_path: Path
) -> Iterator[StorageDomain]:
    """A domain that keeps old layers for a day, on file systems that share blocks and on one that may not."""
    domain.keep_seconds = DAY
    if request.param == "plain":
        domain.save()
        yield domain
        return
    where = tmp_path / request.param
    where.mkdir()
    with images.mounted(where, request.param):
        domain.path = str(where)
        domain.save()
        yield domain


def keep(domain: StorageDomain) -> None:
    """Have the domain keep old layers for a day."""
    domain.keep_seconds = DAY
    domain.save()


def undone(merge: Merge) -> Merge:
    """Ask for the undo, and carry it out."""
    row = services.request_undo(merge, None, "test", queue=False)
    asyncio.run(runner.run(row.pk))
    row.refresh_from_db()
    merge.refresh_from_db()
    return row


def run(merge: Merge) -> Merge:
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    return merge


def is_kept(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".strata")]


@pytest.mark.parametrize("strategy", ["commit", "rebase", "convert"])
@pytest.mark.parametrize(("base", "top"), [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_a_merge_and_its_undo(
    keeping: StorageDomain, asked: Ask, strategy: str, base: int, top: int
) -> None:
    root = Path(keeping.path)
    views = chain(root)
    merge = run(asked(NAMES[base], NAMES[top], strategy))
    assert merge.state == "succeeded", merge.message
    assert images.view(root / NAMES[3]) == views[NAMES[3]]
    scan_domain(keeping)
    assert keeping.volumes.count() == 4 - (top - base)  # what lies aside is no volume
    if strategy == "commit" and not keeping.shares_blocks:
        assert merge.kept == ""
        with pytest.raises(services.RefusedError, match="Nothing was kept"):
            services.request_undo(merge, None, "test", queue=False)
        return
    assert merge.kept == "kept"
    assert merge.kept_bytes > 0
    back = undone(merge)
    assert back.state == "succeeded", back.message
    assert merge.kept == "undone"
    assert sorted(path.name for path in root.iterdir() if path.name != "lost+found") == NAMES
    assert {name: images.view(root / name) for name in NAMES} == views
    for name in NAMES:
        argv = ["qemu-img", "check", "-q", "-f", "qcow2", str(root / name)]
        assert subprocess.run(argv, check=False).returncode == 0
    # And it can be merged again, the same way.
    again = run(asked(NAMES[base], NAMES[top], strategy))
    assert again.state == "succeeded", again.message
    assert images.view(root / NAMES[3]) == views[NAMES[3]]


class PowerCutError(BaseException):
    """Nothing after it runs."""


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", list(undo.RUN))
@pytest.mark.parametrize(("strategy", "top"), [("convert", 2), ("convert", 3), ("rebase", 2)])
def test_an_undo_that_is_cut(
    domain: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch, strategy: str, top: int,
    name: StepName, late: bool,
) -> None:  # fmt: skip
    keep(domain)
    root = Path(domain.path)
    views = chain(root)
    merge = run(asked(NAMES[0], NAMES[top], strategy))
    row = services.request_undo(merge, None, "test", queue=False)
    real = undo.RUN[name]

    async def dying(work: Work, step: object) -> None:
        if late:
            await real(work, step)  # type: ignore[arg-type]
        raise PowerCutError

    monkeypatch.setitem(undo.RUN, name, dying)
    with pytest.raises(PowerCutError):
        asyncio.run(runner.run(row.pk))
    monkeypatch.undo()
    assert images.view(root / NAMES[3]) == views[NAMES[3]]
    assert recovery.requeue_orphans("here") == [row.pk]
    assert run(row).state == "succeeded", row.message
    assert {name: images.view(root / name) for name in NAMES} == views
    assert not is_kept(root)


@pytest.mark.parametrize("moved", range(3))
def test_an_undo_that_is_cut_between_two_layers(
    domain: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    keep(domain)
    root = Path(domain.path)
    views = chain(root)
    merge = run(asked(NAMES[0], NAMES[2], "convert"))
    row = services.request_undo(merge, None, "test", queue=False)
    real, count = undo._restore, 0

    async def cut(*arguments: object) -> None:
        nonlocal count
        if count == moved:
            raise PowerCutError
        count += 1
        await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(undo, "_restore", cut)
    with pytest.raises(PowerCutError):
        asyncio.run(runner.run(row.pk))
    monkeypatch.undo()
    assert images.view(root / NAMES[3]) == views[NAMES[3]]
    assert run(row).state == "succeeded", row.message
    assert {name: images.view(root / name) for name in NAMES} == views


def test_what_a_guest_has_written_to_is_not_undone(domain: StorageDomain, asked: Ask) -> None:
    keep(domain)
    root = Path(domain.path)
    chain(root)
    merge = run(asked(NAMES[0], NAMES[3], "convert"))
    row = services.request_undo(merge, None, "test", queue=False)
    images.write(root / NAMES[3], "qcow2", "write -P 9 0 64k")
    written = images.view(root / NAMES[3])
    assert run(row).state == "failed"
    assert "has been written" in row.message
    assert images.view(root / NAMES[3]) == written
    merge.refresh_from_db()
    assert merge.kept == "kept"
    with pytest.raises(services.RefusedError, match="has been written"):
        services.request_undo(merge, None, "test", queue=False)


def test_a_guest_that_writes_above_the_joined_volume_does_not_matter(
    domain: StorageDomain, asked: Ask
) -> None:
    keep(domain)
    root = Path(domain.path)
    chain(root)
    merge = run(asked(NAMES[0], NAMES[2], "convert"))
    images.write(root / NAMES[3], "qcow2", "write -P 9 0 64k")
    images.overlay(root / "s4.qcow2", NAMES[3], "qcow2", "write -P 7 1M 64k")
    images.overlay(root / "clone.qcow2", f"base-merged-{merge.pk}.qcow2", "qcow2")
    scan_domain(domain)
    names = [NAMES[3], "s4.qcow2", "clone.qcow2"]
    views = {name: images.view(root / name) for name in names}
    assert undone(merge).state == "succeeded"
    assert {name: images.view(root / name) for name in names} == views


def test_a_name_that_is_taken_again_stops_it(domain: StorageDomain, asked: Ask) -> None:
    keep(domain)
    root = Path(domain.path)
    chain(root)
    merge = run(asked(NAMES[0], NAMES[2], "convert"))
    (root / NAMES[1]).write_bytes(b"somebody else's")
    row = undone(merge)
    assert (row.state, merge.kept) == ("failed", "kept")
    assert "exists again" in row.message
    assert (root / NAMES[1]).read_bytes() == b"somebody else's"


def test_two_who_undo_at_once_and_one_who_merges(domain: StorageDomain, asked: Ask) -> None:
    keep(domain)
    chain(Path(domain.path))
    merge = run(asked(NAMES[0], NAMES[1], "convert"))
    row = services.request_undo(merge, None, "test", queue=False)
    with pytest.raises(services.RefusedError, match="is being undone"):
        services.request_undo(Merge.objects.get(pk=merge.pk), None, "test", queue=False)
    with pytest.raises(services.RefusedError, match=f"Merge {row.pk} "):
        asked(NAMES[2], NAMES[3], "convert")
    services.cancel(row, None, "test")
    assert run(row).state == "cancelled"
    merge.refresh_from_db()
    assert merge.kept == "kept"


def test_the_purge_comes_when_its_time_has_come(domain: StorageDomain, asked: Ask) -> None:
    keep(domain)
    root = Path(domain.path)
    views = chain(root)
    merge = run(asked(NAMES[0], NAMES[2], "convert"))
    before = sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())
    assert recovery.due("here") == []
    services.request_purge(merge, None, "test")
    assert recovery.due("here") == [merge.pk]
    kept.purge(merge.pk)
    merge.refresh_from_db()
    assert merge.kept == "purged"
    after = sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())
    assert before - after == merge.kept_bytes
    assert not is_kept(root)
    assert images.view(root / NAMES[3]) == views[NAMES[3]]
    with pytest.raises(services.RefusedError, match="have been deleted"):
        services.request_undo(merge, None, "test", queue=False)


def test_a_purge_that_was_cut_goes_on_and_spares_what_is_not_ours(
    domain: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(domain)
    root = Path(domain.path)
    chain(root)
    merge = run(asked(NAMES[0], NAMES[2], "convert"))
    (aside,) = root.glob(f".strata-kept-{merge.pk}-*")
    (aside / "notes.txt").write_text("an operator's")
    Merge.objects.filter(pk=merge.pk).update(kept_until=timezone.now() - timedelta(seconds=1))
    real, count = os.unlink, 0

    def cut(path: str) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise PowerCutError
        real(path)

    with monkeypatch.context() as patched:
        patched.setattr(kept.os, "unlink", cut)
        with pytest.raises(PowerCutError):
            kept.purge(merge.pk)
    assert recovery.due("here") == [merge.pk]
    kept.purge(merge.pk)
    merge.refresh_from_db()
    assert merge.kept == "purged"
    assert [path.name for path in aside.iterdir()] == ["notes.txt"]


def test_a_broken_off_commit_leaves_base_whole_where_blocks_are_shared(
    keeping: StorageDomain, asked: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chains.merges import running, steps

    root = Path(keeping.path)
    views = chain(root)
    merge = asked(NAMES[0], NAMES[2], "commit")

    async def failing(work: Work, step: object) -> None:
        raise running.StopError("The verification was made to fail.")

    monkeypatch.setitem(steps.RUN, StepName.VERIFY, failing)
    run(merge)
    assert merge.state == "failed"
    assert images.view(root / NAMES[3]) == views[NAMES[3]]
    keeping.refresh_from_db()
    whole = images.view(root / NAMES[0]) == views[NAMES[0]]
    assert whole == keeping.shares_blocks
    assert ("The chain is as it was." in merge.message) == keeping.shares_blocks
    assert not is_kept(root)


@pytest.mark.parametrize(
    ("upper", "lower"), [("convert", "commit"), ("rebase", "convert"), ("convert", "convert")]
)
def test_a_merge_above_another_one_is_undone_after_it(
    domain: StorageDomain, asked: Ask, upper: str, lower: str
) -> None:
    """The layers that would come back lie over one that the lower merge has taken away."""
    keep(domain)
    root = Path(domain.path)
    views = chain(root)
    images.overlay(root / "s4.qcow2", NAMES[3], "qcow2", "write -P 8 1M 64k")
    leaf = images.view(root / "s4.qcow2")
    first = run(asked(NAMES[2], NAMES[3], upper))
    second = run(asked(NAMES[0], NAMES[1], lower))
    assert (first.state, second.state) == ("succeeded", "succeeded")
    with pytest.raises(services.RefusedError, match=r"lies over another layer|written, merged"):
        services.request_undo(first, None, "test", queue=False)
    # Also where the inventory does not know of it yet.
    Volume.objects.filter(path=first_joined(first)).update(
        fingerprint=first.joined, backing_path=first.plan["below"]
    )
    back = services.request_undo(first, None, "test", queue=False)
    assert run(back).state == "failed"
    assert images.view(root / "s4.qcow2") == leaf
    if lower == "convert":
        assert undone(second).state == "succeeded"
        assert images.view(root / "s4.qcow2") == leaf
        assert {n: images.view(root / n) for n in NAMES[:2]} == {n: views[n] for n in NAMES[:2]}


def first_joined(merge: Merge) -> str:
    return Plan.from_json(merge.plan).new_path(merge.pk)


@pytest.mark.parametrize("strategy", ["convert", "rebase"])
def test_what_lies_in_a_place_of_the_same_number_is_left_alone(
    domain: StorageDomain, asked: Ask, strategy: str
) -> None:
    """Numbers come again with a new database: what an earlier one kept is not taken for ours."""
    keep(domain)
    root = Path(domain.path)
    views = chain(root)
    merge = asked(NAMES[0], NAMES[3], strategy)
    foreign = root / f".strata-kept-{merge.pk}" / NAMES[3]
    images.qcow2(foreign, 40 * MIB)
    before = foreign.read_bytes()
    assert run(merge).state == "succeeded", merge.message
    assert undone(merge).state == "succeeded"
    assert {name: images.view(root / name) for name in NAMES} == views
    assert foreign.read_bytes() == before


def test_a_write_that_hides_its_time_is_seen(domain: StorageDomain, asked: Ask) -> None:
    keep(domain)
    root = Path(domain.path)
    chain(root)
    merge = run(asked(NAMES[0], NAMES[3], "convert"))
    status = (root / NAMES[3]).stat()
    images.write(root / NAMES[3], "qcow2", "write -P 9 0 64k")
    os.utime(root / NAMES[3], ns=(status.st_atime_ns, status.st_mtime_ns))
    written = images.view(root / NAMES[3])
    assert undone(merge).state == "failed"
    assert images.view(root / NAMES[3]) == written


def test_what_was_taken_away_by_hand_is_no_longer_kept(domain: StorageDomain, asked: Ask) -> None:
    keep(domain)
    root = Path(domain.path)
    chain(root)
    merge = run(asked(NAMES[0], NAMES[2], "convert"))
    (aside,) = root.glob(f".strata-kept-{merge.pk}-*")
    shutil.rmtree(aside)
    kept.reconcile(domain)
    merge.refresh_from_db()
    assert merge.kept == "purged"
