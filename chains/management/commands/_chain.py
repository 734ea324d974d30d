"""What the commands share that look at one chain, without database or server."""

import argparse
import os

from django.core.management.base import BaseCommand, CommandError

from chains.core.chain import Chain, read_chain
from chains.core.errors import ReadError, StrataError
from chains.core.extents import ExtentMap
from chains.core.findings import Code, Finding, Severity
from chains.core.names import display
from chains.core.reads import read_chain_maps
from chains.storage.locks import in_use


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


def read_maps(path: str, root: str | None) -> tuple[Chain, list[ExtentMap]]:
    """Read a chain and what its layers hold; raises CommandError with the reason in one line."""
    top, name = located(path, root)
    chain = read_chain(top, name)
    for finding in chain.findings:
        if finding.severity is Severity.CRITICAL:
            hint = root_hint(finding, root)
            raise CommandError(
                f"{finding.code.value}: {display(finding.detail)}{hint}", returncode=1
            )
    try:
        return chain, read_tables(chain)
    except ReadError as error:
        text = f"{error.finding.code.value}: {display(str(error))}"
        raise CommandError(text, returncode=1) from None
    except (StrataError, OSError) as error:
        raise CommandError(display(str(error)), returncode=1) from None


def read_tables(chain: Chain) -> list[ExtentMap]:
    """Read what the layers of a safe chain hold, while a guest may write the active one.

    Raises ReadError, StrataError, OSError.
    """
    active = chain.layers[0].path
    written = active if in_use(os.path.join(chain.root, active)) else None
    return read_chain_maps(chain, written=written)


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
