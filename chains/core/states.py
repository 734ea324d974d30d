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


class Verification(StrEnum):
    """How a merge is proven before anything is removed."""

    MOVED = "moved"  # the bytes that change their place, read from both sides
    CONTENT = "content"  # the same, and every guest's whole view, before and after
    NONE = "none"  # sizes and headers only


class Kept(StrEnum):
    """What has become of the old layers that a merge kept aside."""

    NOTHING = ""
    KEPT = "kept"
    UNDOING = "undoing"
    UNDONE = "undone"
    PURGING = "purging"
    PURGED = "purged"


STEPS = tuple(StepName)
UNDO = "undo"  # the strategy of a merge that takes another one back
# An undo moves no data.
UNDO_STEPS = (StepName.PREFLIGHT, StepName.SWITCH, StepName.REMOVE)
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
