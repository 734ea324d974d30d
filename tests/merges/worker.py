"""A worker of one merge, to be killed: python -m tests.merges.worker PK [STEP early|late].

It says `ready` before it begins. With a step it kills itself there, as kill -9 would: at the step's
begin, or when its work is done and not yet recorded.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable


def dying(real: Callable[..., object], moment: str) -> Callable[..., object]:
    """The step, with its death in it."""

    async def step(work: object, row: object) -> None:
        if moment == "late":
            await real(work, row)  # type: ignore[misc]
        os.kill(os.getpid(), signal.SIGKILL)

    return step


def main() -> None:
    """Carry the merge out."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    import django

    django.setup()
    from chains.core.states import StepName
    from chains.merges import runner, steps, undo

    pk, *death = sys.argv[1:]
    if death:
        name, moment = StepName(death[0]), death[1]
        for run in (steps.RUN, undo.RUN):
            if name in run:
                run[name] = dying(run[name], moment)  # type: ignore[assignment]
    print("ready", flush=True)  # noqa: T201  whoever starts this waits for it
    asyncio.run(runner.run(int(pk)))


if __name__ == "__main__":
    main()
