"""Proving that a merge in place left every guest's view as it was, without asking QEMU.

A comparison through the chain would prove nothing here: after a commit both sides would read most
bytes from the same clusters of base. So Strata reads, with its own reader, just the bytes that have
changed their place: from the old layers, which nobody has written, and from the layer that now holds
them, out of storage and not out of the cache that the tool has written to. They lie in different
clusters of different files: a byte that was lost, or written to the wrong place, shows.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle

import numpy as np

from chains.core.chain import read_chain
from chains.core.content import Content, batches, room
from chains.core.costs import Strategy, work
from chains.core.errors import StrataError
from chains.core.extents import ExtentMap
from chains.core.links import Chain
from chains.core.plans import Plan
from chains.core.ranges import Ranges, union
from chains.core.reads import read_chain_maps
from chains.core.units import binary

# Called with the bytes compared so far, and those to compare; may raise to stop.
Tick = Callable[[int, int], None]

Batch = list[tuple[int, int]]
Read = tuple[Batch, list[Future[memoryview]]]


class DifferenceError(StrataError):
    """The joined volume does not read like the old layers; the text says where."""


def compare(root: str, plan: Plan, before: ExtentMap, tick: Tick) -> None:
    """Compare what a commit or a rebase has moved; raises DifferenceError, StrataError, OSError.

    `before` is what top held before the merge. Both sides are read at once, a batch ahead.
    """
    old, new, ranges = _sides(root, plan, before)
    done = 0
    with old, new, ThreadPoolExecutor(2, "witness") as readers:
        places = cycle([(room(), room()), (room(), room())])
        reads = (
            (batch, [readers.submit(side.fill_with, place, batch) for side, place in both])
            for batch, both in (
                (batch, zip((old, new), next(places), strict=True)) for batch in batches(ranges)
            )
        )
        for batch, (was, now) in _ahead(reads):
            _hold(batch, was.result(), now.result())
            done += len(was.result())
            tick(done, ranges.total)


def _ahead(reads: Iterator[Read]) -> Iterator[Read]:
    """Yield each once the next has begun."""
    waiting = next(reads, None)
    while waiting is not None:
        following = next(reads, None)
        yield waiting
        waiting = following


def _hold(batch: Batch, was: memoryview, now: memoryview) -> None:
    """Hold one side's batch against the other's; raises DifferenceError."""
    words = len(was) // 8 * 8
    if was[words:] == now[words:] and np.array_equal(
        np.frombuffer(was[:words], np.uint64), np.frombuffer(now[:words], np.uint64)
    ):
        return
    at = int(np.argmax(np.frombuffer(was, np.uint8) != np.frombuffer(now, np.uint8)))
    for start, length in batch:
        if at < length:
            raise DifferenceError(f"the bytes at {binary(start + at)} ({start + at}) differ")
        at -= length


def _sides(root: str, plan: Plan, before: ExtentMap) -> tuple[Content, Content, Ranges]:
    count = len(plan.layers)
    strategy = Strategy(plan.strategy)
    if strategy is Strategy.COMMIT:
        chain = _sound(root, plan.top)
        _forget(root, plan.base)
        maps = read_chain_maps(chain)
        moved = work(maps, count, strategy)
        old = Content(root, chain.layers[: count - 1], maps[: count - 1])
        new = Content(root, chain.layers[count - 1 :], maps[count - 1 :], plan.base)
    else:
        lower, chain = _sound(root, plan.layers[1]), _sound(root, plan.top)
        _forget(root, plan.top)
        maps = read_chain_maps(lower)
        moved = work([before, *maps], count, strategy)
        old, new = Content(root, lower.layers, maps), Content.of_chain(chain, plan.top)
    return old, new, union([moved.data, moved.zeroes])


def _sound(root: str, path: str) -> Chain:
    chain = read_chain(root, path)
    for finding in chain.findings:
        if finding.severity == "critical":
            raise StrataError(finding.detail)
    return chain


def _forget(root: str, path: str) -> None:
    """Make the next read of a file that was just written one of storage."""
    fd = os.open(os.path.join(root, path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
