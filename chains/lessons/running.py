"""Running a step of the lesson in a worker.

What may end it at any line, and what then happens:

- the tool fails, or is not there, or the file system is full: the lesson has failed, with what the tool
  said. The step can be run again.
- the worker is killed: its tool dies with it, and nothing is known of the files (`Lesson.files` was emptied
  when the step began). Another worker notices (keeping.py) and says so; the step can be run again.
- somebody wrote into the sandbox since the last step: the lesson says where, and runs nothing on it.

Whenever nothing is known of the files, the next run clears the sandbox and runs the steps before anew, which
takes a second or two: they are the same each time.
"""

import contextlib
import os
import time
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings

from chains.core.errors import StrataError
from chains.core.names import display
from chains.lessons import journal
from chains.lessons.looking import look
from chains.lessons.sandbox import ChangedError, Sandbox, SandboxError
from chains.lessons.steps import LAST, STEPS, Step, step_of
from chains.merges.threads import aside, db
from chains.models import Lesson, LessonState, StorageDomain
from chains.qemu.command import MIB, CommandError, Limits, Result, clean, shown
from chains.qemu.command import run as run_tool

OWN_ERROR = "Strata met an error of its own; the worker's log has it."
TOOL_SECONDS = 60.0
OUTPUT_KEPT = 16 * 1024
LIMITS = Limits(address_space=4096 * MIB, cpu_seconds=60)
running: Counter[int] = Counter()  # the lessons that this process runs now

Run = dict[str, Any]


class StepError(StrataError):
    """A command of the step has failed; `runs` are those up to it."""

    def __init__(self, text: str, runs: list[Run]) -> None:
        super().__init__(text)
        self.runs = runs


async def run(pk: int) -> None:
    """Run what was asked for of a lesson; its failure is its state."""
    running[pk] += 1  # before the row says so, or another thread would take it for an orphan
    try:
        lesson = await db(journal.claim, pk)
        if lesson is not None:
            await _carry_out(lesson)
    finally:
        running[pk] -= 1


async def _carry_out(lesson: Lesson) -> None:
    try:
        root = str(settings.LESSON_DIR)
        await db(_check_place, root, lesson.storage_host)
        with contextlib.ExitStack() as held:
            sandbox = await aside(held.enter_context, Sandbox.opened(root, str(lesson.pk)))
            done = await _perform(lesson, sandbox)
        await db(journal.succeed, lesson, *done)
    except StepError as error:
        await db(journal.fail, lesson, str(error), error.runs)
    except ChangedError as error:
        await db(journal.end, lesson, LessonState.CHANGED, str(error))
    except (StrataError, OSError) as error:
        await db(journal.end, lesson, LessonState.FAILED, str(error))
    except Exception:
        await db(journal.end, lesson, LessonState.FAILED, OWN_ERROR)
        raise


async def _perform(
    lesson: Lesson, sandbox: Sandbox
) -> tuple[list[Run], dict[str, Any], dict[str, str]]:
    """Bring the sandbox to where the step begins, run it, look at it; returns what the commands did,
    what was seen then, and the files that are left.
    """
    if lesson.step == 0:
        await aside(_leave, sandbox)
        return [], {}, {}
    await aside(sandbox.check_room)
    if lesson.files:
        await aside(sandbox.check, lesson.files)
    else:
        await aside(sandbox.remove)
        for step in STEPS[: lesson.step - 1]:
            await _run_all(step, sandbox)
    step = step_of(lesson.step)
    runs = await _run_all(step, sandbox)
    seen = await aside(look, sandbox.path, step)
    if step.number == LAST:
        # What the last step has shown is kept; the files are of no more use.
        await aside(_leave, sandbox)
        return runs, seen, {}
    return runs, seen, await aside(sandbox.fingerprints)


def _leave(sandbox: Sandbox) -> None:
    """Remove the sandbox, and all that the lesson has made in it."""
    sandbox.remove()
    with contextlib.suppress(OSError):  # something of somebody else's is in it
        os.rmdir(sandbox.path)


async def _run_all(step: Step, sandbox: Sandbox) -> list[Run]:
    """Run the commands of a step, one after the other; raises StepError at the first that fails."""
    runs: list[Run] = []
    for argv in step.commands:
        begun = time.monotonic()
        try:
            result = await run_tool(
                argv, cwd=sandbox.cwd, timeout=TOOL_SECONDS, limits=LIMITS, output_cap=OUTPUT_KEPT
            )
        except CommandError as error:
            runs.append(_told(argv, None, begun, str(error)))
            raise StepError(f"{error}.", runs) from error
        runs.append(_told(argv, result, begun))
        if result.returncode != 0:
            raise StepError(_why(argv[0], result), runs)
    return runs


def _told(argv: Any, result: Result | None, begun: float, said: str = "") -> Run:
    return {
        "command": shown(argv),
        "stdout": clean(result.stdout) if result else "",
        "stderr": result.warnings if result else said,
        "code": result.returncode if result else None,
        "seconds": round(time.monotonic() - begun, 3),
    }


def _why(name: str, result: Result) -> str:
    said = f"{result.warnings}\n{clean(result.stdout)}"
    if "No space left" in said:
        return (
            f"{name} found no space left where the sandbox is: free some, and run the step again."
        )
    return f"{name} ended with exit code {result.returncode}; what it said stands below it."


def _check_place(root: str, storage_host: str) -> None:
    """Raises SandboxError where the sandbox is part of a storage domain, or holds one."""
    place = PurePosixPath(os.path.realpath(root))
    for name, path in StorageDomain.objects.filter(storage_host=storage_host).values_list(
        "name", "path"
    ):
        domain = PurePosixPath(os.path.normpath(path))
        if place.is_relative_to(domain) or domain.is_relative_to(place):
            raise SandboxError(
                f"The sandbox, {display(str(place))}, lies in the storage domain {display(name)} or around"
                " it, and would be taken for its volumes: name another directory by STRATA_LESSON_DIR."
            )
