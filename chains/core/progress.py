"""From bytes done to percent, throughput and time left; takes its clock, so that tests own time."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 8.0


@dataclass(frozen=True)
class Progress:
    """A reading of the meter: bytes, 0–100, bytes a second, seconds; None is «not known yet»."""

    done: int
    total: int
    percent: float
    throughput: float | None
    seconds_left: float | None


class Meter:
    """Measures one piece of work of `total` bytes; its percent never runs backwards."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self._total = max(total, 1)
        self._clock = clock
        self._done = 0
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])

    def update(self, done: int) -> Progress:
        """Take the bytes done so far; more than the total counts as just short of all."""
        self._done = max(self._done, min(done, self._total))
        now = self._clock()
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW_SECONDS:
            self._marks.popleft()
        began, before = self._marks[0]
        elapsed = now - began
        rate = (self._done - before) / elapsed if elapsed > 0.2 else None
        left = (self._total - self._done) / rate if rate else None
        # Only the end of the step says 100: a tool that still flushes is not done.
        percent = min(100.0 * self._done / self._total, 99.9)
        return Progress(self._done, self._total, percent, rate, left)


class Throttle:
    """Says yes at most `rate` times a second."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._gap = 1.0 / rate
        self._clock = clock
        self._last = float("-inf")

    def ready(self) -> bool:
        """Whether enough time has passed since the last yes."""
        now = self._clock()
        if now - self._last < self._gap:
            return False
        self._last = now
        return True
