"""The one place that starts a process: limits, timeouts, bounded output, a group that can be ended.

A child is started as `setpriv --pdeathsig KILL -- prlimit … -- TOOL …`: both exec the next program in
place, so the child dies with its worker and obeys its limits without any Python code running between
fork and exec, which is not safe in a process that has threads.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chains.core.errors import StrataError
from chains.core.names import display

MIB = 1024**2
# What a reader of metadata may use. A converter gets more, see `Limits`.
READ_ADDRESS_SPACE = 2048 * MIB
OUTPUT_CAP = 1 * MIB
STDERR_CAP = 64 * 1024


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


@dataclass(frozen=True)
class Result:
    """How a child ended; stdout and stderr hold the last bytes that their caps allow."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

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
    wrapped = [tool("setpriv"), "--pdeathsig", "KILL", "--", tool("prlimit"), "--core=0"]
    if limits.address_space is not None:
        wrapped.append(f"--as={limits.address_space}")
    if limits.cpu_seconds is not None:
        wrapped.append(f"--cpu={limits.cpu_seconds}")
    wrapped.append("--")
    if limits.background:
        wrapped += [tool("ionice"), "-c", "3", tool("nice"), "-n", "19"]
    return [*wrapped, tool(argv[0]), *argv[1:]]


class Child:
    """A running tool: its output is drained as it comes and never held beyond the caps."""

    def __init__(
        self,
        argv: Sequence[str],
        process: asyncio.subprocess.Process,
        *,
        output_cap: int,
        on_output: Callable[[bytes], None] | None,
    ) -> None:
        self.argv = tuple(argv)
        self._process = process
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._overflowed = False
        self._on_output = on_output
        self._output_cap = output_cap
        self._drains = asyncio.gather(
            self._drain(process.stdout, self._take_stdout),
            self._drain(process.stderr, self._take_stderr),
        )

    @property
    def pid(self) -> int:
        """The process id, also the id of its process group."""
        return self._process.pid

    @property
    def stderr_tail(self) -> str:
        """What it said so far on stderr, fit for a page."""
        return clean(bytes(self._stderr))

    async def _drain(
        self, stream: asyncio.StreamReader | None, take: Callable[[bytes], None]
    ) -> None:
        assert stream is not None
        while chunk := await stream.read(65536):
            take(chunk)

    def _take_stdout(self, chunk: bytes) -> None:
        if self._on_output is not None:
            self._on_output(chunk)
            return
        if len(self._stdout) + len(chunk) > self._output_cap:
            self._overflowed = True
            self.kill()
            return
        self._stdout += chunk

    def _take_stderr(self, chunk: bytes) -> None:
        self._stderr += chunk
        del self._stderr[:-STDERR_CAP]

    def io_bytes(self) -> tuple[int, int] | None:
        """(bytes read, bytes written) by its system calls so far (proc(5), /proc/PID/io); None when gone."""
        try:
            text = Path(f"/proc/{self.pid}/io").read_text()
        except OSError:
            return None
        values = dict(line.split(": ") for line in text.splitlines())
        return int(values["rchar"]), int(values["wchar"])

    async def wait(self) -> Result:
        """Wait for its end; raises CommandError when it printed more than its cap."""
        await self._drains
        code = await self._process.wait()
        if self._overflowed:
            raise CommandError(
                f"{self.argv[0]} printed more than {self._output_cap} bytes and was stopped",
                returncode=code,
            )
        return Result(self.argv, code, bytes(self._stdout), bytes(self._stderr))

    def kill(self) -> None:
        """End it and all of its group at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace: float = 3.0) -> None:
        """Ask it to end, wait `grace` seconds, then kill it; returns when it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(asyncio.shield(self._process.wait()), grace)
            except TimeoutError:
                self.kill()
                await self._process.wait()
        self._drains.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._drains


async def start(
    argv: Sequence[str],
    *,
    cwd: str,
    limits: Limits | None = None,
    output_cap: int = OUTPUT_CAP,
    on_output: Callable[[bytes], None] | None = None,
) -> Child:
    """Start a tool in `cwd`, in a session of its own, with an empty environment.

    `on_output` takes stdout as it comes; without it stdout is kept up to `output_cap` bytes.
    Raises CommandError when the tool or the directory is not there.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_wrapped(argv, limits or Limits()),
            cwd=cwd,
            env={"LC_ALL": "C"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(f"{argv[0]} could not be started: {error.strerror}") from error
    return Child(argv, process, output_cap=output_cap, on_output=on_output)


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
    child = await start(argv, cwd=cwd, limits=limits, output_cap=output_cap)
    try:
        return await asyncio.wait_for(child.wait(), timeout)
    except TimeoutError:
        raise CommandError(
            f"{argv[0]} gave no answer within {timeout:g} s and was stopped"
        ) from None
    finally:
        await child.stop(grace=0.5)
