"""Runs the processes of one Strata: starts them, also again when they die, and stops them all."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

PR_SET_PDEATHSIG = 1
TICK = 0.2
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 30.0  # a child that ran so long begins again without a pause
KILL_SECONDS = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the child this signal when its parent dies, however it dies.

    Only for parents that start children from their main thread: the signal follows the thread.
    """
    parent = os.getpid()

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return prepare


def spawn(
    argv: Sequence[str], environment: dict[str, str], *, quiet: bool = False
) -> "subprocess.Popen[bytes]":
    """A child in a session of its own: Ctrl-C reaches the parent alone, which stops it in order."""
    return subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=subprocess.DEVNULL if quiet else None,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - from the main thread only
    )


def stop(process: "subprocess.Popen[bytes]", grace: float) -> bool:
    """Asks it to end; after so many seconds kills it and all that it started. True if it obeyed."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    else:
        return True
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)
    return False


class Child:
    """One process that has to run; started again after a pause that grows while it keeps dying."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: dict[str, str], *, grace: float
    ) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self._argv = argv
        self._environment = environment
        self._grace = grace
        self._started = 0.0
        self._next_start = 0.0
        self._pause = SHORTEST_PAUSE

    def tend(self, now: float) -> str:
        """Starts it if it does not run and its pause is over; returns what there is to say."""
        if self.process is None:
            if now >= self._next_start:
                self.process = spawn(self._argv, self._environment)
                self._started = now
            return ""
        code = self.process.poll()
        if code is None:
            return ""
        self.process = None
        self.deaths += 1
        if now - self._started >= STEADY_SECONDS:
            self._pause = SHORTEST_PAUSE
        self._next_start = now + self._pause
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the {self.name} process {how}; it starts again in {pause:.1f} s"

    def stop(self) -> str:
        """Ends it; returns what to say about it, if anything."""
        if self.process is None:
            return ""
        in_time = stop(self.process, self._grace)
        self.process = None
        return "" if in_time else f"the {self.name} process did not end in time and was killed"


class Watch:
    """A check that is repeated; the same complaint is made once."""

    def __init__(self, check: Callable[[], None], every: float) -> None:
        self._check = check
        self._every = every
        self._next = 0.0
        self._told = ""

    def tend(self, now: float) -> str:
        """Runs the check when its time has come; returns what there is to say."""
        if now < self._next:
            return ""
        self._next = now + self._every
        try:
            self._check()
        except Exception as error:
            told, self._told = self._told, str(error)
            return "" if told == self._told else self._told
        self._told = ""
        return ""


class Supervisor:
    """Tends its children until a signal says stop; then stops them, the last one started first."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._children: list[Child] = []
        self._previous: dict[int, object] = {}
        self._watches: list[Watch] = []
        self.stopping = False

    def add(self, child: Child) -> None:
        """A child to be started at the next tick."""
        self._children.append(child)

    def watch(self, check: Callable[[], None], *, every: float) -> None:
        """Something to be called now and then; what it raises is told, and it is called again."""
        self._watches.append(Watch(check, every))

    def __enter__(self) -> "Supervisor":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            if text := child.stop():
                self._say(text)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def run(self, until: Callable[[], bool] | None = None, timeout: float | None = None) -> bool:
        """Tends the children until the condition holds: then True, False if stopped or too late."""
        begun = time.monotonic()
        while not self.stopping:
            now = time.monotonic()
            for child in self._children:
                if text := child.tend(now):
                    self._say(text)
            for watch in self._watches:
                if text := watch.tend(now):
                    self._say(text)
            if until is not None and until():
                return True
            if timeout is not None and now - begun > timeout:
                return False
            time.sleep(TICK)
        return False
