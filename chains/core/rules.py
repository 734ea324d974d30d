"""The rules over a whole domain: from its forest, its thresholds and its past to findings.

Each rule is a small generator; none of them reads storage. What a header alone tells is judged in
`health`, what holds two layers together in `links`; docs/findings.md has every code with its remedy.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chains.core.findings import Code, Finding, Severity, critical, info, warning
from chains.core.forest import Forest
from chains.core.layer import Layer
from chains.core.names import brief
from chains.core.notes import Notes
from chains.core.sprawl import winnable
from chains.core.thresholds import DAY, Thresholds
from chains.core.units import binary, span

# What is about to come or to go may take that long; then it was left behind.
PASSING_SECONDS = DAY


@dataclass(frozen=True)
class Site:
    """A domain as it was read, and what else is known of it. Sizes are bytes, times seconds since 1970.

    `in_use`: True, False, or None where nobody can tell. `dead` is what no guest above can read of a
    layer, as far as it is mapped; `copies` what joining the upper layers of a leaf's chain copies at
    best: core.sprawl. `checks` is what qemu-img check said of volumes that have not
    changed since; `map_errors` why the chain of a leaf could not be mapped. `growth` is bytes a
    second by which the free space shrinks; None while that is not known. `leftovers` are paths of
    Strata's own making that no merge knows.
    """

    forest: Forest
    notes: Mapping[str, Notes] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    now: float = 0.0
    in_use: Mapping[str, bool | None] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)
    copies: Mapping[str, Sequence[int]] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    map_errors: Mapping[str, str] = field(default_factory=dict)
    leftovers: Sequence[str] = ()
    capacity: int | None = None
    free: int | None = None
    growth: float | None = None
    locks_prove: bool = True

    @cached_property
    def chains(self) -> dict[str, list[Layer]]:
        """The layers below each leaf, the leaf first; cut where they can not be followed."""
        return {leaf: self._down(leaf) for leaf in self.forest.leaves}

    @cached_property
    def leaves_above(self) -> Counter[str]:
        """How many leaves read through each layer."""
        return Counter(layer.path for chain in self.chains.values() for layer in chain)

    def _down(self, leaf: str) -> list[Layer]:
        layers = self.forest.layers
        found, seen = [], set()
        path: str | None = leaf
        while path is not None and path in layers and path not in seen:
            seen.add(path)
            found.append(layers[path])
            path = layers[path].backing_path
        return found

    @cached_property
    def _snapshots(self) -> dict[str, list[Layer]]:
        above = self.leaves_above
        return {
            leaf: [layer for layer in chain[1:] if above[layer.path] == 1]
            for leaf, chain in self.chains.items()
        }

    def snapshots(self, chain: Sequence[Layer]) -> list[Layer]:
        """The frozen layers that only this chain has: what several disks share is a template."""
        return self._snapshots[chain[0].path]

    def age(self, path: str) -> float:
        """Seconds since a frozen layer was written last."""
        return self.now - self.forest.layers[path].mtime

    def is_passing(self, path: str) -> bool:
        """Whether the volume is about to come or to go."""
        found = self.notes.get(path)
        return found is not None and bool(found.passing)


def deep(site: Site) -> Iterator[Finding]:
    """Chains with more layers than the threshold."""
    most = site.thresholds.depth
    for leaf, chain in site.chains.items():
        if most and len(chain) > most:
            yield warning(
                Code.DEEP, leaf,
                f"The chain has {len(chain)} layers, more than {most}: each read that the upper layers"
                " can not answer goes down through them. Merge snapshots that nobody needs.",
            )  # fmt: skip


def snapshot_old(site: Site) -> Iterator[Finding]:
    """Disks whose oldest snapshot is older than the threshold."""
    most = site.thresholds.snapshot_seconds
    if not most:
        return
    for leaf, chain in site.chains.items():
        old = [layer for layer in site.snapshots(chain) if site.age(layer.path) > most]
        if old:
            oldest = max(old, key=lambda layer: site.age(layer.path))
            held = sum(layer.on_disk for layer in old)
            yield info(
                Code.SNAPSHOT_OLD, leaf,
                f"{_counted(len(old), 'snapshot')} of this disk {'is' if len(old) == 1 else 'are'} older"
                f" than {span(most)}; “{brief(oldest.path)}” has stood for"
                f" {int(site.age(oldest.path) // DAY)} days. Merge what nobody will return to.", held,
            )  # fmt: skip


def snapshot_large(site: Site) -> Iterator[Finding]:
    """Snapshots that hold more than the threshold's share of their disk; root layers are none."""
    most = site.thresholds.snapshot_percent
    if not most:
        return
    for leaf, chain in site.chains.items():
        size = chain[0].virtual_size
        large = [
            layer for layer in site.snapshots(chain)
            if layer.backing_file is not None and layer.on_disk * 100 > size * most
        ]  # fmt: skip
        if large:
            worst = max(large, key=lambda layer: layer.on_disk)
            yield info(
                Code.SNAPSHOT_LARGE, leaf,
                f"The snapshot “{brief(worst.path)}” holds {binary(worst.on_disk)}, more than {most} % of"
                f" its disk of {binary(size)}. Merging it takes long, and longer the later it is done.",
                worst.on_disk,
            )  # fmt: skip


