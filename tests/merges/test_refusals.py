"""What is refused, and that nothing has changed then."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chains.core.plans import PlanError
from chains.inventory.scan import scan_domain
from chains.merges import runner, services
from chains.merges.work import Work
from chains.models import Merge, StorageDomain, User
from tests import images
from tests.merges.conftest import volume

Ask = Callable[[str, str], Merge]


def listing(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in root.iterdir()}


def test_a_sibling_on_what_would_be_removed(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    images.lesson(root)
    images.overlay(root / "preview.qcow2", "base.img", "raw")
    with pytest.raises(
        services.RefusedError, match=r"other overlays hang on it \(preview\.qcow2\)"
    ):
        asked("base.img", "snap1.img")
    assert Merge.objects.count() == 0


def test_an_image_in_use(domain: StorageDomain, asked: Ask) -> None:
    _, _, snap2 = images.lesson(Path(domain.path))
    with (
        images.opened(snap2),
        pytest.raises(services.RefusedError, match="Open in another process"),
    ):
        asked("base.img", "snap1.img")


def test_an_image_opened_between_plan_and_start(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    _, _, snap2 = images.lesson(root)
    merge = asked("base.img", "snap1.img")
    before = listing(root)
    with images.opened(snap2):
        asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "failed"
    assert "Shut it down" in merge.message
    assert listing(root) == before


def test_a_chain_that_changed_between_plan_and_start(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    images.lesson(root)
    merge = asked("base.img", "snap1.img")
    images.overlay(root / "snap3.img", "snap1.img", "qcow2")
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "failed"
    assert "has changed since" in merge.message
    assert "snap1.img" in listing(root)


def test_a_chain_with_a_missing_layer(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    base, _, _ = images.lesson(root)
    base.unlink()
    with pytest.raises((services.RefusedError, PlanError)):
        asked("snap1.img", "snap2.img")


def test_a_chain_that_leaves_the_domain(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    images.raw(root.parent / "secret.img", images.MIB, "write -P 9 0 64k")
    images.overlay(root / "a.qcow2", "../secret.img", "raw")
    images.overlay(root / "b.qcow2", "a.qcow2", "qcow2")
    with pytest.raises(services.RefusedError, match="outside"):
        asked("a.qcow2", "b.qcow2")


def test_a_read_only_domain(domain: StorageDomain, asked: Ask) -> None:
    images.lesson(Path(domain.path))
    StorageDomain.objects.update(read_only=True)
    with pytest.raises(services.RefusedError, match="read-only"):
        asked("base.img", "snap1.img")


def test_internal_snapshots_are_not_lost(domain: StorageDomain, asked: Ask) -> None:
    _, snap1, _ = images.lesson(Path(domain.path))
    images.qemu_img("snapshot", "-c", "inner", snap1)
    with pytest.raises(services.RefusedError, match=r"internal snapshot"):
        asked("base.img", "snap1.img")


@pytest.mark.parametrize("place", ["below", "base", "top", "leaf"])
@pytest.mark.parametrize("kind", ["data", "luks"])
def test_a_chain_that_no_tool_may_open(
    place: str, kind: str, domain: StorageDomain, asked: Ask
) -> None:
    """Neither qemu-img's current directory nor a key that nobody has may decide what a merge reads."""
    root = Path(domain.path)
    chain = ["below", "base", "top", "leaf"]
    for number, name in enumerate(chain):
        over = ["-u", "-b", chain[number - 1], "-F", "qcow2"] if number else []
        if (name, kind) == (place, "luks"):
            images.locked(root / name, *over, "4M")
            continue
        more = ["-o", "data_file=x.data"] if name == place else []
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", *more, *over, name, "4M"]
        subprocess.run(argv, cwd=root, check=True)
    before = listing(root)
    words = "an external data file" if kind == "data" else "encryption"
    with pytest.raises(
        services.RefusedError, match=f"^{place} carries {words}: no tool is started [^.]*\\.$"
    ):
        asked("base", "top")
    assert Merge.objects.count() == 0
    assert listing(root) == before


def test_a_data_file_that_came_between_plan_and_start(domain: StorageDomain, asked: Ask) -> None:
    root = Path(domain.path)
    _, _, snap2 = images.lesson(root)
    merge = asked("base.img", "snap1.img")
    argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", "data_file=x.data",
            "-b", "snap1.img", "-F", "qcow2", snap2.name, "64M"]  # fmt: skip
    subprocess.run(argv, cwd=root, check=True)
    before = listing(root)
    asyncio.run(runner.run(merge.pk))
    merge.refresh_from_db()
    assert merge.state == "failed"
    assert "snap2.img carries an external data file" in merge.message
    assert not any(step.command for step in merge.steps.all())
    assert listing(root) == before


def test_base_above_top(domain: StorageDomain, asked: Ask) -> None:
    images.lesson(Path(domain.path))
    with pytest.raises(PlanError, match="base first"):
        asked("snap1.img", "base.img")


def test_two_operators_at_once(domain: StorageDomain, asked: Ask) -> None:
    images.lesson(Path(domain.path))
    first = asked("base.img", "snap1.img")
    User.objects.create_user("ann", role="operator")
    with pytest.raises(services.RefusedError, match=f"Merge {first.pk} .* holds this chain"):
        asked("snap1.img", "snap2.img")
    assert Merge.objects.count() == 1


def test_an_auditor(domain: StorageDomain) -> None:
    images.lesson(Path(domain.path))
    scan_domain(domain)
    auditor = User.objects.create_user("carl", role="auditor")
    with pytest.raises(Exception, match="may not merge"):
        services.request_merge(
            volume(domain, "base.img"), volume(domain, "snap1.img"), auditor, "test"
        )


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    where = tmp_path / "small"
    where.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", where], check=False)
    if mount.returncode != 0:
        pytest.skip("this machine does not let root mount a file system")
    yield where
    subprocess.run(["umount", where], check=True)


def test_not_enough_space(small: Path, domain: StorageDomain, asked: Ask) -> None:
    StorageDomain.objects.update(path=str(small))
    domain.refresh_from_db()
    images.lesson(small)
    (small / "filler").write_bytes(b"x" * (16 * images.MIB))
    with pytest.raises(services.RefusedError, match="free another"):
        asked("base.img", "snap1.img")


def test_a_disk_that_fills_up_while_copying(small: Path, domain: StorageDomain, asked: Ask) -> None:
    StorageDomain.objects.update(path=str(small))
    domain.refresh_from_db()
    images.lesson(small)
    before = images.view(small / "snap2.img")
    merge = asked("base.img", "snap1.img")
    filler = small / "filler"
    from chains.merges import steps

    preflight = steps.RUN[steps.StepName.PREFLIGHT]

    async def then_fill(work: Work, step: object) -> None:
        await preflight(work, step)  # type: ignore[arg-type]
        free = os.statvfs(small)
        filler.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - 4 * images.MIB))

    steps.RUN[steps.StepName.PREFLIGHT] = then_fill  # type: ignore[assignment]
    try:
        asyncio.run(runner.run(merge.pk))
    finally:
        steps.RUN[steps.StepName.PREFLIGHT] = preflight
    merge.refresh_from_db()
    assert merge.state == "failed"
    assert "full" in merge.message
    filler.unlink()
    assert sorted(listing(small)) == ["base.img", "snap1.img", "snap2.img"]
    assert images.view(small / "snap2.img") == before
