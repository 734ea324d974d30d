"""The redirected reads of a disk, as its page shows them: picture, figures and the way to zoom."""

import os
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chains.core.copies import CopyTable
from chains.core.measure import QEMU_L2_CACHE, MergeCost, merge_costs
from chains.core.names import display
from chains.core.reads import Slice, slice_view
from chains.diagrams.palette import colour_class
from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.types import ReadsPicture, ReadsRow
from chains.inventory import blockmaps
from chains.inventory.recent import disk_view
from chains.models import BlockMap, Disk, Volume, VolumeMap
from chains.web.pictures import svg
from chains.words.numbers import binary, position

COLUMNS = 32
# Of longer chains the page shows the merges of neighbours, and of the whole; the API has all.
ALL_MERGES_UP_TO = 8
# What a list on the page may have: the rest is told in one line.
MOST_ROWS = 24


@dataclass(frozen=True)
class LayerFigure:
    """One layer's part, in bytes; `colour` is the class that the picture paints it with.

    `unreachable` is what none of the `leaves` above reads, None while that is not known.
    """

    volume: Volume
    colour: str
    allocated: int
    zeroed: int
    answered: int
    shadowed: int
    l2_bytes: int
    unreachable: int | None
    leaves: int | None

    @property
    def beyond_cache(self) -> bool:
        """Whether QEMU's default cache is too small for its L2 tables."""
        return self.l2_bytes > QEMU_L2_CACHE


@dataclass(frozen=True)
class ShownMerge:
    """What a merge of base…top would copy, by strategy; bytes."""

    base: Volume
    top: Volume
    layers: int
    cost: MergeCost


@dataclass(frozen=True)
class Reads:
    """All that the page shows of the reads; `state` is ready, computing, changed or error."""

    state: str
    error: str = ""
    read_at: Any = None
    picture: SafeString | None = None
    layers: tuple[LayerFigure, ...] = ()
    mean_hops: float = 0.0
    max_hops: int = 0
    shadowed: int = 0
    unanswered: int = 0
    start: int = 0
    length: int = 0
    size: int = 0
    block: int = 0
    links: dict[str, str] | None = (
        None  # whole, out, previous, next: addresses, "" where there is none
    )
    live: bool = False  # a guest wrote the active layer while it was read
    merges: tuple[ShownMerge, ...] = ()
    all_merges: bool = True

    @property
    def legend(self) -> list[LayerFigure]:
        """The layers that answer most, in the order of the chain."""
        most = sorted(self.layers, key=lambda layer: layer.answered, reverse=True)[:MOST_ROWS]
        chosen = {layer.volume.pk for layer in most}
        return [layer for layer in self.layers if layer.volume.pk in chosen]

    @property
    def others(self) -> tuple[int, int]:
        """How many layers the legend leaves out, and what they answer together."""
        listed = self.legend
        answered = sum(layer.answered for layer in self.layers)
        return len(self.layers) - len(listed), answered - sum(layer.answered for layer in listed)

    @property
    def l2_bytes(self) -> int:
        """The L2 tables of all layers."""
        return sum(layer.l2_bytes for layer in self.layers)

    @property
    def beyond_cache(self) -> int:
        """How many layers have more L2 tables than QEMU caches by default."""
        return sum(layer.beyond_cache for layer in self.layers)


def reads(disk: Disk, volumes: list[Volume], query: QueryDict) -> Reads:
    """What is stored of the disk's block map: what fits, else what fitted before the layers changed."""
    row = BlockMap.objects.filter(disk=disk).defer("data").first()
    if row is None:
        return Reads("computing")
    fresh = row.fingerprint == blockmaps.stored_fingerprint(volumes)
    if fresh and row.error:
        return Reads("error", row.error, row.read_at)
    view = disk_view(row, volumes)
    if view is None or len(row.figures.get("layers", ())) != len(volumes):
        return Reads("computing", read_at=row.read_at)
    resolved = view.resolved
    cluster = max([volume.cluster_size or 512 for volume in volumes])
    start, length = _slice(query, resolved.size, cluster)
    part = slice_view(view.maps, resolved, start, length, COLUMNS, cluster)
    facts = row.figures
    layers = _layer_figures(volumes, facts["layers"])
    table = blockmaps.stored_copies(row)
    return Reads(
        "ready" if fresh else "changed", "", row.read_at, _draw(disk, volumes, part, cluster), layers,
        facts["mean_hops"], facts["max_hops"], sum(layer.shadowed for layer in layers),
        facts["unanswered"], start, length, resolved.size,
        int(part.edges[1] - part.edges[0]) if len(part.edges) > 1 else 0,
        _links(disk, start, length, resolved.size, cluster), row.live, _merges(volumes, table),
        len(volumes) <= ALL_MERGES_UP_TO,
    )  # fmt: skip


