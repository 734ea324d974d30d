"""How long a merge will take: from what the domain's merges before it did. Nothing is guessed.

Copying and proving have speeds of their own, by strategy: bytes read and written a second. The medians
of the last merges of a domain are taken; where it has none of this strategy, those of all strategies.
"""

from collections.abc import Callable
from functools import cache, partial
from statistics import median

from chains.core.plans import Plan
from chains.core.states import MergeState, StepName, Verification
from chains.merges import outcome
from chains.merges.options import Options
from chains.models import Merge, StorageDomain

# Bytes a second of copying and of comparing by a strategy (None: by any); None where nothing is known.
Speeds = Callable[[str | None], tuple[float, float] | None]

LAST = 12
# What is smaller says more of the time that a process takes to start than of the storage.
LEAST_BYTES = 8 * 1024**2
LEAST_SECONDS = 0.05


def remembered(domain: StorageDomain) -> Speeds:
    """What the domain's merges did, looked up once a strategy: for the plans of many disks."""
    return cache(partial(_speeds, domain))


def seconds(
    plan: Plan, options: Options, domain: StorageDomain, speeds: Speeds | None = None
) -> float | None:
    """Seconds that the plan takes, rate limit included; None while nothing is known of the domain."""
    parts = phases(plan, options, domain, speeds)
    return None if parts is None else sum(parts.values())


def phases(
    plan: Plan, options: Options, domain: StorageDomain, speeds: Speeds | None = None
) -> dict[str, float] | None:
    """The same by step: copy and verify."""
    of = speeds or partial(_speeds, domain)
    known = of(plan.strategy) or of(None)
    if known is None or plan.bytes_to_copy is None:
        return None
    rate = options.rate_in(domain)
    compared = 0 if options.verification is Verification.NONE else outcome.compared(plan)
    found = {
        StepName.COPY.value: outcome.copied(plan) / known[0],
        StepName.VERIFY.value: compared / known[1],
    }
    if rate:
        slow = {
            StepName.COPY.value: max(plan.bytes_read or 0, plan.bytes_written or 0),
            StepName.VERIFY.value: compared,
        }
        found = {name: max(taken, slow[name] / rate) for name, taken in found.items()}
    return found


def _speeds(domain: StorageDomain, strategy: str | None) -> tuple[float, float] | None:
    """Bytes a second of copying and of comparing."""
    rows = domain.merges.filter(
        state=MergeState.SUCCEEDED.value, undoes=None, rate=None, actual__has_key="seconds"
    )
    if strategy is not None:
        rows = rows.filter(strategy=strategy)
    last = list(rows.order_by("-pk")[:LAST])
    copying = [found for row in last if (found := _speed(row, StepName.COPY))]
    comparing = [found for row in last if (found := _speed(row, StepName.VERIFY))]
    return (median(copying), median(comparing)) if copying and comparing else None


def _speed(row: Merge, step: StepName) -> float | None:
    taken = row.actual["seconds"].get(step.value, 0)
    moved = row.actual.get("moved", {}).get(step.value, 0)
    return moved / taken if moved >= LEAST_BYTES and taken >= LEAST_SECONDS else None
