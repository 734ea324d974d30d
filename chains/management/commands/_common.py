"""What the commands share: finding rows by name, and saying things."""

import argparse
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from chains.core.names import display
from chains.models import Merge, StorageDomain, Volume

WRONG, REFUSED = 2, 1


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


class MergeCommand(BaseCommand):
    """A command that takes DOMAIN BASE TOP."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The three that name a merge."""
        parser.add_argument("domain", metavar="DOMAIN")
        parser.add_argument(
            "base", metavar="BASE", help="lowest volume to join, relative to the domain's root"
        )
        parser.add_argument("top", metavar="TOP", help="highest volume to join")

    def volumes(self, options: dict[str, Any]) -> tuple[Volume, Volume]:
        """base and top."""
        domain = domain_named(options["domain"])
        return volume_at(domain, options["base"]), volume_at(domain, options["top"])

    def say(self, text: str) -> None:
        """One line for people."""
        self.stdout.write(text)


def outcome(merge: Merge) -> str:
    """How a merge stands, in a line."""
    return f"merge {merge.pk}: {merge.state}{': ' + merge.message if merge.message else ''}"
