#!/usr/bin/env python3
"""Strata's commands. Each works by itself: where no DATABASE_URL is set it brings its own database.

Written so that an old system Python can at least read it and say what to do.
"""

import contextlib
import os
import sys
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent


def enter_environment() -> None:
    """Continues in the checkout's own environment when called with another Python."""
    environment = BASE_DIR / ".venv"
    python = environment / "bin" / "python"
    if Path(sys.prefix).resolve() != environment.resolve() and python.exists():
        with contextlib.suppress(OSError):
            os.execv(str(python), [str(python), *sys.argv])  # noqa: S606 - it becomes this process
    sys.exit("strata: its Python packages are not installed, run bin/setup first")


if __name__ == "__main__":
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 - this file may be run by any Python
            raise ImportError
        import django  # noqa: F401
        import procrastinate  # noqa: F401
    except ImportError:
        enter_environment()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from project.postgres_commands import main

    sys.exit(main(sys.argv))
