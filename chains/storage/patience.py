"""Waiting for a service that may never answer."""

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar, cast

from chains.core.errors import StrataError

Result = TypeVar("Result")
TICK = 1.0  # seconds between two signs of life


class NoAnswerError(StrataError):
    """A service did not answer; the text says who, and for how long it was waited for."""


def within(
    seconds: float, name: str, work: Callable[[], Result], alive: Callable[[], None]
) -> Result:
    """Do the work in a thread that is left behind when it takes longer; what it raises is raised.

    `name` is who is waited for; `alive` is called meanwhile, and may raise to stop waiting. Raises
    NoAnswerError when there is none in time.
    """
    answer: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put((work(), None))
        except BaseException as error:
            answer.put((None, error))

    # It can not be stopped, and must not keep the process from ending.
    threading.Thread(target=run, name=name, daemon=True).start()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        alive()
        try:
            found, error = answer.get(timeout=min(TICK, left))
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return cast("Result", found)
    raise NoAnswerError(f"{name} gave no answer within {seconds:.0f} seconds.")
