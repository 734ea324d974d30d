"""What the diagrams are drawn from: plain records, free of Django and of storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """What a merge does to a volume, for the before and after pictures."""

    NONE = ""
    REMOVED = "removed"
    NEW = "new"
    CHANGED = "changed"


@dataclass(frozen=True)
class DrawnVolume:
    """One volume as the chain and forest diagrams show it.

    ``name`` and ``path`` come raw from storage and are hostile: they may hold markup, control
    characters and surrogate-escaped bytes. The diagrams make them safe, the caller does not.
    """

    key: str
    """Unique in the picture, ``[a-z0-9]+``: the DOT node id, and ``data-key`` in the SVG."""
    name: str
    path: str
    format: str
    """``raw``, ``qcow2``, or ``""`` when it is unknown."""
    virtual_size: int | None
    on_disk: int | None
    role: str
    """root, snapshot, active, template, preview, missing or outside."""
    url: str = ""
    severity: str = ""
    """``""``, info, warning or critical: the worst finding on the volume."""
    note: str = ""
    mark: Mark = Mark.NONE
    about: str = ""
    """One more line of plain facts, like its age."""
    shadowed: int | None = None
    """Bytes that it holds and overlays hide, where that is known."""


@dataclass(frozen=True)
class ReadsRow:
    """One layer of the redirected-reads picture; every sequence has one item a block."""

    key: str
    name: str
    path: str
    url: str
    held: Sequence[float]
    """The fraction 0..1 of each block that this layer holds, as data or as zeroes."""
    answered: Sequence[float]
    """The fraction 0..1 of each block that this layer answers for the guest."""
    detail: Sequence[str]
    """A tooltip a block with the exact bytes; may be empty."""


@dataclass(frozen=True)
class ReadsPicture:
    """A slice of a disk as blocks: which layer answers each, and which hide something below."""

    starts: Sequence[int]
    lengths: Sequence[int]
    rows: Sequence[ReadsRow]
    """The active layer first, the root last."""
    owner: Sequence[int]
    """Per block the index in ``rows`` of the layer that answers most of it; -1 for none."""
    block_urls: Sequence[str]
    """Per block the link that zooms into it; ``""`` when it is a single cluster already."""
    max_rows: int = 16
    numbered: bool = False
    """Whether the number of each block, from 0, stands over it."""
    hops: Sequence[float] = ()
    """Per block how many hops down its bytes lie on average: colours tell hops then, not layers."""
    marked: int = -1
    """The block that somebody asked for; -1 for none."""
    marked_row: int = -1
    """The index in ``rows`` of the layer that answers what was asked for; -1 for none."""
