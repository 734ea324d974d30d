"""Check a volume with qemu-img in this process, which must be on a host that reaches it."""

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chains.core.errors import StrataError
from chains.core.units import binary
from chains.inventory import services
from chains.inventory.volumes import Check, check_of
from chains.management.commands._common import REFUSED, carry_out, domain_named, volume_at
from chains.models import ScanState, Volume


class Command(BaseCommand):
    """manage.py check_volume DOMAIN PATH [--json]."""

    help = (
        "Look for leaked and damaged space in a qcow2 volume; it is only read. Exit code 1 when it is"
        " damaged, or can not be checked. Ctrl-C cancels the check."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which one."""
        parser.add_argument("domain", metavar="DOMAIN")
        parser.add_argument("path", metavar="PATH", help="relative to the domain's root")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check it, and say what was found."""
        volume = volume_at(domain_named(options["domain"]), options["path"])
        try:
            scan = services.request_check(volume, None, "command line", queue=False)
        except StrataError as error:
            raise CommandError(str(error), returncode=REFUSED) from None
        scan = carry_out(scan, self.stderr, "nothing has changed")
        if scan.state != ScanState.SUCCEEDED:
            raise CommandError(scan.message, returncode=REFUSED)
        volume = Volume.objects.select_related("domain").get(pk=volume.pk)
        found = check_of(volume)
        if options["json"]:
            self.stdout.write(json.dumps(found.to_json(), indent=2))
        else:
            self.stdout.write(f"{volume.path_text}: {_words(volume, found)}")
        if found.verdict == "damaged":
            raise CommandError(
                f"{volume.path_text} is damaged: see its findings", returncode=REFUSED
            )


def _words(volume: Volume, found: Check) -> str:
    said = found.said or {}
    leaks = int(said.get("leaks", 0))
    held = f" ({binary(leaks * volume.cluster_size)})" if leaks and volume.cluster_size else ""
    return (
        f"{found.verdict}: {said.get('corruptions', 0)} corruptions, {leaks} leaked clusters{held},"
        f" {said.get('check_errors', 0)} errors while checking"
    )
