"""Show what the merges of many disks would do, cost and remove."""

import argparse
import json
from typing import Any

from django.core.management.base import CommandError

from chains.management.commands._batch import BatchCommand, text
from chains.management.commands._common import REFUSED


class Command(BatchCommand):
    """manage.py plan_batch DOMAIN (--all | --disk NAME… | …) --scope S [--json]."""

    help = "Plan a scope on many disks. Exit code 1 when not one of them would be merged."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which disks and layers."""
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Plan it."""
        *_, plan = self.planned(options)
        self.say(json.dumps(plan.to_json(), indent=2) if options["json"] else text(plan))
        if not plan.merges:
            raise CommandError("nothing to merge", returncode=REFUSED)