def _layer_figures(volumes: list[Volume], parts: list[dict[str, int]]) -> tuple[LayerFigure, ...]:
    reach = {
        pk: (lost, leaves)
        for pk, lost, leaves in VolumeMap.objects.filter(volume__in=volumes).values_list(
            "volume_id", "unreachable", "leaves"
        )
    }
    return tuple(
        LayerFigure(
            volume, colour_class(index), part["allocated"], part["zeroed"], part["answered"],
            part["shadowed"], part["l2_bytes"], *reach.get(volume.pk, (None, None)),
        )
        for index, (volume, part) in enumerate(zip(volumes, parts, strict=True))
    )  # fmt: skip


def _merges(volumes: list[Volume], table: CopyTable | None) -> tuple[ShownMerge, ...]:
    """The merges of the chain; of a long one the longest, and those of neighbours that copy least."""
    if table is None or table.depth_count != len(volumes):
        return ()
    costs = list(merge_costs(table, ALL_MERGES_UP_TO))
    if len(volumes) > ALL_MERGES_UP_TO:
        costs.sort(key=lambda cost: (cost.base - cost.top == 1, cost.commit, cost.top))
        costs = costs[:MOST_ROWS]
    return tuple(
        ShownMerge(volumes[cost.base], volumes[cost.top], cost.base - cost.top + 1, cost)
        for cost in costs
    )


def _slice(query: QueryDict, size: int, cluster: int) -> tuple[int, int]:
    """The part of the disk that is asked for, on cluster borders; the whole disk where it makes no sense."""
    try:
        start, end = int(query.get("from", "0")), int(query.get("to", str(size)))
    except ValueError:
        return 0, size
    start = max(0, min(start, size)) // cluster * cluster
    end = min(-(-max(end, start) // cluster) * cluster, size)
    return (start, end - start) if end > start else (0, size)


def _address(disk: Disk, start: int, end: int) -> str:
    return f"{reverse('disk', args=[disk.pk])}?from={start}&to={end}#reads"


def _links(disk: Disk, start: int, length: int, size: int, cluster: int) -> dict[str, str]:
    whole = reverse("disk", args=[disk.pk]) + "#reads"
    if length >= size:
        return {"whole": "", "out": "", "previous": "", "next": ""}
    wide = min(length * 8, size)
    left = max(0, min(start - (wide - length) // 2, size - wide)) // cluster * cluster
    return {
        "whole": whole,
        "out": whole if wide >= size else _address(disk, left, left + wide),
        "previous": _address(disk, max(0, start - length), start) if start > 0 else "",
        "next": _address(disk, start + length, min(size, start + 2 * length))
        if start + length < size
        else "",
    }


def _draw(disk: Disk, volumes: list[Volume], view: Slice, cluster: int) -> SafeString:
    columns = len(view.edges) - 1
    starts = [int(edge) for edge in view.edges[:-1]]
    lengths = [int(view.edges[n + 1] - view.edges[n]) for n in range(columns)]
    rows = []
    for index, volume in enumerate(volumes):
        answered = view.answered[index]
        held = answered + view.shadowed[index]
        rows.append(ReadsRow(
            key=f"r{index}", name=os.path.basename(volume.path), path=volume.path,
            url=reverse("volume", args=[volume.pk]),
            held=[int(held[n]) / lengths[n] for n in range(columns)],
            answered=[int(answered[n]) / lengths[n] for n in range(columns)],
            detail=[_detail(volume, starts[n], lengths[n], int(held[n]), int(answered[n])) for n in range(columns)],
        ))  # fmt: skip
    owner = [
        int(view.answered[:, n].argmax()) if view.answered[:, n].any() else -1
        for n in range(columns)
    ]
    urls = [
        _address(disk, start, start + length) if length > cluster else ""
        for start, length in zip(starts, lengths, strict=True)
    ]
    return svg(
        reads_dot(ReadsPicture(starts, lengths, rows, owner, urls)),
        _("Redirected reads of %(disk)s") % {"disk": disk.name},
    )


def _detail(volume: Volume, start: int, length: int, held: int, answered: int) -> str:
    if not held:
        return ""
    name = display(os.path.basename(volume.path))
    return _("%(layer)s: holds %(held)s of the %(length)s at %(start)s, answers %(answered)s") % {
        "layer": name, "held": binary(held), "length": binary(length),
        "start": position(start), "answered": binary(answered),
    }  # fmt: skip
