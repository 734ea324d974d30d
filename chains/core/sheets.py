"""Rows for a spreadsheet: what a program would take for a formula stays text."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chains.core.names import display

# What spreadsheets begin to calculate at; see OWASP, CSV Injection.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """One value as a spreadsheet may hold it; a hostile name is shown, never calculated."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = display(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def csv_lines(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a CSV file, its head first, one at a time."""
    yield _line(head)
    for values in rows:
        yield _line([cell(value) for value in values])


def _line(row: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(row)
    return buffer.getvalue()
