"""How a reader wants a table: which columns, how many rows, in which order; in the address, and remembered.

What the address says goes; it is remembered in a cookie for the next visit, so that the first paint is
already as the reader left the table. Nothing of it is trusted: unknown words are passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase

ROWS = (25, 50, 100, 200)
DEFAULT_ROWS = 50
_YEAR = 366 * 24 * 3600
_LONGEST = 1000  # characters of a cookie


@dataclass(frozen=True)
class Column:
    """One column that may be hidden; `word` stands in addresses, `label` on the page."""

    word: str
    label: Any
    shown: bool = True


@dataclass(frozen=True)
class TableView:
    """A table as this reader wants it."""

    name: str
    columns: Sequence[Column]
    shown: frozenset[str]
    rows: int
    sort: str
    told: bool

    @property
    def choices(self) -> list[tuple[str, Any, bool]]:
        """(word, label, whether it is shown) of each column."""
        return [(column.word, column.label, column.word in self.shown) for column in self.columns]

    @property
    def row_choices(self) -> tuple[int, ...]:
        """How many rows a page may have."""
        return ROWS

    @property
    def rows_word(self) -> int | None:
        """What the address of a page says of its size: nothing when it is the usual one."""
        return None if self.rows == DEFAULT_ROWS else self.rows

    def remember(self, response: HttpResponseBase) -> HttpResponseBase:
        """Keep it for the next visit, when the address said something of it."""
        if self.told:
            words = {"columns": sorted(self.shown), "rows": self.rows, "sort": self.sort}
            response.set_cookie(
                _cookie(self.name), urlencode(words, doseq=True), max_age=_YEAR, httponly=True,
                samesite="Lax",
            )  # fmt: skip
        return response


def view(request: HttpRequest, name: str, columns: Sequence[Column]) -> TableView:
    """What the address asks for, else what was asked for last time, else what is usual."""
    known = frozenset(column.word for column in columns)
    told, kept = request.GET, _kept(request, name)
    given = told if "columns" in told else kept
    usual = frozenset(column.word for column in columns if column.shown)
    shown = known & set(given.getlist("columns")) if "columns" in given else usual
    rows = told.get("rows") or kept.get("rows") or ""
    return TableView(
        name, columns, frozenset(shown), int(rows) if rows in map(str, ROWS) else DEFAULT_ROWS,
        told.get("sort", kept.get("sort", "")), any(word in told for word in ("columns", "rows", "sort")),
    )  # fmt: skip


def _kept(request: HttpRequest, name: str) -> QueryDict:
    text = request.COOKIES.get(_cookie(name), "")
    found = QueryDict(mutable=True)
    try:
        words = parse_qs(text[:_LONGEST], keep_blank_values=True, max_num_fields=40)
    except ValueError:
        return found
    for word, values in words.items():
        found.setlist(word, values)
    return found


def _cookie(name: str) -> str:
    return f"strata-table-{name}"
