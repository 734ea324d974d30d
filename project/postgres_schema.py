"""The tables of the embedded database: nobody administers it, so it is kept up to date unasked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.apps import apps
from django.core.management import call_command
from django.db import connection

ADVISORY_LOCK = 0x5354_5241  # one migration at a time, whichever command comes first
ALL_MIGRATIONS = "SELECT app, name FROM django_migrations"


def known_migrations() -> set[tuple[str, str]]:
    """(app label, name) of every migration that the installed apps bring, by the files alone."""
    found = set()
    for config in apps.get_app_configs():
        directory = Path(config.path) / "migrations"
        found |= {(config.label, path.stem) for path in directory.glob("[!_]*.py")}
    return found


def is_migrated(url: str) -> bool:
    """Whether the database at this address has all tables of this version."""
    with psycopg.connect(url, autocommit=True) as link:
        row = link.execute("SELECT to_regclass('django_migrations') IS NOT NULL").fetchone()
        if row is None or not row[0]:
            return False
        return known_migrations() <= set(link.execute(ALL_MIGRATIONS).fetchall())


def migrate_if_needed(owner: str = "") -> None:
    """Runs migrate when the tables are not there; several processes may ask at the same time.

    `owner` is the address for who owns the tables, where Strata itself runs as somebody else.
    """
    url = owner or os.environ["DATABASE_URL"]
    if is_migrated(url):
        return
    connection.close()
    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        if not is_migrated(url):
            with _connected_to(url):
                call_command("migrate", interactive=False, verbosity=0)


@contextmanager
def _connected_to(url: str) -> Iterator[None]:
    """Within it Django speaks to this address."""
    usual = os.environ["DATABASE_URL"]
    try:
        _use_anew(url)
        yield
    finally:
        _use_anew(usual)


def _use_anew(url: str) -> None:
    from project.postgres_commands import use

    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's own, not in the stubs' base
    use(url)
