"""Say what a domain allows its merges and how often it is scanned; pause or resume its queue."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from chains.core.units import span
from chains.inventory.asking import BadRequestError
from chains.inventory.drivers import OPTIONS
from chains.inventory.registering import seconds_of, set_datacenter, set_driver, set_schedule
from chains.management.commands._common import WRONG, add_driver_options, domain_named
from chains.merges.policies import Policy, set_paused, set_policy
from chains.models import DomainKind, StorageDomain

ORIGIN = "command line"


class Command(BaseCommand):
    """manage.py set_domain NAME [--profile P] [--scan-every 1h] [--keep 1d] [--merges-at-once N] [--window W] [--rate R]
    [--pause | --resume]."""

    help = "Change what a domain allows its merges, and its scans; without an option, show it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What may be changed."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--keep", help="how long old layers are kept for an undo: 1d, 12h, 0")
        parser.add_argument("--merges-at-once", help="how many merges may run at the same time")
        parser.add_argument(
            "--window",
            help="when merges may start: “Sat 02:00-05:00; Mon-Fri 22:00-06:00”, “” for always",
        )
        parser.add_argument("--rate", help="most bytes a second of each merge, like 50M; none")
        parser.add_argument(
            "--scan-every", metavar="AGE", help="how often it is scanned: 1h, 15min; 0: when asked"
        )
        parser.add_argument(
            "--datacenter", help="what it belongs to; “” for as oVirt's metadata says"
        )
        add_driver_options(parser, None)
        queue = parser.add_mutually_exclusive_group()
        queue.add_argument("--pause", action="store_true", help="start no queued merge")
        queue.add_argument("--resume", action="store_true", help="start them again")

    def handle(self, *args: Any, **options: Any) -> None:
        """Change, and show."""
        domain = domain_named(options["name"])
        names = ("keep", "merges_at_once", "window", "rate")
        words = {name: options[name] for name in names if options[name] is not None}
        told = {name: options[name] for name in OPTIONS if options[name] is not None}
        try:
            with transaction.atomic():  # all of it, or nothing
                if words:
                    set_policy(domain, Policy.from_words(words, Policy.of(domain)), None, ORIGIN)
                if options["scan_every"] is not None:
                    set_schedule(domain, seconds_of(options["scan_every"]), None, ORIGIN)
                if options["datacenter"] is not None:
                    set_datacenter(domain, options["datacenter"], None, ORIGIN)
                if options["profile"] is not None or told:
                    set_driver(domain, options["profile"], told, None, ORIGIN)
        except BadRequestError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        if options["pause"] or options["resume"]:
            set_paused(domain, options["pause"], None, ORIGIN)
        now = Policy.of(domain).to_words()
        self.stdout.write(
            f"{domain.name}: keeps old layers for {now['keep']}, {now['merges_at_once']} merge(s) at once, "
            f"window {now['window'] or 'always'}, rate {now['rate'] or 'not limited'}, queue "
            f"{'paused' if domain.paused else 'running'}, scanned "
            f"{'every ' + span(domain.scan_seconds) if domain.scan_seconds else 'when asked'}"
            f"{_driver(domain)}{f', datacenter {domain.datacenter}' if domain.datacenter else ''}"
        )


def _driver(domain: StorageDomain) -> str:
    if domain.kind != DomainKind.DIRECTORY:
        return ""
    told = "".join(f", {name} {value}" for name, value in sorted(domain.options.items()))
    return f", profile {domain.profile}{told}"
