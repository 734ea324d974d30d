"""Number columns as compact bytes for the database: no pickle, and nothing unpacked on trust.

Layout: a 4-byte tag (which names the version), then `>QQQ` (number of runs, unit in bytes, number
of facts), the facts as `>q`, then one block a column: width in bytes, packed length, zlib data.
Byte columns (positions, lengths) are stored as multiples of their greatest common divisor.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chains.core.errors import StoredMapError

_HEAD = struct.Struct(">4sQQQ")
_BLOCK = struct.Struct(">BQ")
_LEVEL = 1  # a map is written once and read often, but by a worker that has merges to watch
# A resolved map has more runs than its layers together have (extents.MAX_RUNS), but not many times.
MAX_RUNS = 2**23
MAX_FACTS = 2**14
_DAMAGED = "The stored block map is damaged or of another version: read the chain again."


def pack(tag: bytes, facts: Sequence[int], columns: Sequence[NDArray[Any]]) -> bytes:
    """Pack equally long integer columns; int64 columns hold bytes, narrower ones plain numbers."""
    wide = [column for column in columns if column.dtype == np.int64]
    unit = max(1, int(np.gcd.reduce([int(np.gcd.reduce(c)) if len(c) else 0 for c in wide])))
    parts = [_HEAD.pack(tag, len(columns[0]), unit, len(facts))]
    parts += [struct.pack(">q", fact) for fact in facts]
    for column in columns:
        values = column // unit if column.dtype == np.int64 else column
        narrow = _narrowest(values)
        data = zlib.compress(values.astype(narrow).tobytes(), _LEVEL)
        parts += [_BLOCK.pack(narrow.itemsize, len(data)), data]
    return b"".join(parts)


def unpack(
    tag: bytes, packed: bytes, dtypes: Sequence[Any]
) -> tuple[list[int], list[NDArray[Any]]]:
    """Unpack what `pack` made. Raises StoredMapError for anything that it could not have made."""
    view = memoryview(packed)
    try:
        found, count, unit, facts = _HEAD.unpack_from(view)
        if found != tag or facts > MAX_FACTS or count > MAX_RUNS or not 0 < unit < 2**63:
            raise StoredMapError(_DAMAGED)
        at = _HEAD.size
        numbers = list(struct.unpack_from(f">{facts}q", view, at))
        at += 8 * facts
        columns = []
        for dtype in dtypes:
            width, length = _BLOCK.unpack_from(view, at)
            at += _BLOCK.size
            if length > len(packed) - at:
                raise StoredMapError(_DAMAGED)
            column = _column(view[at : at + length], width, count, np.dtype(dtype), unit)
            columns.append(column)
            at += length
    except (struct.error, zlib.error) as error:
        raise StoredMapError(_DAMAGED) from error
    if at != len(packed) or min(numbers, default=0) < 0:
        raise StoredMapError(_DAMAGED)
    return numbers, columns


def check_tiling(
    size: int, gaps: NDArray[np.int64], lengths: NDArray[np.int64], *, exact: bool
) -> None:
    """Check that runs lie in order inside [0, size); with `exact`, that they fill it.

    Raises StoredMapError. Every partial sum is checked, so that none can wrap around.
    """
    if not len(lengths):
        ends_at = 0
    else:
        if int(gaps.min()) < 0 or int(lengths.min()) <= 0:
            raise StoredMapError(_DAMAGED)
        # float64 sums are rough, hence the margin below 2^63: what passes can not have wrapped.
        if float(np.sum(gaps, dtype=float) + np.sum(lengths, dtype=float)) > 0.999 * 2.0**63:
            raise StoredMapError(_DAMAGED)
        ends_at = int(gaps.sum()) + int(lengths.sum())
    if ends_at > size or (exact and ends_at != size):
        raise StoredMapError(_DAMAGED)


def _narrowest(values: NDArray[Any]) -> np.dtype[Any]:
    if values.dtype.itemsize < 8:
        return values.dtype.newbyteorder("<")
    top = int(values.max()) if len(values) else 0
    for name in ("<u1", "<u2", "<u4"):
        if top <= np.iinfo(name).max:
            return np.dtype(name)
    return np.dtype("<i8")


def _column(
    data: memoryview, width: int, count: int, dtype: np.dtype[Any], unit: int
) -> NDArray[Any]:
    if dtype.itemsize == 8:
        stored = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<i8"}.get(width)
    else:
        stored = dtype.newbyteorder("<").str if width == dtype.itemsize else None
    if stored is None:
        raise StoredMapError(_DAMAGED)
    inflate = zlib.decompressobj()
    raw = inflate.decompress(data, count * width + 1)
    if len(raw) != count * width or not inflate.eof:
        raise StoredMapError(_DAMAGED)
    values = np.frombuffer(raw, stored).astype(dtype)
    if dtype.itemsize < 8 or unit == 1:
        return values
    if len(values) and (int(values.max()) > (2**63 - 1) // unit or int(values.min()) < 0):
        raise StoredMapError(_DAMAGED)
    scaled: NDArray[Any] = values * unit
    return scaled
