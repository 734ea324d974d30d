"""Why a merge is not carried out: each rule says what is wrong and what would help. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from chains.core.clusters import reserve
from chains.core.costs import Strategy
from chains.core.names import display, portable
from chains.core.situation import DATA_FILE, ENCRYPTION, PlanVolume, Refusal, Situation
from chains.core.units import binary

if TYPE_CHECKING:
    from chains.core.plans import Plan


def refusals(situation: Situation, plan: Plan, layers: Sequence[PlanVolume]) -> list[Refusal]:
    """Every reason why this plan is not carried out now; `layers` are those that it joins, top first."""
    found = []
    if situation.forbidden:
        found.append(Refusal("read-only", situation.forbidden))
    found += _unsafe(situation, plan)
    found += _siblings(situation, plan)
    found += _closed(situation, plan)
    found += _guessed(situation, plan)
    found += _features(plan, layers)
    found += _data_files(situation, plan)
    if plan.strategy == Strategy.COMMIT:
        found += _sizes(layers)
        found += _active(plan, layers)
    if plan.bytes_to_copy is None:
        text = (
            "The block maps of these layers have not been read yet, or have changed: a worker reads"
            " them now. Plan again in a moment."
        )
        found.append(Refusal("not-read", text))
    found += _space(plan)
    found += _users(situation, plan)
    return found


def _space(plan: Plan) -> list[Refusal]:
    needed, free = plan.space_needed, plan.space_free
    if needed is None or free is None:
        return []
    # The map does not tell all (see reserve()), and a disk that is full to the last byte helps nobody.
    spare = reserve(needed, plan.cluster_size)
    if needed + spare <= free:
        return []
    return [
        Refusal(
            "no-space",
            f"It needs {binary(needed)} and {binary(spare)} in reserve, and {binary(free)} are free:"
            f" free another {binary(needed + spare - free)} first, and scan the domain.",
        )
    ]


def _users(situation: Situation, plan: Plan) -> list[Refusal]:
    users = [path for path in concerned(situation, plan) if situation.volumes[path].in_use]
    if not users:
        return []
    names = ", ".join(display(path) for path in users)
    return [
        Refusal(
            "in-use",
            f"Open in another process (a running VM?) when the domain was scanned last: {names}."
            " Shut it down, and scan the domain again.",
        )
    ]


def concerned(situation: Situation, plan: Plan) -> list[str]:
    """base…top and everything above: the volumes that nobody may have open while they are re-tied."""
    found = list(plan.layers)
    queue = situation.overlays(plan.top)
    while queue:
        path = queue.pop()
        if path not in found:
            found.append(path)
            queue += situation.overlays(path)
    return found


def opened(situation: Situation, plan: Plan) -> list[str]:
    """Every volume that a tool would open: those concerned, and all that they read through."""
    chain, path = concerned(situation, plan), plan.below
    while path is not None and path in situation.volumes and path not in chain:
        chain.append(path)
        path = situation.volumes[path].backing_path
    return chain


def _unsafe(situation: Situation, plan: Plan) -> list[Refusal]:
    bad = [place for place in opened(situation, plan) if place in situation.critical]
    return [Refusal("unsafe", f"{display(place)}: {situation.critical[place]}") for place in bad]


def _closed(situation: Situation, plan: Plan) -> list[Refusal]:
    return [
        Refusal(
            "feature",
            f"{display(place)} carries {feature}: no tool is started on a chain that holds it.",
        )
        for place in opened(situation, plan)
        for feature in (DATA_FILE, ENCRYPTION)
        if feature in situation.volumes[place].features
    ]


def _guessed(situation: Situation, plan: Plan) -> list[Refusal]:
    """A tool guesses the format of a backing file that is not recorded, by what a guest wrote there."""
    return [
        Refusal(
            "format-unset",
            f"{display(place)} does not record the format of its backing file, so that a tool would"
            " guess it. Record it with qemu-img rebase -u -F, and scan the domain.",
        )
        for place in opened(situation, plan)
        if (volume := situation.volumes[place]).backing_path and volume.backing_format is None
    ]


def _siblings(situation: Situation, plan: Plan) -> list[Refusal]:
    """Other overlays would lose the layer that they read, or read something else in it."""
    if plan.strategy == Strategy.REBASE:
        return []  # it writes top only, and removes what nobody else reads
    done = "written" if plan.strategy == Strategy.COMMIT else "removed"
    found = []
    for upper, path in pairwise(plan.layers):
        others = [overlay for overlay in situation.overlays(path) if overlay != upper]
        if others:
            names = ", ".join(display(other) for other in others[:5])
            more = " …" if len(others) > 5 else ""
            how = done if path == plan.base else "removed"
            found.append(
                Refusal(
                    "shared",
                    f"{display(path)} would be {how}, but other overlays hang on it"
                    f" ({names}{more}): merge above it, or remove them first, and scan the domain.",
                )
            )
    return found


def _sizes(layers: Sequence[PlanVolume]) -> list[Refusal]:
    """What a shorter layer hides of base would show again once its data lies in base."""
    base = layers[-1]
    return [
        Refusal(
            "size",
            f"{display(layer.path)} is {binary(base.virtual_size - layer.virtual_size)} smaller than"
            f" {display(base.path)}: a commit would show again what it hides. Choose another way.",
        )
        for layer in layers[:-1]
        if layer.virtual_size < base.virtual_size
    ]


def _active(plan: Plan, layers: Sequence[PlanVolume]) -> list[Refusal]:
    """The active layer keeps its path: base takes it over, so it must be of the same kind."""
    top, base = layers[0], layers[-1]
    if not plan.active:
        return []
    if top.format != base.format:
        text = (
            f"The active layer is {top.format} and base is {base.format}: the guest's configuration"
            " would be wrong. Choose another way, or leave the active layer out of the merge."
        )
        return [Refusal("format", text)]
    if PurePosixPath(top.path).parent != PurePosixPath(base.path).parent:
        text = "The active layer and base lie in different directories. Choose another way."
        return [Refusal("folder", text)]
    return []


def _data_files(situation: Situation, plan: Plan) -> list[Refusal]:
    return [
        Refusal(
            "data-file",
            f"{display(path)} holds the data of {display(situation.data_files[path])}: it is neither"
            " written nor removed.",
        )
        for path in plan.layers
        if path in situation.data_files
    ]


def _features(plan: Plan, layers: Sequence[PlanVolume]) -> list[Refusal]:
    touched = {plan.top, *plan.removed} if plan.strategy == Strategy.REBASE else set(plan.layers)
    return [
        Refusal(
            "feature",
            f"{display(layer.path)} carries {portable(feature)}, which a merge would lose.",
        )
        for layer in layers
        for feature in layer.features
        if feature not in (DATA_FILE, ENCRYPTION) and layer.path in touched
    ]
