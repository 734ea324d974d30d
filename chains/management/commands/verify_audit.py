"""Says whether the audit trail is as it was written."""

import json
import re
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from chains.inventory import trail

TAMPERED, UNREADABLE = 1, 2


def hash_of(text: str) -> str:
    """An argument that is a hash."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ArgumentTypeError("a hash has 64 hexadecimal digits")
    return text.lower()


class Command(BaseCommand):
    """Exit codes: 0 sound, 1 tampered with, 2 it could not be read."""

    help = (
        "Walk the whole audit trail: every record fits its seal, every seal the one before. Note the head"
        " that it prints outside of the database, and give it with --expect the next time."
    )
    without_database = UNREADABLE

    def add_arguments(self, parser: CommandParser) -> None:
        """--json, --expect HASH."""
        parser.add_argument("--json", action="store_true")
        parser.add_argument(
            "--expect", metavar="HASH", type=hash_of,
            help="a head that was noted before: the chain must still hold it",
        )  # fmt: skip

    def handle(self, *_args: Any, **options: Any) -> None:
        """Raises CommandError with exit code 2 when the tables can not be read."""
        try:
            report = trail.verify(options["expect"] or "")
        except Error as error:
            text = " ".join(str(error).split())
            raise CommandError(
                f"the audit trail can not be read: {text}", returncode=UNREADABLE
            ) from None
        if options["json"]:
            self.stdout.write(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
        else:
            self._say(report)
        if not report.sound:
            raise SystemExit(TAMPERED)

    def _say(self, report: trail.Report) -> None:
        for fault in report.faults:
            self.stdout.write(f"{fault.kind.value}: {fault.text}")
        if report.more:
            self.stdout.write(f"and {report.more} more")
        for note in report.notes:
            self.stdout.write(f"note: {note}")
        words = "sound" if report.sound else "TAMPERED WITH"
        self.stdout.write(f"{words}: {report.count} records, head {report.head}")
