"""Register a storage domain, or all that a mount of oVirt holds."""

import argparse
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chains.core.errors import StrataError
from chains.core.names import display
from chains.inventory.asking import BadRequestError
from chains.inventory.drivers import OPTIONS
from chains.inventory.registering import (
    DEVICES,
    Registered,
    Wish,
    kind_of,
    register,
    register_found,
    seconds_of,
)
from chains.management.commands._common import WRONG, add_driver_options
from chains.models import DomainKind
from chains.storage.ovirt_domain import find_domains
from chains.storage.profiles import AUTO


class Command(BaseCommand):
    """manage.py add_domain NAME PATH [--kind K] [--profile P] [--scan-every 1h] [--read-only]."""

    help = (
        "Register a storage domain. Nothing on storage is touched. PATH may be a mount that holds"
        " several oVirt domains: each is registered."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Name, place and kind."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "path", metavar="PATH",
            help="the directory that holds the images; a mount of oVirt domains; /dev/VG, or a"
            " directory of physical volumes",
        )  # fmt: skip
        parser.add_argument(
            "--kind", choices=DomainKind.values, help="default: guessed from what lies there"
        )
        add_driver_options(parser, AUTO)
        parser.add_argument(
            "--scan-every", default="1h", help="how often it is scanned: 1h, 15min; 0: when asked"
        )
        parser.add_argument(
            "--datacenter",
            default="",
            help="what it belongs to, as people call it; reports group by it",
        )
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
        try:
            done = self._register(options)
        except BadRequestError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        except StrataError as error:
            raise CommandError(str(error), returncode=1) from None
        except OSError as error:
            raise CommandError(
                f"{display(options['path'])} can not be read ({error.strerror})", returncode=WRONG
            ) from None
        for domain, is_new, note in done:
            told = f" ({note})" if note else ""
            self.stdout.write(
                f"storage domain {domain.name}: {domain.path_text}{told}; next: manage.py scan_domain {domain.name}"
                if is_new
                else f"storage domain {domain.name}: {domain.path_text}{told}; there already"
            )

    def _register(self, options: dict[str, Any]) -> list[Registered]:
        host, here = options["storage_host"], options["storage_host"] == settings.STORAGE_HOST
        path = _place(options["path"], here)
        kind = options["kind"] or (kind_of(path) if here else _kind_elsewhere(path))
        told = {name: options[name] for name in OPTIONS if options[name] is not None}
        wish = Wish(
            kind,
            options["read_only"],
            options["profile"],
            told,
            seconds_of(options["scan_every"]),
            options["datacenter"],
        )
        if kind == DomainKind.OVIRT_FILE and here:
            return register_found(options["name"], find_domains(path), host, wish)
        return [Registered(register(options["name"], path, host, wish), True)]


def _place(path: str, here: bool) -> str:
    """The path as it is stored. A volume group's devices come and go: nothing is asked of /dev."""
    if not path.strip():
        raise CommandError(
            "give the PATH of a directory, a mount or a volume group", returncode=WRONG
        )
    plain = os.path.normpath(path)
    if plain.startswith(DEVICES):
        return plain
    real = os.path.realpath(path)
    if here and not os.path.isdir(real):
        raise CommandError(f"{display(path)} is not a directory on this host", returncode=WRONG)
    return real


def _kind_elsewhere(path: str) -> str:
    return DomainKind.OVIRT_BLOCK if path.startswith(DEVICES) else DomainKind.DIRECTORY
