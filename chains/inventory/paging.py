"""Pages of long lists. A page begins where another ended, so that the last one costs what the first does."""

import base64
import binascii
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

from django.db.models import BooleanField, F, Func, Model, QuerySet, Value
from django.db.models.expressions import Combinable

from chains.inventory.asking import BadRequestError

PAGE = 50
# Up to here a search is counted; beyond, "more than" is what anybody wants to know.
MOST_COUNTED = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 8000  # characters of a cursor
_MOST = 2**63 - 1
_KEY = "place"

Row = TypeVar("Row", bound=Model)


class Kind(Enum):
    """What a column holds, and so what a cursor may."""

    TEXT = "text"
    NUMBER = "number"
    MOMENT = "moment"
    NAME = "name"


@dataclass(frozen=True)
class Order:
    """By one column and, among equals, by id. An index has to hold both, after what is filtered by.

    Where the column may be null, those without a value come last, whichever way it is sorted. `lead` is
    a column that is the same in all rows, to be sorted by first: of "is null" PostgreSQL does not know.
    """

    word: str
    column: Combinable
    kind: Kind
    nullable: bool = False
    descending: bool = False
    lead: str = ""

    @property
    def text(self) -> str:
        """As it stands in an address."""
        return f"-{self.word}" if self.descending else self.word


@dataclass(frozen=True)
class Cursor:
    """A place in an order: just after the row with this value and id, or just before it."""

    value: Any
    pk: int
    back: bool = False

    def to_text(self, order: Order) -> str:
        """Opaque text for an address."""
        facts = [order.text, int(self.back), _plain(self.value, order.kind), self.pk]
        text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str, order: Order) -> "Cursor":
        """Raises BadRequestError for what is no place in this order."""
        try:
            if len(text) > _LONGEST:
                raise ValueError
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            facts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            word, back, value, pk = facts
            if word != order.text or back not in (0, 1) or not _is_number(pk):
                raise ValueError
            if value is None and not order.nullable:
                raise ValueError
            return cls(None if value is None else _value(value, order.kind), pk, bool(back))
        except (ValueError, TypeError, RecursionError, OverflowError, binascii.Error):
            raise BadRequestError("There is no such page: begin with the first.") from None


def _is_number(value: Any) -> bool:
    return type(value) is int and -_MOST <= value <= _MOST


def _plain(value: Any, kind: Kind) -> Any:
    """A value as JSON has it."""
    if value is None:
        return None
    if kind is Kind.MOMENT:
        return (value - _EPOCH) // timedelta(microseconds=1)
    return os.fsencode(value).decode("latin-1") if kind is Kind.NAME else value


def _value(plain: Any, kind: Kind) -> Any:
    """The value of what `_plain` gave; raises ValueError, OverflowError for anything else."""
    if kind in (Kind.NUMBER, Kind.MOMENT):
        if not _is_number(plain):
            raise ValueError
        return plain if kind is Kind.NUMBER else _EPOCH + timedelta(microseconds=plain)
    if not isinstance(plain, str):
        raise ValueError
    if kind is Kind.NAME:
        return plain.encode("latin-1")
    plain.encode()  # a lone surrogate is no text
    if "\x00" in plain:
        raise ValueError
    return plain


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and the cursors of the pages beside; "" where there is none."""

    rows: Sequence[Row]
    next: str = ""
    previous: str = ""


@dataclass(frozen=True)
class Total:
    """How many rows a list has: exactly, or more than so many."""

    count: int
    more: bool = False


def total(rows: QuerySet[Any], order: Order, most: int = MOST_COUNTED) -> Total:
    """Count rows, but not beyond `most`; found as a page is, so that an index serves both."""
    found = len(_places(rows, order, None, most + 1))
    return Total(min(found, most), found > most)


def page(rows: QuerySet[Row], order: Order, cursor: str = "", size: int = PAGE) -> Page[Row]:
    """One page of a list; raises BadRequestError for a cursor that is none of this order."""
    at = Cursor.from_text(cursor, order) if cursor else None
    back = at is not None and at.back
    found = _places(rows, order, at, size + 1)
    more = len(found) > size
    found = found[:size]
    if back and not more:
        # The first page is not shown cut off, because somebody came to it from behind.
        return page(rows, order, "", size)
    if back:
        found.reverse()
    if not found:
        before = Cursor(at.value, at.pk, back=True).to_text(order) if at else ""
        return Page((), previous=before)
    following = Cursor(*found[-1]).to_text(order) if more or back else ""
    before = Cursor(*found[0], back=True).to_text(order) if at else ""
    return Page(_rows(rows, found), following, before)


def first_page_if_wrong(
    rows: QuerySet[Row], order: Order, cursor: str, size: int = PAGE
) -> Page[Row]:
    """The same for people: an address that was cut off, or is of another order, shows the first page."""
    try:
        return page(rows, order, cursor, size)
    except BadRequestError:
        return page(rows, order, "", size)


def walk(rows: QuerySet[Row], order: Order, size: int = 2000) -> Iterator[list[Row]]:
    """All rows of a list, some at a time: no query runs for long, and memory holds no more than those."""
    at: Cursor | None = None
    while True:
        found = _places(rows, order, at, size)
        if found:
            yield _rows(rows, found)
            at = Cursor(*found[-1])
        if len(found) < size:
            return


def _rows(rows: QuerySet[Row], places: Sequence[tuple[Any, int]]) -> list[Row]:
    """The rows themselves, which are wide: read only once it is known which are wanted."""
    found = {row.pk: row for row in rows.filter(pk__in=[pk for _, pk in places]).order_by()}
    return [found[pk] for _, pk in places if pk in found]


def _places(
    rows: QuerySet[Any], order: Order, at: Cursor | None, count: int
) -> list[tuple[Any, int]]:
    """(value, id) from a place on, or backwards; part by part where there are values and nulls.

    An index answers "has a value, beyond this one" and "has none, beyond this id", but not both in one.
    """
    back = at is not None and at.back
    down = order.descending != back
    columns = [F(name) for name in (order.lead, _KEY, "pk") if name]
    places = (
        rows.annotate(**{_KEY: order.column})
        .order_by(*(column.desc() if down else column.asc() for column in columns))
        .values_list(_KEY, "pk")
    )
    if not order.nullable:
        return list(places.filter(_beyond(order, at, down))[:count] if at else places[:count])
    found: list[tuple[Any, int]] = []
    for empty in (True, False) if back else (False, True):
        if at is not None and (at.value is None) != empty and empty == back:
            continue  # the place lies beyond this part
        part = places.filter(**{f"{_KEY}__isnull": empty})
        if at is not None and (at.value is None) == empty:
            part = part.filter(_beyond(order, at, down))
        found += part[: count - len(found)]
        if len(found) == count:
            break
    return found


def _beyond(order: Order, at: Cursor, down: bool) -> Any:
    """Whether a row comes after a place, as one comparison of rows: so an index can begin there."""
    sign = "<" if down else ">"
    names: list[Any] = [F("pk")]
    values: list[Any] = [Value(at.pk)]
    if at.value is not None and order.word != "id":
        names.insert(0, order.column)
        values.insert(0, Value(at.value))
    return Func(
        _row(names), _row(values), template="%(expressions)s", arg_joiner=f" {sign} ",
        output_field=BooleanField(),
    )  # fmt: skip


def _row(parts: list[Any]) -> Func:
    return Func(*parts, template="(%(expressions)s)", output_field=BooleanField())
