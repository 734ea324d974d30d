"""Who has the volumes of a domain open, and what merges left there."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chains.core.plans import KEPT, TEMPORARY
from chains.core.states import UNFINISHED
from chains.core.states import Kept as KeptState
from chains.inventory.known import Known
from chains.inventory.reading import Reading
from chains.models import Merge, StorageDomain
from chains.storage.locks import in_use

_NUMBER = re.compile(f"(?:{re.escape(TEMPORARY)}|{re.escape(KEPT)})([0-9]{{1,18}})")


@dataclass(frozen=True)
class Usage:
    """By path: True for a volume that a process has open, None where nobody can tell."""

    states: Mapping[str, bool | None] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    locks_prove: bool = True

    @classmethod
    def of(cls, domain: StorageDomain, reading: Reading, known: Mapping[str, Known]) -> "Usage":
        """As the kernel and the journal of merges tell it now."""
        states = {path: _state(domain.path, path) for path in reading.forest.layers}
        return cls(states, _leftovers(reading))


def _state(root: str, path: str) -> bool | None:
    try:
        return in_use(os.path.join(root, path))
    except OSError:
        return None


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
