"""Register a storage domain."""

import argparse
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chains.core.errors import StrataError
from chains.core.names import display
from chains.inventory.asking import BadRequestError
from chains.inventory.services import add_domain
from chains.models import DomainKind


class Command(BaseCommand):
    """manage.py add_domain NAME PATH [--kind directory] [--read-only]."""

    help = "Register a storage domain. Nothing on storage is touched."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Name, place and kind."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("path", metavar="PATH", help="the directory that holds the images")
        parser.add_argument("--kind", choices=DomainKind.values, default=DomainKind.DIRECTORY)
        parser.add_argument(
            "--read-only", action="store_true", help="Strata will refuse merges there"
        )
        parser.add_argument(
            "--storage-host",
            default=settings.STORAGE_HOST,
            help="the host whose workers reach it (default: this one)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Register it."""
        path = os.path.realpath(options["path"])
        if options["storage_host"] == settings.STORAGE_HOST and not os.path.isdir(path):
            raise CommandError(
                f"{display(options['path'])} is not a directory on this host", returncode=2
            )
        try:
            domain = add_domain(
                options["name"],
                path,
                options["kind"],
                options["storage_host"],
                read_only=options["read_only"],
            )
        except BadRequestError as error:
            raise CommandError(str(error), returncode=2) from None
        except StrataError as error:
            raise CommandError(str(error), returncode=1) from None
        self.stdout.write(
            f"storage domain {domain.name}: {domain.path_text}; next: manage.py scan_domain {domain.name}"
        )
