"""Runs the whole of Strata with a demo domain; see project/demo.py."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from project import demo
from project.demo_domain import DemoImageError


def port_number(text: str) -> int:
    """An argparse type."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ArgumentTypeError(f"{text} is no port: give a number from 1 to 65535")
    return int(text)


class Command(BaseCommand):
    """Thin: the command line and its one-line errors."""

    help = (
        "Run Strata with a demo storage domain: database, worker and web process; Ctrl-C ends it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """--host, --port, --fresh."""
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
        parser.add_argument("--port", type=port_number, default=8000)
        parser.add_argument(
            "--fresh", action="store_true", help="remove the demo's database and images first"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Runs until it is stopped."""
        chosen = demo.Options(options["host"], options["port"], options["fresh"])
        try:
            demo.run(chosen, self._say)
        except (demo.DemoError, DemoImageError) as error:
            raise CommandError(str(error), returncode=getattr(error, "returncode", 1)) from None

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
