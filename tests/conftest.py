"""The tests' database: made on DATABASE_URL's server, or on an embedded one of the tests' own."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from project.postgres import acquire
from project.postgres_commands import use

PREFIX = "test_strata_"
# The database lets nobody delete from these, but their owner may switch that off.
AUDIT_TABLES = {"chains_auditrecord", "chains_auditseal"}

# How long an example takes says nothing on a machine that others share.
hypothesis.settings.register_profile("strata", deadline=None)
hypothesis.settings.load_profile("strata")

# Who starts the suite in the background leaves SIGINT ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix):
    """Called by pytest-django before it makes the database: only when a test wants one.

    Each run has a database of its own name, so that several may go on in one checkout. Child
    processes of the tests find it in DATABASE_URL, and never the one that was there before.
    """
    from django.conf import settings

    name = f"{PREFIX}{os.getpid()}"
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        url = os.environ.get("DATABASE_URL", "")
        if not url:
            url = stack.enter_context(acquire(Path(settings.VAR_DIR) / "test")).url
            _prepare(url)
        use(url)
        settings.DATABASES["default"]["TEST"]["NAME"] = name
        patch.setenv("DATABASE_URL", make_conninfo(url, dbname=name))
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """After a test whose transactions were real its rows are deleted: TRUNCATE makes new files for each
    table and index, which takes twenty times as long for a handful of rows.
    """
    from django.db.backends.postgresql.operations import DatabaseOperations

    def flush(self: DatabaseOperations, style: object, tables: list[str], **_: object) -> list[str]:
        guarded = [table for table in tables if table in AUDIT_TABLES]
        return [
            *(f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in guarded),
            *(f"DELETE FROM {self.quote_name(table)}" for table in tables),  # noqa: S608 - our own
            *(f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in guarded),
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", flush)
        yield


def _prepare(url: str) -> None:
    """Makes the server quick, for it holds nothing of worth, and drops what killed runs left."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
        for (name,) in rows:
            pid = name.removeprefix(PREFIX)
            if name != pid and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                with suppress(psycopg.Error):  # another run does the same
                    connection.execute(drop)
