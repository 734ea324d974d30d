"""An embedded database of a benchmark's own, beside an empty directory for its images."""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks import images


def embedded(folder: str | None, measure: Callable[[Path], None]) -> None:
    """Call `measure` with the directory; Django is set up by then, and all is gone afterwards."""
    with images.workplace(folder) as place:
        place.chmod(0o755)  # the embedded database runs as another user when root starts it
        os.environ.pop("DATABASE_URL", None)
        os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
        os.environ["STRATA_VAR"] = str(place / "var")
        os.environ["STRATA_ALLOWED_HOSTS"] = "testserver"
        import django

        from project import postgres
        from project.postgres_commands import use
        from project.postgres_schema import migrate_if_needed

        with postgres.acquire(place / "var") as lease:
            django.setup()
            use(lease.url)
            migrate_if_needed()
            (place / "domain").mkdir()
            measure(place / "domain")
            from django.db import connections

            connections.close_all()
