"""Merge plans: what a merge of base…top would do, cost and destroy, or why it is refused. Pure."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from chains.core.costs import Strategy, costs
from chains.core.errors import StrataError
from chains.core.extents import ExtentMap
from chains.core.names import display
from chains.core.refusals import refusals
from chains.core.situation import PlanVolume, Refusal, Situation

_MERGED = re.compile(r"-merged-[0-9]+$")
# The longest name a Linux file system takes, in bytes, less room for our own suffix.
NAME_BYTES = 200


class PlanError(StrataError):
    """base and top are not two layers of one chain; the text says what they are."""


@dataclass(frozen=True)
class Plan:
    """One strategy for base…top, with its cost. Bytes; paths relative to the domain's root."""

    strategy: str
    layers: tuple[str, ...]  # top first, base last
    below: str | None
    below_format: str | None
    active: bool  # top is an active layer, and keeps its path
    new_format: str
    cluster_size: int | None
    virtual_size: int
    directory: str
    overlays: tuple[str, ...]
    removed: tuple[str, ...]
    restore_points: tuple[str, ...]
    bytes_to_copy: int | None
    bytes_read: int | None
    bytes_written: int | None
    space_needed: int | None
    space_free: int | None
    space_won: int | None  # once what is kept aside is purged
    refusals: tuple[Refusal, ...] = ()
    extended_l2: bool = False
    by_reference: bool = False  # the file system shares the blocks with the new volume
    keep_seconds: int = 0  # how long an undo is possible
    copied_aside: str | None = None  # what is written in place, and kept as a shared copy of itself
    token: str = ""  # of the directory for what is kept aside: numbers alone may come again
    overhead: int = 0  # of a plan: the bytes that could be moved in the time lost besides

    @property
    def top(self) -> str:
        """The highest layer that the merge joins."""
        return self.layers[0]

    @property
    def base(self) -> str:
        """The lowest layer that the merge joins."""
        return self.layers[-1]

    @property
    def digest(self) -> str:
        """What stands for a plan in a confirmation: its work, not the free space of the moment."""
        facts = [self.strategy, *self.layers, self.below or "", *self.overlays]
        facts.append(str(self.bytes_to_copy))
        return hashlib.sha256(os.fsencode("\0".join(facts))).hexdigest()[:32]

    @property
    def left_over(self) -> tuple[str, ...]:
        """The volumes that stand there without use after the switch: an active top took base's file."""
        taken = {self.base} if self.strategy == Strategy.COMMIT and self.active else set()
        return tuple(path for path in self.removed if path not in taken)

    @property
    def burden(self) -> int:
        """Bytes read, written and compared, and those that could be in the time lost besides (Costs)."""
        if self.bytes_read is None or self.bytes_written is None:
            return 0
        compared = 2 * (self.bytes_to_copy or 0)
        return self.bytes_read + self.bytes_written + compared + self.overhead

    def new_path(self, number: int | str) -> str:
        """Where the joined volume ends up: the active layer's own path, else base's for a commit, top's
        for a rebase, and base's name with the number for a new volume.
        """
        if self.active or self.strategy == Strategy.REBASE:
            return self.top
        if self.strategy == Strategy.COMMIT:
            return self.base
        name = PurePosixPath(self.base)
        stem = _MERGED.sub("", name.stem)
        while len(stem.encode(errors="surrogateescape")) > NAME_BYTES:
            stem = stem[:-1]
        suffix = name.suffix if len(name.suffix) < 20 else ""
        return str(PurePosixPath(self.directory) / f"{stem}-merged-{number}{suffix}")

    def aside(self, path: str, number: int | str) -> str:
        """Where an old layer is kept for an undo: beside its place, so that its backing name holds."""
        name = PurePosixPath(path)
        mark = f"{number}-{self.token}" if self.token else str(number)
        return str(name.parent / f"{KEPT}{mark}" / name.name)

    def temporary_path(self, number: int | str) -> str:
        """Where the new volume is built; scans pass over names that begin so."""
        return str(PurePosixPath(self.directory) / f"{TEMPORARY}{number}.tmp")

    def same_work(self, other: "Plan") -> bool:
        """Whether both join the same layers in the same way: what a confirmed plan is held to."""
        facts = ("strategy", "layers", "below", "active", "new_format", "overlays", "virtual_size")
        return all(getattr(self, fact) == getattr(other, fact) for fact in facts)

    def to_json(self) -> dict[str, Any]:
        """Lossless for `from_json`: names may hold lone surrogates, so they travel escaped as ASCII."""
        plain = dict(self.__dict__)
        plain["refusals"] = [[r.code, r.text] for r in self.refusals]
        return {key: _pack(value) for key, value in plain.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan that `to_json` wrote, perhaps with facts of the merge beside it."""
        known = {field.name for field in fields(cls)}
        # Plans of merges that are long over have fewer figures.
        plain: dict[str, Any] = {"bytes_read": None, "bytes_written": None}
        plain |= {key: _unpack(value) for key, value in data.items() if key in known}
        plain["refusals"] = tuple(Refusal(*pair) for pair in plain["refusals"])
        return cls(**plain)


# Scans pass over files and directories that are named so.
TEMPORARY = ".strata-merge-"
KEPT = ".strata-kept-"


def _pack(value: Any) -> Any:
    if isinstance(value, str):
        return {"hex": value.encode(errors="surrogateescape").hex()} if not _plain(value) else value
    if isinstance(value, (tuple, list)):
        return [_pack(item) for item in value]
    return value


def _plain(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]).decode(errors="surrogateescape")
    if isinstance(value, list):
        return tuple(_unpack(item) for item in value)
    return value


def layers_between(situation: Situation, base: str, top: str) -> list[PlanVolume]:
    """The layers from top down to base; raises PlanError when base is not under top."""
    if not {base, top} <= set(situation.volumes):
        raise _not_below(base, top)
    if base == top:
        raise PlanError("base and top are the same volume: a merge joins at least two layers")
    layers, path = [], top
    while True:
        volume = situation.volumes[path]
        layers.append(volume)
        if path == base:
            return layers
        below = volume.backing_path
        if below is None or below not in situation.volumes or len(layers) > len(situation.volumes):
            raise _not_below(base, top)
        path = below


def _not_below(base: str, top: str) -> PlanError:
    return PlanError(
        f"{display(base)} is not below {display(top)}: name two layers of one chain, base first"
    )


def plan_merge(
    situation: Situation,
    base: str,
    top: str,
    maps: Sequence[ExtentMap] | None,
    strategy: Strategy = Strategy.CONVERT,
) -> Plan:
    """Plan one way to join base…top.

    `maps` are the extents of the chain from top down to its root; None when they have not been
    read, and then the costs are None and the plan is refused until they are. Raises PlanError.
    """
    layers = layers_between(situation, base, top)
    below = layers[-1].backing_path
    under = situation.volumes.get(below) if below else None
    overlays = tuple(situation.overlays(top))
    active = not overlays
    written = _written(layers, strategy, renewed=active or under is not None)
    paths = tuple(layer.path for layer in layers)
    removed = _removed(situation, paths, strategy, active=active)
    plan = Plan(
        strategy.value, paths, below, under.format if under else None, active, written.format,
        written.cluster_size, layers[0].virtual_size,
        str(PurePosixPath(base if strategy is Strategy.CONVERT and not active else top).parent),
        () if strategy is Strategy.REBASE else overlays, removed,
        removed if strategy is Strategy.REBASE else paths[1:],
        None, None, None, None, situation.free, None, extended_l2=written.extended_l2,
        by_reference=strategy is Strategy.CONVERT and under is None and situation.shares_blocks,
        **_undo(situation, paths, strategy),
    )  # fmt: skip
    if maps is not None:
        plan = _with_costs(situation, plan, maps)
    return replace(plan, refusals=tuple(refusals(situation, plan, layers)))


def _undo(situation: Situation, paths: tuple[str, ...], strategy: Strategy) -> dict[str, Any]:
    """A commit takes base's restore point: it can be undone only from a copy that shares its blocks."""
    written = {Strategy.COMMIT: paths[-1], Strategy.REBASE: paths[0]}.get(strategy)
    copied = written if situation.shares_blocks and situation.keep_seconds else None
    possible = strategy is not Strategy.COMMIT or copied
    return {"keep_seconds": situation.keep_seconds if possible else 0, "copied_aside": copied}


def plans(
    situation: Situation, base: str, top: str, maps: Sequence[ExtentMap] | None
) -> list[Plan]:
    """Plan every way to join base…top, legal or not, the recommended one first. Raises PlanError."""
    found = [plan_merge(situation, base, top, maps, strategy) for strategy in Strategy]
    return sorted(found, key=lambda plan: (bool(plan.refusals), plan.burden, plan.strategy))


def _written(layers: Sequence[PlanVolume], strategy: Strategy, *, renewed: bool) -> PlanVolume:
    """The volume whose format and cluster size the joined one has."""
    if strategy is Strategy.COMMIT:
        return layers[-1]
    if strategy is Strategy.REBASE:
        return layers[0]
    return layers[0] if renewed and layers[0].format == "qcow2" else layers[-1]


def _removed(
    situation: Situation, paths: tuple[str, ...], strategy: Strategy, *, active: bool
) -> tuple[str, ...]:
    """The volumes that nothing reads afterwards: a rebase leaves what other overlays need."""
    if strategy is Strategy.REBASE:
        kept = 1
        for upper, path in pairwise(paths):
            if situation.overlays(path) != [upper]:
                break
            kept += 1
        return paths[1:kept]
    if strategy is Strategy.COMMIT:
        return paths[1:] if active else paths[:-1]
    return paths[1:] if active else paths


def _with_costs(situation: Situation, plan: Plan, maps: Sequence[ExtentMap]) -> Plan:
    count = len(plan.layers)
    found = costs(
        maps, count, Strategy(plan.strategy), plan.cluster_size, shares_blocks=plan.by_reference
    )
    # What is written over in place keeps its old blocks too, while a copy shares them.
    needed = max(found.extra, found.written) if plan.copied_aside else found.extra
    gone = set(plan.removed)
    if plan.active and plan.strategy != Strategy.REBASE:
        # One of the two old files goes for the joined volume that takes its name.
        gone ^= {plan.top, plan.base} if plan.strategy == Strategy.COMMIT else {plan.top}
    won = sum(situation.volumes[path].on_disk for path in gone) - found.extra
    return replace(
        plan, bytes_to_copy=found.copied, bytes_read=found.read, bytes_written=found.written,
        space_needed=needed, space_won=won, overhead=found.overhead,
    )  # fmt: skip
