"""The one place that starts a process: limits, timeouts, bounded output, no child left behind."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chains.qemu import command, qemu_img
from chains.qemu.command import CommandError, Limits


async def test_what_it_said_and_how_it_ended() -> None:
    result = await command.run(["sh", "-c", "echo out; echo err >&2; exit 3"], cwd="/")
    assert (result.returncode, result.stdout, result.warnings) == (3, b"out\n", "err")


async def test_an_empty_environment_and_a_chosen_directory(tmp_path: Path) -> None:
    result = await command.run(["sh", "-c", "/usr/bin/env; pwd"], cwd=str(tmp_path))
    names = {line.split("=")[0] for line in os.fsdecode(result.stdout).splitlines()[:-1]}
    assert names <= {"LC_ALL", "PWD", "SHLVL", "_", "OLDPWD"}
    assert os.fsdecode(result.stdout).endswith(f"{tmp_path}\n")


async def test_a_tool_that_hangs_is_stopped_with_its_children() -> None:
    began = time.monotonic()
    with pytest.raises(CommandError, match="no answer within"):
        await command.run(["sh", "-c", "sleep 987654 & sleep 987654"], cwd="/", timeout=0.3)
    assert time.monotonic() - began < 5
    left = await command.run(["pgrep", "-f", "sleep 98765[4]"], cwd="/")
    assert left.stdout == b""


async def test_a_flood_is_stopped() -> None:
    with pytest.raises(CommandError, match="more than 1000 bytes"):
        await command.run(["sh", "-c", "yes"], cwd="/", output_cap=1000)


async def test_a_chatty_stderr_keeps_its_tail() -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done"
    result = await command.run(["sh", "-c", script], cwd="/")
    assert len(result.stderr) <= command.STDERR_CAP
    assert result.warnings.endswith("line 19999")


async def test_the_limits_hold() -> None:
    script = "ulimit -v; ulimit -t; ulimit -c"
    limits = Limits(address_space=512 * 1024**2, cpu_seconds=7)
    result = await command.run(["sh", "-c", script], cwd="/", limits=limits)
    assert result.stdout.split() == [b"524288", b"7", b"0"]


async def test_a_missing_tool_and_a_missing_directory() -> None:
    with pytest.raises(CommandError, match="not installed"):
        await command.run(["no-such-tool-here"], cwd="/")
    with pytest.raises(CommandError, match="could not be started"):
        await command.run(["true"], cwd="/no/such/place")


def test_a_child_dies_with_its_worker(tmp_path: Path) -> None:
    script = f"""
import asyncio, os
from chains.qemu.command import start
async def main():
    child = start(["sleep", "600"], cwd="/")
    open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=False, cwd=Path(__file__).parents[2])
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.1)
    os.kill(pid, 9)
    pytest.fail("the child outlived its worker")


def test_the_version_is_told() -> None:
    assert asyncio.run(qemu_img.version()) >= qemu_img.OLDEST


def test_control_characters_of_a_tool_are_shown_not_obeyed() -> None:
    assert command.clean(b"\x1b[31mred\xff\n\n  \nnext\r") == "\\x1b[31mred\\xff\nnext"


def test_a_command_is_shown_as_a_shell_takes_it() -> None:
    assert command.shown(["/usr/bin/qemu-img", "info", "a b'c"]) == """qemu-img info 'a b'"'"'c'"""
