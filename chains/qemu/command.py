"""The one place that starts a process: limits, timeouts, bounded output, a group that can be ended.

A child is started as `setpriv --pdeathsig KILL -- sh … prlimit … -- TOOL …`: each execs the next
program in place, so the child dies with its worker and obeys its limits without any Python code running
between fork and exec, which is not safe in a process that has threads.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from chains.core.errors import StrataError
from chains.core.names import display

MIB = 1024**2
# What a reader of metadata may use. A converter gets more, see `Limits`.
READ_ADDRESS_SPACE = 2048 * MIB
OUTPUT_CAP = 1 * MIB
STDERR_CAP = 64 * 1024
# What Linux lets a pipe hold, and how long it is left alone after it was read.
PIPE_BYTES = 64 * 1024
BREATH_SECONDS = 0.005
# A worker that dies before setpriv has asked for the signal would leave an orphan.
UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'


class CommandError(StrataError):
    """A tool that is missing, failed, overran its time, or printed more than it may."""

    def __init__(self, text: str, *, returncode: int | None = None, stderr: str = "") -> None:
        super().__init__(text)
        self.returncode = returncode
        self.stderr = stderr


@dataclass(frozen=True)
class Limits:
    """What the kernel lets a child use: bytes of address space, seconds of CPU; None is no limit."""

    address_space: int | None = READ_ADDRESS_SPACE
    cpu_seconds: int | None = 60
    background: bool = False  # idle I/O class and the lowest CPU priority


LONG_WORK = Limits(address_space=4096 * MIB, cpu_seconds=None, background=True)


class Io(NamedTuple):
    """Bytes that a process has read and written by its system calls (proc(5), /proc/PID/io)."""

    read: int
    written: int


@dataclass(frozen=True)
class Result:
    """How a child ended; stdout and stderr hold the last bytes that their caps allow.

    `io` is what it read and wrote over its whole life; None where the kernel does not tell.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    io: Io | None

    @property
    def warnings(self) -> str:
        """What the tool said on stderr, fit for a page and a log."""
        return clean(self.stderr)


def clean(output: bytes) -> str:
    """Output of a tool as text: undecodable and control characters escaped, line by line."""
    lines = os.fsdecode(output).replace("\r", "\n").split("\n")
    return "\n".join(display(line.rstrip()) for line in lines if line.strip())


def shown(argv: Sequence[str]) -> str:
    """The command as an operator would type it in a shell, escaped for display."""
    return display(shlex.join([Path(argv[0]).name, *argv[1:]]))


