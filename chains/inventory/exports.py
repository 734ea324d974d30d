"""Whole lists as CSV and JSON, written while they are read: a million rows need no more memory than some."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from chains.core.names import portable
from chains.core.seals import moment
from chains.inventory.sprawl_sums import Figures as SprawlFigures

Columns = Mapping[str, Callable[[Any], Any]]
TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
# What a spreadsheet takes for a formula when a cell begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _fields(*names: str) -> dict[str, Callable[[Any], Any]]:
    return _fields_as(**{name: name for name in names})


def _fields_as(**names: str) -> dict[str, Callable[[Any], Any]]:
    # (The default binds each name now; the type checker can not tell a lambda's default argument.)
    return {word: lambda row, name=name: getattr(row, name) for word, name in names.items()}  # type: ignore[misc]


DISK_COLUMNS: Final[Columns] = _fields(
    "id", "domain_id", "name", "vm", "layers", "virtual_size", "on_disk", "oldest_snapshot",
    "findings", "severity",
) | {"path": lambda row: portable(row.active.path), "in_use": lambda row: row.active.in_use}  # fmt: skip
VOLUME_COLUMNS: Final[Columns] = (
    _fields("id", "domain_id")
    | {"path": lambda row: portable(row.path)}
    | _fields(
        "format", "virtual_size", "file_size", "on_disk", "allocated", "image_end", "cluster_size"
    )
    | {"backing_file": lambda row: None if row.backing_file is None else portable(row.backing_file)}
    | _fields("backing_id", "in_use", "modified", "not_seen_since")
)
FINDING_COLUMNS: Final[Columns] = (
    _fields("id", "domain_id")
    | {"domain": lambda row: row.domain.name, "path": lambda row: portable(row.path)}
    | _fields(
        "volume_id", "code", "severity", "detail", "space", "endangered", "endangers", "first_seen",
        "last_seen", "resolved_at",
    )
    | {"acknowledged_by": lambda row: row.acknowledged_by and row.acknowledged_by.get_username()}
    | _fields("acknowledged_at", "acknowledged_until", "reason")
)  # fmt: skip


def _of_seal(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(getattr(row, "seal", None), name, None)


def _sealed_at(row: Any) -> str | None:
    at = _of_seal("sealed_at")(row)
    return None if at is None else moment(at)


# Moments as they are hashed; in CSV the details, too: so that a file can be verified by itself.
RECORD_COLUMNS: Final[dict[str, Callable[[Any], Any]]] = (
    {"seq": _of_seal("seq"), "id": lambda row: row.pk, "at": lambda row: moment(row.at)}
    | _fields("actor", "origin", "action", "subject", "result", "details")
    | {"sealed_at": _sealed_at, "previous": _of_seal("previous"), "hash": _of_seal("hash")}
)
DETAILS_AS_TEXT = "details_text"  # an annotation of the rows


def record_columns(kind: str) -> Columns:
    """Of audit records."""
    return RECORD_COLUMNS | (_fields_as(details=DETAILS_AS_TEXT) if kind == "csv" else {})


HISTORY_COLUMNS: Final[Columns] = {"name": lambda row: portable(row.name)} | _fields(
    "layers", "virtual_size", "on_disk", "findings", "severity"
) | {"since": lambda row: row.at}  # fmt: skip


NOTE_COLUMNS: Final[Columns] = _fields("at") | _fields(
    "volumes", "disks", "deepest", "virtual", "on_disk", "capacity", "free", "critical", "warning",
    "info", "snapshots", "snapshot_bytes", "shadowed", "winnable", "breaches", "made_up",
)  # fmt: skip


def _asker(row: Any) -> str | None:
    return str(row.requested_by.get_username()) if row.requested_by else None


MERGE_COLUMNS: Final[Columns] = (
    _fields("id", "batch_id", "domain_id")
    | {
        "domain": lambda row: row.domain.name, "disk": lambda row: portable(row.disk_name),
        "base": lambda row: portable(row.base_text), "top": lambda row: portable(row.top_text),
    }
    | _fields("strategy", "state", "message", "verification")
    | {"requested_by": _asker}
    | _fields("requested_at", "started_at", "finished_at", "undoes_id", "kept", "kept_bytes")
)  # fmt: skip
SCAN_COLUMNS: Final[Columns] = (
    _fields("id", "kind", "domain_id")
    | {"domain": lambda row: row.domain.name}
    | _fields("disk_id", "volume_id", "state", "message")
    | {"requested_by": _asker}
    | _fields("requested_at", "started_at", "finished_at")
)
BATCH_COLUMNS: Final[Columns] = (
    _fields("id", "domain_id")
    | {"domain": lambda row: row.domain.name, "requested_by": _asker}
    | _fields("requested_at", "merge_count", "open_count", "attention_count")
)


def _figure(side: str, name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(getattr(row, side), name, None)


_WHOSE: Final[dict[str, Callable[[Any], Any]]] = {
    "name": lambda row: portable(row.label), "in": lambda row: portable(row.place),
    "id": lambda row: row.number or None, "vm": lambda row: row.vm and portable(row.vm),
}  # fmt: skip
# What an estimate is worth is told by how many of the disks with snapshots are mapped.
SPRAWL_COLUMNS: Final[Columns] = _WHOSE | {n: _figure("figures", n) for n in SprawlFigures._fields}
CHANGE_COLUMNS: Final[Columns] = (
    _WHOSE
    | {"state": lambda row: "new" if row.before is None else "gone" if row.after is None else "changed"}
    | {
        f"{name}_{when}": _figure(when, name)
        for name in SprawlFigures._fields for when in ("before", "after")
    }
)  # fmt: skip


def written(kind: str, parts: Iterable[Sequence[Any]], columns: Columns) -> Iterator[bytes]:
    """The parts of a file, of rows some at a time; `kind` is one of TYPES."""
    texts = _csv(parts, columns) if kind == "csv" else _json(parts, columns)
    return (text.encode() for text in texts)


def _csv(parts: Iterable[Sequence[Any]], columns: Columns) -> Iterator[str]:
    yield _lines([list(columns)])
    for some in parts:
        yield _lines([[_cell(of(row)) for of in columns.values()] for row in some])


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """A value as a cell, which no spreadsheet carries out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    value = _plain(value)
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return value


def _json(parts: Iterable[Sequence[Any]], columns: Columns) -> Iterator[str]:
    before = "[\n"
    for some in parts:
        facts = ({name: _plain(of(row)) for name, of in columns.items()} for row in some)
        yield before + ",\n".join(json.dumps(fact, ensure_ascii=False) for fact in facts)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value
