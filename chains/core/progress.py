"""From bytes done to percent, throughput and time left; takes its clock, so that tests own time.

A merge goes through phases that have speeds of their own: copying, flushing what the tool left in the
cache, verifying. Each has a weight, the seconds that it is expected to take. The percent is the share of
the weights that is done. What is left of the present phase comes from its own measured speed, later ones
from their weights and how the measured time compares with the weights so far.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from chains.core.costs import Strategy
from chains.core.plans import Plan

# The speed of a phase is taken over its last seconds, or this share of the time that it has run.
WINDOW_SECONDS, WINDOW_SHARE = 8.0, 0.25
MARKS = 64  # a window holds so many readings at most
# What was done in less time says little of a speed.
LEAST_SECONDS = 0.5
# A phase that has just begun counts as if it had gone for so long as expected; less and less of it.
EXPECTED_SECONDS = 1.0


# Bytes a second, and how long a byte takes to verify against a byte to copy: measured where all lay on one
# disk. Only how they compare matters.
GUESSED_SPEED = 500e6
VERIFY_EFFORT = {Strategy.COMMIT: 0.45, Strategy.REBASE: 0.3, Strategy.CONVERT: 0.35}
# The part of a copy that is its flush (a convert leaves all of it to us, the others flush themselves), and
# the seconds until all is switched and deleted.
SETTLE_SHARE = {Strategy.COMMIT: 0.03, Strategy.REBASE: 0.03, Strategy.CONVERT: 0.18}
FINISH_SECONDS = 0.3


class PhaseName(StrEnum):
    """What a merge spends its time on."""

    COPY = "copy"
    SETTLE = "settle"  # what was copied goes from the cache to storage
    VERIFY = "verify"
    FINISH = "finish"  # overlays are switched, old layers go


@dataclass(frozen=True)
class Phase:
    """A stretch of a merge with a speed of its own.

    `total` is where its measure ends, in bytes; 0 is a phase that nobody can watch, which goes by the
    clock. `shown` are the bytes that its end adds to what people read as done. `seconds` is what it is
    expected to take: of a guess, only how it compares with the other phases matters.
    """

    name: PhaseName
    total: int
    shown: int
    seconds: float


@dataclass(frozen=True)
class Progress:
    """A reading of the meter: bytes, 0–100, bytes a second, seconds; None is «not known yet»."""

    done: int
    total: int
    percent: float
    throughput: float | None
    seconds_left: float | None


class Meter:
    """Measures one merge; its percent and bytes never run backwards.

    `seen` are the percent and the bytes that people have read of it already: a merge that begins again
    goes on from there. `trusted` says that the phases' seconds were measured, and are no mere guess.
    """

    def __init__(
        self, phases: Sequence[Phase], clock: Callable[[], float], *,
        trusted: bool = False, seen: tuple[float, int] = (0.0, 0),
    ) -> None:  # fmt: skip
        self._phases = [phase for phase in phases if phase.seconds > 0]
        self._clock = clock
        self._trusted = trusted
        self._seen = seen
        self._at = -1
        self._fraction = 0.0

    @property
    def total(self) -> int:
        """The bytes that people read as the whole."""
        return sum(phase.shown for phase in self._phases)

    def enter(self, name: PhaseName, total: int | None = None) -> None:
        """Begin a phase, when it is not begun yet; `total` is known better now than in the plan."""
        index = next((n for n, phase in enumerate(self._phases) if phase.name == name), -1)
        if index <= self._at:
            return
        if total:
            self._phases[index] = replace(self._phases[index], total=total)
        if self._at < 0:
            # One that goes on after a crash has not measured what came before.
            self._skipped, self._began = self._weight(index), self._clock()
            self._begin(index)
            self._first = (100 * self._share(), self._bytes())
        else:
            self._begin(index)

    def _begin(self, index: int) -> None:
        self._at, self._fraction = index, 0.0
        self._phase_began = self._clock()
        self._marks = deque([(self._phase_began, 0.0)])

    def update(self, done: int = 0) -> Progress:
        """Take the bytes that the present phase has done so far; one by the clock asks for none."""
        if self._at < 0:
            return Progress(self._seen[1], self.total, self._seen[0], None, None)
        phase = self._phases[self._at]
        if phase.total:
            self._fraction = max(self._fraction, min(done / phase.total, 1.0))
            following = self._phases[self._at + 1 : self._at + 2]
            if self._fraction == 1.0 and any(not phase.total for phase in following):
                self._begin(self._at + 1)  # the tool has written all, and flushes now
        now = self._clock()
        if not self._phases[self._at].total:
            self._fraction = 1 - math.exp(-(now - self._phase_began) / self._expected(now))
        self._mark(now)
        return self._reading(now)

    def _reading(self, now: float) -> Progress:
        phase, speed, pace = self._phases[self._at], self._speed(now), self._pace(now)
        left: float | None = None
        if pace:
            later = self._weight() - self._weight(self._at + 1)
            left = self._left_here(now) + later * pace
        # Only the end of the merge says 100.
        percent = min(_onward(self._seen[0], 100.0, self._first[0], 100 * self._share()), 99.9)
        done = _onward(self._seen[1], self.total, self._first[1], self._bytes())
        throughput = speed * phase.shown if speed and phase.total else None
        return Progress(int(done), self.total, max(percent, self._seen[0]), throughput, left)

    def _left_here(self, now: float) -> float:
        expected, since = self._expected(now), now - self._phase_began
        if not self._phases[self._at].total:
            # Who is late stays late: a tenth of the time taken is as good a guess as any.
            return max(expected - since, since / 10)
        elapsed, gained = self._lately(now)
        believed = EXPECTED_SECONDS / (1 + since)
        return (1 - self._fraction) * (elapsed + believed) / (gained + believed / expected)

    def _expected(self, now: float) -> float:
        """Seconds that the present phase takes, by what is measured so far."""
        return self._phases[self._at].seconds * (self._pace(now) or 1.0)

    def _pace(self, now: float) -> float | None:
        """Seconds measured for each second expected; None while nothing is known of it."""
        phase = self._phases[self._at]
        done, elapsed = self._weight(self._at) - self._skipped, self._phase_began - self._began
        if phase.total:
            done, elapsed = done + self._fraction * phase.seconds, now - self._began
        if done > 0 and elapsed >= LEAST_SECONDS:
            return elapsed / done
        return 1.0 if self._trusted else None

    def _weight(self, count: int | None = None) -> float:
        """The weights of so many phases, or of all."""
        return sum(phase.seconds for phase in self._phases[:count])

    def _share(self) -> float:
        done = self._weight(self._at) + self._fraction * self._phases[self._at].seconds
        return done / self._weight()

    def _bytes(self) -> float:
        before = sum(phase.shown for phase in self._phases[: self._at])
        return before + self._fraction * self._phases[self._at].shown

    def _mark(self, now: float) -> None:
        window = max(WINDOW_SECONDS, WINDOW_SHARE * (now - self._phase_began))
        if now - self._marks[-1][0] >= window / MARKS:
            self._marks.append((now, self._fraction))
        while len(self._marks) > 2 and now - self._marks[1][0] > window:
            self._marks.popleft()

    def _lately(self, now: float) -> tuple[float, float]:
        """Seconds of the window, and the part of the phase that was done in them."""
        began, before = self._marks[0]
        return now - began, self._fraction - before

    def _speed(self, now: float) -> float | None:
        """Parts of the phase a second, of late."""
        elapsed, gained = self._lately(now)
        return gained / elapsed if elapsed >= LEAST_SECONDS else None


def _onward(seen: float, whole: float, first: float, now: float) -> float:
    """Where a way stands that went from `seen` to the whole while the true one goes from `first` to it."""
    if first >= whole or seen >= whole:
        return seen
    return seen + (whole - seen) * (now - first) / (whole - first)


def of_merge(
    plan: Plan, clock: Callable[[], float], *, verified: bool, rate: int | None = None,
    expected: Mapping[str, float] | None = None, seen: tuple[float, int] = (0.0, 0),
) -> Meter:  # fmt: skip
    """The meter of a merge by this plan, held to `rate` bytes a second.

    `expected` are the seconds of its copy, flush included, and of its verification; without it they are
    guessed. `seen` as of `Meter`.
    """
    copied, written = plan.bytes_to_copy or 0, max(plan.bytes_written or 0, 1)
    guess = _guess(plan, rate)
    copying, verifying = (
        (expected or guess)[name.value] for name in (PhaseName.COPY, PhaseName.VERIFY)
    )
    flush = SETTLE_SHARE[Strategy(plan.strategy)]
    phases = [
        Phase(PhaseName.COPY, written, copied, copying * (1 - flush)),
        Phase(PhaseName.SETTLE, 0, 0, copying * flush),
    ]
    if verified:
        phases.append(Phase(PhaseName.VERIFY, copied, copied, verifying))
    phases.append(Phase(PhaseName.FINISH, 0, 0, FINISH_SECONDS))
    return Meter(phases, clock, trusted=expected is not None, seen=seen)


def _guess(plan: Plan, rate: int | None) -> dict[str, float]:
    copied, written = plan.bytes_to_copy or 0, max(plan.bytes_written or 0, 1)
    copying = written / GUESSED_SPEED
    verifying = VERIFY_EFFORT[Strategy(plan.strategy)] * copied / GUESSED_SPEED
    if rate:
        copying = max(copying, max(plan.bytes_read or 0, written) / rate)
        verifying = max(verifying, 2 * copied / rate)
    return {PhaseName.COPY.value: copying, PhaseName.VERIFY.value: verifying}


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
