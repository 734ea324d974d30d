"""One chain as a column of boxes: the active layer on top, the root at the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from chains.diagrams.nodes import (
    GRAPH,
    check_key,
    common_width,
    count,
    edge,
    fold_detail,
    fold_node,
    volume_node,
)
from chains.diagrams.types import DrawnVolume, Mark

_NAME_LIMIT = 40
_NARROWEST = 230


def chain_dot(
    volumes: Sequence[DrawnVolume],
    *,
    fold_over: int = 24,
    unfold_url: str = "",
    opened: str = "",
    bars: bool = False,
) -> str:
    """DOT of one chain, ``volumes`` in the order of a read: active first, root last.

    Every arrow points from an overlay down to its backing file, as in "root ← … ← active" and as
    the overlay's header names it; a read falls the same way. A chain of more than ``fold_over``
    layers shows its top and its bottom, and every layer where a merge begins or ends; each run
    in between is one node that says how many it stands for, and links to ``unfold_url``, in which
    ``KEY`` stands for the key of its first layer; the run that begins with ``opened`` is drawn in
    full. ``bars`` draws the bytes on disk of each layer, and arrows as wide as they are many.
    """
    largest = max((volume.on_disk or 0 for volume in volumes), default=0) if bars else 0
    width = common_width(volumes, name_limit=_NAME_LIMIT, narrowest=_NARROWEST)
    parts = ["digraph chain {\n", 'rankdir="TB" ranksep="0.3" nodesep="0.2"\n', GRAPH]
    drawn: list[tuple[str, Mark, int | None]] = []
    for run in runs(volumes, fold_over):
        if len(run) == 1 or run[0].key == opened:
            for one in run:
                parts.append(volume_node(one, name_limit=_NAME_LIMIT, width=width, largest=largest))
                drawn.append((one.key, one.mark, one.on_disk if bars else None))
            continue
        key = f"fold_{check_key(run[0].key)}"
        text = count(len(run), "layer")
        detail = fold_detail(run)
        url = unfold_url.replace("KEY", run[0].key)
        parts.append(fold_node(key, text, detail=detail, url=url, width=width))
        drawn.append((key, run[0].mark, None))
    for (overlay, mark, on_disk), (backing, _, _) in pairwise(drawn):
        parts.append(edge(overlay, backing, mark, on_disk=on_disk))
    return "".join([*parts, "}\n"])


def runs(volumes: Sequence[DrawnVolume], fold_over: int) -> list[Sequence[DrawnVolume]]:
    """Cut a chain into single layers to draw and runs to fold."""
    total = len(volumes)
    if total <= fold_over:
        return [volumes[i : i + 1] for i in range(total)]
    head, tail = max(1, fold_over // 3), max(1, fold_over // 6)

    def stays(i: int) -> bool:
        if i < head or i >= total - tail:
            return True
        mark = volumes[i].mark
        return mark is not volumes[i - 1].mark or mark is not volumes[i + 1].mark

    result: list[Sequence[DrawnVolume]] = []
    start = 0
    while start < total:
        end = start + 1
        while not stays(start) and end < total and not stays(end):
            end += 1
        result.append(volumes[start:end])
        start = end
    return result
