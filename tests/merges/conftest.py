"""A domain on real storage, and a merge carried out in this process."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.inventory import blockmaps
from chains.inventory import services as inventory
from chains.inventory.scan import scan_domain
from chains.merges import runner, services
from chains.models import Merge, StorageDomain, Volume


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
