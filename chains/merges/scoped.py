"""Scopes on the chains of the inventory: which volumes are base and top of what somebody wishes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils import timezone

from chains.core.errors import StrataError
from chains.core.scopes import Nothing, Scope, ScopeLayer, run_of
from chains.inventory import selectors
from chains.models import Disk, Volume


class NothingToJoinError(StrataError):
    """The scope joins nothing of this chain; the text says why."""


@dataclass(frozen=True)
class ScopedRun:
    """base and top of a scope in one chain; `note` is what it can not reach."""

    base: Volume
    top: Volume
    note: str = ""


def run_in(
    chain: Sequence[Volume], overlays: Callable[[Volume], int], scope: Scope
) -> ScopedRun | Nothing:
    """What a scope joins of a chain, active layer first; `overlays` counts those of a volume."""
    layers = [ScopeLayer(volume.path, volume.modified, overlays(volume)) for volume in chain]
    found = run_of(layers, scope, timezone.now())
    if isinstance(found, Nothing):
        return found
    return ScopedRun(chain[found.base], chain[found.top], found.note)


def run_of_disk(disk: Disk, scope: Scope) -> ScopedRun:
    """What a scope joins of one disk; raises NothingToJoinError."""
    chain = selectors.chain_of(disk.active)
    counts = selectors.overlay_counts(chain)
    found = run_in(chain, lambda volume: counts[volume.pk], scope)
    if isinstance(found, Nothing):
        raise NothingToJoinError(found.reason)
    return found
