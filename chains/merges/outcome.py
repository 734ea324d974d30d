"""What a merge did, beside what its plan said: kept in its row, shown on its page, and learnt from.

All in bytes and seconds: `read` and `written` are what the tools read and wrote by their system calls,
whole, `grown` what the written volume takes more on disk; `moved` and `seconds` are by step what the
estimates go by. `again` says that a step began anew after a crash: the figures are of its last run.
"""

import os
import time
from collections.abc import Sequence

from chains.core.plans import Plan
from chains.core.states import StepName
from chains.merges import journal
from chains.merges.work import Work
from chains.models import MergeStep
from chains.qemu.command import Io


class Account:
    """Takes the time and the measures of one copy."""

    def __init__(self, work: Work, step: MergeStep) -> None:
        self._work, self._again = work, bool(step.command)
        self._began = time.monotonic()
        self._before = self._on_disk()

    def _on_disk(self) -> int:
        path = (
            self._work.temporary
            if self._work.written is None
            else self._work.at(self._work.written)
        )
        try:
            return os.lstat(path).st_blocks * 512
        except FileNotFoundError:
            return 0

    def close(self, ios: Sequence[Io | None]) -> None:
        """Keep it: what each tool read and wrote."""
        known = [io for io in ios if io is not None]
        journal.note_actual(
            self._work.pk, StepName.COPY, time.monotonic() - self._began, copied(self._work.plan),
            read=sum(io.read for io in known), written=sum(io.written for io in known),
            grown=self._on_disk() - self._before, again=self._again,
        )  # fmt: skip


def copied(plan: Plan) -> int:
    """What the estimates take for the work of a copy."""
    return (plan.bytes_read or 0) + (plan.bytes_written or 0)


def compared(plan: Plan) -> int:
    """The same for its proof: what is moved is read on both sides."""
    return 2 * (plan.bytes_to_copy or 0)
