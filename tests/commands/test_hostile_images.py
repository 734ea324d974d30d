"""show_chain and map_blocks on images made to hurt: an exit code, one line or JSON, within a second."""

import json
import os
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands.conftest import manage, script
from tests.core.images import GIB, MIB, patch, qcow2, raw
from tests.core.test_chain import overlay
from tests.core.test_depth import stack
from tests.core.test_hostile import header, sparse_tables
from tests.core.test_hostile_tables import specials

NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
# An image → what is said of it. show_chain looks at headers only, map_blocks at tables too.
HEADERS = {
    "petabytes": "header-invalid", "claim": "truncated", "random": "header-invalid",
    "self": "backing-loop", "ring": "backing-loop", "hard": "backing-loop", "deep": "too-deep",
    "escape": "backing-outside", "passwd": "backing-outside", "link-out": "backing-outside",
    "magic": "backing-outside", "sideways": "backing-special", "device": "backing-protocol",
    "json": "backing-protocol", "nbd": "backing-protocol", "newline": "backing-missing",
    "bytes": "backing-missing", "bidi": "backing-missing", "long": "backing-invalid",
    "nul": "backing-invalid", "slash": "backing-missing", "fifo": "backing-special",
    "over-fifo": "backing-special", "over-socket": "backing-special", "vmdk": "not-a-chain-format",
    "data-out": "data-file-outside", "format": "not-a-chain-format", "feature": "feature-unknown",
}  # fmt: skip
TABLES = {
    "shared": "tables-invalid", "l2-far": "truncated", "data-far": "truncated",
    "cut": "truncated", "unaligned": "tables-invalid",
}  # fmt: skip
NAMES = {
    "self": "self", "ring": "ring-2", "escape": "../secret.raw", "passwd": "/etc/passwd",
    "link-out": "leak.raw", "magic": "../" * 30 + "proc/self/cwd/base.raw", "sideways": "far.qcow2",
    "device": "/dev/sda", "json": 'json:{"driver":"raw"}', "nbd": "nbd://x/y", "newline": "a\nb\r",
    "bytes": b"\xff\xfe", "bidi": "a\u202eb", "long": "x" * 1000, "nul": b"a\0b",
    "slash": "base.raw/", "over-fifo": "fifo", "over-socket": "socket",
}  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A domain of them."""
    root = tmp_path_factory.mktemp("outer") / "domain"
    (root / "sub").mkdir(parents=True)
    raw(root.parent / "secret.raw", MIB)
    raw(root / "base.raw", MIB)
    (root / "leak.raw").symlink_to("../secret.raw")
    raw(root / "sub/base.raw", MIB)
    overlay(root / "sub", "base.raw", b"raw", name="mid.qcow2")
    (root / "far.qcow2").symlink_to("sub/mid.qcow2")
    specials(root)
    for name, backing in NAMES.items():
        overlay(root, backing, None if name == "sideways" else b"qcow2", name=name)
    overlay(root, "far.qcow2", b"qcow2", name="sideways")
    overlay(root, "ring", b"qcow2", name="ring-2")
    overlay(root, "twin", b"qcow2", name="hard")
    os.link(root / "hard", root / "twin")
    overlay(root, "base.raw", b"vmdk", name="format")
    (root / "petabytes").write_bytes(header(2**50))
    (root / "claim").write_bytes(header(2**50, l1_entries=2**21))
    (root / "random").write_bytes(b"QFI\xfb" + bytes(range(256)) * 16)
    (root / "vmdk").write_bytes(b"KDMV" + bytes(4096))
    patch(qcow2(root / "feature", MIB), 72, "Q", 1 << 40)
    path = qcow2(root / "data-out", MIB, data_file="data-xyz")
    patch(path, path.read_bytes().index(b"data-xyz"), "8s", b"/etc/pas")
    stack(root, 1001).rename(root / "deep")
    _tables(root)
    return root


def _tables(root: Path) -> None:
    content = qcow2(root / "whole", GIB, "write 0 128k", "write 600M 64k").read_bytes()
    l1 = struct.unpack_from(">Q", content, 40)[0]
    l2 = struct.unpack_from(">Q", content, l1)[0] & (2**56 - 1)
    for name, at, value in (
        ("shared", l1 + 8, l2), ("l2-far", l1, 1 << 40), ("data-far", l2, 1 << 40),
        ("unaligned", l2, 0x50200),
    ):  # fmt: skip
        (root / name).write_bytes(content)
        patch(root / name, at, "Q", value | 1 << 63)
    (root / "cut").write_bytes(content[: l2 + 100])


@contextmanager
def within_a_second() -> Iterator[None]:
    before = time.process_time()
    yield
    assert time.process_time() - before < 1.0


@pytest.mark.parametrize("name", HEADERS)
def test_show_chain_says_what_is_wrong_with_a_header(hostile: Path, name: str) -> None:
    with within_a_second():
        shown = manage("show_chain", hostile / name, "--json")
    assert (shown.code, len(shown.err)) == (1, 1)
    assert HEADERS[name] in shown.err[0]
    findings = json.loads(shown.out)["findings"]
    critical = {f["code"] for f in findings if f["severity"] == "critical"}
    assert critical == {HEADERS[name]}
    with within_a_second():
        plain = manage("show_chain", hostile / name)
    assert plain.code == 1
    assert all(line.isprintable() for line in plain.out.splitlines())


@pytest.mark.parametrize("name", {**HEADERS, **TABLES})
def test_map_blocks_says_what_is_wrong_with_an_image(hostile: Path, name: str) -> None:
    with within_a_second():
        mapped = manage("map_blocks", hostile / name, "--json")
    assert (mapped.code, mapped.out) == (1, "")
    assert len(mapped.err) == 1
    assert mapped.err[0].isprintable()


@pytest.mark.parametrize("name", TABLES)
def test_show_chain_says_what_is_wrong_with_tables(hostile: Path, name: str) -> None:
    with within_a_second():
        shown = manage("show_chain", hostile / name, "--json")
    assert (shown.code, len(shown.err)) == (1, 1)
    found = {finding["code"] for finding in json.loads(shown.out)["findings"]}
    assert found == {TABLES[name]}
    assert TABLES[name] in shown.err[0]


def seconds_of(*arguments: str | Path) -> tuple[int, float]:
    """The exit code of a command as a process, and what it took of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = script(*arguments, **NOWHERE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(done.err) <= 1
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.code, took


def test_real_processes_take_a_second_more_than_django(hostile: Path) -> None:
    code, start = seconds_of("map_blocks", hostile / "whole", "--json")
    assert code == 0
    sparse_tables(hostile / "sparse", 2**18)
    for command, name, expected in (
        ("map_blocks", "deep", 1), ("show_chain", "deep", 1), ("map_blocks", "fifo", 1),
        ("map_blocks", "claim", 1), ("map_blocks", "sparse", 0), ("show_chain", "hard", 1),
    ):  # fmt: skip
        code, took = seconds_of(command, hostile / name, "--json")
        assert code == expected, name
        assert took - start < 1.0, (name, took, start)
