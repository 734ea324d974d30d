"""Show a chain and what is wrong with it. Needs neither database nor server."""

import json
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError

from chains.core.chain import read_chain
from chains.core.errors import ReadError, StrataError
from chains.core.facts import header_facts, notable
from chains.core.findings import Severity
from chains.core.layer import Layer
from chains.core.links import Chain
from chains.core.names import display, portable
from chains.core.units import binary
from chains.management.commands._chain import ChainCommand, located, read_tables, root_hint


class Command(ChainCommand):
    """manage.py show_chain PATH [--json] [--root DIR]."""

    help = (
        "Show the chain of an image, active layer first. Exit code 1 when it is unsafe or broken."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        root, path = located(options["path"], options["root"])
        chain = read_chain(root, path, tables=True)
        if chain.is_safe:
            chain = _with_tables(chain)
        if options["json"]:
            self.stdout.write(json.dumps(self._facts(chain), indent=2))
        else:
            for layer in chain.layers:
                self.stdout.write(_line(layer))
            for finding in chain.findings:
                self.stdout.write(
                    f"{finding.severity.value}: {finding.code.value}: {display(finding.path)}: {display(finding.detail)}"
                )
                if hint := root_hint(finding, options["root"]):
                    self.stdout.write(hint.strip())
        worst = next((f for f in chain.findings if f.severity is Severity.CRITICAL), None)
        if worst is not None:
            where = f"{display(worst.path)}: " if worst.path else ""
            text = f"{worst.code.value}: {where}{display(worst.detail)}"
            raise CommandError(text + root_hint(worst, options["root"]), returncode=1)

    @staticmethod
    def _facts(chain: Chain) -> dict[str, Any]:
        return {
            "layers": [
                {
                    "path": portable(layer.path), "format": layer.format,
                    "virtual_size": layer.virtual_size, "file_size": layer.file_size,
                    "on_disk": layer.on_disk, "cluster_size": layer.cluster_size,
                    "backing_file": _portable(layer.backing_file),
                    "backing_format": _portable(layer.backing_format),
                    "backing_path": _portable(layer.backing_path), **header_facts(layer),
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


def _with_tables(chain: Chain) -> Chain:
    """The chain with what its L1 and L2 tables have against it."""
    try:
        read_tables(chain)
    except ReadError as error:
        return replace(chain, findings=(*chain.findings, error.finding))
    except (StrataError, OSError):
        pass  # too fragmented to be mapped, or gone by now: the headers say what there is
    return chain


def _line(layer: Layer) -> str:
    facts = [
        f"{display(layer.path)}  {layer.format}  {binary(layer.virtual_size)} virtual",
        f"{binary(layer.on_disk)} on disk",
        *(notable(layer.header) if layer.header else ()),
    ]
    backing = f" ← {display(layer.backing_file)}" if layer.backing_file is not None else ""
    return ", ".join(facts) + backing


def _portable(name: str | None) -> str | None:
    return None if name is None else portable(name)
