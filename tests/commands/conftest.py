"""manage.py as a script calls it: its exit code, its stdout and the lines of its stderr."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from django.conf import settings

from project.postgres_commands import main
from tests import images


class Done(NamedTuple):
    code: int
    out: str
    err: list[str]


def manage(*arguments: str | Path) -> Done:
    """The command, run in this process: a process of its own costs more than most commands."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["manage.py", *map(str, arguments)])
    assert "Traceback" not in err.getvalue()
    return Done(code, out.getvalue(), err.getvalue().splitlines())


def script(*arguments: str | Path, **environment: str) -> Done:
    """The command as a process."""
    done = subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), *map(str, arguments)],
        env={**os.environ, "STRATA_DEBUG": "0", **environment}, cwd="/", check=False, timeout=60,
        capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    err = done.stderr.decode()
    assert "Traceback" not in err, err
    return Done(done.returncode, done.stdout.decode(), err.splitlines())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "domain"
    path.mkdir()
    return path


@pytest.fixture
def lesson(root: Path, transactional_db: None) -> Path:
    """The classic chain, in a domain that has been added and scanned by the commands."""
    images.lesson(root, 32 * images.MIB)
    added = manage("add_domain", "lab", root)
    assert (added.code, added.err) == (0, []), added
    scanned = manage("scan_domain", "lab")
    assert (scanned.code, scanned.err) == (0, []), scanned
    assert scanned.out == "lab: 1 disks, 3 volumes, 0 findings\n"
    return root
