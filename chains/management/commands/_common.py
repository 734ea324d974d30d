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
from chains.core.scopes import Scope, ScopeKind
from chains.core.states import MergeState, Verification
from chains.inventory import scanning
from chains.inventory.drivers import OPTIONS
from chains.merges import runner
from chains.merges.options import Options, parse_rate
from chains.merges.queue import waits_for
from chains.merges.scoped import NothingToJoinError, run_of_disk
from chains.merges.situation import AUTO
from chains.models import Disk, Merge, Scan, ScanState, StorageDomain, Volume
from chains.storage.profiles import AUTO as AUTO_PROFILE
from chains.storage.profiles import PROFILES

WRONG, REFUSED = 2, 1
_HINTS = {
    "libvirt_xml": "directory: where the XML of libvirt's domains lies, to know their disks",
    "libvirt_uri": "directory: a connection to libvirt on this host, like qemu:///system",
    "proxmox_conf": "directory: a directory like /etc/pve/qemu-server",
}
POLL_SECONDS = 0.3


def domain_named(name: str) -> StorageDomain:
    """The domain; CommandError with exit code 2 when there is none."""
    is_name = display(name) == name  # (nothing else is one: see registering.py)
    found = StorageDomain.objects.filter(name=name).first() if is_name else None
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


def add_driver_options(parser: argparse.ArgumentParser, profile: str | None) -> None:
    """Who made a directory's tree, and where the names of its VMs are found."""
    parser.add_argument(
        "--profile", choices=[AUTO_PROFILE, *(known.name for known in PROFILES)], default=profile,
        help="directory: who made the tree of images",
    )  # fmt: skip
    for name in OPTIONS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=_HINTS.get(name))


def carry_out(scan: Scan, stderr: Any, cancelled: str) -> Scan:
    """Run a scan here, or follow the one that runs already; Ctrl-C cancels the first, and leaves the other."""
    try:
        with scanning.kept_alive(scan.pk):
            scan = scanning.run_scan(scan.pk)
    except KeyboardInterrupt:
        scan.refresh_from_db(fields=["state"])
        ended = scan.state == ScanState.SUCCEEDED
        stderr.write("it had just ended: all is stored" if ended else f"cancelled: {cancelled}")
        raise
    if scan.state not in {ScanState.QUEUED, ScanState.RUNNING}:
        return scan
    try:
        return scanning.follow_scan(scan.pk)
    except KeyboardInterrupt:
        stderr.write(f"it goes on: somebody else runs it, as scan {scan.pk}")
        raise


def disk_named(domain: StorageDomain, name: str) -> Disk:
    """The disk; CommandError with exit code 2 when there is none of that name, or more than one."""
    rows = list(domain.disks.filter(name=display(name)).select_related("active")[:2])
    if len(rows) != 1:
        many = "more than one disk" if rows else "no disk"
        raise CommandError(f"{domain.name} has {many} named {display(name)!r}", returncode=WRONG)
    return rows[0]


def add_scope(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """--scope and its numbers."""
    parser.add_argument(
        "--scope", choices=list(ScopeKind), required=required,
        help="whole: the whole chain; older: every restore point older than --older-than; depth: at most"
        " --depth layers",
    )  # fmt: skip
    parser.add_argument("--older-than", metavar="AGE", default="", help="like 72h, 7d or 90m")
    parser.add_argument("--depth", metavar="N", default="", help="a number of layers")


def scope_of(options: dict[str, Any]) -> Scope:
    """The scope; CommandError with exit code 2 for what is none."""
    try:
        return Scope.from_words(options["scope"], options["older_than"], options["depth"])
    except StrataError as error:
        raise CommandError(str(error), returncode=WRONG) from None


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

    def add_manner(self, parser: argparse.ArgumentParser) -> None:
        """How it is proven, and how fast it may be."""
        parser.add_argument(
            "--verify", choices=[way.value for way in Verification], default=Verification.MOVED.value,
            help="moved: the bytes that change their place (default); content: every guest's whole view"
            " too; none: sizes only",
        )  # fmt: skip
        parser.add_argument(
            "--rate", help="most bytes a second, like 50M; none lifts the domain's own"
        )

    def options_of(self, options: dict[str, Any]) -> Options:
        """The same as the services take it; CommandError with exit code 2 for what is no rate."""
        try:
            rate = parse_rate(options["rate"] or "")
        except StrataError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        return Options(Verification(options["verify"]), rate)


class MergeCommand(FollowCommand):
    """A command that takes DOMAIN BASE TOP, or DOMAIN --disk NAME --scope S."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What names a merge."""
        parser.add_argument("domain", metavar="DOMAIN")
        parser.add_argument(
            "base", metavar="BASE", nargs="?",
            help="lowest volume to join, relative to the domain's root",
        )  # fmt: skip
        parser.add_argument("top", metavar="TOP", nargs="?", help="highest volume to join")
        parser.add_argument("--disk", metavar="NAME", help="instead: a disk, and a scope")
        add_scope(parser, required=False)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """How it is carried out."""
        parser.add_argument(
            "--strategy", choices=[AUTO, *(way.value for way in Strategy)], default=AUTO
        )
        self.add_manner(parser)

    def volumes(self, options: dict[str, Any]) -> tuple[Volume, Volume]:
        """base and top; CommandError with exit code 1 when the scope joins nothing."""
        domain = domain_named(options["domain"])
        named = [options[name] is not None for name in ("base", "top", "disk", "scope")]
        if named == [True, True, False, False]:
            return volume_at(domain, options["base"]), volume_at(domain, options["top"])
        if named != [False, False, True, True]:
            raise CommandError("give BASE and TOP, or --disk and --scope", returncode=WRONG)
        scope = scope_of(options)
        try:
            run = run_of_disk(disk_named(domain, options["disk"]), scope)
        except NothingToJoinError as error:
            raise CommandError(f"nothing to join: {error}", returncode=REFUSED) from None
        return run.base, run.top


def outcome(merge: Merge) -> str:
    """How a merge stands, in a line."""
    return f"merge {merge.pk}: {merge.state}{': ' + merge.message if merge.message else ''}"
