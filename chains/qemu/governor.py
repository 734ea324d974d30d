"""Holding work to a number of bytes a second, where the tool has no such option.

`qemu-img commit` and `convert` take a rate themselves; `rebase` and `compare` do not. Their process group
is stopped whenever it is ahead of its allowance, and goes on when it has paid.
"""

import asyncio
import signal
import time
from collections.abc import Callable

from chains.qemu.command import Child

# What may be saved up while the work is slower than its rate.
SAVED_SECONDS = 0.25
# How long the tool runs between two looks: no longer than fast storage takes to move a tenth of a second's
# allowance, in bytes a second.
LEAST_RUN, LONGEST_RUN, BURST_SECONDS, FASTEST = 0.002, 0.05, 0.1, 1e9


class Allowance:
    """A token bucket: `rate` bytes a second."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._at = clock()
        self._tokens = 0.0
        self._spent = 0

    def debt(self, spent: int) -> float:
        """Seconds to pause, when so many bytes are spent altogether."""
        now = self._clock()
        self._tokens += self.rate * (now - self._at)
        self._tokens = min(self._tokens, self.rate * SAVED_SECONDS)
        self._tokens -= max(spent - self._spent, 0)
        self._at, self._spent = now, max(spent, self._spent)
        return max(0.0, -self._tokens / self.rate)


async def govern(child: Child, rate: int) -> None:
    """Hold a tool to `rate` bytes a second, read or written, whichever is more; until it ends.

    When this is cancelled the tool goes on, unheld.
    """
    allowance = Allowance(rate)
    run = min(max(rate * BURST_SECONDS / FASTEST, LEAST_RUN), LONGEST_RUN)
    try:
        while not child.ended and (io := child.io) is not None:
            pause = allowance.debt(max(io))
            if pause > 0:
                child.signal(signal.SIGSTOP)
                await asyncio.sleep(pause)
                child.signal(signal.SIGCONT)
            await asyncio.sleep(run)
    finally:
        child.signal(signal.SIGCONT)
