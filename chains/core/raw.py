"""Holes and data of a raw layer, as its file system tells them (lseek(2): SEEK_DATA, SEEK_HOLE)."""

import errno

import numpy as np

from chains.core.errors import ReadError
from chains.core.extents import ExtentMap, Kind, joined
from chains.core.findings import Code, critical
from chains.core.source import TableSource, of

SECTOR = 512


def virtual_size(file_size: int) -> int:
    """Return the size that a guest sees of a raw file, in bytes: QEMU counts whole sectors, up."""
    return -(-file_size // SECTOR) * SECTOR


def read_extents(source: int | TableSource, path: str = "") -> ExtentMap:
    """Read which bytes of a raw file are stored. `path` is only for the text of errors.

    A raw file holds all of its bytes: holes are ZERO, never unallocated. Raises ReadError
    (`backing-unreadable`) when the storage fails.
    """
    try:
        opened = of(source)
        edges, file_size = _data_edges(opened), opened.size
    except OSError as error:
        raise ReadError(
            critical(
                Code.BACKING_UNREADABLE,
                path,
                f"Asking for the holes of the file failed: {error.strerror}. Check the storage.",
            )
        ) from error
    size = virtual_size(file_size)
    # Data and holes take turns, so the runs lie between all edges, holes first. What the last
    # sector has beyond the end of the file reads zero, as qemu-img map says too.
    bounds = np.array([0, *edges, size], np.int64)
    kinds = np.full(len(bounds) - 1, Kind.ZERO, np.uint8)
    kinds[1::2] = Kind.DATA
    lengths = np.diff(bounds)
    solid = lengths > 0
    return joined(size, bounds[:-1][solid], lengths[solid], kinds[solid])


def _data_edges(source: TableSource) -> list[int]:
    """Return start and end of each stretch of data, flat and ascending."""
    file_size = source.size
    edges: list[int] = []
    at = 0
    while at < file_size:
        try:
            start = source.next_data(at)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                break
            if error.errno == errno.EINVAL:  # this file system does not tell: all is data
                return [0, file_size]
            raise
        if start >= file_size:
            break
        at = min(source.next_hole(start), file_size)
        edges += (start, at)
    return edges
