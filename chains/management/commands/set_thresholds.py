"""Say from where on what is found is worth telling, for all domains or for one."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chains.core.thresholds import LABELS
from chains.inventory import limits
from chains.inventory.asking import BadRequestError
from chains.management.commands._common import WRONG, domain_named

FLAGS = {
    "depth": "--depth", "snapshot_seconds": "--snapshot-age", "snapshot_percent": "--snapshot-percent",
    "full_within_seconds": "--full-within", "reserve_percent": "--reserve-percent",
    "winnable": "--winnable",
}  # fmt: skip
_KINDS = {"seconds": "AGE", "percent": "PERCENT", "winnable": "SIZE"}


class Command(BaseCommand):
    """manage.py set_thresholds [--domain NAME] [--depth N] [--snapshot-age 30d] …"""

    help = "Change the thresholds of findings; without an option, show them. 0 turns a rule off."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What may be changed."""
        parser.add_argument("--domain", metavar="NAME", help="of this domain only")
        for name, flag in FLAGS.items():
            word = _KINDS.get(name.rpartition("_")[2], "N")
            parser.add_argument(
                flag, dest=name, metavar=word, help=f"{LABELS[name]}; “” takes it back"
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Change, and show."""
        domain = domain_named(options["domain"]) if options["domain"] is not None else None
        words = {name: options[name] for name in FLAGS if options[name] is not None}
        # Percent signs are how people write percents.
        words = {name: _bare(name, text) for name, text in words.items()}
        try:
            if words:
                told = limits.from_words(words)
                given = {name: told.get(name) for name in words}
                values = limits.changed(domain, given)
                limits.set_thresholds(domain, values, None, "command line")
        except BadRequestError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        for limit in limits.limits_of(domain):
            where = "set here" if limit.here else "as for all" if domain else "default"
            self.stdout.write(f"{FLAGS[limit.name]} {limit.now} ({where}): {limit.label}")
        if words:
            self.stdout.write(limits.EFFECT)


def _bare(name: str, text: str) -> str:
    return text.removesuffix("%").strip() if name.endswith("percent") else text
