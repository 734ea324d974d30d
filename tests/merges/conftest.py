"""A domain on real storage, and a merge carried out in this process."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.core.states import StepName
from chains.inventory import blockmaps
from chains.inventory import services as inventory
from chains.inventory.scan import scan_domain
from chains.merges import runner, services, steps
from chains.merges.work import Work
from chains.models import Merge, StorageDomain, User, Volume
from tests import images

MIB = images.MIB


@pytest.fixture
def domain(tmp_path: Path, transactional_db: None) -> StorageDomain:
    """A storage domain that is an empty directory, and keeps no old layers aside."""
    root = tmp_path / "domain"
    root.mkdir()
    row = inventory.add_domain("test", str(root), "directory", "here")
    row.keep_seconds = 0
    row.save()
    return row


def volume(domain: StorageDomain, path: str) -> Volume:
    return Volume.objects.get(domain=domain, path=path)


@pytest.fixture
def asked(domain: StorageDomain) -> Callable[..., Merge]:
    """Scan, and ask for a merge that nobody has begun."""

    def ask(base: str, top: str, strategy: str = "convert") -> Merge:
        scan_domain(domain)
        domain.refresh_from_db()
        with contextlib.suppress(blockmaps.UnsafeChainError):
            services.read_maps_for(volume(domain, top))
        return services.request_merge(
            volume(domain, base), volume(domain, top), None, "test", strategy=strategy, queue=False
        )

    return ask


@pytest.fixture
def merged(asked: Callable[..., Merge]) -> Callable[..., Merge]:
    """Scan, ask, and carry out."""

    def merge(base: str, top: str, strategy: str = "convert") -> Merge:
        row = asked(base, top, strategy)
        asyncio.run(runner.run(row.pk))
        row.refresh_from_db()
        return row

    return merge


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
def operator(transactional_db: None) -> User:
    """A person who may merge."""
    return User.objects.create_user("operator", password="x", role="operator")
