"""Print which layer answers each block, as `qemu-img map` does. Needs neither database nor server."""

from itertools import islice
from typing import Any

from chains.core.names import display
from chains.core.reads import entries, json_lines, resolve
from chains.management.commands._chain import ChainCommand, read_maps

BATCH = 10_000  # a fragmented disk has a million lines


class Command(ChainCommand):
    """manage.py map_blocks PATH [--json] [--root DIR]."""

    help = "Map the guest's view of an image: start, length, depth (0 is the image itself), kind."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        chain, maps = read_maps(options["path"], options["root"])
        resolved = resolve(maps)
        if options["json"]:
            lines = json_lines(resolved)
            self.stdout.write("[" + next(lines, ""), ending="")
            while batch := list(islice(lines, BATCH)):
                self.stdout.write(",\n" + ",\n".join(batch), ending="")
            self.stdout.write("]")
            return
        for entry in entries(resolved):
            kind = "data" if entry["data"] else "zero" if entry["present"] else "nothing"
            where = display(chain.layers[entry["depth"]].path) if entry["present"] else "-"
            self.stdout.write(
                f"{entry['start']:>16} {entry['length']:>16} {entry['depth']:>4} {kind:<8} {where}"
            )
