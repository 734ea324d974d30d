"""A whole domain as JSON, piece by piece: 100,000 volumes are never one string."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from chains.core.names import portable
from chains.models import StorageDomain

_CHUNK = 2000
_VOLUME = (
    "path", "format", "virtual_size", "file_size", "on_disk", "allocated", "cluster_size",
    "backing_file", "backing_format", "backing_path", "in_use", "modified", "not_seen_since",
    "notes", "header",
)  # fmt: skip
_FINDING = ("code", "severity", "path", "detail", "space", "endangers", "endangered", "first_seen")


def domain_json(domain: StorageDomain) -> Iterator[str]:
    """What the last scan found, in pieces; docs/wire-formats.md describes the whole."""
    yield f'{{"domain": {_dump(domain_facts(domain))},\n"volumes": ['
    volumes = domain.volumes.order_by("path").values_list(*_VOLUME)
    yield from _items(_volume(row) for row in volumes.iterator(chunk_size=_CHUNK))
    yield '],\n"edges": ['
    # Of a backing file that is missing or unsafe only the name is known: `backing` is null.
    edges = domain.volumes.exclude(backing_file=None).order_by("path")
    rows = edges.values_list("path", "backing_path", "backing_file")
    yield from _items(
        dict(zip(("overlay", "backing", "recorded"), map(_portable, row), strict=True))
        for row in rows.iterator(chunk_size=_CHUNK)
    )
    yield '],\n"findings": ['
    findings = domain.findings.open().order_by("rank", "id").values_list(*_FINDING)
    yield from _items(
        {name: _portable(value) for name, value in zip(_FINDING, row, strict=True)}
        for row in findings.iterator(chunk_size=_CHUNK)
    )
    yield "]}\n"


def domain_facts(domain: StorageDomain) -> dict[str, Any]:
    """The domain itself."""
    scan = domain.last_scan
    return {
        "name": domain.name, "kind": domain.kind, "path": portable(domain.path),
        "facts": domain.facts, "capacity": domain.capacity, "free": domain.free,
        "volumes": domain.volume_count, "disks": domain.disk_count,
        "scanned_at": _portable(scan.finished_at) if scan else None,
    }  # fmt: skip


def _volume(row: tuple[Any, ...]) -> dict[str, Any]:
    return {name: _portable(value) for name, value in zip(_VOLUME, row, strict=True)}


def _items(items: Iterable[Any]) -> Iterator[str]:
    start = "\n"
    for item in items:
        yield start + _dump(item)
        start = ",\n"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _portable(value: Any) -> Any:
    if isinstance(value, str):
        return portable(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
