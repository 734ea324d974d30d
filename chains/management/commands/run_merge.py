"""Carry a merge out, or ask a worker to."""

import argparse
from typing import Any

from django.core.management.base import CommandError

from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.plans import PlanError
from chains.inventory.selectors import worker_alive
from chains.management.commands._common import REFUSED, WRONG, MergeCommand
from chains.merges import services


class Command(MergeCommand):
    """manage.py run_merge DOMAIN (BASE TOP | --disk NAME --scope S) [--strategy S] [--wait] [--here]."""

    help = "Merge BASE…TOP. Exit code 1 when it is refused or does not succeed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to join, and who waits."""
        super().add_arguments(parser)
        self.add_options(parser)
        parser.add_argument("--wait", action="store_true", help="follow it to its end")
        parser.add_argument(
            "--here", action="store_true", help="work in this process, without a worker"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and follow."""
        base, top = self.volumes(options)
        how = self.options_of(options)
        here, host = options["here"], top.domain.storage_host
        if not here and not worker_alive(host):
            raise CommandError(
                f"no worker of {host} is alive: start manage.py run_worker there, or give --here",
                returncode=REFUSED,
            )
        try:
            services.read_maps_for(top)
            merge = services.request_merge(
                base,
                top,
                None,
                "command line",
                strategy=options["strategy"],
                queue=not here,
                options=how,
            )
        except services.RefusedError as error:
            raise CommandError("refused: " + " ".join(error.reasons), returncode=REFUSED) from None
        except PlanError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        except StrataError as error:
            raise CommandError(f"refused: {display(str(error))}", returncode=REFUSED) from None
        self.say(f"merge {merge.pk}: {merge.base_text}…{merge.top_text}")
        if here or options["wait"]:
            self.see_through(merge, here=here)
