"""Try the notices' channels."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from chains.management.commands._common import WRONG
from chains.merges import channels, notices


class Command(BaseCommand):
    """manage.py test_notice."""

    help = "Send a test message over every configured channel, and say what the answer was."

    def handle(self, *args: Any, **options: Any) -> None:
        """One line for each channel; exit code 1 when one failed, 2 when there is none."""
        named = notices.channels()
        if not named:
            raise CommandError(
                "no channel is configured: set STRATA_WEBHOOK_URL or STRATA_NOTIFY_EMAIL",
                returncode=WRONG,
            )
        failed = 0
        for channel in named:
            try:
                answer = channels.send(channel, notices.test_body(timezone.now()))
                self.stdout.write(f"{channel}: sent, {answer}")
            except channels.UndeliveredError as error:
                failed += 1
                self.stdout.write(f"{channel}: failed, {error}")
        if failed:
            raise SystemExit(1)
