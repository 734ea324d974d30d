"""Which layers of a long chain get a row of their own in the redirected-reads picture."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from chains.diagrams.types import ReadsRow


@dataclass(frozen=True)
class DrawnRow:
    """One row: a single layer, or a run of folded ones."""

    key: str
    layers: range
    """The indices of its layers in the picture."""

    @property
    def first(self) -> int:
        """The uppermost layer of the row."""
        return self.layers[0]


def fold_rows(rows: Sequence[ReadsRow], max_rows: int) -> list[DrawnRow]:
    """Fold what answers nothing until at most ``max_rows`` rows are left, or only one can be.

    Where that is not enough, those that answer least are folded too; the active layer stays.
    """
    kept = set(range(len(rows)))
    if len(rows) <= max_rows:
        return _drawn(rows, kept)
    weight = [sum(row.answered) for row in rows]
    kept = {i for i in kept if weight[i] > 0 or i == 0}
    least_first = sorted(kept - {0}, key=lambda i: (weight[i], -i))
    drawn = _drawn(rows, kept)
    for i in least_first:
        if len(drawn) <= max_rows:
            break
        kept.discard(i)
        drawn = _drawn(rows, kept)
    return drawn


def _drawn(rows: Sequence[ReadsRow], kept: Set[int]) -> list[DrawnRow]:
    result: list[DrawnRow] = []
    start = 0
    while start < len(rows):
        end = start + 1
        while start not in kept and end < len(rows) and end not in kept:
            end += 1
        key = rows[start].key if end - start == 1 else f"fold_{rows[start].key}"
        result.append(DrawnRow(key, range(start, end)))
        start = end
    return result
