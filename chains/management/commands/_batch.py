"""What plan_batch and run_batch share: which disks, which layers, and reading what is missing."""

import argparse
import contextlib
from typing import Any

from django.core.management.base import CommandError

from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.units import binary
from chains.inventory.asking import BadRequestError
from chains.management.commands._common import (
    WRONG,
    FollowCommand,
    add_scope,
    disk_named,
    domain_named,
    scope_of,
)
from chains.merges.batch_plans import BatchPlan, Verdict, plan_batch
from chains.merges.choosing import Selection
from chains.merges.options import Options
from chains.merges.services import read_maps_for
from chains.models import StorageDomain


class BatchCommand(FollowCommand):
    """A command that takes DOMAIN, disks and a scope."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which disks, and which layers of each."""
        parser.add_argument("domain", metavar="DOMAIN")
        parser.add_argument("--disk", metavar="NAME", action="append", help="may be given again")
        parser.add_argument(
            "--named-like", metavar="TEXT", default="", help="a part of their names"
        )
        parser.add_argument("--deeper-than", metavar="N", default="", help="layers")
        parser.add_argument("--snapshots-older-than", metavar="AGE", default="", help="like 72h")
        parser.add_argument("--all", action="store_true", help="every disk of the domain")
        add_scope(parser, required=True)
        self.add_manner(parser)

    def selection(self, domain: StorageDomain, options: dict[str, Any]) -> Selection:
        """The disks; CommandError with exit code 2 when they are not chosen rightly."""
        ids = [str(disk_named(domain, name).pk) for name in options["disk"] or ()]
        words = {
            "q": options["named_like"], "deeper_than": options["deeper_than"],
            "older_than": options["snapshots_older_than"], "all": "1" if options["all"] else "",
        }  # fmt: skip
        try:
            found = Selection.from_words(ids, words)
        except BadRequestError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        if found.is_empty:
            raise CommandError(
                "choose disks: --disk, --named-like, --deeper-than, --snapshots-older-than or --all",
                returncode=WRONG,
            )
        return found

    def planned(
        self, options: dict[str, Any]
    ) -> tuple[StorageDomain, Selection, Options, BatchPlan]:
        """The plan and what it was made of; block maps that are missing are read here and now."""
        domain = domain_named(options["domain"])
        selection, scope = self.selection(domain, options), scope_of(options)
        how = self.options_of(options)
        try:
            plan = plan_batch(domain, selection, scope, None, options=how, ask=False)
            reading = [
                row.run.top for row in plan.rows if row.verdict is Verdict.READING and row.run
            ]
            for top in reading:
                # What can not be read is among the reasons of the next plan.
                with contextlib.suppress(StrataError):
                    read_maps_for(top)
            if reading:
                plan = plan_batch(domain, selection, scope, None, options=how, ask=False)
        except BadRequestError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        return domain, selection, how, plan


def text(plan: BatchPlan) -> str:
    """A plan for people: a line for each disk, and the totals."""
    lines = []
    for row in plan.rows:
        if row.verdict is Verdict.MERGE and row.plan:
            names = f"{display(row.plan.base)}…{display(row.plan.top)}"
            size = binary(row.plan.bytes_to_copy or 0)
            note = f" ({row.run.note})" if row.run and row.run.note else ""
            lines.append(f"{row.name}: {row.plan.strategy} {names}, copies {size}{note}")
        else:
            lines.append(f"{row.name}: {row.verdict.value}: {' '.join(row.reasons)}")
    totals = plan.totals
    lines.append(
        f"{totals.merges} of {totals.disks} disks: copies {binary(totals.bytes_to_copy)}, needs"
        f" {binary(totals.space_needed)} at the peak, wins {binary(totals.space_won)}, removes"
        f" {totals.restore_points} restore points"
    )
    if not totals.fits:
        lines.append(f"only {binary(totals.space_free or 0)} are free: it may not fit")
    return "\n".join(lines)
