"""Carry the merges of many disks out, or ask workers to."""

import argparse
from typing import Any

from django.core.management.base import CommandError

from chains.inventory.selectors import worker_alive
from chains.management.commands._batch import BatchCommand
from chains.management.commands._common import REFUSED
from chains.merges import batches
from chains.merges.services import RefusedError
from chains.models import Merge


class Command(BatchCommand):
    """manage.py run_batch DOMAIN (--all | --disk NAME… | …) --scope S [--wait] [--here]."""

    help = "Merge a scope of many disks. Exit code 1 when none is started, or one does not succeed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which disks and layers, and who waits."""
        super().add_arguments(parser)
        parser.add_argument("--wait", action="store_true", help="follow the merges to their ends")
        parser.add_argument(
            "--here", action="store_true", help="work in this process, without a worker"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and follow."""
        domain, selection, how, plan = self.planned(options)
        here = options["here"]
        if not here and not worker_alive(domain.storage_host):
            raise CommandError(
                f"no worker of {domain.storage_host} is alive: start manage.py run_worker there, or give --here",
                returncode=REFUSED,
            )
        try:
            batch = batches.request_batch(
                domain, selection, plan.scope, None, "command line",
                confirmed=plan.confirmation, options=how, queue=not here,
            )  # fmt: skip
        except RefusedError as error:
            raise CommandError("refused: " + " ".join(error.reasons), returncode=REFUSED) from None
        story = batches.journal(batch)
        self.say(f"batch {batch.pk}: {len(story['merges'])} merges")
        for row in story["left_out"]:
            self.say(f"left out: {row['name']}: {' '.join(row['reasons'])}")
        if here or options["wait"]:
            self._follow(batches.merges_of(batch), here=here)

    def _follow(self, merges: list[Merge], *, here: bool) -> None:
        failed = 0
        for merge in merges:
            self.say(f"merge {merge.pk}: {merge.base_text}…{merge.top_text}")
            try:
                self.see_through(merge, here=here)
            except SystemExit:
                failed += 1
        if failed:
            raise SystemExit(REFUSED)
