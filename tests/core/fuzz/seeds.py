"""Where fuzzing starts: small real images of every kind, and packed maps. All bytes of the inputs.

An input is a kind, a growth (the file gets a hole of 2^growth bytes at its end; 0 is none), and
what the file or the packed map holds.
"""

from enum import IntEnum
from pathlib import Path

from chains.core.extents import ExtentMap
from chains.core.readmap import resolve
from tests.core.images import KIB, MIB, patch, qcow2, raw, tool


class What(IntEnum):
    """What an input is read as."""

    LEAF = 0
    BACKING_QCOW2 = 1
    BACKING_RAW = 2
    EXTENT_MAP = 3
    READ_MAP = 4
    DETECT = 5


IMAGES = frozenset({What.LEAF, What.BACKING_QCOW2, What.BACKING_RAW})
PREFIX = 2
SIZE = 256 * KIB


def pack(what: What, growth: int, content: bytes) -> bytes:
    """Make an input."""
    return bytes((what, growth)) + content


def unpack(data: bytes) -> tuple[What, int, bytes]:
    """Take any bytes for an input."""
    if len(data) < PREFIX:
        return What.DETECT, 0, data
    return What(data[0] % len(What)), data[1] % 63, data[PREFIX:]


def domain(folder: Path) -> None:
    """Make what the images of the inputs may name: files of every type, and a link out."""
    raw(folder / "base.raw", SIZE, "write 0 32k", "write 64k 4k", "write 200k 8k")
    qcow2(folder / "mid.qcow2", SIZE // 2, "write 8k 8k", "write -z 32k 8k", backing="base.raw",
          cluster_size=512)  # fmt: skip
    for recorded in ("qcow2", "raw"):
        (folder / "mutant.img").write_bytes((folder / "mid.qcow2").read_bytes())
        qcow2(folder / f"over-{recorded}.qcow2", SIZE * 2, "write 100k 3k", cluster_size=1024,
              backing="mutant.img", backing_format=recorded)  # fmt: skip
    (folder / "loop").symlink_to("loop")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "alias").symlink_to("mutant.img")


def images(folder: Path) -> list[bytes]:
    """Make the images; `folder` is a domain."""
    writes = ("write 0 8k", "write -z 16k 4k", "write 40k 3k", "discard 1k 1k")
    small = {"backing": "base.raw", "cluster_size": 512}
    made = [
        qcow2(folder / "v3", SIZE, *writes, **small),
        qcow2(folder / "v2", SIZE, "write 0 8k", "write 60k 2k", compat="0.10", **small),
        qcow2(folder / "alone", SIZE, *writes, cluster_size=2 * KIB, refcount_bits=1),
        qcow2(folder / "lazy", SIZE, *writes, lazy_refcounts="on", refcount_bits=64, **small),
        qcow2(folder / "short", SIZE - 1536, *writes, backing="mid.qcow2", cluster_size=KIB),
        qcow2(folder / "zstd", SIZE, "write -c 0 4k", "write -c 8k 4k", "write 12k 4k",
              cluster_size=4 * KIB, compression_type="zstd"),
        qcow2(folder / "zlib", SIZE, "write -c 0 1k", "write -c 8k 1k", backing="base.raw",
              cluster_size=KIB),
        qcow2(folder / "sub", SIZE, "write 1k 2k", "write -z 8k 1k", "write -c 32k 16k",
              "write 64k 16k", extended_l2="on", cluster_size=16 * KIB, backing="base.raw"),
        qcow2(folder / "saved", SIZE, *writes, **small),
        qcow2(folder / "marked", SIZE, *writes, **small),
        qcow2(folder / "apart", SIZE, *writes, data_file="apart.data", cluster_size=512),
        qcow2(folder / "apart-raw", SIZE, "write 0 8k", data_file="raw.data", data_file_raw="on",
              cluster_size=512),
        qcow2(folder / "full", SIZE, preallocation="metadata", cluster_size=512),
    ]  # fmt: skip
    tool("qemu-img", "snapshot", "-c", "one", "saved", cwd=folder)
    tool("qemu-img", "bitmap", "--add", "-g", "512", "marked", "bits", cwd=folder)
    # Forged, not made: deriving a real key can fail for want of CPU time on a busy machine.
    luks = qcow2(folder / "luks", SIZE, *writes, **small)
    patch(luks, 32, "I", 2)
    patch(luks, 112, "IIQQQ", 0x0537BE77, 16, 512, 4096, 0)
    made.append(luks)
    return [path.read_bytes().rstrip(b"\0") for path in made]


def packed_maps() -> list[tuple[What, bytes]]:
    """Pack an extent map and a read map of some runs, and those of nothing."""
    runs = [(at * 4096, 512 * (1 + at % 7), 1 + at % 2) for at in range(60)]
    top, below = ExtentMap.of(SIZE, runs[::3]), ExtentMap.of(SIZE // 2, runs)
    empty = ExtentMap.of(0, [])
    return [
        *((What.EXTENT_MAP, each.to_bytes()) for each in (top, below, empty)),
        (What.READ_MAP, resolve([top, below, empty]).to_bytes()),
        (What.READ_MAP, resolve([empty]).to_bytes()),
    ]


def seeds(folder: Path) -> list[bytes]:
    """Make every seed; `folder` is a domain."""
    found = []
    for content in images(folder):
        # A hole at the end stands for what `rstrip` took, without the weight.
        found += [pack(what, 16, content) for what in sorted(IMAGES)]
        found.append(pack(What.DETECT, 0, content[:64]))
    found += [pack(what, 0, content) for what, content in packed_maps()]
    marks = (b"KDMV", b"conectix", b"# Disk DescriptorFile\nversion=1\n", b"LUKS\xba\xbe")
    found += [pack(What.DETECT, 0, mark) for mark in marks]
    found.append(pack(What.BACKING_RAW, 0, bytes(MIB // 64) + b"x"))
    return found
