"""What the commands share that look at one chain, without database or server."""

import argparse
import os

from django.core.management.base import BaseCommand, CommandError

from chains.core.findings import Code, Finding
from chains.core.names import display


def located(path: str, root: str | None) -> tuple[str, str]:
    """(root, path relative to it); raises CommandError with exit code 2 when there is nothing there."""
    full = os.path.abspath(path)
    top = os.path.abspath(root) if root is not None else os.path.dirname(full)
    if not os.path.lexists(full):
        raise CommandError(f"{display(path)} does not exist", returncode=2)
    if os.path.commonpath([full, top]) != top or full == top:
        raise CommandError(
            f"{display(path)} is not inside {display(top)}; give another --root", returncode=2
        )
    return top, os.path.relpath(full, top)


def root_hint(finding: Finding, root: str | None) -> str:
    """How to go on when the chain leaves a domain that nobody named."""
    if finding.code != Code.BACKING_OUTSIDE or root is not None:
        return ""
    return " (The domain was taken to be the image's own directory: --root DIR names another.)"


class ChainCommand(BaseCommand):
    """A command that takes PATH [--json] [--root DIR]."""

    requires_system_checks = []  # it starts no tool, and must answer where none is installed

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The image, and how far its chain may reach."""
        parser.add_argument("path", metavar="PATH")
        parser.add_argument("--json", action="store_true")
        parser.add_argument(
            "--root", metavar="DIR", help="the storage domain (default: the image's directory)"
        )
