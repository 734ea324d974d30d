"""The redirected reads of a disk, as its page shows them: picture, figures and the way to zoom."""

from dataclasses import dataclass, field, replace
from typing import Any

from django.http import QueryDict
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from chains.core.copies import CopyTable
from chains.core.lens import AddressError, Answer
from chains.core.measure import QEMU_L2_CACHE, MergeCost, merge_costs
from chains.core.reads import Slice, slice_view
from chains.diagrams.palette import colour_class, heat_class, heat_level, heat_words
from chains.diagrams.reads_dot import reads_dot
from chains.inventory import blockmaps, lens
from chains.inventory.recent import DiskView, disk_view
from chains.models import BlockMap, Disk, Volume, VolumeMap
from chains.web.pictures import svg
from chains.web.reads_picture import Table, picture, table
from chains.web.reads_view import Wish, links

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
class HeatFigure:
    """The bytes that are answered so many hops down, and the colour that stands for it."""

    hops: str
    colour: str
    answered: int


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
    links: dict[str, str] = field(
        default_factory=dict
    )  # whole, in, out, previous, next and so on: addresses, "" where there is none
    files: tuple[tuple[str, str], ...] = ()  # kind of file, its address
    wish: Wish | None = None
    byte: lens.Found | None = None  # the answer for the byte that was asked for
    byte_error: str = ""
    table: Table | None = None
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
    def heat(self) -> list[HeatFigure]:
        """What is answered so many hops down, by the colours of hops."""
        sums: dict[int, int] = {}
        for hops, layer in enumerate(self.layers):
            level = heat_level(hops)
            sums[level] = sums.get(level, 0) + layer.answered
        return [
            HeatFigure(heat_words(level), heat_class(level), answered)
            for level, answered in sums.items()
        ]

    @property
    def others(self) -> tuple[int, int]:
        """How many layers the legend leaves out, and what they answer together."""
        listed = self.legend
        answered = sum(layer.answered for layer in self.layers)
        return len(self.layers) - len(listed), answered - sum(layer.answered for layer in listed)

    @property
    def shadows(self) -> dict[int, int]:
        """Bytes of each layer that overlays hide, by the id of its volume; empty when they changed."""
        layers = self.layers if self.state == "ready" else ()
        return {layer.volume.pk: layer.shadowed for layer in layers}

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
    shown = part_of(row, volumes, query)
    if shown is None or len(row.figures.get("layers", ())) != len(volumes):
        return Reads("computing", read_at=row.read_at)
    facts, wish, part = row.figures, shown.wish, shown.part
    at = None if shown.answer is None else shown.answer.at
    layers = _layer_figures(volumes, facts["layers"])
    drawn = reads_dot(picture(disk, volumes, part, wish, shown.answer))
    return Reads(
        "ready" if fresh else "changed", "", row.read_at,
        svg(drawn, _("Redirected reads of %(disk)s") % {"disk": disk.name}), layers,
        facts["mean_hops"], facts["max_hops"], sum(layer.shadowed for layer in layers),
        facts["unanswered"], wish.start, wish.length, wish.size,
        int(part.edges[1] - part.edges[0]) if len(part.edges) > 1 else 0,
        links(wish, disk, at) | _ways(wish, disk, at),
        tuple((kind, wish.file(disk, kind)) for kind in ("svg", "png", "dot")), wish,
        shown.byte, shown.byte_error,
        table(shown.view.resolved, volumes, part, wish) if wish.table else None, row.live,
        _merges(volumes, blockmaps.stored_copies(row)), len(volumes) <= ALL_MERGES_UP_TO,
    )  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A part of a disk's map as an address asks for it, and the byte that it asks for."""

    view: DiskView
    wish: Wish
    part: Slice
    byte: lens.Found | None
    byte_error: str

    @property
    def answer(self) -> Answer | None:
        """Who answers the byte that was asked for; None when none was, or none that the disk has."""
        return None if self.byte is None else self.byte.answer


def part_of(row: BlockMap, volumes: list[Volume], query: QueryDict) -> Shown | None:
    """What an address asks for; None when a part of the stored map is missing."""
    view = disk_view(row, volumes)
    if view is None or view.resolved.depth_count != len(volumes):
        return None
    cluster = max([volume.cluster_size or 512 for volume in volumes])
    wish = Wish.of(query, view.resolved.size, cluster)
    part = slice_view(view.maps, view.resolved, wish.start, wish.length, COLUMNS, cluster)
    byte, error = None, ""
    if wish.at:
        try:
            byte = lens.look(view.resolved, volumes, wish.at)
        except AddressError as wrong:
            error = str(wrong)
    return Shown(view, wish, part, byte, error)


def _ways(wish: Wish, disk: Disk, at: int | None) -> dict[str, str]:
    """Other ways to look at the same: by layer, by hops, as a table; near the byte that was asked for."""
    found = {
        "layer": replace(wish, by_hops=False).address(disk),
        "hops": replace(wish, by_hops=True).address(disk),
        "table": replace(wish, table=not wish.table).address(disk),
        "near": "", "forget": replace(wish, at="").address(disk) if wish.at else "",
    }  # fmt: skip
    if at is not None and (near := wish.near(at)) != wish:
        found["near"] = near.address(disk)
    return found


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
