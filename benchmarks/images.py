"""Chains of any size for the benchmarks: their metadata is written directly, their data is only
allocated, or a hole where the disk is too small for it. `qemu-img check` proves each of them.

Facts of the format are from QEMU's docs/interop/qcow2.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
BITS = 16
CLUSTER = 1 << BITS
PER_TABLE = CLUSTER // 8
PER_REFCOUNT_BLOCK = CLUSTER // 2
COPIED = np.uint64(1 << 63)


@dataclass(frozen=True)
class Layout:
    """Where the parts of an image begin, in clusters of the file; the header is cluster 0."""

    refcount_table: int
    refcount_blocks: int
    l1: int
    l2: int
    data: int
    end: int

    @classmethod
    def of(cls, tables: int, data: int, l1_entries: int) -> "Layout":
        """Lay out an image with so many L2 tables and data clusters."""
        l1_clusters = -(-l1_entries * 8 // CLUSTER)
        blocks = 1
        while True:
            table = -(-blocks * 8 // CLUSTER)
            end = 1 + table + blocks + l1_clusters + tables + data
            if end <= blocks * PER_REFCOUNT_BLOCK:
                l1 = 1 + table + blocks
                l2 = l1 + l1_clusters
                return cls(1, 1 + table, l1, l2, l2 + tables, end)
            blocks = -(-end // PER_REFCOUNT_BLOCK)


def write_layer(
    path: Path, size: int, clusters: Int64s, *, backing: str = "", shuffle: int | None = None,
    allocate: bool = True,
) -> None:  # fmt: skip
    """Write a qcow2 image of `size` bytes that holds the guest clusters `clusters` (ascending).

    `shuffle` seeds the order in which L2 tables and data lie in the file, as random writes leave
    them; None is the order of the disk. `allocate` takes the room of the data from the file system.
    """
    tables, first = np.unique(clusters // PER_TABLE, return_index=True)
    l1_entries = max(1, -(-size // (CLUSTER * PER_TABLE)))
    layout = Layout.of(len(tables), len(clusters), l1_entries)
    luck = np.random.default_rng(shuffle)
    places = np.arange(len(tables)) if shuffle is None else luck.permutation(len(tables))
    homes = np.arange(len(clusters)) if shuffle is None else luck.permutation(len(clusters))
    with path.open("wb") as file:
        file.write(_header(size, layout, l1_entries, backing))
        _write_refcounts(file.fileno(), layout)
        l1 = np.zeros(l1_entries, np.uint64)
        l1[tables] = (((layout.l2 + places) << BITS).astype(np.uint64)) | COPIED
        os.pwrite(file.fileno(), l1.byteswap().tobytes(), layout.l1 << BITS)
        bounds = np.append(first, len(clusters)).tolist()
        for number, place in enumerate(places.tolist()):
            part = slice(bounds[number], bounds[number + 1])
            table = np.zeros(PER_TABLE, np.uint64)
            offsets = ((layout.data + homes[part]) << BITS).astype(np.uint64)
            table[clusters[part] % PER_TABLE] = offsets | COPIED
            os.pwrite(file.fileno(), table.byteswap().tobytes(), (layout.l2 + place) << BITS)
        os.ftruncate(file.fileno(), layout.end << BITS)
        if allocate and len(clusters):
            os.posix_fallocate(file.fileno(), layout.data << BITS, len(clusters) << BITS)


def _header(size: int, layout: Layout, l1_entries: int, backing: str) -> bytes:
    name = os.fsencode(backing)
    extensions = struct.pack(">II8s", 0xE2792ACA, 5, b"qcow2") if name else b""
    extensions += bytes(8)
    at = 104 + len(extensions) if name else 0
    fixed = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, at, len(name), BITS, size, 0, l1_entries,
        layout.l1 << BITS, layout.refcount_table << BITS,
        layout.refcount_blocks - layout.refcount_table, 0, 0,
    )  # fmt: skip
    return fixed + struct.pack(">QQQII", 0, 0, 0, 4, 104) + extensions + name


def _write_refcounts(fd: int, layout: Layout) -> None:
    blocks = layout.l1 - layout.refcount_blocks
    table = (np.arange(blocks, dtype=np.uint64) + np.uint64(layout.refcount_blocks)) << np.uint64(
        BITS
    )
    os.pwrite(fd, table.byteswap().tobytes(), layout.refcount_table << BITS)
    counts = np.zeros(blocks * PER_REFCOUNT_BLOCK, ">u2")
    counts[: layout.end] = 1
    os.pwrite(fd, counts.tobytes(), layout.refcount_blocks << BITS)


def random_clusters(size: int, count: int, seed: int) -> Int64s:
    """Choose `count` clusters of a disk at random, ascending."""
    luck = np.random.default_rng(seed)
    chosen = np.unique(luck.integers(0, size // CLUSTER, count * 2))
    return np.sort(luck.permutation(chosen)[:count]).astype(np.int64)


def sequence(start: int, length: int) -> Int64s:
    """Return the clusters of one stretch of a disk; bytes."""
    return np.arange(start // CLUSTER, (start + length) // CLUSTER, dtype=np.int64)


def short_runs(size: int, count: int, seed: int) -> Int64s:
    """Choose `count` runs of 1 to 16 clusters."""
    luck = np.random.default_rng(seed)
    starts = luck.integers(0, size // CLUSTER - 16, count)
    lengths = luck.integers(1, 17, count)
    return np.unique(
        np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
    )


@dataclass(frozen=True)
class Workload:
    """A chain to be measured: its layers' clusters from root to active, and the ratio to reach."""

    name: str
    words: str
    size: int
    target: float
    sequential_root: bool
    layers: tuple[Int64s, ...]


