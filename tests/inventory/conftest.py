"""A domain on real storage, read by the services as a worker does it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.inventory import scanning, services
from chains.models import Disk, Scan, StorageDomain
from tests import images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "domain"
    path.mkdir()
    return path


@pytest.fixture
def domain(root: Path, db: None) -> StorageDomain:
    """A storage domain that is an empty directory."""
    return services.add_domain("test", str(root), "directory", "here")


@pytest.fixture
def scan(domain: StorageDomain) -> Callable[[], Scan]:
    def run() -> Scan:
        asked = services.request_scan(domain, None, "test", queue=False)
        done = scanning.run_scan(asked.pk)
        domain.refresh_from_db()
        return done

    return run


def disk(domain: StorageDomain, path: str) -> Disk:
    return Disk.objects.select_related("active", "domain").get(domain=domain, active__path=path)


def codes(domain: StorageDomain) -> set[tuple[str, str]]:
    return {(row.path, row.code) for row in domain.findings.open()}


def mapped(path: Path) -> list[dict[str, object]]:
    """What qemu-img says of a chain."""
    text = images.qemu_img("map", "--output=json", "-f", "qcow2", path)
    found: list[dict[str, object]] = json.loads(text)
    return found
