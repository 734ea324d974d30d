"""Many rows at once, over PostgreSQL's COPY: an INSERT of Django's costs ten times as much a row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import connection, models
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from chains.models.fields import FileNameField


def numbers(model: type[models.Model], count: int) -> list[int]:
    """So many new ids of a table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        return [row[0] for row in cursor.fetchall()]


def insert(model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows, their values in the order of these fields."""
    with connection.cursor() as cursor:
        _copy(cursor, sql.Identifier(model._meta.db_table), _fields(model, names), rows)


def update(model: type[models.Model], names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Update rows by their ids: each is an id, then the values of these fields in their order."""
    if not rows:
        return
    fields = _fields(model, ["id", *names])
    table, fresh = sql.Identifier(model._meta.db_table), sql.Identifier("fresh_rows")
    columns = _columns(fields)
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
                fresh, sql.SQL(", ").join(columns), table
            )
        )
        _copy(cursor, fresh, fields, rows)
        sets = sql.SQL(", ").join(
            sql.SQL("{} = {}.{}").format(column, fresh, column) for column in columns[1:]
        )
        cursor.execute(
            sql.SQL("UPDATE {} SET {} FROM {} WHERE {}.id = {}.id").format(
                table, sets, fresh, table, fresh
            )
        )
        cursor.execute(sql.SQL("DROP TABLE {}").format(fresh))


def _fields(model: type[models.Model], names: Sequence[str]) -> list[models.Field[Any, Any]]:
    return [model._meta.get_field(name) for name in names]  # type: ignore[misc]  # no relations back


def _columns(fields: Sequence[models.Field[Any, Any]]) -> list[sql.Identifier]:
    return [sql.Identifier(str(field.column)) for field in fields]


def _copy(
    cursor: CursorWrapper, table: sql.Identifier, fields: Sequence[models.Field[Any, Any]],
    rows: Iterable[Sequence[Any]],
) -> None:  # fmt: skip
    columns = sql.SQL(", ").join(_columns(fields))
    # What psycopg does not take as it is; Django's own preparation costs more than all the rest.
    special = [(at, to_db) for at, field in enumerate(fields) if (to_db := _preparation(field))]
    with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)) as copy:
        for row in rows:
            values = list(row)
            for at, to_db in special:
                if values[at] is not None:
                    values[at] = to_db(values[at])
            copy.write_row(values)


def _preparation(field: models.Field[Any, Any]) -> Callable[[Any], Any] | None:
    if isinstance(field, FileNameField):
        return os.fsencode
    return json.dumps if isinstance(field, models.JSONField) else None
