"""The figures of a chain as scripts, pages and the API show them: one shape, from one place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chains.core.copies import CopyTable
from chains.core.reads import ReadFigures

# What QEMU keeps of a layer's L2 tables in memory unless told otherwise (QEMU, docs/qcow2-cache.txt:
# l2-cache-size is 32 MiB at most on Linux since QEMU 3.1). A read that finds its table outside of
# the cache costs one more read of the storage, in each layer that it asks.
QEMU_L2_CACHE = 32 * 1024**2
ALL_MERGES_UP_TO = 64


@dataclass(frozen=True)
class MergeCost:
    """Bytes that a merge of the layers top…base copies, by strategy; 0 is the active layer."""

    base: int
    top: int
    convert: int
    commit: int
    rebase: int


def merge_costs(table: CopyTable, all_up_to: int) -> Iterator[MergeCost]:
    """Yield the merges of a chain: all runs of two layers and more, by top and then by base.

    Of a chain of more than `all_up_to` layers only those of two neighbours, that of all layers below
    the active one, and that of the whole chain: a thousand layers have half a million runs.
    """
    last = table.depth_count - 1
    for top in range(last):
        bases: Iterable[int] = range(top + 1, last + 1)
        if last >= all_up_to:
            bases = [top + 1, *([last] if top < 2 and top + 1 < last else [])]
        for base in bases:
            yield MergeCost(
                base, top, table.convert(base, top), table.commit(base, top),
                table.rebase(base, top),
            )  # fmt: skip


def measured(
    paths: Sequence[str],
    figures: ReadFigures | Mapping[str, Any],
    table: CopyTable,
    all_up_to: int = ALL_MERGES_UP_TO,
) -> dict[str, Any]:
    """Put the figures of a chain into one JSON object; `paths` run from the active layer down.

    `figures` may be what `dataclasses.asdict` made of them, `all_up_to` is that of `merge_costs`.
    All sizes are bytes.
    """
    facts = asdict(figures) if isinstance(figures, ReadFigures) else dict(figures)
    layers = facts.pop("layers")
    return {
        **facts,
        "qemu_l2_cache": QEMU_L2_CACHE,
        "layers": [{"path": path, **layer} for path, layer in zip(paths, layers, strict=True)],
        "merges": [
            {**asdict(cost), "base": paths[cost.base], "top": paths[cost.top]}
            for cost in merge_costs(table, all_up_to)
        ],
    }
