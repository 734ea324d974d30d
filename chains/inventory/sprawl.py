"""The sprawl report: what snapshots hold, hide and would give back, by datacenter, domain, VM or disk."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection, transaction

from chains.inventory import sprawl_sql
from chains.inventory.asking import BadRequestError
from chains.inventory.sprawl_asked import Asked
from chains.inventory.sprawl_sql import FIGURES, Query, kind_of
from chains.models import StorageDomain

PAGE: Final = 50
TOP: Final = 20
PART: Final = 2000
_LONGEST = 16_000  # characters of a cursor
# Sorting a hundred thousand groups in memory instead of a file takes half the time.
_ROOM: Final = "SET LOCAL work_mem = '32MB'"


class Figures(NamedTuple):
    """Of some disks; sizes are bytes. None: not known of any of them, or not recorded then.

    `snapped` have snapshots, `mapped` of these have a block map, so that `shadowed` holds what is hidden in
    them; `breaching` exceed a threshold; of `unknown` nothing but layers was recorded.
    """

    disks: int
    snapshots: int | None
    depth: int | None
    oldest_snapshot: datetime | None
    snapshot_bytes: int | None
    shadowed: int | None
    winnable: int | None
    to_copy: int | None
    breaches: int | None
    breaching: int
    snapped: int
    mapped: int
    unknown: int

    @property
    def is_mapped(self) -> bool:
        """Whether all that is shadowed is known."""
        return self.mapped == self.snapped and not self.unknown

    @property
    def is_partly_mapped(self) -> bool:
        """Whether some of it is."""
        return self.mapped > 0 and not self.is_mapped


_ADDED: Final = tuple(n for n in Figures._fields if n not in ("depth", "oldest_snapshot"))
NOTHING: Final = Figures(0, 0, None, None, 0, 0, 0, 0, 0, 0, 0, 0, 0)


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
    is_compared = asked.with_ is not None
    query = sprawl_sql.compared if is_compared else sprawl_sql.rows
    with transaction.atomic():
        found = _rows(asked, query(asked, after=after, most=size + 1))
        is_whole = after is None and len(found) <= size and not is_compared
        total = summed(row.figures for row in found) if is_whole else total_of(asked, asked.as_of)
        later = total_of(asked, asked.with_) if is_compared else None
    more = _to_cursor(asked, found[size - 1]) if len(found) > size else ""
    return Report(found[:size], total, later, more, cursor if after else "")


def largest(asked: Asked) -> list[Row]:
    """The twenty disks whose snapshots hold the most."""
    with transaction.atomic():
        return [row for row in _rows(asked, sprawl_sql.largest(asked, TOP)) if row.figures.snapshots]


def summed(parts: Iterable[Figures]) -> Figures:
    """The figures of all disks of some groups together."""
    rows = list(parts)

    def known(name: str) -> list[Any]:
        return [value for row in rows if (value := getattr(row, name)) is not None]

    added = {name: sum(known(name)) if known(name) or not rows else None for name in _ADDED}
    return Figures(
        **added, depth=max(known("depth"), default=None),
        oldest_snapshot=min(known("oldest_snapshot"), default=None),
    )  # fmt: skip


def total_of(asked: Asked, moment: datetime | None) -> Figures:
    """The sums over all disks that are asked for."""
    query = sprawl_sql.total(asked, moment)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, query.values)
        return _figures(cursor.fetchone())


def walk(asked: Asked) -> Iterator[list[Any]]:
    """All rows, some at a time: the database holds the rest."""
    is_compared = asked.with_ is not None
    query = sprawl_sql.compared(asked) if is_compared else sprawl_sql.rows(asked)
    make = _change if is_compared else _row
    with connection.chunked_cursor() as cursor:  # type: ignore[attr-defined]  # Django's own, for iterator()
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
    return Row(*line[:6], _figures(line[6:-1]), line[-1])


def _change(line: Sequence[Any]) -> Change:
    count = len(FIGURES)
    both = line[6 : 6 + 2 * count]
    is_new, is_gone, value = line[6 + 2 * count :]
    return Change(
        *line[:6], None if is_new else _figures(both[::2]), None if is_gone else _figures(both[1::2]),
        value,
    )  # fmt: skip


def _figures(values: Sequence[Any]) -> Figures:
    found = Figures(*(int(v) if v is not None and not isinstance(v, datetime) else v for v in values))
    if found.unknown and found.unknown == found.disks:
        return found._replace(breaches=None)
    if found.snapped and not found.mapped:
        return found._replace(shadowed=None)  # zero is what disks without a snapshot have
    return found


def _to_cursor(asked: Asked, row: Row | Change) -> str:
    """Opaque text for an address."""
    value = row.value.isoformat() if isinstance(row.value, datetime) else str(row.value)
    facts = [asked.by, asked.sort, value, row.label, row.place, row.number]
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _from_cursor(text: str, asked: Asked) -> tuple[str, str, str, int]:
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
        _check_value(value, kind_of(asked))
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise BadRequestError("There is no such page: begin with the first.") from None
    return value, label, where, number


def _check_value(value: str, kind: str) -> None:
    """Raises ValueError for what PostgreSQL would not take."""
    if kind in ("numeric", "bigint") and value != "Infinity":
        if abs(int(value)) >= (2**63 if kind == "bigint" else 10**40):
            raise ValueError
    if kind == "timestamptz":
        datetime.fromisoformat(value)
