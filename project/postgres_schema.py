"""The tables of the embedded database: nobody administers it, so it is kept up to date unasked."""

import os
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


def is_migrated() -> bool:
    """Whether the database has all tables of this version."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations') IS NOT NULL")
        row = cursor.fetchone()
        if row is None or not row[0]:
            return False
        cursor.execute(ALL_MIGRATIONS)
        return known_migrations() <= set(cursor.fetchall())


def migrate_if_needed() -> None:
    """Runs migrate when the tables are not there; several processes may ask at the same time."""
    if is_migrated():
        return
    connection.close()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        if not is_migrated():
            call_command("migrate", interactive=False, verbosity=0)
