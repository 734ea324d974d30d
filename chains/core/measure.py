"""The figures of a chain as scripts, pages and the API show them: one shape, from one place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chains.core.copies import CopyTable
from chains.core.reads import ReadFigures

# What QEMU keeps of a layer's L2 tables in memory unless told otherwise (QEMU, docs/qcow2-cache.txt:
# l2-cache-size is 32 MiB at most on Linux since QEMU 3.1). A read that finds its table outside of
# the cache costs one more read of the storage, in each layer that it asks.
QEMU_L2_CACHE = 32 * 1024**2


@dataclass(frozen=True)
class MergeCost:
    """Bytes that a merge of the layers top…base copies, by strategy; 0 is the active layer."""

    base: int
    top: int
    convert: int
    commit: int
    rebase: int


def merge_costs(table: CopyTable) -> Iterator[MergeCost]:
    """Yield every merge of a chain: all runs of two layers and more, by top and then by base."""
    for top in range(table.depth_count):
        for base in range(top + 1, table.depth_count):
            yield MergeCost(
                base, top, table.convert(base, top), table.commit(base, top),
                table.rebase(base, top),
            )  # fmt: skip


def measured(
    paths: Sequence[str], figures: ReadFigures | Mapping[str, Any], table: CopyTable
) -> dict[str, Any]:
    """Put the figures of a chain into one JSON object; `paths` run from the active layer down.

    `figures` may be what `dataclasses.asdict` made of them. All sizes are bytes.
    """
    facts = asdict(figures) if isinstance(figures, ReadFigures) else dict(figures)
    layers = facts.pop("layers")
    return {
        **facts,
        "qemu_l2_cache": QEMU_L2_CACHE,
        "layers": [{"path": path, **layer} for path, layer in zip(paths, layers, strict=True)],
        "merges": [
            {**asdict(cost), "base": paths[cost.base], "top": paths[cost.top]}
            for cost in merge_costs(table)
        ],
    }
