"""Directories for servers, where the account that root's PostgreSQL runs as can get to."""

import shutil
import tempfile
from pathlib import Path

import pytest

from project.postgres import acquire
from project.postgres_places import find_places, is_held
from tests.project.servers import wait_until


def make_var() -> Path:
    top = Path(tempfile.mkdtemp(prefix="strata test's "))
    top.chmod(0o755)
    path = top / "var"
    path.mkdir()
    return path


def check_stopped(var: Path) -> None:
    """After every test the server must have stopped by itself."""
    if (var / "postgres").exists():
        places = find_places(var)
        assert wait_until(lambda: not is_held(places.keeper_lock)), "the keeper stays"
        assert not places.sockets.exists()


@pytest.fixture
def var():
    """A new var/ without a database."""
    path = make_var()
    yield path
    check_stopped(path)
    shutil.rmtree(path.parent)


@pytest.fixture(scope="session")
def used():
    path = make_var()
    with acquire(path):
        pass
    yield path
    shutil.rmtree(path.parent)


@pytest.fixture
def old_var(used):
    """A var/ with a database that earlier tests have used: saves the time to make one."""
    check_stopped(used)
    yield used
    check_stopped(used)
