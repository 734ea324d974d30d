"""Show what a merge would do, cost and remove."""

import argparse
import contextlib
import json
from typing import Any

from django.core.management.base import CommandError

from chains.core.costs import Strategy
from chains.core.errors import StrataError
from chains.core.names import display, portable
from chains.core.plans import Plan, PlanError
from chains.core.units import binary
from chains.management.commands._common import REFUSED, WRONG, MergeCommand
from chains.merges.services import read_maps_for
from chains.merges.situation import AUTO, plans_from_inventory


class Command(MergeCommand):
    """manage.py plan_merge DOMAIN BASE TOP [--json]."""

    help = "Plan the merge of BASE…TOP. Exit code 1 when it is refused, with the reasons."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """What to join."""
        super().add_arguments(parser)
        parser.add_argument("--strategy", choices=[AUTO, *Strategy], default=AUTO)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Plan it; block maps that are missing are read here and now."""
        base, top = self.volumes(options)
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
            others = {"recommended": found[0].strategy, "strategies": [facts(p) for p in found]}
            self.stdout.write(json.dumps(facts(plan) | others, indent=2))
        else:
            self.stdout.write("\n\n".join(text(p) for p in (found if wanted == AUTO else [plan])))
        if plan.refusals:
            raise CommandError(
                "refused: " + " ".join(r.text for r in plan.refusals), returncode=REFUSED
            )


def facts(plan: Plan) -> dict[str, Any]:
    """A plan for scripts; sizes in bytes."""
    found: dict[str, Any] = {}
    for name, value in plan.__dict__.items():
        if isinstance(value, tuple) and name != "refusals":
            found[name] = [portable(item) for item in value]
        else:
            found[name] = portable(value) if isinstance(value, str) else value
    found["base"], found["top"] = portable(plan.base), portable(plan.top)
    found["refusals"] = [{"code": r.code, "text": r.text} for r in plan.refusals]
    return found


def text(plan: Plan) -> str:
    """A plan for people."""

    def size(n: int | None) -> str:
        return "unknown" if n is None else binary(n)

    refused = f" (refused: {plan.refusals[0].text})" if plan.refusals else ""
    names = " ← ".join(display(path) for path in reversed(plan.layers))
    lines = [
        f"{plan.strategy}: {names} into one {plan.new_format} volume{refused}",
        f"copies {size(plan.bytes_to_copy)}, needs {size(plan.space_needed)} free of {size(plan.space_free)}",
        "removes " + (", ".join(display(path) for path in plan.removed) or "nothing"),
    ]
    if plan.overlays:
        lines.append("re-ties " + ", ".join(display(path) for path in plan.overlays))
    return "\n".join(lines)