def workloads() -> Iterator[Workload]:
    """The six chains, one after the other: their cluster lists are large."""
    yield Workload(
        "W1", "1 TiB, 3 layers of 5 GiB in sequence", TIB, 12, True,
        tuple(sequence(3 * n * GIB, 5 * GIB) for n in range(3)),
    )  # fmt: skip
    yield Workload(
        "W2", "256 GiB, 10 layers of 50,000 random clusters", 256 * GIB, 12, False,
        tuple(random_clusters(256 * GIB, 50_000, n) for n in range(10)),
    )  # fmt: skip
    yield Workload(
        "W3", "1 TiB, metadata preallocated, 5 layers of 20,000 random clusters", TIB, 20, True,
        (sequence(0, TIB), *(random_clusters(TIB, 20_000, n) for n in range(5))),
    )  # fmt: skip
    yield Workload(
        "W4", "100 GiB, 50 layers of 200 random clusters", 100 * GIB, 8, False,
        tuple(random_clusters(100 * GIB, 200, n) for n in range(50)),
    )  # fmt: skip
    yield Workload(
        "W5", "16 TiB sparse, 3 layers of 1,000 random clusters", 16 * TIB, 30, False,
        tuple(random_clusters(16 * TIB, 1000, n) for n in range(3)),
    )  # fmt: skip
    yield Workload(
        "W6", "500 GiB, a base of 300 GiB in sequence, 5 layers of 5,000 short runs", 500 * GIB, 25,
        True, (sequence(0, 300 * GIB), *(short_runs(500 * GIB, 5000, n) for n in range(5))),
    )  # fmt: skip


def build(folder: Path, workload: Workload) -> Path:
    """Write a workload's chain into `folder` and return its active layer."""
    room = shutil.disk_usage(folder).free // 4
    backing = ""
    for number, clusters in enumerate(workload.layers):
        name = f"{number}.qcow2"
        in_order = len(clusters) == 0 or (workload.name == "W1") or (
            number == 0 and workload.sequential_root
        )  # fmt: skip
        needed = len(clusters) << BITS
        allocate = needed <= room and workload.name != "W3"
        room -= needed if allocate else 0
        write_layer(
            folder / name, workload.size, clusters, backing=backing,
            shuffle=None if in_order else number, allocate=allocate,
        )  # fmt: skip
        backing = name
    return folder / backing


def check(path: Path) -> None:
    """Let qemu-img prove that an image is sound; raises CalledProcessError when it is not."""
    argv = ["qemu-img", "check", "-q", "-f", "qcow2", str(path)]
    subprocess.run(argv, check=True, capture_output=True)


@contextmanager
def workplace(folder: str | None) -> Iterator[Path]:
    """A directory to build in, gone afterwards."""
    with TemporaryDirectory(dir=folder, prefix="strata-benchmark-") as made:
        yield Path(made)


def drop_caches(paths: Sequence[Path]) -> str:
    """Make the next read of these files a cold one; says how."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fdatasync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return "posix_fadvise"
    return "drop_caches"


def sparse_copy(source: str, target: str) -> None:
    """Copy an image with its holes; for shutil.copytree."""
    subprocess.run(["cp", "--sparse=always", "--preserve=timestamps", source, target], check=True)
