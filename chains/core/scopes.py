"""Which run base…top of a chain an operator's wish means: all of it, what is old, what is too deep. Pure.

A merge of base…top removes the restore points base…top−1. A layer that is shared (it has more than one
overlay: a template, or the ground of a preview) is never joined away, for other disks read through it:
a run that would cross one begins above it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from chains.core.errors import StrataError
from chains.core.names import display
from chains.core.units import parse_seconds, span

MAX_AGE = 100 * 366 * 86_400
MAX_DEPTH = 10_000


class ScopeError(StrataError):
    """What was asked for is no scope; the text says how to write one."""


class ScopeKind(StrEnum):
    """What is wished for."""

    WHOLE = "whole"  # the whole chain into one layer
    OLDER = "older"  # every restore point older than an age
    DEPTH = "depth"  # at most so many layers, the oldest being joined


@dataclass(frozen=True)
class Scope:
    """A wish for any chain; `seconds` is the age of `older`, `layers` the number of `depth`."""

    kind: ScopeKind
    seconds: int | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        """Raises ScopeError for a number that is missing, or makes no sense."""
        if self.kind is ScopeKind.OLDER:
            if self.seconds is None:
                raise ScopeError("Say how old: 72h, 7d or 90m.")
            if not 1 <= self.seconds <= MAX_AGE:
                raise ScopeError("An age is between a second and a hundred years: 72h, 7d or 90m.")
        if self.kind is ScopeKind.DEPTH:
            if self.layers is None:
                raise ScopeError("Say how many layers a chain may have at most.")
            if not 1 <= self.layers <= MAX_DEPTH:
                raise ScopeError(f"A chain has 1 to {MAX_DEPTH:,} layers.")

    @classmethod
    def from_words(cls, kind: str, age: str = "", depth: str = "") -> "Scope":
        """Read what a form, a script or a command line says; raises StrataError."""
        if kind not in set(ScopeKind):
            raise ScopeError("A scope is whole, older or depth.")
        found = ScopeKind(kind)
        if found is ScopeKind.OLDER:
            return cls(found, seconds=parse_age(age))
        if found is ScopeKind.DEPTH:
            return cls(found, layers=parse_count(depth, "the number of layers"))
        return cls(found)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {"scope": self.kind.value, "seconds": self.seconds, "layers": self.layers}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scope":
        """The scope that `to_json` wrote."""
        return cls(ScopeKind(data["scope"]), data.get("seconds"), data.get("layers"))

    @property
    def words(self) -> str:
        """The wish in words."""
        if self.kind is ScopeKind.OLDER:
            return f"everything older than {span(self.seconds or 0)}"
        if self.kind is ScopeKind.DEPTH:
            return f"at most {_layers(self.layers or 0)}"
        return "the whole chain"


@dataclass(frozen=True)
class ScopeLayer:
    """What a scope needs to know of one layer; `modified` is when it was written last."""

    path: str
    modified: datetime
    overlays: int

    @property
    def is_shared(self) -> bool:
        """Whether more than one overlay reads through it."""
        return self.overlays > 1


@dataclass(frozen=True)
class Run:
    """base and top, as places in the chain that was asked about; `note` is what it can not reach."""

    base: int
    top: int
    note: str = ""


@dataclass(frozen=True)
class Nothing:
    """There is nothing to join; `reason` says why, in a sentence."""

    reason: str


def parse_age(text: str) -> int:
    """Seconds of an age like ``72h``, ``7d`` or ``90m``; raises StrataError."""
    if not text.strip():
        raise ScopeError("Say how old: 72h, 7d or 90m.")
    seconds = parse_seconds(text)
    if not 1 <= seconds <= MAX_AGE:
        raise ScopeError("An age is between a second and a hundred years: 72h, 7d or 90m.")
    return seconds


def parse_count(text: str, what: str) -> int:
    """A whole number above none; raises ScopeError, naming what it is."""
    plain = text.strip()
    if not (plain.isascii() and plain.isdecimal() and 0 < len(plain) < 6 and int(plain)):
        raise ScopeError(f"Give {what} as a whole number from 1 on.")
    return int(plain)


def run_of(layers: Sequence[ScopeLayer], scope: Scope, now: datetime) -> Run | Nothing:
    """What the scope joins of a chain; `layers` run from the active one down to the root."""
    if len(layers) < 2:
        return Nothing("It has one layer only: there is nothing to join.")
    rooted = layers[::-1]
    if scope.kind is ScopeKind.OLDER:
        found = _older(rooted, scope.seconds or 0, now)
    elif scope.kind is ScopeKind.DEPTH:
        found = _shortened(rooted, scope.layers or 1)
    else:
        found = _above_shared(rooted, 0, len(rooted) - 1)
    if isinstance(found, Nothing):
        return found
    last = len(layers) - 1
    return Run(last - found.base, last - found.top, found.note)


def _older(rooted: Sequence[ScopeLayer], seconds: int, now: datetime) -> Run | Nothing:
    """The restore points from the root up that are old enough, up to the first that is not."""
    top = 0
    while top < len(rooted) - 1 and _age(rooted[top], now) > seconds:
        top += 1
    if top == 0:
        return Nothing(
            f"No restore point at its root is older than {span(seconds)}: {display(rooted[0].path)}"
            f" was written {_ago(rooted[0], now)} ago."
        )
    return _above_shared(rooted, 0, top)


def _shortened(rooted: Sequence[ScopeLayer], most: int) -> Run | Nothing:
    """The lowest run above every shared layer that it would cross, as long as the chain is too deep."""
    surplus = len(rooted) - most
    if surplus < 1:
        return Nothing(f"It has {_layers(len(rooted))}, and may have {most}.")
    base = 0
    while True:
        top = min(base + surplus, len(rooted) - 1)
        shared = _highest_shared(rooted, base, top)
        if shared is None:
            break
        base = shared + 1
    if base == top:
        return _one_left(rooted, base)
    left = len(rooted) - (top - base)
    if left <= most:
        return Run(base, top)
    return Run(
        base, top,
        f"{_layers(left)} are left: {display(rooted[base - 1].path)} is shared by"
        f" {rooted[base - 1].overlays} overlays.",
    )  # fmt: skip


def _above_shared(rooted: Sequence[ScopeLayer], base: int, top: int) -> Run | Nothing:
    """The part of base…top above the highest shared layer that would be joined away."""
    shared = _highest_shared(rooted, base, top)
    if shared is None:
        return Run(base, top)
    if shared + 1 == top:
        return _one_left(rooted, top)
    return Run(shared + 1, top)


def _highest_shared(rooted: Sequence[ScopeLayer], base: int, top: int) -> int | None:
    return next((n for n in range(top - 1, base - 1, -1) if rooted[n].is_shared), None)


def _one_left(rooted: Sequence[ScopeLayer], place: int) -> Nothing:
    ground = rooted[place - 1]
    return Nothing(
        f"{display(ground.path)} is shared by {ground.overlays} overlays and stays; only one layer"
        f" above it, {display(rooted[place].path)}, would be left to join."
    )


def _age(layer: ScopeLayer, now: datetime) -> float:
    return now.timestamp() - layer.modified.timestamp()


def _ago(layer: ScopeLayer, now: datetime) -> str:
    """An age in its largest unit, rounded down."""
    seconds = max(0, int(_age(layer, now)))
    unit = next((unit for unit in (86_400, 3600, 60) if seconds >= unit), 1)
    return span(seconds // unit * unit) if seconds else "0s"


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"
