"""Images made to hurt: every answer is a finding or a StrataError, soon, and in little memory."""

import os
import random
import resource
import struct
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chains.core.chain import read_chain
from chains.core.errors import ReadError, StrataError
from chains.core.extents import ExtentMap
from chains.core.qcow2 import parse_header, read_extents
from chains.core.reads import ReadMap, read_chain_maps, resolve
from tests.core.images import GIB, KIB, MIB, patch, qcow2, raw


@contextmanager
def bounded(seconds: float = 1.5, memory: int = 200 * MIB) -> Iterator[None]:
    """Hold a block to CPU time (the machine is shared) and to memory, numpy's included."""
    tracemalloc.start()
    before = time.process_time()
    try:
        yield
        assert time.process_time() - before < seconds
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()


def outcome(path: Path) -> str:
    """Read a chain to the end: "fine", or the code of what stopped it."""
    chain = read_chain(str(path.parent), path.name)
    try:
        resolve(read_chain_maps(chain))
    except ReadError as error:
        return str(error.finding.code)
    return "fine"


def header(size: int, *, cluster_bits: int = 16, l1_entries: int = 1, l1_offset: int = 3 << 16,
           length: int = 516, refcounts: int = 1 << 16) -> bytes:  # fmt: skip
    fields = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, cluster_bits, size, 0, l1_entries,
                         l1_offset, refcounts, 1, 0, 0)  # fmt: skip
    return (fields + struct.pack(">QQQII", 0, 0, 0, 4, 104)).ljust(length, b"\0")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (header(2**50), "header-invalid"),  # a petabyte, and an L1 table of one entry
        (header(2**50, l1_entries=2**21), "truncated"),
        (header(2**63), "header-invalid"),
        (header(2**64 - 1, l1_entries=2**32 - 1), "header-invalid"),
        (header(2**40, l1_entries=2**22), "truncated"),
        (header(MIB, l1_offset=2**63 - 2**16), "header-invalid"),
        (header(MIB, l1_offset=3 << 16 | 8), "header-invalid"),
        (header(MIB, cluster_bits=8), "header-invalid"),
        (header(MIB, cluster_bits=22), "header-invalid"),
        (header(MIB, cluster_bits=2**32 - 1), "header-invalid"),
        (header(MIB, refcounts=2**62), "header-invalid"),
        (header(MIB)[:40], "truncated"),
        (header(MIB)[:80], "truncated"),
        (header(MIB), "truncated"),
        (b"QFI\xfb\0\0\0\x04" + bytes(600), "header-invalid"),
        (b"QFI\xfb", "truncated"),
    ],
)
def test_small_files_with_large_claims(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "top.qcow2"
    path.write_bytes(content)
    with bounded(memory=MIB):
        assert outcome(path) == code


def test_an_l1_table_of_32_mib(tmp_path: Path) -> None:
    path = tmp_path / "top.qcow2"
    path.write_bytes(header(2**50, l1_entries=2**22, cluster_bits=17, l1_offset=1 << 17,
                            refcounts=1 << 17))  # fmt: skip
    os.truncate(path, 64 * MIB)
    with bounded():
        assert outcome(path) == "fine"


def sparse_tables(path: Path, count: int, *, step: int = 1, size: int = 2**50) -> Path:
    """Claim `count` L2 tables of 64 KiB, all of them in a hole, at every `step`-th cluster."""
    path.write_bytes(header(size, l1_entries=2**21))
    entries = [(1 << 63) | (1024 + at * step) << 16 for at in range(count)]
    with path.open("r+b") as file:
        file.seek(3 << 16)
        file.write(struct.pack(f">{count}Q", *entries))
    os.truncate(path, (1024 + count * step + 1) << 16)
    return path


def test_a_million_tables_in_a_hole(tmp_path: Path) -> None:
    path = sparse_tables(tmp_path / "top.qcow2", 2**20)
    assert path.stat().st_size > 64 * GIB
    patch(path, 1024 << 16, "Q", (1 << 63) | 1 << 16)  # the first is stored, all others are not
    with bounded(seconds=3):
        assert outcome(path) == "fine"


def test_few_stored_tables_between_many_in_holes(tmp_path: Path) -> None:
    path = sparse_tables(tmp_path / "top.qcow2", 5000, step=3)
    for at in (7, 8, 4000):  # standard descriptors: guest data in the file's own first cluster
        offset = (1024 + 3 * at) << 16
        patch(path, offset + 8 * at, "Q", (1 << 63) | 1 << 16)
    layer = read_chain(str(tmp_path), "top.qcow2").layers[0]
    assert layer.header is not None
    fd = os.open(path, os.O_RDONLY)
    found = read_extents(fd, layer.header)
    os.close(fd)
    assert found.starts.tolist() == [(at * 8192 + at) * 65536 for at in (7, 8, 4000)]
    assert found.l2_bytes == 5000 * 65536


def test_tables_that_no_image_may_have(tmp_path: Path) -> None:
    def fresh(**options: object) -> tuple[Path, int, int]:
        path = qcow2(tmp_path / "top.qcow2", GIB, "write 0 128k", "write 40M 64k",
                     cluster_size=32 * KIB, **options)  # fmt: skip
        with path.open("rb") as file:
            l1 = parse_header(file.fileno()).l1_offset
            l2 = struct.unpack(">Q", os.pread(file.fileno(), 8, l1))[0] & 0x00FFFFFFFFFFFE00
        return path, l1, l2

    path, l1, l2 = fresh()
    assert outcome(path) == "fine"
    patch(path, l1 + 8, "Q", (1 << 63) | l2)
    assert outcome(path) == "tables-invalid", "an L2 table that is used twice"
    path, l1, l2 = fresh()
    patch(path, l1, "Q", (1 << 63) | (l2 + 512))
    assert outcome(path) == "tables-invalid", "an L2 table beside the clusters"
    path, l1, l2 = fresh()
    patch(path, l1, "Q", (1 << 63) | 1 << 50)
    assert outcome(path) == "truncated", "an L2 table beyond the end"
    path, l1, l2 = fresh()
    patch(path, l2, "Q", (1 << 63) | (l2 + 512))
    assert outcome(path) == "tables-invalid", "a cluster beside the clusters"
    path, l1, l2 = fresh()
    patch(path, l2, "Q", (1 << 63) | 1 << 50)
    assert outcome(path) == "truncated", "a cluster beyond the end"
    path, l1, l2 = fresh()
    patch(path, l2, "Q", 1 << 62 | 1 << 40)
    assert outcome(path) == "truncated", "a compressed cluster beyond the end"
    path, l1, l2 = fresh(compat="0.10")
    patch(path, l2, "Q", 1)
    assert outcome(path) == "tables-invalid", "a zero cluster in version 2"
    path, l1, l2 = fresh(extended_l2="on")
    patch(path, l2 + 8, "II", 1, 1)
    assert outcome(path) == "tables-invalid", "a sub-cluster that is both"
    path, l1, l2 = fresh(extended_l2="on")
    patch(path, l2, "QII", 0, 0, 1)
    assert outcome(path) == "tables-invalid", "a sub-cluster without a cluster"


def test_a_file_cut_anywhere_is_never_an_empty_disk(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 4 * MIB, "write 0 4M")
    whole = qcow2(tmp_path / "whole.qcow2", None, "write 0 1M", "write 3M 512k",
                  backing="base.raw", cluster_size=64 * KIB)  # fmt: skip
    content = whole.read_bytes()
    assert outcome(whole) == "fine"
    for clusters in range(len(content) // 65536):
        for size in (clusters * 65536, clusters * 65536 + 100):
            path = tmp_path / "cut.qcow2"
            path.write_bytes(content[:size])
            expected = "header-invalid" if size == 0 else "truncated"
            assert outcome(path) == expected, size


def test_a_long_chain_of_small_files_ends_at_the_limit(tmp_path: Path) -> None:
    base = qcow2(tmp_path / "0.qcow2", MIB).read_bytes()
    for number in range(1, 1500):
        name = f"{number - 1}.qcow2".encode()
        forged = bytearray(base)
        forged[8:20] = struct.pack(">QI", 4000, len(name))
        forged[112:128] = struct.pack(">II5s3x", 0xE2792ACA, 5, b"qcow2")
        forged[128:136] = bytes(8)
        forged[4000 : 4000 + len(name)] = name
        (tmp_path / f"{number}.qcow2").write_bytes(forged[:4096])
        os.truncate(tmp_path / f"{number}.qcow2", len(base))
    with bounded(seconds=3):
        assert outcome(tmp_path / "1499.qcow2") == "too-deep"


def test_a_real_thousand_layers_stay_under_the_limit_of_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        test_a_long_chain_of_small_files_ends_at_the_limit(tmp_path)
        assert outcome(tmp_path / "999.qcow2") == "fine"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def mutants(content: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Damage an image as storage and attackers do: bits, fields, cuts, swapped clusters."""
    luck = random.Random(seed)  # noqa: S311 - not for secrets: the same images every time
    extremes = [0, 1, 0xFF, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
    for _ in range(count):
        forged = bytearray(content)
        for _ in range(luck.randint(1, 4)):
            where = luck.choice(
                [luck.randrange(112), luck.randrange(700), luck.randrange(len(forged))]
            )
            match luck.randrange(4):
                case 0:
                    forged[where] ^= 1 << luck.randrange(8)
                case 1:
                    forged[where] = luck.randrange(256)
                case 2:
                    at = min(where & ~3, len(forged) - 8)
                    number = luck.choice([*extremes, luck.getrandbits(64)])
                    forged[at : at + 8] = struct.pack(">Q", number)
                case _:
                    at = where & ~511
                    forged[at : at + 512] = forged[: len(forged[at : at + 512])]
        yield bytes(forged[: luck.randrange(len(forged))] if luck.random() < 0.1 else forged)


def torture(folder: Path, count: int) -> None:
    raw(folder / "base.raw", MIB, "write 0 1M")
    seeds = [
        qcow2(folder / "a.qcow2", None, "write 0 8k", "write -z 40k 8k", backing="base.raw",
              cluster_size=512),
        qcow2(folder / "b.qcow2", None, "write 64k 8k", "write -c 0 16k", backing="base.raw",
              cluster_size=16 * KIB, extended_l2="on"),
        qcow2(folder / "c.qcow2", None, "write 0 64k", backing="base.raw", compat="0.10",
              cluster_size=4 * KIB),
    ]  # fmt: skip
    contents = [path.read_bytes() for path in seeds]
    path = folder / "mutant.qcow2"
    slowest, ends = 0.0, set()
    for number, content in enumerate(contents):
        for forged in mutants(content, number, count):
            path.write_bytes(forged)
            before = time.process_time()
            ends.add(outcome(path))
            slowest = max(slowest, time.process_time() - before)
    assert slowest < 1.0
    assert {"fine", "header-invalid", "truncated", "tables-invalid"} <= ends


def test_nothing_but_findings_comes_of_damage(tmp_path: Path) -> None:
    torture(tmp_path, 300)


@pytest.mark.slow
def test_nothing_but_findings_comes_of_much_damage(tmp_path: Path) -> None:
    torture(tmp_path, 10_000)


def test_random_bytes_are_no_header() -> None:
    luck = random.Random(7)  # noqa: S311
    for _ in range(3000):
        start = luck.choice([b"", b"QFI\xfb", b"QFI\xfb\0\0\0\x02", b"QFI\xfb\0\0\0\x03"])
        content = start + luck.randbytes(luck.randrange(300))
        for parse in (parse_header, ExtentMap.from_bytes, ReadMap.from_bytes):
            with pytest.raises(StrataError):
                parse(content)
