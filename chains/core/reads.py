"""What the reads of a disk cost: from the maps of its layers to figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chains.core.extents import ExtentMap, Kind, sums_by
from chains.core.mapping import read_chain_maps
from chains.core.readmap import NOBODY, ReadMap, entries, json_lines, resolve
from chains.core.slices import Slice, slice_view

__all__ = [
    "NOBODY",
    "LayerFigures",
    "ReadFigures",
    "ReadMap",
    "Slice",
    "entries",
    "figures",
    "json_lines",
    "read_chain_maps",
    "resolve",
    "slice_view",
]


@dataclass(frozen=True)
class LayerFigures:
    """Bytes of one layer. `allocated` and `zeroed` are all that it holds, whether or not in view.

    `answered` is what it answers in this view, data and zeroes, `answered_data` the data of that.
    `shadowed` is the data that it holds and that nobody can see in this view: hidden by overlays,
    or beyond the end of the disk or of a layer above. `l2_bytes` is the size of its L2 tables.
    """

    allocated: int
    answered: int
    answered_data: int
    shadowed: int
    zeroed: int
    l2_bytes: int


@dataclass(frozen=True)
class ReadFigures:
    """Figures of a view: one LayerFigures a layer, active first, and how far reads travel.

    Hops are the index of the answering layer; the mean is weighted by bytes, over what some layer
    answers (0.0 when none does). `unanswered` are the bytes that no layer holds.
    """

    layers: tuple[LayerFigures, ...]
    mean_hops: float
    max_hops: int
    unanswered: int


def figures(maps: Sequence[ExtentMap], read_map: ReadMap) -> ReadFigures:
    """Sum up what each layer is good for in this view; `maps` are those that gave `read_map`."""
    totals = _totals(read_map)
    layers = []
    for layer, (zero, data) in zip(maps, totals[1:], strict=True):
        layers.append(
            LayerFigures(
                allocated=layer.allocated,
                answered=zero + data,
                answered_data=data,
                shadowed=layer.allocated - data,
                zeroed=layer.zeroed,
                l2_bytes=layer.l2_bytes,
            )
        )
    answered = [layer.answered for layer in layers]
    total = sum(answered)
    hops = sum(depth * count for depth, count in enumerate(answered))
    deepest = max((depth for depth, count in enumerate(answered) if count), default=0)
    return ReadFigures(tuple(layers), hops / total if total else 0.0, deepest, totals[0][0])


def _totals(read_map: ReadMap) -> list[tuple[int, int]]:
    """Return exact bytes (not data, data) by owner: first of NOBODY, then of each layer."""
    data = read_map.kinds == Kind.DATA
    groups = (read_map.owners.astype(np.int32) - NOBODY) * 2 + data
    totals = sums_by(groups, read_map.lengths, 2 * read_map.depth_count + 2).tolist()
    return list(zip(totals[0::2], totals[1::2], strict=True))
