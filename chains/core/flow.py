"""How far the copy and the verification of a merge are, each by itself, told from the bytes of both.

A merge shows one count of bytes for both, and it never falls: a copy that begins again after a crash
goes on from what was shown, faster than the bytes really move. With what was shown when each step began
the true share of a step can be told, and that may fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chains.core.states import StepName, StepState


@dataclass(frozen=True)
class Flow:
    """Shares that are done, 0 to 1: of the copy, of the verification."""

    copy: float
    verify: float


def flow_of(
    states: Mapping[str, str], begun: Mapping[str, int], done: int, total: int, copied: int
) -> Flow:
    """The shares; `states` are those of the steps by name, `begun` the bytes shown when each began.

    `done` of `total` bytes are shown now; `copied` of those are the copy's. Never more than is known.
    """
    start = begun.get(StepName.COPY.value, 0)
    # What was left when the copy began is shared between it and the verification in true proportion.
    end = start + (total - start) * copied / total if total else start
    return Flow(
        _share(states.get(StepName.COPY.value, ""), done, start, end),
        _share(
            states.get(StepName.VERIFY.value, ""), done, begun.get(StepName.VERIFY.value, total), total
        ),
    )  # fmt: skip


def _share(state: str, done: int, start: float, end: float) -> float:
    if state == StepState.DONE:
        return 1.0
    if state not in {StepState.RUNNING, StepState.FAILED} or end <= start:
        return 0.0
    return min(1.0, max(0.0, (done - start) / (end - start)))