def tool(name: str) -> str:
    """The absolute path of a tool; raises CommandError when it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise CommandError(f"{name} is not installed on this machine; install it and try again")
    return str(Path(found).absolute())


def _wrapped(argv: Sequence[str], limits: Limits) -> list[str]:
    wrapped = [tool("setpriv"), "--pdeathsig", "KILL", "--"]
    wrapped += [tool("sh"), "-c", UNLESS_ORPHANED, str(os.getpid())]
    wrapped += [tool("prlimit"), "--core=0"]
    if limits.address_space is not None:
        wrapped.append(f"--as={limits.address_space}")
    if limits.cpu_seconds is not None:
        wrapped.append(f"--cpu={limits.cpu_seconds}")
    wrapped.append("--")
    if limits.background:
        wrapped += [tool("ionice"), "-c", "3", tool("nice"), "-n", "19"]
    return [*wrapped, tool(argv[0]), *argv[1:]]


class _Pipe:
    """One of the child's pipes, read by the event loop when something is in it, a breath apart: neither
    the loop nor a processor is the child's alone, however much it says, and in however small pieces.
    """

    def __init__(self, pipe: IO[bytes], take: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._take = take
        self._breath: asyncio.TimerHandle | None = None
        os.set_blocking(pipe.fileno(), False)
        self._listen()

    def _listen(self) -> None:
        self._loop.add_reader(self._pipe.fileno(), self._ready)

    def _ready(self) -> None:
        self._loop.remove_reader(self._pipe.fileno())
        if self._read():
            self._breath = self._loop.call_later(BREATH_SECONDS, self._listen)

    def _read(self) -> bool:
        """Take all that is in it; whether there can be more."""
        try:
            chunk = os.read(self._pipe.fileno(), PIPE_BYTES)
        except BlockingIOError:
            return True
        if chunk:
            self._take(chunk)
        return bool(chunk)

    def close(self) -> None:
        """Take what is left in it, and close it."""
        if self._breath is not None:
            self._breath.cancel()
        self._loop.remove_reader(self._pipe.fileno())
        self._read()
        self._pipe.close()


class Child:
    """A running tool: its output is drained as it comes and never held beyond the caps.

    The event loop learns of its end by a pidfd, while it is a zombie: only then does the kernel tell
    the whole of what it read and wrote. It is reaped at once after that, whoever waits for it or not.
    """

    def __init__(
        self,
        argv: Sequence[str],
        process: subprocess.Popen[bytes],
        *,
        output_cap: int,
        keep_tail: bool,
    ) -> None:
        """Take a process that was just started; raises OSError, and then the process is still there."""
        self.argv = tuple(argv)
        self._process = process
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._output_cap = output_cap
        self._keep_tail = keep_tail
        self._overflowed = False
        self._io: Io | None = None
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.ExitStack() as held:
            held.callback(_Pipe(process.stdout, self._take_stdout).close)
            held.callback(_Pipe(process.stderr, self._take_stderr).close)
            pidfd = os.pidfd_open(process.pid)
            held.callback(os.close, pidfd)
            loop.add_reader(pidfd, self._end)
            held.callback(loop.remove_reader, pidfd)
            self._held = held.pop_all()

    def _end(self) -> None:
        self._io = io_of(self.pid)
        # Nothing of its group outlives it. Until it is reaped, nobody else can have the group's number.
        self.kill()
        self._held.close()
        self._process.wait()
        self._ended.set_result(None)

    @property
    def pid(self) -> int:
        """The process id, also the id of its process group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._ended.done()

    @property
    def stderr_tail(self) -> str:
        """The end of what it said so far on stderr, fit for a page."""
        return clean(bytes(self._stderr))

    @property
    def io(self) -> Io | None:
        """What it has read and written so far, in the end all of it; None where the kernel does not tell."""
        return self._io if self.ended else io_of(self.pid)

    def _take_stdout(self, chunk: bytes) -> None:
        if not self._keep_tail and len(self._stdout) + len(chunk) > self._output_cap:
            self._overflowed = True
            self.kill()
            return
        self._stdout += chunk
        del self._stdout[: -self._output_cap]

    def _take_stderr(self, chunk: bytes) -> None:
        self._stderr += chunk
        del self._stderr[:-STDERR_CAP]

    async def wait_at_most(self, seconds: float) -> None:
        """Wait for its end, but no longer."""
        await asyncio.wait([self._ended], timeout=seconds)

    async def wait(self) -> Result:
        """Wait for its end; raises CommandError when it printed more than its cap."""
        await asyncio.wait([self._ended])
        code = self._process.returncode
        if self._overflowed:
            raise CommandError(
                f"{self.argv[0]} printed more than {self._output_cap} bytes and was stopped",
                returncode=code,
            )
        return Result(self.argv, code, bytes(self._stdout), bytes(self._stderr), self._io)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and all of its group, as long as it is there."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it and all of its group at once."""
        self.signal(signal.SIGKILL)

    async def stop(self, grace: float = 3.0) -> None:
        """Ask it to end, wait `grace` seconds, then kill it; returns when it is gone.

        Cancelled meanwhile, it kills at once.
        """
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process would not hear of it
        try:
            await asyncio.wait([self._ended], timeout=grace)
        finally:
            self.kill()
            await asyncio.wait([self._ended])


def io_of(pid: int) -> Io | None:
    """What a process has read and written so far; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return None
    values = dict(line.split(": ") for line in text.splitlines())
    return Io(int(values["rchar"]), int(values["wchar"]))


def start(
    argv: Sequence[str],
    *,
    cwd: str,
    limits: Limits | None = None,
    output_cap: int = OUTPUT_CAP,
    keep_tail: bool = False,
) -> Child:
    """Start a tool in `cwd`, in a session of its own, with an empty environment.

    With `keep_tail` the last `output_cap` bytes of its stdout are kept; without it a tool that prints
    more is ended. Called by a running event loop; raises CommandError when the tool or the directory
    is not there.
    """
    try:
        process = subprocess.Popen(
            _wrapped(argv, limits or Limits()), cwd=cwd, env={"LC_ALL": "C"}, bufsize=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CommandError(f"{argv[0]} could not be started: {error.strerror}") from error
    try:
        return Child(argv, process, output_cap=output_cap, keep_tail=keep_tail)
    except OSError as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise CommandError(f"{argv[0]} could not be watched: {error.strerror}") from error


async def run(
    argv: Sequence[str],
    *,
    cwd: str,
    timeout: float = 30.0,  # noqa: ASYNC109  it ends the child's whole process group, not only the wait
    limits: Limits | None = None,
    output_cap: int = OUTPUT_CAP,
) -> Result:
    """Run a tool to its end, at most `timeout` seconds.

    Any exit code is a Result; raises CommandError when it can not start, overruns or floods.
    """
    child = start(argv, cwd=cwd, limits=limits, output_cap=output_cap)
    try:
        return await asyncio.wait_for(child.wait(), timeout)
    except TimeoutError:
        raise CommandError(
            f"{argv[0]} gave no answer within {timeout:g} s and was stopped"
        ) from None
    finally:
        await child.stop(grace=0.5)
