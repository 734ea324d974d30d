"""Holding a tool that has no rate of its own to one."""

import asyncio
import time

import pytest

from chains.qemu import command
from chains.qemu.command import Child
from chains.qemu.governor import SAVED_SECONDS, Allowance, govern

MIB = 1024**2


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def test_who_is_ahead_pays() -> None:
    clock = Clock()
    allowance = Allowance(100, clock)
    assert allowance.debt(50) == 0.5
    clock.now += 0.5
    assert allowance.debt(50) == 0
    clock.now += 1
    assert allowance.debt(250) == pytest.approx(2 - SAVED_SECONDS)


def test_little_is_saved_up() -> None:
    clock = Clock()
    allowance = Allowance(100, clock)
    clock.now += 3600
    assert allowance.debt(100) == pytest.approx(1 - SAVED_SECONDS)


def copying(block: int = 512) -> Child:
    """The smaller the blocks, the slower: about half a gigabyte a second with 512 bytes."""
    return command.start(["dd", "if=/dev/zero", "of=/dev/null", f"bs={block}"], cwd="/")


@pytest.mark.parametrize(("rate", "block"), [(4 * MIB, 64), (20 * MIB, 256), (80 * MIB, 512)])
async def test_the_rate_is_held(rate: int, block: int) -> None:
    child = copying(block)
    governing = asyncio.create_task(govern(child, rate))
    await asyncio.sleep(0.5)
    began, before = time.monotonic(), child.io
    await asyncio.sleep(3)
    taken, after = time.monotonic() - began, child.io
    assert before is not None
    assert after is not None
    assert (after.read - before.read) / taken == pytest.approx(rate, rel=0.15)
    await child.stop()
    await asyncio.wait_for(governing, 5)


async def test_it_goes_on_when_nobody_holds_it_any_more() -> None:
    child = copying()
    governing = asyncio.create_task(govern(child, MIB))
    await asyncio.sleep(0.3)
    governing.cancel()
    await asyncio.gather(governing, return_exceptions=True)
    before = child.io
    await asyncio.sleep(0.5)
    after = child.io
    assert before is not None
    assert after is not None
    assert after.read - before.read > 10 * MIB
    await child.stop()


async def test_it_is_ended_while_it_is_held() -> None:
    child = copying()
    governing = asyncio.create_task(govern(child, 1024))  # in debt for minutes
    await asyncio.sleep(0.3)
    began = time.monotonic()
    governing.cancel()
    await child.stop(grace=30)
    assert time.monotonic() - began < 5
    await asyncio.gather(governing, return_exceptions=True)
