"""Who has the volumes of a domain open, and what merges left there."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chains.core.forest import Forest
from chains.core.plans import KEPT, TEMPORARY
from chains.core.states import UNFINISHED
from chains.core.states import Kept as KeptState
from chains.inventory.reading import Reading
from chains.models import DomainKind, Merge, StorageDomain
from chains.storage import mounts
from chains.storage.locks import LockTable, named_by_stat, tells_of_others

_NUMBER = re.compile(f"(?:{re.escape(TEMPORARY)}|{re.escape(KEPT)})([0-9]{{1,18}})")


@dataclass(frozen=True)
class Usage:
    """By path: True for a volume that a process has open, None where nobody can tell."""

    states: Mapping[str, bool | None] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    locks_prove: bool = True

    @classmethod
    def of(cls, domain: StorageDomain, reading: Reading) -> "Usage":
        """As the kernel and the journal of merges tell it now."""
        left = _leftovers(reading)
        if domain.kind == DomainKind.OVIRT_BLOCK:
            # Locks sit on device nodes, which are other ones on each host.
            return cls(dict.fromkeys(reading.forest.layers), left, locks_prove=False)
        mount = mounts.mount_at(domain.path)
        return cls(_states(domain.path, reading.forest, mount), left, tells_of_others(mount))


def _states(root: str, forest: Forest, mount: mounts.Mount | None) -> dict[str, bool | None]:
    """One look at the kernel's table of locks tells of local files; elsewhere each leaf is asked, and
    what lies below it is as it is.
    """
    table = LockTable.read()
    devices = {layer.fingerprint.device for layer in forest.layers.values()}
    local = {device for device in devices if table.is_whole and named_by_stat(device, mount)}
    states: dict[str, bool | None] = {}
    below: list[str] = []
    for path, layer in forest.layers.items():
        file = layer.fingerprint
        if file.device in local:
            states[path] = table.holds(file.device, file.inode)
        elif forest.overlays.get(path):
            below.append(path)
        else:
            states[path] = table.state(os.path.join(root, path), mount)
    if below:
        _follow_down(forest, states)
        return {path: states.get(path) for path in forest.layers}
    return states


def _follow_down(forest: Forest, states: dict[str, bool | None]) -> None:
    """A layer is in use when a leaf above it is, and free when all of them are."""
    for leaf in forest.leaves:
        state = states.get(leaf)
        place = forest.layers[leaf].backing_path
        seen = {leaf}
        while place is not None and place in forest.layers and place not in seen:
            seen.add(place)
            before = states.get(place, False)
            states[place] = (
                True if True in (before, state) else None if None in (before, state) else False
            )
            place = forest.layers[place].backing_path


def _leftovers(reading: Reading) -> tuple[str, ...]:
    numbers = {path: _number(path) for path in reading.leftovers}
    if not numbers:
        return ()
    merges = Merge.objects.filter(pk__in=[n for n in numbers.values() if n is not None])
    held = {KeptState.KEPT.value, KeptState.UNDOING.value, KeptState.PURGING.value}
    known = {
        merge.pk for merge in merges.only("state", "kept")
        if merge.state in UNFINISHED or merge.kept in held
    }  # fmt: skip
    return tuple(path for path, number in numbers.items() if number not in known)


def _number(path: str) -> int | None:
    found = _NUMBER.match(path.rpartition("/")[2])
    return int(found[1]) if found else None
