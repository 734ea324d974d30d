"""Print the sprawl report: what snapshots hold, hide and would give back."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chains.core.names import display
from chains.core.units import binary
from chains.inventory import exports, sprawl
from chains.inventory.asking import BadRequestError
from chains.inventory.sprawl import Change, Row
from chains.inventory.sprawl_asked import BYS, SORT, SORTS, Asked
from chains.inventory.sprawl_sums import Figures
from chains.management.commands._common import WRONG, domain_named

_WORDS = ("by", "datacenter", "vm", "q", "snapshots", "older", "as_of", "with", "sort")
_HEADS = ("disks", "snapshots", "depth", "oldest", "held", "shadowed", "won", "to copy", "breaches")
_DAY = "%Y-%m-%d"


class Command(BaseCommand):
    """manage.py sprawl_report [--by B] [--as-of DAY [--with DAY]] [filters] [--csv | --json]."""

    help = (
        "Print what snapshots hold, what they hide and what merging them would give back. The figures are"
        " those of the last scans, or of the day that is given."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The words of the report's address."""
        parser.add_argument("--by", choices=BYS, default="domain")
        parser.add_argument("--datacenter", help="only of it; “(none)”: of domains without one")
        parser.add_argument("--domain", metavar="NAME", help="only of this storage domain")
        parser.add_argument("--vm", help="only of it; “(none)”: disks of which no VM is known")
        parser.add_argument("--q", metavar="TEXT", help="a part of the disk's name, or of its VM's")
        parser.add_argument("--snapshots", metavar="N", help="disks with so many, at least")
        parser.add_argument("--older", metavar="AGE", help="disks with a snapshot older than 30d")
        parser.add_argument("--breaches", action="store_true", help="disks that exceed a threshold")
        parser.add_argument("--as-of", metavar="DAY", help="as it was by the end of 2026-11-01")
        parser.add_argument("--with", metavar="DAY", help="compare with this day")
        parser.add_argument(
            "--sort", default=SORT, help=f"{', '.join(SORTS)}; --sort=-NAME: descending"
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--csv", action="store_const", const="csv", dest="kind")
        how.add_argument("--json", action="store_const", const="json", dest="kind")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        words = {name: options[name] for name in _WORDS if options[name] is not None}
        words["breaches"] = "1" if options["breaches"] else ""
        if options["domain"] is not None:
            words["domain"] = str(domain_named(options["domain"]).pk)
        try:
            asked = Asked.from_words(words)
        except BadRequestError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        if options["kind"]:
            columns = exports.CHANGE_COLUMNS if asked.with_ else exports.SPRAWL_COLUMNS
            for part in exports.written(options["kind"], sprawl.walk(asked), columns):
                self.stdout.write(part.decode(), ending="")
            return
        for line in _lines(asked):
            self.stdout.write(line)


def _lines(asked: Asked) -> Iterator[str]:
    yield "\t".join((asked.by, "in", *_HEADS))
    for some in sprawl.walk(asked):
        for row in some:
            yield "\t".join((display(row.label) or "(none)", display(row.place), *_told(row)))
    total = sprawl.total_of(asked, asked.as_of)
    sides: Row | Change = Row("", "", 0, None, None, None, total, None)
    if asked.with_:
        later = sprawl.total_of(asked, asked.with_)
        sides = Change("", "", 0, None, None, None, total, later, None)
    yield "\t".join(("in all", "", *_told(sides)))


def _told(row: Row | Change) -> Sequence[str]:
    if isinstance(row, Row):
        return _cells(row.figures)
    one, other = (_cells(side) if side else ["-"] * len(_HEADS) for side in (row.before, row.after))
    return [a if a == b else f"{a} → {b}" for a, b in zip(one, other, strict=True)]


def _cells(found: Figures) -> list[str]:
    bound = ("", "") if found.is_mapped else ("≥ ", "≤ ")
    since = found.oldest_snapshot
    return [
        str(found.disks), _number(found.snapshots), _number(found.depth),
        f"{since:{_DAY}}" if since else "-", _size(found.snapshot_bytes),
        (bound[0] if found.shadowed is not None else "") + _size(found.shadowed),
        ("≥ " if found.winnable else "") + _size(found.winnable),
        (bound[1] if found.to_copy else "") + _size(found.to_copy), _number(found.breaches),
    ]  # fmt: skip


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _size(value: int | None) -> str:
    return "-" if value is None else binary(value)
