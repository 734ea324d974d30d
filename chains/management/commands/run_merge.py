"""Carry a merge out, or ask a worker to."""

import argparse
import asyncio
import time
from typing import Any

from django.core.management.base import CommandError

from chains.core.costs import Strategy
from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.plans import PlanError
from chains.core.states import MergeState
from chains.inventory.selectors import worker_alive
from chains.management.commands._common import REFUSED, WRONG, MergeCommand, outcome
from chains.merges import runner, services
from chains.merges.situation import AUTO
from chains.models import Merge

POLL_SECONDS = 0.3


class Command(MergeCommand):
    """manage.py run_merge DOMAIN BASE TOP [--strategy S] [--wait] [--here]."""

    help = "Merge BASE…TOP. Exit code 1 when it is refused or does not succeed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to join, and who waits."""
        super().add_arguments(parser)
        parser.add_argument("--strategy", choices=[AUTO, *Strategy], default=AUTO)
        parser.add_argument("--wait", action="store_true", help="follow it to its end")
        parser.add_argument(
            "--here", action="store_true", help="work in this process, without a worker"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and follow."""
        base, top = self.volumes(options)
        here, host = options["here"], top.domain.storage_host
        if not here and not worker_alive(host):
            raise CommandError(
                f"no worker of {host} is alive: start manage.py run_worker there, or give --here",
                returncode=REFUSED,
            )
        try:
            services.read_maps_for(top)
            merge = services.request_merge(
                base, top, None, "command line", strategy=options["strategy"], queue=not here
            )
        except services.RefusedError as error:
            raise CommandError("refused: " + " ".join(error.reasons), returncode=REFUSED) from None
        except PlanError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        except StrataError as error:
            raise CommandError(f"refused: {display(str(error))}", returncode=REFUSED) from None
        self.say(f"merge {merge.pk}: {merge.base_text}…{merge.top_text}")
        if here:
            asyncio.run(runner.run(merge.pk))
            merge.refresh_from_db()
        if here or options["wait"]:
            self._follow(merge)  # also when a worker was quicker than this process
        else:
            return
        self.say(outcome(merge))
        if merge.state != MergeState.SUCCEEDED:
            raise SystemExit(1)

    def _follow(self, merge: Merge) -> None:
        shown = ""
        while not merge.finished and merge.state != MergeState.ATTENTION:
            time.sleep(POLL_SECONDS)
            merge.refresh_from_db()
            step = merge.steps.filter(state="running").first()
            line = f"{merge.percent:5.1f} %  {step.name if step else merge.state}"
            if line != shown:
                self.say(line)
                self.stdout.flush()
            shown = line
