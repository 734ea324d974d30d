"""Helpers of the tests that start real servers and kill them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from project.postgres_places import find_places

BASE_DIR = Path(__file__).resolve().parent.parent.parent
HOLD = """
import sys
from pathlib import Path
from project.postgres import acquire
lease = acquire(Path(sys.argv[1]))
print(lease.url, int(lease.is_new), flush=True)
sys.stdin.read()
"""


def wait_until(condition: Callable[[], object], timeout: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    """Zombies count as dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def keeper_pid(var: Path) -> int:
    return int(find_places(var).keeper_lock.read_text())


def server_pid(var: Path) -> int:
    return int((find_places(var).data / "postmaster.pid").read_text().splitlines()[0])


def query(url: str, text: str = "SELECT 1") -> object:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(text).fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None


def execute(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(text)


def start_holder(var: Path, python: str = sys.executable, become=None, **environment: str):
    """A process that takes a lease and keeps it until its stdin is closed."""
    return subprocess.Popen(
        [python, "-c", HOLD, str(var)],
        cwd=BASE_DIR,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **(become or {}),
    )


@contextmanager
def holder(var: Path, *more, **environment) -> Iterator[tuple[subprocess.Popen[str], str, bool]]:
    """A holder that has got its lease: the process, its url, and whether the database was new."""
    process = start_holder(var, *more, **environment)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        url, is_new = line.split()
        yield process, url, is_new == "1"
    finally:
        process.kill()
        process.communicate()
