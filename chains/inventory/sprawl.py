"""The sprawl report: what snapshots hold, hide and would give back, by datacenter, domain, VM or disk."""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection, transaction

from chains.inventory import sprawl_sql
from chains.inventory.asking import BadRequestError
from chains.inventory.sprawl_asked import Asked
from chains.inventory.sprawl_sql import Query, kind_of
from chains.inventory.sprawl_sums import NOTHING, Figures, figures, kept, summed
from chains.inventory.trends import domains_of
from chains.models import StorageDomain

Place = tuple[str, str, str, int]
PAGE: Final = 50
MOST: Final = 10**40
TOP: Final = 20
PART: Final = 2000
_LONGEST = 16_000  # characters of a cursor
# Sorting a hundred thousand groups in memory instead of a file takes half the time.
_ROOM: Final = "SET LOCAL work_mem = '32MB'"


@dataclass(frozen=True)
class Row:
    """A line of the report. `number` is the id of a domain or of a disk; `disk` None: it is no more."""

    label: str
    place: str
    number: int
    disk: int | None
    domain: int | None
    vm: str | None
    figures: Figures
    value: Any


@dataclass(frozen=True)
class Change:
    """A line of a comparison; one side is None for what is new or gone."""

    label: str
    place: str
    number: int
    disk: int | None
    domain: int | None
    vm: str | None
    before: Figures | None
    after: Figures | None
    value: Any

    def step(self, name: str) -> int | None:
        """From the earlier figure to the later one; None where one was not recorded."""
        one, other = (getattr(side or NOTHING, name) for side in (self.before, self.after))
        return None if one is None or other is None else other - one


@dataclass(frozen=True)
class Report:
    """A page of it; `next` is the cursor of the one that follows."""

    rows: Sequence[Any]
    total: Figures
    total_after: Figures | None = None
    next: str = ""
    cursor: str = ""


def report(asked: Asked, cursor: str = "", size: int = PAGE) -> Report:
    """A page of rows, or of changes between two moments; raises BadRequestError for a wrong cursor."""
    after = _from_cursor(cursor, asked) if cursor else None
    if (whole := _whole_domains(asked)) is not None and asked.by in ("domain", "datacenter"):
        return _of_domains(asked, whole, after, size, cursor)
    is_compared = asked.with_ is not None
    query = sprawl_sql.compared if is_compared else sprawl_sql.rows
    with transaction.atomic():
        found = _rows(asked, query(asked, after=after, most=size + 1))
        if whole is not None:
            total = summed(part for _, part in whole)
        elif after is None and len(found) <= size and not is_compared:
            total = summed(row.figures for row in found)
        else:
            total = total_of(asked, asked.as_of)
        later = total_of(asked, asked.with_) if is_compared else None
    more = _to_cursor(asked, found[size - 1]) if len(found) > size else ""
    return Report(found[:size], total, later, more, cursor if after else "")


def _whole_domains(asked: Asked) -> list[tuple[StorageDomain, Figures]] | None:
    """The domains with the figures that the last scans noted, where all their disks are asked for."""
    if asked.as_of is not None or not asked.is_of_whole_domains:
        return None
    found = [(row, kept(row)) for row in domains_of(asked)]
    known = [(row, figures) for row, figures in found if figures is not None]
    return known if len(known) == len(found) else None


def _of_domains(
    asked: Asked, whole: Sequence[tuple[StorageDomain, Figures]], after: Place | None, size: int,
    cursor: str,
) -> Report:  # fmt: skip
    """The same as the queries give, added up here."""
    parts: dict[tuple[str, str, int], list[Figures]] = {}
    for row, found in whole:
        key = (
            (row.name, row.datacenter, row.pk) if asked.by == "domain" else (row.datacenter, "", 0)
        )
        if found.disks:
            parts.setdefault(key, []).append(found)
    rows = [
        Row(*key, None, None, None, summed(some), _value(asked, key[0], summed(some)))
        for key, some in parts.items()
    ]
    rows.sort(key=_place, reverse=asked.is_descending)
    if after is not None:
        at = (_from_text(after[0], kind_of(asked)), *after[1:])
        rows = [
            row for row in rows if (_place(row) < at if asked.is_descending else _place(row) > at)
        ]
    more = _to_cursor(asked, rows[size - 1]) if len(rows) > size else ""
    total = summed(found for _, found in whole)
    return Report(rows[:size], total, None, more, cursor)