def merge_wins(site: Site) -> Iterator[Finding]:
    """Disks whose merge would surely give back more than the threshold."""
    least = site.thresholds.winnable
    if not least:
        return
    for leaf, chain in site.chains.items():
        own = [chain[0], *site.snapshots(chain)]
        if len(own) < 2:
            continue
        held = sum(layer.on_disk for layer in own)
        dead = sum(site.dead.get(layer.path, 0) for layer in own)
        if (won := winnable(held, chain[0].virtual_size, dead)) > least:
            yield info(
                Code.MERGE_WINS, leaf,
                f"Merging this disk's layers would give back {binary(won)} or more, which no guest reads."
                " Plan the merge on the disk's page.", won,
            )  # fmt: skip


def unreferenced(site: Site) -> Iterator[Finding]:
    """Leaves that no VM owns, in a domain that names the owners of others."""
    owned = {path for path, notes in site.notes.items() if notes.vm}
    if not owned:
        return
    for leaf, chain in site.chains.items():
        if leaf in owned or site.is_passing(leaf):
            continue
        alone = [layer for layer in chain if site.leaves_above[layer.path] == 1]
        held = sum(layer.on_disk for layer in alone)
        yield warning(
            Code.UNREFERENCED, leaf,
            f"No VM that Strata knows of uses this disk, which alone holds {binary(held)}. Make sure that"
            " none does, then remove it where it was made.", held,
        )  # fmt: skip


def in_use(site: Site) -> Iterator[Finding]:
    """Leaves that a process has open, and domains where a free lock proves nothing."""
    for path, used in site.in_use.items():
        if used and path in site.chains:
            yield info(
                Code.IN_USE, path,
                "A process has this disk open, most likely a running guest. Its layers are not merged"
                " while it runs.",
            )  # fmt: skip
    if not site.locks_prove:
        yield info(
            Code.IN_USE_UNKNOWN, "",
            "Locks of other hosts can not be seen on this storage: that a disk looks free proves nothing."
            " Make sure that its VM is shut down before you merge.",
        )  # fmt: skip


def leftovers(site: Site) -> Iterator[Finding]:
    """What merges left behind."""
    for path in site.leftovers:
        yield warning(
            Code.LEFTOVER, path,
            "Strata made this for a merge that no longer knows of it: one that was broken off with its"
            " database, or another installation's. When no other Strata works here, remove it.",
        )  # fmt: skip


