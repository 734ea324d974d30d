"""No child is left, no descriptor and no zombie, whatever happens while it runs; and its whole account."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chains.qemu import command
from chains.qemu.command import CommandError


def children() -> set[str]:
    """The process ids of this process's children, zombies too."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }  # fmt: skip


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Every test here leaves what it found."""
    await command.run(["true"], cwd="/")
    before = children(), descriptors()
    yield
    assert (children(), descriptors()) == before


async def alive(text: str) -> bool:
    """Whether a process runs with this in its command line."""
    return (await command.run(["pgrep", "-f", text], cwd="/")).stdout != b""


async def test_all_that_it_read_and_wrote_is_told_in_the_end() -> None:
    result = await command.run(
        ["dd", "if=/dev/zero", "of=/dev/null", "bs=65536", "count=1600"], cwd="/"
    )
    assert result.io is not None
    for moved in result.io:
        assert 1600 * 65536 <= moved < 1600 * 65536 + 512 * 1024


async def test_what_is_told_while_it_runs_and_after() -> None:
    child = command.start(["sh", "-c", "head -c 1000000 /dev/zero | cat; sleep 0.2"], cwd="/")
    assert child.io is not None
    result = await child.wait()
    assert child.ended
    assert child.io == result.io
    assert result.io is not None
    # The account of the children that it waited for is its own.
    assert result.io.read >= 2_000_000


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("script", ["sleep 765431 & sleep 765431", "yes", "trap '' TERM; yes >&2"])
async def test_cancelled_while_it_is_waited_for(script: str, steps: int) -> None:
    task = asyncio.create_task(command.run(["sh", "-c", script], cwd="/", output_cap=10**9))
    for _ in range(steps):
        await asyncio.sleep(0.004)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await alive("sleep 76543[1]")


async def test_cancelled_again_while_it_is_stopped() -> None:
    child = command.start(["sh", "-c", "trap '' TERM; while :; do sleep 0.01; done"], cwd="/")
    await asyncio.sleep(0.1)
    began = time.monotonic()
    stopping = asyncio.create_task(child.stop(grace=60))
    await asyncio.sleep(0.1)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert child.ended
    assert time.monotonic() - began < 5


async def test_nobody_waits_for_it() -> None:
    child = command.start(["true"], cwd="/")
    await asyncio.sleep(1)
    assert child.ended


async def test_what_it_leaves_behind_ends_with_it() -> None:
    began = time.monotonic()
    result = await command.run(["sh", "-c", "sleep 765432 & echo hello"], cwd="/")
    assert result.stdout == b"hello\n"
    assert time.monotonic() - began < 5
    assert not await alive("sleep 76543[2]")


async def test_a_stopped_child_can_be_ended() -> None:
    child = command.start(["sleep", "60"], cwd="/")
    child.signal(signal.SIGSTOP)
    began = time.monotonic()
    await child.stop(grace=30)
    assert time.monotonic() - began < 5


async def test_a_start_that_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    with pytest.raises(CommandError, match="could not be watched: Too many open files"):
        command.start(["sleep", "60"], cwd="/")


async def test_no_descriptor_is_free() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for free in range(8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + free, hard))
        try:
            with contextlib.suppress(CommandError):
                await command.run(["true"], cwd="/")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_flood_without_lines_fills_no_memory_and_leaves_the_loop_free() -> None:
    child = command.start(
        ["sh", "-c", "tr '\\0' x < /dev/zero & tr '\\0' y < /dev/zero >&2"],
        cwd="/", output_cap=4096, keep_tail=True,
    )  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worst = 0.0
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - began)
    assert len(child.stderr_tail) == command.STDERR_CAP
    await child.stop()
    result = await child.wait()
    assert len(result.stdout) == 4096
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
    assert worst < 0.25
