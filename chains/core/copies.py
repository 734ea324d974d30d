"""What every merge of a chain would copy: one table from the maps of its layers, for all runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chains.core import packing
from chains.core.errors import StoredMapError, StrataError
from chains.core.extents import ExtentMap, Int64s, sums_by
from chains.core.readmap import MAX_LAYERS, borders, cover, over

_TAG = b"SCT1"


@dataclass(frozen=True, eq=False)
class CopyTable:
    """Bytes of data by layer, in the view of every layer of a chain.

    `seen[top, layer]` is the data that `layer` answers when the disk is read from `top` on (0 is the
    active layer); it is 0 for layers above top. A merge of base…top has base > top.
    """

    seen: Int64s

    @property
    def depth_count(self) -> int:
        """The number of layers."""
        return len(self.seen)

    def convert(self, base: int, top: int) -> int:
        """Bytes that a convert copies: all data that base…top show."""
        self._check(base, top)
        return int(self.seen[top, top : base + 1].sum())

    def commit(self, base: int, top: int) -> int:
        """Bytes that a commit into base copies: all data that the layers above base show."""
        self._check(base, top)
        return int(self.seen[top, top:base].sum())

    def rebase(self, base: int, top: int) -> int:
        """Bytes that a rebase copies up into top: all data of base…top that top does not hold."""
        self._check(base, top)
        return int(self.seen[top, top + 1 : base + 1].sum())

    def to_bytes(self) -> bytes:
        """Pack the table for storage: versioned, compressed."""
        return packing.pack(_TAG, (self.depth_count,), (self.seen[_upper(self.depth_count)],))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "CopyTable":
        """Unpack what `to_bytes` made. Raises StoredMapError for anything else."""
        facts, (values,) = packing.unpack(_TAG, packed, (np.int64,))
        count = facts[0] if len(facts) == 1 else -1
        if not 0 < count <= MAX_LAYERS or len(values) != count * (count + 1) // 2:
            raise StoredMapError("The stored table of merges is damaged: read the chain again.")
        seen = np.zeros((count, count), np.int64)
        seen[_upper(count)] = values
        return cls(seen)

    def _check(self, base: int, top: int) -> None:
        if not 0 <= top < base < self.depth_count:
            raise StrataError("A merge joins at least two layers of the chain.")


def cheapest(table: CopyTable) -> list[int]:
    """Bytes that joining the two, three … uppermost layers copies in place, on the cheaper way."""
    bases = range(1, table.depth_count)
    return [min(table.commit(base, 0), table.rebase(base, 0)) for base in bases]


def _upper(count: int) -> tuple[Int64s, Int64s]:
    rows, columns = np.triu_indices(count)
    return rows, columns


def copy_table(maps: Sequence[ExtentMap]) -> CopyTable:
    """Sum up the views of all layers; `maps` run from the active layer to the root.

    Each view is the one below it with one more layer on top, so that all of them together cost
    little more than a few resolutions of the chain.
    """
    count = len(maps)
    size = max(layer.size for layer in maps)
    seen = np.zeros((count, count), np.int64)
    for first, last in pairwise(borders(maps, size)):
        view = None
        for top in range(count - 1, -1, -1):
            mine = cover(maps[top], top, first, last)
            view = mine if view is None else over(mine, view)
            edges, codes = view
            data = (codes >= 0) & (codes & 1 == 1)
            seen[top] += sums_by(codes[data] >> 1, np.diff(edges)[data], count)
    return CopyTable(seen)
