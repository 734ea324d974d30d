"""Merge plans: what a merge of base…top would do, cost and destroy, or why it is refused. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from chains.core.errors import StrataError
from chains.core.extents import ExtentMap
from chains.core.names import display, portable
from chains.core.reads import merge_bytes
from chains.core.units import binary

CONVERT = "convert"
# Features of a volume that keep every tool off each chain that holds it: nobody but the layer itself
# says where its data lives, or Strata has no key to it.
DATA_FILE = "an external data file"
ENCRYPTION = "encryption"
MIB = 1024**2
_MERGED = re.compile(r"-merged-[0-9]+$")
# The longest name a Linux file system takes, in bytes, less room for our own suffix.
NAME_BYTES = 200


class PlanError(StrataError):
    """base and top are not two layers of one chain; the text says what they are."""


@dataclass(frozen=True)
class PlanVolume:
    """What the planner needs to know of one volume; sizes in bytes, paths relative to the root."""

    path: str
    format: str
    virtual_size: int
    on_disk: int
    cluster_size: int | None
    backing_path: str | None
    features: tuple[str, ...] = ()
    in_use: bool = False


@dataclass(frozen=True)
class Situation:
    """A domain as the planner sees it: its volumes, what is wrong with them, its free space."""

    volumes: Mapping[str, PlanVolume]
    critical: Mapping[str, str]  # path → what makes it unsafe
    free: int | None
    read_only: bool = False

    def overlays(self, path: str) -> list[str]:
        """The volumes whose backing file this is, in a stable order."""
        return sorted(v.path for v in self.volumes.values() if v.backing_path == path)


@dataclass(frozen=True)
class Refusal:
    """One reason why a merge can not be done, and what would help."""

    code: str
    text: str


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
    space_needed: int | None
    space_free: int | None
    space_won: int | None
    refusals: tuple[Refusal, ...] = ()

    @property
    def top(self) -> str:
        """The highest layer that the merge joins."""
        return self.layers[0]

    @property
    def base(self) -> str:
        """The lowest layer that the merge joins."""
        return self.layers[-1]

    def new_path(self, number: int | str) -> str:
        """Where the new volume ends up: the active layer's own path, or base's name with the number."""
        if self.active:
            return self.top
        name = PurePosixPath(self.base)
        stem = _MERGED.sub("", name.stem)
        while len(stem.encode(errors="surrogateescape")) > NAME_BYTES:
            stem = stem[:-1]
        suffix = name.suffix if len(name.suffix) < 20 else ""
        return str(PurePosixPath(self.directory) / f"{stem}-merged-{number}{suffix}")

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
        """The plan that `to_json` wrote."""
        plain = {key: _unpack(value) for key, value in data.items()}
        plain["refusals"] = tuple(Refusal(*pair) for pair in plain["refusals"])
        return cls(**plain)


TEMPORARY = ".strata-merge-"


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
    for path in (base, top):
        if path not in situation.volumes:
            raise PlanError(
                f"{display(path)} is not a volume of this domain; scan it, or name another"
            )
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
            raise PlanError(
                f"{display(base)} is not below {display(top)}: name two layers of one chain, base first"
            )
        path = below


def plan_convert(
    situation: Situation, base: str, top: str, maps: Sequence[ExtentMap] | None
) -> Plan:
    """Plan the classic way: copy what base…top shows into a new volume, and put the overlays on it.

    `maps` are the extents of base…top, top first; None when they have not been read, and then the
    costs are None and the plan is refused until they are. Raises PlanError.
    """
    layers = layers_between(situation, base, top)
    paths = tuple(layer.path for layer in layers)
    below = layers[-1].backing_path
    under = situation.volumes.get(below) if below else None
    overlays = tuple(situation.overlays(top))
    active = not overlays
    new_format = layers[0].format if active or below else layers[-1].format
    cluster = (layers[0] if active else layers[-1]).cluster_size if new_format == "qcow2" else None
    copied = needed = won = None
    if maps is not None:
        copied = merge_bytes(maps).visible_data
        needed = copied + _metadata(copied, new_format, cluster or 65536)
        won = sum(layer.on_disk for layer in layers) - needed
    plan = Plan(
        CONVERT, paths, below, under.format if under else None, active, new_format, cluster,
        layers[0].virtual_size, str(PurePosixPath(top if active else base).parent),
        overlays, paths[1:] if active else paths, paths[1:], copied, needed, situation.free, won,
    )  # fmt: skip
    refusals = tuple(_refusals(situation, plan, layers))
    return Plan(**{**plan.__dict__, "refusals": refusals})


def _metadata(data: int, new_format: str, cluster: int) -> int:
    """Bytes that the new volume needs beside its data (qcow2 specification: 8-byte L2 entries, 16-bit refcounts)."""
    if new_format == "raw":
        return MIB
    clusters = -(-data // cluster)
    return clusters * 10 + 8 * cluster + 4 * MIB


def _refusals(situation: Situation, plan: Plan, layers: Sequence[PlanVolume]) -> list[Refusal]:
    found = []
    if situation.read_only:
        found.append(
            Refusal(
                "read-only", "The storage domain is read-only in Strata; an admin can change that."
            )
        )
    found += _unsafe(situation, plan)
    found += _siblings(situation, plan)
    found += _closed(situation, plan)
    found += _features(layers)
    if plan.bytes_to_copy is None:
        found.append(
            Refusal(
                "not-read",
                "The block maps of these layers have not been read yet, or have changed: a worker reads them now. Plan again in a moment.",
            )
        )
    if (
        plan.space_needed is not None
        and plan.space_free is not None
        and plan.space_needed > plan.space_free
    ):
        short = binary(plan.space_needed - plan.space_free)
        found.append(
            Refusal(
                "no-space",
                f"The new volume needs {binary(plan.space_needed)} and {binary(plan.space_free)} are free: free another {short} first.",
            )
        )
    users = [path for path in concerned(situation, plan) if situation.volumes[path].in_use]
    if users:
        names = ", ".join(display(path) for path in users)
        found.append(
            Refusal(
                "in-use",
                f"Open in another process (a running VM?) when the domain was scanned last: {names}. Shut it down, and scan the domain again.",
            )
        )
    return found


def concerned(situation: Situation, plan: Plan) -> list[str]:
    """base…top and everything above: the volumes that nobody may have open while they are re-tied."""
    found = list(plan.layers)
    queue = list(plan.overlays)
    while queue:
        path = queue.pop()
        if path not in found:
            found.append(path)
            queue += situation.overlays(path)
    return found


def _opened(situation: Situation, plan: Plan) -> list[str]:
    """Every volume that a tool would open: those concerned, and all that they read through."""
    chain, path = concerned(situation, plan), plan.below
    while path is not None and path in situation.volumes and path not in chain:
        chain.append(path)
        path = situation.volumes[path].backing_path
    return chain


def _unsafe(situation: Situation, plan: Plan) -> list[Refusal]:
    bad = [place for place in _opened(situation, plan) if place in situation.critical]
    return [Refusal("unsafe", f"{display(place)}: {situation.critical[place]}") for place in bad]


def _closed(situation: Situation, plan: Plan) -> list[Refusal]:
    return [
        Refusal(
            "feature",
            f"{display(place)} carries {feature}: no tool is started on a chain that holds it.",
        )
        for place in _opened(situation, plan)
        for feature in (DATA_FILE, ENCRYPTION)
        if feature in situation.volumes[place].features
    ]


def _siblings(situation: Situation, plan: Plan) -> list[Refusal]:
    found = []
    for upper, path in zip(plan.layers, plan.layers[1:], strict=False):
        others = [overlay for overlay in situation.overlays(path) if overlay != upper]
        if others:
            names = ", ".join(display(other) for other in others[:5]) + (
                " …" if len(others) > 5 else ""
            )
            found.append(
                Refusal(
                    "shared",
                    f"{display(path)} would be removed, but other overlays hang on it ({names}): merge above it, or remove them first.",
                )
            )
    return found


def _features(layers: Sequence[PlanVolume]) -> list[Refusal]:
    return [
        Refusal(
            "feature",
            f"{display(layer.path)} carries {portable(feature)}, which a new volume would lose.",
        )
        for layer in layers
        for feature in layer.features
        if feature not in (DATA_FILE, ENCRYPTION)
    ]
