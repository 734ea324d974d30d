"""What the reads of a disk cost: from the maps of its layers to figures."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chains.core import qcow2, raw
from chains.core.errors import ReadError
from chains.core.extents import ExtentMap, Kind
from chains.core.findings import Code, Severity, critical
from chains.core.layer import Layer, open_regular, same_file
from chains.core.links import Chain
from chains.core.paths import locate
from chains.core.readmap import NOBODY, ReadMap, entries, resolve
from chains.core.slices import Slice, slice_view

__all__ = [
    "NOBODY",
    "LayerFigures",
    "MergeBytes",
    "ReadFigures",
    "ReadMap",
    "Slice",
    "entries",
    "figures",
    "merge_bytes",
    "read_chain_maps",
    "resolve",
    "slice_view",
    "visible",
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


def read_chain_maps(chain: Chain) -> list[ExtentMap]:
    """Read what each layer of a safe chain holds, active layer first.

    Raises ReadError: the chain's first critical finding when it has one, `changed-while-read` when
    a file is not the one that `chain` was read from or changes meanwhile, or what the tables say.
    """
    for finding in chain.findings:
        if finding.severity is Severity.CRITICAL:
            raise ReadError(finding)
    return [_read_map(chain.root, layer) for layer in chain.layers]


def _read_map(root: str, layer: Layer) -> ExtentMap:
    try:
        place = locate(root, layer.path)
    except (OSError, ValueError) as error:
        raise _changed(layer) from error
    if place is None or place.path != layer.path:
        raise _changed(layer)
    fd = open_regular(place)
    try:
        if not same_file(fd, layer):
            raise _changed(layer)
        try:
            found = (
                qcow2.read_extents(fd, layer.header, layer.path)
                if layer.header
                else raw.read_extents(fd, layer.path)
            )
        except ReadError as error:
            # Tables that change under the reader look damaged: the change is the truth.
            if not same_file(fd, layer):
                raise _changed(layer) from error
            raise
        if not same_file(fd, layer):
            raise _changed(layer)
        return found
    finally:
        os.close(fd)


def _changed(layer: Layer) -> ReadError:
    return ReadError(
        critical(
            Code.CHANGED_WHILE_READ,
            layer.path,
            "The layer changed since its header was read: a guest or another tool writes to it."
            " Read the chain again, once it is idle.",
        )
    )


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


@dataclass(frozen=True)
class MergeBytes:
    """Bytes in the layers of a merge: `held` is the data of all of them, shadowed or not;
    `visible_data` and `visible_zero` are what their joined view shows (zeroes also beyond the end
    of a layer shorter than those above it: a merge has to keep them)."""

    held: int
    visible_data: int
    visible_zero: int


def merge_bytes(maps: Sequence[ExtentMap]) -> MergeBytes:
    """Sum up the layers of a merge; `maps` run from top to base, as everywhere in this module."""
    view = resolve(maps)
    return MergeBytes(
        held=sum(layer.allocated for layer in maps),
        visible_data=int(view.lengths[view.kinds == Kind.DATA].sum()),
        visible_zero=int(view.lengths[view.kinds == Kind.ZERO].sum()),
    )


def visible(maps: Sequence[ExtentMap]) -> int:
    """Return the bytes of data that a convert of these layers copies (top first)."""
    return merge_bytes(maps).visible_data


def _totals(read_map: ReadMap) -> list[tuple[int, int]]:
    """Return exact bytes (not data, data) by owner: first of NOBODY, then of each layer."""
    data = read_map.kinds == Kind.DATA
    codes = read_map.owners * np.int16(2) + data
    order = np.argsort(codes, kind="stable")
    wanted = np.arange(2 * NOBODY, 2 * read_map.depth_count + 1)
    bounds = np.searchsorted(codes[order], wanted)
    sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(read_map.lengths[order])))
    totals = np.diff(sums[bounds]).tolist()
    return list(zip(totals[0::2], totals[1::2], strict=True))
