"""The whole database in digests: what was changed, and what was not."""

from collections.abc import Iterable

from django.db import connection

# Counts rows that were written, not those that differ: what it says of a table has to be looked at.
_WRITTEN = """
SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""


def _digests(names: Iterable[str]) -> dict[str, str]:
    union = " UNION ALL ".join(
        f"SELECT '{name}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t"  # noqa: S608
        for name in sorted(names)
    )
    with connection.cursor() as cursor:
        cursor.execute(union)
        return dict(cursor.fetchall())


def table_state() -> dict[str, str]:
    """A digest of every table; sessions are no state of Strata's."""
    return _digests(set(connection.introspection.table_names()) - {"django_session"})


def changed(before: dict[str, str], names: Iterable[str] | None = None) -> set[str]:
    """The tables that are not as they were; only these are looked at, where some are named."""
    if names is not None and not (names := set(names) & set(before)):
        return set()
    now = table_state() if names is None else _digests(names)
    return {name for name, digest in now.items() if before.get(name) != digest}


def written() -> dict[str, int]:
    """How many rows of each table this transaction has written so far."""
    with connection.cursor() as cursor:
        cursor.execute(_WRITTEN)
        return dict(cursor.fetchall())
