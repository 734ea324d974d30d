"""States of a merge and of its steps, and the transitions that are legal."""

from enum import StrEnum


class MergeState(StrEnum):
    """Where a merge stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    FAILED = "failed"  # ended; every guest reads as before
    ATTENTION = "attention"  # stopped half-way: every guest reads right, a person must act


class StepState(StrEnum):
    """Where one step of a merge stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class StepName(StrEnum):
    """The steps of every merge, in their order."""

    PREFLIGHT = "preflight"
    COPY = "copy"
    VERIFY = "verify"
    SWITCH = "switch"
    REMOVE = "remove"


STEPS = tuple(StepName)
UNFINISHED = frozenset({MergeState.QUEUED, MergeState.RUNNING, MergeState.ATTENTION})
# Once a step of these has begun, going on is safer than going back.
PAST_RETURN = frozenset({StepName.SWITCH, StepName.REMOVE})

LEGAL: dict[MergeState, frozenset[MergeState]] = {
    MergeState.QUEUED: frozenset({MergeState.RUNNING, MergeState.CANCELLED, MergeState.FAILED}),
    MergeState.RUNNING: frozenset(
        {MergeState.SUCCEEDED, MergeState.CANCELLED, MergeState.FAILED, MergeState.ATTENTION}
    ),
    MergeState.ATTENTION: frozenset({MergeState.RUNNING}),
    MergeState.SUCCEEDED: frozenset(),
    MergeState.CANCELLED: frozenset(),
    MergeState.FAILED: frozenset(),
}


def may_go(before: MergeState, after: MergeState) -> bool:
    """Whether the transition is legal; staying where one is always is."""
    return before == after or after in LEGAL[before]
