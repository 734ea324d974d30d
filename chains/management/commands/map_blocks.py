"""Print which layer answers each block, as `qemu-img map` does. Needs neither database nor server."""

import json
from typing import Any

from django.core.management.base import CommandError

from chains.core.chain import read_chain
from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.reads import entries, read_chain_maps, resolve
from chains.management.commands._chain import ChainCommand, located, root_hint


class Command(ChainCommand):
    """manage.py map_blocks PATH [--json] [--root DIR]."""

    help = "Map the guest's view of an image: start, length, depth (0 is the image itself), kind."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        root, path = located(options["path"], options["root"])
        chain = read_chain(root, path)
        for finding in chain.findings:
            if finding.severity.value == "critical":
                hint = root_hint(finding, options["root"])
                raise CommandError(
                    f"{finding.code.value}: {display(finding.detail)}{hint}", returncode=1
                )
        try:
            resolved = resolve(read_chain_maps(chain))
        except StrataError as error:
            raise CommandError(display(str(error)), returncode=1) from None
        if options["json"]:
            lines = (json.dumps(entry) for entry in entries(resolved))
            first = next(lines, "")
            self.stdout.write("[" + first, ending="")
            for line in lines:
                self.stdout.write(",\n" + line, ending="")
            self.stdout.write("]")
            return
        for entry in entries(resolved):
            kind = "data" if entry["data"] else "zero" if entry["present"] else "nothing"
            where = display(chain.layers[entry["depth"]].path) if entry["present"] else "-"
            self.stdout.write(
                f"{entry['start']:>16} {entry['length']:>16} {entry['depth']:>4} {kind:<8} {where}"
            )