def passing_long(site: Site) -> Iterator[Finding]:
    """Volumes that have been about to come or to go for longer than that takes."""
    for path, notes in site.notes.items():
        layer = site.forest.layers.get(path)
        if layer is not None and notes.passing and site.now - layer.mtime > PASSING_SECONDS:
            yield warning(
                Code.PASSING_LONG, path,
                f"The volume {notes.passing}, for more than {span(PASSING_SECONDS)}: what was to finish that"
                f" has failed. It holds {binary(layer.on_disk)}.", layer.on_disk,
            )  # fmt: skip


def checked(site: Site) -> Iterator[Finding]:
    """What qemu-img check said of volumes as they are now."""
    for path, said in site.checks.items():
        if path not in site.forest.layers:
            continue
        if said.get("corruptions") or said.get("check_errors"):
            yield critical(
                Code.CHECK_CORRUPT, path,
                f"qemu-img check found {said.get('corruptions', 0)} corruptions: parts of the layer overlap, are"
                " counted wrong, or lie beyond the end of a file that was cut short, and writing to it"
                " destroys data. Restore the volume from a backup; if"
                " there is none, repair a copy with qemu-img check -r all.",
            )  # fmt: skip
        elif leaks := int(said.get("leaks", 0)):
            held = leaks * (
                site.forest.layers[path].cluster_size or int(said.get("cluster_size", 0))
            )
            yield warning(
                Code.LEAKED, path,
                f"qemu-img check found {leaks} leaked clusters ({binary(held)}): space that is taken and not"
                " used. It does no harm; qemu-img check -r leaks gives it back with the disk shut down.", held,
            )  # fmt: skip


def map_failed(site: Site) -> Iterator[Finding]:
    """Chains whose tables could not be read, where no finding of their layers says why."""
    if not site.map_errors:
        return
    bad = {found.path for found in site.forest.findings if found.severity is Severity.CRITICAL}
    for leaf, why in site.map_errors.items():
        if leaf in site.chains and bad.isdisjoint(layer.path for layer in site.chains[leaf]):
            yield warning(
                Code.MAP_FAILED, leaf,
                f"The block map of this disk could not be read: {brief(why, 400)}",
            )  # fmt: skip


def space_low(site: Site) -> Iterator[Finding]:
    """Less free space than the domain's reserve."""
    least = site.thresholds.reserve_percent
    if (
        least
        and site.capacity
        and site.free is not None
        and site.free * 100 < site.capacity * least
    ):
        yield warning(
            Code.SPACE_LOW, "",
            f"Only {binary(site.free)} of {binary(site.capacity)} are free, less than {least} %. A guest that"
            " needs more stops, and a merge may have no room: free some space, or extend the domain.", site.free,
        )  # fmt: skip


def space_ends(site: Site) -> Iterator[Finding]:
    """Growth that fills the domain within the threshold's time."""
    most = site.thresholds.full_within_seconds
    if not (most and site.growth and site.growth > 0 and site.free is not None):
        return
    left = site.free / site.growth
    if left < most:
        yield warning(
            Code.SPACE_ENDS, "",
            f"The domain has grown by {binary(int(site.growth * DAY))} a day lately and is full in about"
            f" {max(1, round(left / DAY))} days. Merge snapshots, remove what nobody uses, or extend it.", site.free,
        )  # fmt: skip


RULES: tuple[Callable[[Site], Iterator[Finding]], ...] = (
    deep, snapshot_old, snapshot_large, merge_wins, unreferenced, in_use, leftovers, passing_long,
    checked, map_failed, space_low, space_ends,
)  # fmt: skip


def judge(site: Site) -> list[Finding]:
    """What all rules find."""
    return [finding for rule in RULES for finding in rule(site)]


def endangered(forest: Forest, path: str) -> list[str]:
    """The leaves that read through a layer, itself when it is one: their guests would pause."""
    found, seen, queue = [], {path}, [path]
    for place in queue:
        over = [above for above in forest.overlays.get(place, ()) if above not in seen]
        if not forest.overlays.get(place) and place in forest.layers:
            found.append(place)
        seen.update(over)
        queue += over
    return found


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
