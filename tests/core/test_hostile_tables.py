"""Tables made to hurt, and files that are none: an answer within a second and 200 MB, without a tool."""

import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from tests.core.images import GIB, MIB, patch, qcow2, raw
from tests.core.measured import NOBODY_USER, assert_cheap, measure
from tests.core.test_chain import codes, overlay
from tests.core.test_hostile import header, sparse_tables

LARGEST = 2**22  # entries of an L1 table of 32 MiB
BITS = 17


def huge(path: Path, below: str | None, table: bytes | None) -> Path:
    """An image whose L1 table takes 32 MiB: a hole, or all of `table`."""
    start = bytearray(header(LARGEST << 31, cluster_bits=BITS, l1_entries=LARGEST, l1_offset=1 << BITS,
                             refcounts=1 << BITS, length=1 << BITS))  # fmt: skip
    if below is not None:
        start[104:120] = struct.pack(">II5s3x", 0xE2792ACA, 5, b"qcow2")
        start[112:120] = b"qcow2\0\0\0"
        start[4000 : 4000 + len(below)] = below.encode()
        start[8:20] = struct.pack(">QI", 4000, len(below))
    with path.open("wb") as file:
        file.write(start)
        file.write(table or b"")
        file.truncate(LARGEST << BITS if table else 64 * MIB)
    return path


# What the entries hold: nothing but a mark, or each a table of its own, in one hole of 512 GiB.
MARKED = np.full(LARGEST, 1 << 63, ">u8").tobytes()
POINTING = ((np.arange(LARGEST, dtype=">u8") + 600) << BITS | 1 << 63).astype(">u8").tobytes()
TABLES = {
    "hole": None,
    "marked": MARKED,
    "pointing": POINTING[: LARGEST * 8 - 8 * 601] + bytes(8 * 601),
}


def tower(folder: Path, kind: str, layers: int) -> str:
    for number in range(layers):
        huge(folder / f"{number}.qcow2", f"{number - 1}.qcow2" if number else None, TABLES[kind])
    return f"{layers - 1}.qcow2"


