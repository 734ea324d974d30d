"""What the snapshots of a disk hold, hide and cost: the figures of the sprawl report, one disk at a time.

A snapshot belongs to the disk whose chain alone has it; a layer that several disks read through is a
template's, and counted with none of them. So the figures of all disks add up to those of a datacenter.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from chains.core.findings import Code

BREACHES: Final = frozenset({Code.DEEP, Code.SNAPSHOT_OLD, Code.SNAPSHOT_LARGE, Code.MERGE_WINS})
"""The findings that say that a disk exceeds a threshold of its policy."""


class Own(NamedTuple):
    """A layer that no other disk has. Bytes; `dead` is what no guest reads of it, None: not mapped."""

    on_disk: int
    dead: int | None = None


class Figures(NamedTuple):
    """Of one disk; sizes are bytes.

    `snapshot_bytes` is what the frozen layers take on storage, `snapshot_since` when the oldest of them
    was written last. `shadowed` is what overlays hide of all own layers; None where that is not mapped,
    and then `to_copy` is an upper bound instead of a figure of the map. `winnable` is what a merge of all
    own layers gives back at least, `to_copy` what it copies on the cheaper way.
    """

    snapshots: int = 0
    snapshot_bytes: int = 0
    snapshot_since: datetime | None = None
    shadowed: int | None = None
    winnable: int = 0
    to_copy: int = 0


def winnable(held: int, size: int, dead: int) -> int:
    """Bytes that a merge gives back at least, of layers that hold `held` and of which `dead` are hidden.

    The joined layer holds at most the whole disk (`size`); and what no guest reads is not copied.
    """
    return max(0, held - size, dead)


def figures(
    size: int, own: Sequence[Own], since: datetime | None, copies: Sequence[int] | None
) -> Figures:
    """The figures of a disk of `size` bytes; `own` are its own layers, the active one first, `since` is
    when the oldest of the others was written last.

    `copies` is what joining the n + 2 uppermost layers copies at best, from the disk's block map; None
    where there is none of these layers.
    """
    frozen = own[1:]
    if not frozen:
        return Figures(shadowed=0)  # nothing lies over anything
    held = [layer.on_disk for layer in own]
    dead = [layer.dead for layer in own]
    is_mapped = copies is not None and len(copies) >= len(frozen) and None not in dead
    return Figures(
        len(frozen),
        sum(held) - held[0],
        since,
        sum(filter(None, dead)) if is_mapped else None,
        winnable(sum(held), size, sum(filter(None, dead))),
        copies[len(frozen) - 1] if copies is not None and is_mapped else _most_copied(held),
    )


def _most_copied(held: Sequence[int]) -> int:
    """A commit copies at most what lies above the lowest layer, a rebase what lies below the highest."""
    return sum(held) - max(held[0], held[-1])


def breaches(codes: Collection[str]) -> int:
    """How many of the findings of a disk are of its policy."""
    return sum(code in BREACHES for code in codes)


def is_still(stored: str, now: str, *, written: bool) -> bool:
    """Whether a fingerprint is of the file that lies there now; `written`: it may have been changed since.

    What a guest writes into the active layer hides more of the layers below, and shows none of it again.
    """
    if not written:
        return stored == now
    return stored.split(":")[:2] == now.split(":")[:2]
