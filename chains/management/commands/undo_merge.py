"""Take a merge back, while what it kept aside is there."""

import argparse
from typing import Any

from django.core.management.base import CommandError

from chains.inventory.selectors import worker_alive
from chains.management.commands._common import REFUSED, WRONG, FollowCommand
from chains.merges import services
from chains.models import Merge


class Command(FollowCommand):
    """manage.py undo_merge NUMBER [--wait] [--here]."""

    help = "Undo a merge. Exit code 1 when it is refused or does not succeed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which, and who waits."""
        parser.add_argument("number", metavar="NUMBER", type=int, help="the merge's number")
        parser.add_argument("--wait", action="store_true", help="follow it to its end")
        parser.add_argument(
            "--here", action="store_true", help="work in this process, without a worker"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and follow."""
        merge = Merge.objects.select_related("domain").filter(pk=options["number"]).first()
        if merge is None:
            raise CommandError(f"there is no merge {options['number']}", returncode=WRONG)
        here, host = options["here"], merge.domain.storage_host
        if not here and not worker_alive(host):
            raise CommandError(
                f"no worker of {host} is alive: start manage.py run_worker there, or give --here",
                returncode=REFUSED,
            )
        try:
            back = services.request_undo(merge, None, "command line", queue=not here)
        except services.RefusedError as error:
            raise CommandError("refused: " + " ".join(error.reasons), returncode=REFUSED) from None
        self.say(f"merge {back.pk}: takes merge {merge.pk} back")
        if here or options["wait"]:
            self.see_through(back, here=here)