@pytest.mark.parametrize("kind", TABLES)
def test_a_layer_with_an_l1_table_of_32_mib(tmp_path: Path, kind: str) -> None:
    assert_cheap(tmp_path, {tower(tmp_path, kind, 1): "fine"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", TABLES)
def test_twenty_layers_with_an_l1_table_of_32_mib(tmp_path: Path, kind: str) -> None:
    assert_cheap(tmp_path, {tower(tmp_path, kind, 20): "fine"})


def test_small_files_with_large_claims(tmp_path: Path) -> None:
    claims = {
        "none": (header(2**50), "header-invalid"),
        "table": (header(2**50, l1_entries=2**21), "truncated"),
        "all": (header(2**61, l1_entries=2**22, cluster_bits=21, l1_offset=1 << 21,
                       refcounts=1 << 21), "truncated"),
        "end": (header(2**50, l1_entries=2**21, l1_offset=2**62 - 2**16), "truncated"),
    }  # fmt: skip
    for name, (content, _) in claims.items():
        assert len(content) == 516
        (tmp_path / name).write_bytes(content)
        raw(tmp_path / "base.raw", MIB)
    assert_cheap(tmp_path, {name: code for name, (_, code) in claims.items()})


def test_two_million_tables_in_one_hole(tmp_path: Path) -> None:
    path = sparse_tables(tmp_path / "all.qcow2", 2**21 - 1, size=2**50)
    assert path.stat().st_size > 128 * GIB
    sparse_tables(tmp_path / "stored.qcow2", 2**20)
    # One table is stored at the far end: the hole before it must not be read through.
    patch(tmp_path / "stored.qcow2", (1024 + 2**20 - 1) << 16, "Q", (1 << 63) | 1 << 16)
    sparse_tables(tmp_path / "wide.qcow2", 2**20, step=3)
    assert_cheap(tmp_path, {"all.qcow2": "fine", "stored.qcow2": "fine", "wide.qcow2": "fine"})


OFFSETS = {
    # Of the header: where the L1 table is (40), where the reference counts are (48), snapshots (64).
    "l1 outside": (40, 1 << 40, "truncated"),
    "l1 over the header": (40, 0, "header-invalid"),
    "l1 unaligned": (40, 0x30200, "header-invalid"),
    "l1 at 2^62": (40, 1 << 62, "header-invalid"),
    "l1 below 2^62": (40, (1 << 62) - (1 << 16), "truncated"),
    "l1 at 2^63": (40, 1 << 63, "header-invalid"),
    "refcounts outside": (48, 1 << 40, "truncated"),
    "refcounts over the header": (48, 0, "header-invalid"),
    "refcounts unaligned": (48, 0x10008, "header-invalid"),
    "refcounts at 2^62": (48, 1 << 62, "header-invalid"),
    "refcounts without a cluster": (56, 0, "header-invalid"),
    "refcounts of 4 billion clusters": (56, 2**32 - 1, "header-invalid"),
    "snapshots at 2^62": (64, 1 << 62, "header-invalid"),
    # Of the first L1 entry (None: of the first L2 entry).
    "l2 outside": ("l1", 1 << 40, "truncated"),
    "l2 at the last byte": ("l1", (1 << 56) - (1 << 16), "truncated"),
    "l2 unaligned": ("l1", 0x40200, "tables-invalid"),
    "data outside": ("l2", 1 << 40, "truncated"),
    "data unaligned": ("l2", 0x50200, "tables-invalid"),
    "data at the last byte": ("l2", (1 << 56) - (1 << 16), "truncated"),
    "packed data outside": ("l2", 1 << 62 | 1 << 40, "truncated"),
    "packed data far outside": ("l2", (1 << 63) - 1, "truncated"),
}


def test_tables_in_impossible_places(tmp_path: Path) -> None:
    content = qcow2(tmp_path / "whole", GIB, "write 0 128k").read_bytes()
    l1 = struct.unpack_from(">Q", content, 40)[0]
    l2 = struct.unpack_from(">Q", content, l1)[0] & (2**56 - 1)
    for name, (place, value, _) in OFFSETS.items():
        path = tmp_path / name
        path.write_bytes(content)
        at = {"l1": l1, "l2": l2}.get(place, place)
        patch(path, at, "I" if at == 56 else "Q", value)
    assert_cheap(tmp_path, {name: code for name, (_, _, code) in OFFSETS.items()})


def specials(folder: Path) -> list[str]:
    """Make one of each kind of file that is no volume; devices only where root may."""
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "to-fifo").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        descriptor = os.open(folder, os.O_RDONLY)  # a socket's own path may be too long
        listener.bind(f"/proc/self/fd/{descriptor}/socket")
        os.close(descriptor)
    made = ["fifo", "folder", "to-fifo", "socket"]
    if os.getuid() == 0:
        os.mknod(folder / "character", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
        os.mknod(folder / "block", stat.S_IFBLK | 0o666, os.makedev(7, 0))
        made += ["character", "block"]
    return made


def test_files_that_are_no_volumes(tmp_path: Path) -> None:
    for name in specials(tmp_path):
        overlay(tmp_path, name, name=f"over-{name}.qcow2")
        path = qcow2(tmp_path / f"data-{name}.qcow2", MIB, data_file="x" * len(name))
        at = path.read_bytes().index(b"x" * len(name))
        patch(path, at, f"{len(name)}s", name.encode())
        expected = {
            name: "backing-special", f"over-{name}.qcow2": "backing-special",
            f"data-{name}.qcow2": "data-file-outside",
        }  # fmt: skip
        assert_cheap(tmp_path, expected)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_files_that_may_not_be_read(public: Path) -> None:
    root = public / "domain"
    (root / "closed").mkdir(parents=True)
    raw(root / "closed/base.raw", MIB)
    raw(root / "secret.raw", MIB)
    overlay(root, "secret.raw", name="over-secret.qcow2")
    overlay(root, "closed/base.raw", name="over-closed.qcow2")
    overlay(root, "./closed/../over-secret.qcow2", b"qcow2", name="through.qcow2")
    for path in (root, *root.iterdir()):
        path.chmod(0o755)
    (root / "secret.raw").chmod(0)
    (root / "closed").chmod(0o644)
    expected = dict.fromkeys(
        [
            "secret.raw",
            "over-secret.qcow2",
            "closed/base.raw",
            "over-closed.qcow2",
            "through.qcow2",
        ],
        "backing-unreadable",
    )
    found = measure(root, *expected, user=NOBODY_USER)
    assert {path: answer.code for path, answer in zip(expected, found, strict=True)} == expected
    (root / "closed").chmod(0o755)
    (root / "secret.raw").chmod(0o644)
    assert {answer.code for answer in measure(root, *expected, user=NOBODY_USER)} == {"fine"}


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.raw").touch()
    (tmp_path / "empty.qcow2").touch()
    assert_cheap(tmp_path, {"empty.raw": "fine", "empty.qcow2": "header-invalid"})
    overlay(tmp_path, "empty.raw")
    assert codes(tmp_path, "top.qcow2") == {}
