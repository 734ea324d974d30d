"""What the commands share: finding rows by name, and saying things."""

import argparse
import asyncio
import os
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from chains.core.costs import Strategy
from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.states import MergeState, Verification
from chains.core.units import parse_size
from chains.merges import runner
from chains.merges.options import Options
from chains.merges.queue import waits_for
from chains.merges.situation import AUTO
from chains.models import Merge, StorageDomain, Volume

WRONG, REFUSED = 2, 1
POLL_SECONDS = 0.3


def domain_named(name: str) -> StorageDomain:
    """The domain; CommandError with exit code 2 when there is none."""
    found = StorageDomain.objects.filter(name=name).first()
    if found is None:
        known = (
            ", ".join(StorageDomain.objects.values_list("name", flat=True))
            or "none yet: see add_domain"
        )
        raise CommandError(
            f"there is no storage domain {display(name)!r} (known: {known})", returncode=WRONG
        )
    return found


def volume_at(domain: StorageDomain, path: str) -> Volume:
    """The volume at a path relative to the domain's root; CommandError with exit code 2 when there is none."""
    rows: QuerySet[Volume] = domain.volumes.all()
    found = rows.filter(path=os.path.normpath(path)).first()
    if found is None:
        raise CommandError(
            f"{display(path)} is not a volume of {domain.name}; give its path relative to the "
            f"domain's root, or run scan_domain first", returncode=WRONG,
        )  # fmt: skip
    return found


class FollowCommand(BaseCommand):
    """A command that sees a merge through."""

    def say(self, text: str) -> None:
        """One line for people."""
        self.stdout.write(text)

    def see_through(self, merge: Merge, *, here: bool) -> None:
        """Wait for its end, doing the work in this process if asked; exit code 1 when it did not succeed."""
        shown = ""
        while not merge.finished and merge.state != MergeState.ATTENTION:
            if here:
                asyncio.run(runner.run(merge.pk))
            merge.refresh_from_db()
            step = merge.steps.filter(state="running").first()
            line = f"{merge.percent:5.1f} %  {step.name if step else merge.state}"
            if merge.state == MergeState.QUEUED:
                line = waits_for(merge) or line
            if line != shown and not merge.finished:
                self.say(line)
                self.stdout.flush()
            shown = line
            if not merge.finished:
                time.sleep(POLL_SECONDS)
        self.say(outcome(merge))
        if merge.state != MergeState.SUCCEEDED:
            raise SystemExit(REFUSED)


class MergeCommand(FollowCommand):
    """A command that takes DOMAIN BASE TOP."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The three that name a merge."""
        parser.add_argument("domain", metavar="DOMAIN")
        parser.add_argument(
            "base", metavar="BASE", help="lowest volume to join, relative to the domain's root"
        )
        parser.add_argument("top", metavar="TOP", help="highest volume to join")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """How it is carried out."""
        parser.add_argument("--strategy", choices=[AUTO, *Strategy], default=AUTO)
        parser.add_argument(
            "--verify", choices=list(Verification), default=Verification.MOVED,
            help="moved: the bytes that change their place (default); content: every guest's whole view"
            " too; none: sizes only",
        )  # fmt: skip
        parser.add_argument(
            "--rate", help="most bytes a second, like 50M (default: the domain's own)"
        )

    def options_of(self, options: dict[str, Any]) -> Options:
        """The same as the services take it; CommandError with exit code 2 for what is no rate."""
        try:
            rate = parse_size(options["rate"]) if options["rate"] else None
        except StrataError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        return Options(Verification(options["verify"]), rate)

    def volumes(self, options: dict[str, Any]) -> tuple[Volume, Volume]:
        """base and top."""
        domain = domain_named(options["domain"])
        return volume_at(domain, options["base"]), volume_at(domain, options["top"])


def outcome(merge: Merge) -> str:
    """How a merge stands, in a line."""
    return f"merge {merge.pk}: {merge.state}{': ' + merge.message if merge.message else ''}"
