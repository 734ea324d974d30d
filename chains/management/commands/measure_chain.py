"""Print what each layer of a chain is worth, and what each merge would copy. Needs neither database nor server."""

import json
from typing import Any

from chains.core.copies import copy_table
from chains.core.measure import measured
from chains.core.names import display, portable
from chains.core.reads import figures, resolve
from chains.core.units import binary
from chains.management.commands._chain import ChainCommand, read_maps


class Command(ChainCommand):
    """manage.py measure_chain PATH [--json] [--root DIR]."""

    help = (
        "Measure a chain: what each layer holds, answers and hides, and what each merge would copy."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        chain, maps = read_maps(options["path"], options["root"])
        found = figures(maps, resolve(maps))
        table = copy_table(maps)
        if options["json"]:
            paths = [portable(layer.path) for layer in chain.layers]
            self.stdout.write(json.dumps(measured(paths, found, table), indent=2))
            return
        row = "{:>12} {:>12} {:>12} {:>12}  {}".format
        self.stdout.write(row("holds", "answers", "shadowed", "L2 tables", "layer"))
        for layer, part in zip(chain.layers, found.layers, strict=True):
            sizes = (part.allocated + part.zeroed, part.answered, part.shadowed, part.l2_bytes)
            self.stdout.write(row(*map(binary, sizes), display(layer.path)))
        self.stdout.write(
            f"hops of a read: {found.mean_hops:.2f} on average, {found.max_hops} at most; "
            f"{binary(found.unanswered)} are held by no layer"
        )
        last = len(maps) - 1
        if last:
            self.stdout.write(
                f"all {len(maps)} layers into one: convert copies {binary(table.convert(last, 0))}, "
                f"commit {binary(table.commit(last, 0))}, rebase {binary(table.rebase(last, 0))}"
            )
