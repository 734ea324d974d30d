"""What a plan says of itself, for pages, API and commands alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chains.core.advice import advice, broken_off
from chains.core.names import portable
from chains.core.plans import Plan
from chains.merges import estimates
from chains.merges.options import DEFAULT, Options
from chains.merges.work import commands
from chains.models import Volume
from chains.qemu.command import shown

# What the plans of merges to come have for a number.
N = "N"


@dataclass(frozen=True)
class Space:
    """Bytes on disk of the layers that a merge joins: before, at its peak, at its end, after the purge."""

    before: int
    peak: int
    end: int
    after: int

    @classmethod
    def of(cls, plan: Plan, volumes: Sequence[Volume]) -> "Space | None":
        """None while the costs are not known."""
        if plan.space_needed is None or plan.space_won is None:
            return None
        before = sum(volume.on_disk for volume in volumes if volume.path in plan.layers)
        peak, after = before + plan.space_needed, before - plan.space_won
        return cls(before, peak, peak if plan.keep_seconds else after, after)


def steps(
    plan: Plan, volumes: Sequence[Volume], options: Options = DEFAULT
) -> dict[str, list[list[str]]]:
    """The exact commands of each step; N stands for the merge's number."""
    formats = {volume.path: volume.format for volume in volumes}
    domain = volumes[0].domain
    found = commands(domain.path, plan, N, formats, options.rate_in(domain)).of_steps()
    return {name.value: argvs for name, argvs in found.items()}


def facts(plan: Plan, volumes: Sequence[Volume], options: Options = DEFAULT) -> dict[str, Any]:
    """A plan for scripts: sizes in bytes, times in seconds; `volumes` are the chain, top first."""
    found: dict[str, Any] = {}
    for name, value in plan.__dict__.items():
        if isinstance(value, tuple) and name != "refusals":
            found[name] = [portable(item) for item in value]
        else:
            found[name] = portable(value) if isinstance(value, str) else value
    space = Space.of(plan, volumes)
    return found | {
        "base": portable(plan.base), "top": portable(plan.top),
        "joined": portable(plan.new_path(N)), "seconds": estimates.seconds(plan, options, volumes[0].domain),
        "space": space.__dict__ if space else None, "broken_off": broken_off(plan),
        "commands": [
            {"step": step, "argv": [portable(part) for part in argv], "shell": shown(argv)}
            for step, argvs in steps(plan, volumes, options).items()
            for argv in argvs
        ],
        "refusals": [{"code": r.code, "text": r.text} for r in plan.refusals],
    }  # fmt: skip


def answer(
    found: Sequence[Plan], volumes: Sequence[Volume], chosen: Plan, options: Options = DEFAULT
) -> Mapping[str, Any]:
    """The chosen plan, and every way beside it, the recommended one first, and why."""
    ways = [facts(plan, volumes, options) for plan in found]
    own = ways[found.index(chosen)]
    return own | {
        "recommended": found[0].strategy, "advice": advice(found), "strategies": ways,
    }  # fmt: skip