def _place(row: Row) -> tuple[Any, str, str, int]:
    return row.value, row.label, row.place, row.number


def _value(asked: Asked, label: str, found: Figures) -> Any:
    """What is sorted by, as sprawl_sql.place has it: what is not known comes last."""
    if asked.column == "name":
        return label
    value = getattr(found, asked.column)
    if value is not None:
        return value
    if asked.column == "oldest_snapshot":
        return datetime(2 if asked.is_descending else 9999, 1, 1, tzinfo=UTC)
    return -1 if asked.is_descending else MOST


def largest(asked: Asked) -> list[Row]:
    """The twenty disks whose snapshots hold the most."""
    with transaction.atomic():
        return [
            row for row in _rows(asked, sprawl_sql.largest(asked, TOP)) if row.figures.snapshots
        ]


def total_of(asked: Asked, moment: datetime | None) -> Figures:
    """The sums over all disks that are asked for."""
    query = sprawl_sql.total(asked, moment)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, query.values)
        return figures(cursor.fetchone())


def walk(asked: Asked) -> Iterator[list[Any]]:
    """All rows, some at a time: the database holds the rest."""
    is_compared = asked.with_ is not None
    query = sprawl_sql.compared(asked) if is_compared else sprawl_sql.rows(asked)
    make = _change if is_compared else _row
    with connection.chunked_cursor() as cursor:
        cursor.execute(query.sql, query.values)
        while some := cursor.fetchmany(PART):
            yield [make(line) for line in some]


def datacenters() -> list[str]:
    """What the datacenters are called, "" where domains have none."""
    rows = StorageDomain.objects.order_by("datacenter").values_list("datacenter", flat=True)
    return list(rows.distinct())


def _rows(asked: Asked, query: Query) -> list[Any]:
    make = _row if asked.with_ is None else _change
    with connection.cursor() as cursor:
        cursor.execute(_ROOM)
        cursor.execute(query.sql, query.values)
        return [make(line) for line in cursor.fetchall()]


def _row(line: Sequence[Any]) -> Row:
    label, place, number, disk, domain, vm, *values, value = line
    return Row(label, place, number, disk, domain, vm, figures(values), value)


def _change(line: Sequence[Any]) -> Change:
    label, place, number, disk, domain, vm, *both, is_new, is_gone, value = line
    return Change(
        label, place, number, disk, domain, vm, None if is_new else figures(both[::2]), None if is_gone else figures(both[1::2]),
        value,
    )  # fmt: skip


def _to_cursor(asked: Asked, row: Row | Change) -> str:
    """Opaque text for an address."""
    value = row.value.isoformat() if isinstance(row.value, datetime) else str(row.value)
    facts = [asked.by, asked.sort, value, row.label, row.place, row.number]
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _from_cursor(text: str, asked: Asked) -> Place:
    try:
        if len(text) > _LONGEST:
            raise ValueError
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        by, sort, value, label, where, number = json.loads(
            base64.b64decode(padded, altchars=b"-_", validate=True)
        )
        if (by, sort) != (asked.by, asked.sort) or type(number) is not int or abs(number) >= 2**63:
            raise ValueError
        for word in (value, label, where):
            word.encode()
            if "\x00" in word:
                raise ValueError
        _from_text(value, kind_of(asked))
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise BadRequestError("There is no such page: begin with the first.") from None
    return value, label, where, number


def _from_text(value: str, kind: str) -> Any:
    """Raises ValueError for what PostgreSQL would not take."""
    if kind == "text":
        return value
    if kind == "timestamptz":
        return datetime.fromisoformat(value)
    number = MOST if value == "Infinity" else int(value)
    if abs(number) > (2**63 - 1 if kind == "bigint" else MOST):
        raise ValueError
    return number
