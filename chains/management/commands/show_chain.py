"""Show a chain and what is wrong with it. Needs neither database nor server."""

import argparse
import json
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chains.core.chain import read_chain
from chains.core.findings import Code, Finding
from chains.core.names import display, portable
from chains.core.units import binary


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


class Command(BaseCommand):
    """manage.py show_chain PATH [--json] [--root DIR]."""

    requires_system_checks = []  # it starts no tool, and must answer where none is installed
    help = (
        "Show the chain of an image, active layer first. Exit code 1 when it is unsafe or broken."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The image, and how far its chain may reach."""
        parser.add_argument("path", metavar="PATH")
        parser.add_argument("--json", action="store_true")
        parser.add_argument(
            "--root", metavar="DIR", help="the storage domain (default: the image's directory)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        root, path = located(options["path"], options["root"])
        chain = read_chain(root, path)
        if options["json"]:
            self.stdout.write(json.dumps(self._facts(chain), indent=2))
        else:
            for layer in chain.layers:
                backing = (
                    f" ← {display(layer.backing_file)}" if layer.backing_file is not None else ""
                )
                self.stdout.write(
                    f"{display(layer.path)}  {layer.format or '?'}  {binary(layer.virtual_size)} virtual, "
                    f"{binary(layer.on_disk)} on disk{backing}"
                )
            for finding in chain.findings:
                self.stdout.write(
                    f"{finding.severity.value}: {finding.code.value}: {display(finding.path)}: {display(finding.detail)}"
                )
                if hint := root_hint(finding, options["root"]):
                    self.stdout.write(hint.strip())
        if not chain.is_safe:
            raise SystemExit(1)

    @staticmethod
    def _facts(chain: Any) -> dict[str, Any]:
        return {
            "layers": [
                {
                    "path": portable(layer.path), "format": layer.format,
                    "virtual_size": layer.virtual_size, "file_size": layer.file_size,
                    "on_disk": layer.on_disk, "cluster_size": layer.cluster_size,
                    "backing_file": _portable(layer.backing_file),
                    "backing_format": _portable(layer.backing_format),
                    "backing_path": _portable(layer.backing_path),
                }
                for layer in chain.layers
            ],
            "findings": [
                {
                    "code": finding.code.value, "severity": finding.severity.value,
                    "path": portable(finding.path), "detail": portable(finding.detail),
                }
                for finding in chain.findings
            ],
        }  # fmt: skip


def _portable(name: str | None) -> str | None:
    return None if name is None else portable(name)
