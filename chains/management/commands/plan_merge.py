"""Show what a merge would do, cost and remove."""

import argparse
import contextlib
import json
from typing import Any

from django.core.management.base import CommandError

from chains.core.advice import advice
from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.plans import Plan, PlanError
from chains.core.units import binary, span
from chains.inventory.selectors import chain_of
from chains.management.commands._common import REFUSED, WRONG, MergeCommand
from chains.merges import describe, estimates
from chains.merges.services import read_maps_for
from chains.merges.situation import AUTO, plans_from_inventory


class Command(MergeCommand):
    """manage.py plan_merge DOMAIN (BASE TOP | --disk NAME --scope S) [--json]."""

    help = "Plan the merge of BASE…TOP. Exit code 1 when it is refused, with the reasons."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to join."""
        super().add_arguments(parser)
        self.add_options(parser)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Plan it; block maps that are missing are read here and now."""
        base, top = self.volumes(options)
        how = self.options_of(options)
        # What can not be read is among the plan's refusals, with its reason.
        with contextlib.suppress(StrataError):
            read_maps_for(top)
        try:
            found = plans_from_inventory(base, top)
        except PlanError as error:
            raise CommandError(str(error), returncode=WRONG) from None
        wanted = options["strategy"]
        plan = next((plan for plan in found if plan.strategy == wanted), found[0])
        if options["json"]:
            chain = chain_of(top)
            self.stdout.write(json.dumps(describe.answer(found, chain, plan, how), indent=2))
        else:
            seconds = (estimates.seconds(p, how, top.domain) for p in found)
            told = [
                text(p, s)
                for p, s in zip(found, seconds, strict=True)
                if wanted == AUTO or p is plan
            ]
            self.stdout.write("\n\n".join([*told, advice(found)]))
        if plan.refusals:
            raise CommandError(
                "refused: " + " ".join(r.text for r in plan.refusals), returncode=REFUSED
            )


def text(plan: Plan, seconds: float | None) -> str:
    """A plan for people."""

    def size(n: int | None) -> str:
        return "unknown" if n is None else binary(n)

    refused = f" (refused: {plan.refusals[0].text})" if plan.refusals else ""
    names = " ← ".join(display(path) for path in reversed(plan.layers))
    lines = [
        f"{plan.strategy}: {names} into one {plan.new_format} volume{refused}",
        f"copies {size(plan.bytes_to_copy)}, needs {size(plan.space_needed)} free of {size(plan.space_free)}"
        + (f", takes about {seconds:.0f} s" if seconds is not None else ""),
        "removes " + (", ".join(display(path) for path in plan.removed) or "nothing"),
    ]
    if plan.keep_seconds:
        lines.append(
            f"keeps the old layers aside for {span(plan.keep_seconds)}: undo_merge takes it back"
        )
    if plan.overlays:
        lines.append("re-ties " + ", ".join(display(path) for path in plan.overlays))
    return "\n".join(lines)
