"""Scan a storage domain in this process, which must be on a host that reaches it."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chains.inventory import services
from chains.inventory.told import domain_json
from chains.management.commands._common import WRONG, carry_out, domain_named
from chains.models import Scan, ScanState, StorageDomain


class Command(BaseCommand):
    """manage.py scan_domain NAME [--json] [--accept-empty] [--here]."""

    help = "Read every header of a storage domain into the inventory. Ctrl-C cancels the scan."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which one."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--json", action="store_true", help="print volumes, edges and findings as JSON"
        )
        parser.add_argument(
            "--accept-empty", action="store_true",
            help="when another directory is there and holds none of the volumes: forget them all",
        )  # fmt: skip
        parser.add_argument(
            "--here", action="store_true", help="though another storage host is to reach it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Scan it, and say what was found."""
        domain = domain_named(options["name"])
        if domain.storage_host != settings.STORAGE_HOST and not options["here"]:
            raise CommandError(
                f"{domain.name} is reached by the host {domain.storage_host}, and this is"
                f" {settings.STORAGE_HOST}: scan it there, or with --here",
                returncode=WRONG,
            )
        if options["accept_empty"]:
            StorageDomain.objects.filter(pk=domain.pk).update(root_mark="")
        scan = services.request_scan(domain, None, "command line", queue=False)
        scan = carry_out(scan, self.stderr, f"{domain.name} stays in the inventory as it was")
        if scan.state != ScanState.SUCCEEDED:
            raise CommandError(scan.message, returncode=1)
        if options["json"]:
            self._print(scan)
        else:
            self._report(scan)

    def _print(self, scan: Scan) -> None:
        domain = StorageDomain.objects.select_related("last_scan").get(pk=scan.domain_id)
        for piece in domain_json(domain):
            self.stdout.write(piece, ending="")

    def _report(self, scan: Scan) -> None:
        domain = scan.domain
        self.stdout.write(
            f"{domain.name}: {domain.disks.count()} disks, {domain.volumes.count()} volumes, "
            f"{domain.findings.open().count()} findings"
        )
        for finding in domain.findings.open():
            self.stdout.write(
                f"{finding.severity}: {finding.code}: {finding.path_text}: {finding.detail}"
            )
