"""Proving that a merge in place left every guest's view as it was, without asking QEMU.

A comparison through the chain would prove nothing here: after a commit both sides would read most
bytes from the same clusters of base. So Strata reads, with its own reader, just the bytes that have
changed their place: from the old layers, which nobody has written, and from the layer that now holds
them, out of storage and not out of the cache that the tool has written to. They lie in different
clusters of different files: a byte that was lost, or written to the wrong place, shows.
"""

import os
from collections.abc import Callable

from chains.core.chain import read_chain
from chains.core.content import Content
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


class DifferenceError(StrataError):
    """The joined volume does not read like the old layers; the text says where."""


def compare(root: str, plan: Plan, before: ExtentMap, tick: Tick) -> None:
    """Compare what a commit or a rebase has moved; raises DifferenceError, StrataError, OSError.

    `before` is what top held before the merge.
    """
    old, new, ranges = _sides(root, plan, before)
    done = 0
    with old, new:
        for (start, was), (_, reads) in zip(old.pieces(ranges), new.pieces(ranges), strict=True):
            if was != reads:
                at = start + next(
                    n for n, (a, b) in enumerate(zip(was, reads, strict=True)) if a != b
                )
                raise DifferenceError(f"the bytes at {binary(at)} ({at}) differ")
            done += len(was)
            tick(done, ranges.total)


def _sides(root: str, plan: Plan, before: ExtentMap) -> tuple[Content, Content, Ranges]:
    count = len(plan.layers)
    strategy = Strategy(plan.strategy)
    if strategy is Strategy.COMMIT:
        chain = _sound(root, plan.top)
        _forget(root, plan.base)
        maps = read_chain_maps(chain)
        moved = work(maps, count, strategy)
        old = Content(root, chain.layers[: count - 1], maps[: count - 1])
        new = Content(root, chain.layers[count - 1 :], maps[count - 1 :])
    else:
        lower, chain = _sound(root, plan.layers[1]), _sound(root, plan.top)
        _forget(root, plan.top)
        maps = read_chain_maps(lower)
        moved = work([before, *maps], count, strategy)
        old, new = Content(root, lower.layers, maps), Content.of_chain(chain)
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
