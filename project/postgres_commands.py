"""How manage.py runs a command: with its database, one line for each error, an honest exit code."""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.core.management import ManagementUtility, get_commands
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError

from project import env, postgres
from project.postgres_schema import migrate_if_needed

# These read no table; every other command gets the database.
WITHOUT_DATABASE = frozenset(
    {
        "check",
        "collectstatic",
        "diffsettings",
        "findstatic",
        "map_blocks",
        "measure_chain",
        "show_chain",
        "spectacular",
        "test_notice",
    }
)
# These deal with the schema themselves: the database is there, but nothing is migrated for them.
WITHOUT_SCHEMA = frozenset({"dbshell", "makemigrations", "migrate", "showmigrations", "sqlmigrate"})
BASE_DIR = Path(__file__).resolve().parent.parent
USAGE, FAILED, INTERRUPTED, PIPE_CLOSED = 2, 1, 130, 141


class UsageError(Exception):
    """Arguments that a command does not take."""


def main(argv: list[str]) -> int:
    """Runs one command; returns its exit code. Only who asks for a traceback gets one."""
    traceback = "--traceback" in argv or os.environ.get("STRATA_DEBUG", "") in {
        "1",
        "true",
        "yes",
        "on",
    }
    try:
        code = _run(argv, traceback=traceback)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left; without this Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return code


def _run(argv: list[str], *, traceback: bool) -> int:
    try:
        Utility(argv).execute()
    except env.BadSetting as error:
        return _say(error.message, USAGE)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else _exit_text(error.code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except UsageError as error:
        return _say(f"strata: {error}", USAGE)
    except Exception as error:
        if traceback or isinstance(error, BrokenPipeError):
            raise
        return _say(f"strata: {explain(error)}", getattr(error, "returncode", FAILED) or FAILED)
    return 0


def _exit_text(code: object) -> int:
    return 0 if code is None else _say(str(code), FAILED)


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)  # noqa: T201 - the one line of a command that failed
    return code


def explain(error: Exception) -> str:
    """An error as one line that an operator can act on."""
    if isinstance(error, ProgrammingError) and getattr(error.__cause__, "sqlstate", "") in {
        "42P01",  # undefined table
        "42703",  # undefined column
    }:
        return "the database has not the tables of this version: run manage.py migrate"
    text = " ".join(str(error).split())
    if isinstance(error, SystemCheckError):
        # Django prints a report of several lines; the sentences of the checks are all that matters.
        found = re.findall(r"\(strata\.E\d+\) (.+)", str(error))
        return "; ".join(found) or text
    if isinstance(error, OperationalError | InterfaceError):
        return f"the database can not be reached: {text}"
    if isinstance(error, CommandError | postgres.PostgresError) and text:
        return text
    if isinstance(error, DatabaseError):
        return f"the database refused: {text}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Utility(ManagementUtility):
    """Django's, but each command is parsed first and given its database then."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        """The command; raises UsageError when there is none of this name."""
        if self.settings_exception is not None:
            raise self.settings_exception
        known = get_commands()
        if subcommand not in known:
            near = difflib.get_close_matches(subcommand, known, 1)
            hint = f"did you mean {near[0]}?" if near else "manage.py help lists them"
            raise UsageError(f"there is no command {subcommand}; {hint}")
        command = super().fetch_command(subcommand)
        command.run_from_argv = partial(_run_command, command)  # type: ignore[method-assign]
        return command


def _run_command(command: BaseCommand, argv: list[str]) -> None:
    parser = command.create_parser(argv[0], argv[1])
    try:
        options = vars(parser.parse_args(argv[2:]))
    except CommandError as error:
        message = str(error).removeprefix("Error: ")
        raise UsageError(f"{argv[1]}: {message} (see manage.py {argv[1]} --help)") from None
    except argparse.ArgumentError as error:
        raise UsageError(f"{argv[1]}: {error}") from None
    args = options.pop("args", ())
    try:
        with database_for(argv[1], options):
            command.execute(*args, **options)
    except (OperationalError, postgres.PostgresError) as error:
        # Some commands promise an exit code of their own for a database that can not be reached.
        if code := getattr(command, "without_database", 0):
            raise CommandError(explain(error), returncode=code) from None
        raise
    finally:
        from django.db import connections

        connections.close_all()


@contextmanager
def database_for(name: str, options: dict[str, Any]) -> Iterator[None]:
    """Within it the database that the command needs is there: DATABASE_URL's, or our own."""
    if name == "demo" or (name in WITHOUT_DATABASE and not options.get("databases")):
        yield  # the demo takes its own lease, and holds it until its children are gone
    elif url := os.environ.get("DATABASE_URL", ""):
        require(url)
        yield
    else:
        with postgres.acquire(env.var_directory(BASE_DIR)) as lease:
            if name in WITHOUT_SCHEMA:
                use(lease.url)
            else:
                use(lease.app_url)
                migrate_if_needed(lease.url)
            yield


def use(url: str) -> None:
    """Makes Django, and every child process, use this database from now on."""
    from django.conf import settings

    os.environ["DATABASE_URL"] = url
    # In place: Django's connections, made or not, hold this very dictionary.
    settings.DATABASES["default"].update(env.database(url))


def require(url: str) -> None:
    """Raises OperationalError with the true reason, at once and not when a pool has given up."""
    env.database(url)
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        raise OperationalError(str(error)) from None
