"""The embedded PostgreSQL: started for the first process that needs it, stopped after the last.

Every process that uses the server holds a lease. The server itself is owned by a keeper
(`postgres_keeper`) that nobody waits for, so two commands share one server in any order, and the
last one out turns off the light, even when it was killed.
"""

import fcntl
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from project.postgres_cluster import PORT, SUPERUSER, end_leftovers
from project.postgres_places import (
    Places,
    PostgresError,
    check_sockets,
    find_places,
    is_held,
    open_lock,
    try_lock,
    wait_lock,
)

__all__ = ["Lease", "PostgresError", "acquire", "destroy"]

DATABASE = "strata"
APP_ROLE = "strata_app"
# As docs/deployment.md has it for a server of one's own. Tables to come are meant, too; the migrations
# take back what nobody may do to the audit trail. One transaction: where there is the role, it has all.
_ROLE = """
CREATE ROLE {role} LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {role};
"""
START_SECONDS = 120.0  # after a crash the server first replays its log
STOP_SECONDS = 45.0
BASE_DIR = Path(__file__).resolve().parent.parent


class Lease:
    """The right to use the server: it runs at least until this is released or the process ends."""

    def __init__(self, places: Places, fd: int) -> None:
        self._places = places
        self._fd = fd
        self.is_new = False
        """Whether this lease made the database, so that it has no tables yet."""

    @property
    def url(self) -> str:
        """The address of the server for who owns the tables, over its unix socket."""
        return self._url(SUPERUSER)

    @property
    def app_url(self) -> str:
        """The same for Strata itself: its role reads and writes, and owns nothing."""
        return self._url(APP_ROLE)

    def _url(self, role: str) -> str:
        host = quote(str(self._places.sockets), safe="")
        return f"postgresql://{role}@/{DATABASE}?host={host}&port={PORT}"

    def ensure(self) -> None:
        """Brings the server back if even its keeper was killed; for long-running holders."""
        if not is_held(self._places.keeper_lock):
            _start(self._places)

    def release(self) -> None:
        """Gives the server up; it stops by itself when nobody else uses it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def wait_stopped(self, timeout: float = STOP_SECONDS) -> bool:
        """After the release: whether the server came to its end; not while others use it."""
        deadline = time.monotonic() + timeout
        while is_held(self._places.keeper_lock):
            if time.monotonic() > deadline or _is_used(self._places):
                return False
            time.sleep(0.05)
        return True

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def acquire(var: Path) -> Lease:
    """Joins the server of this `var/`, or starts it. Raises PostgresError.

    One lease a process tree: give its `url` to the children, and keep the lease while they run.
    """
    places = find_places(var)
    fd = open_lock(places.users_lock)
    lease = Lease(places, fd)
    try:
        # Exclusive is only a keeper on its way out; then this starts afresh.
        if not wait_lock(fd, fcntl.LOCK_SH, STOP_SECONDS):
            raise PostgresError(
                f"the database in {places.home} is being stopped, and that takes too long: "
                f"see {places.log}"
            )
        _start(places, lease)
    except BaseException:
        lease.release()
        raise
    return lease


def destroy(var: Path) -> None:
    """Removes the server's data. Raises PostgresError while anybody uses them."""
    places = find_places(var)
    users, keeper = open_lock(places.users_lock), open_lock(places.keeper_lock)
    try:
        # The keeper ends by itself unless the server is used. With both locks nobody comes in.
        deadline = time.monotonic() + STOP_SECONDS
        while not try_lock(keeper, fcntl.LOCK_EX) and not _is_used(places):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if not (try_lock(keeper, fcntl.LOCK_EX) and try_lock(users, fcntl.LOCK_EX)):
            raise PostgresError(
                f"the database in {places.home} is in use by another command: end that first"
            )
        end_leftovers(places.data, places)
        for path in (places.data, places.draft):
            if path.exists():
                shutil.rmtree(path)
        places.log.unlink(missing_ok=True)
    except OSError as error:
        raise PostgresError(f"{error.filename} can not be removed: {error.strerror}") from None
    finally:
        os.close(users)
        os.close(keeper)


def _is_used(places: Places) -> bool:
    """Whether somebody holds the server: as long as that is so, its keeper does not end."""
    fd = open_lock(places.users_lock)
    try:
        # A keeper that ends holds the lock too, but exclusively.
        return not try_lock(fd, fcntl.LOCK_EX) and try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _start(places: Places, lease: Lease | None = None) -> None:
    """Sees to it that the server runs and the database exists; one process at a time."""
    start = open_lock(places.start_lock)
    try:
        if not wait_lock(start, fcntl.LOCK_EX, START_SECONDS):
            raise PostgresError(f"another command tries to start the database: see {places.log}")
        _wait_ready(places)
        if _make_database(places) and lease is not None:
            lease.is_new = True
    finally:
        os.close(start)


def _wait_ready(places: Places) -> None:
    deadline = time.monotonic() + START_SECONDS
    report = -1
    spawned = 0
    try:
        while not (running := is_held(places.keeper_lock)) or not _answers(places):
            if not running and report < 0:
                if spawned == 3:
                    raise PostgresError(f"the database does not stay up: see {places.log}")
                report = _spawn_keeper(places)
                spawned += 1
            if report >= 0 and select.select([report], [], [], 0)[0]:
                message = os.read(report, 4096).decode(errors="replace")
                os.close(report)
                report = -1
                if message:
                    raise PostgresError(message)
            if time.monotonic() > deadline:
                raise PostgresError(
                    f"PostgreSQL did not start in {START_SECONDS:.0f} s: see {places.log}"
                )
            time.sleep(0.02)
    finally:
        if report >= 0:
            os.close(report)


def _spawn_keeper(places: Places) -> int:
    """Starts a keeper; returns where it reports why it can not start the server."""
    report, theirs = os.pipe()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    environment.pop("PYTHONDEVMODE", None)
    argv = [sys.executable, "-m", "project.postgres_keeper", str(places.home.parent), str(theirs)]
    try:
        os.close(open_lock(places.log))
        with places.log.open("ab") as log:
            subprocess.run(
                argv,
                check=True,
                cwd=BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(theirs,),
                start_new_session=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        os.close(report)
        raise PostgresError(
            f"the database's keeper does not start ({error}): see {places.log}"
        ) from None
    finally:
        os.close(theirs)
    return report


def _conninfo(places: Places, database: str) -> str:
    # Each is given, so that no PG* variable of the environment leads elsewhere.
    return make_conninfo(
        host=str(places.sockets),
        port=PORT,
        user=SUPERUSER,
        dbname=database,
        connect_timeout=5,
        options="",
    )


def _answers(places: Places) -> bool:
    if not places.sockets.is_symlink() and not places.sockets.exists():
        return False
    check_sockets(places)
    try:
        with psycopg.connect(_conninfo(places, "postgres")):
            return True
    except psycopg.OperationalError:
        return False


def _make_database(places: Places) -> bool:
    """Whether it had to be made: under the start lock, so for exactly one process."""
    try:
        with psycopg.connect(_conninfo(places, "postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
            is_new = known.fetchone() is None
            if is_new:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
            role = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APP_ROLE])
            if role.fetchone() is None:
                _make_role(places)
            return is_new
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise PostgresError(f"the database can not be made: {reason}") from None


def _make_role(places: Places) -> None:
    """The role that Strata runs as: no superuser, and no owner of tables."""
    with psycopg.connect(_conninfo(places, DATABASE)) as connection:
        connection.execute(_ROLE.replace("{role}", APP_ROLE))
