"""Opening volumes that change, vanish or turn into something else under the reader."""

import os
import stat
from pathlib import Path

import pytest

from chains.core.chain import read_chain
from chains.core.errors import ReadError
from chains.core.findings import Code
from chains.core.layer import OPEN_FLAGS, open_regular
from chains.core.paths import Inside
from chains.core.reads import read_chain_maps
from tests.core.images import MIB, qcow2, raw, write
from tests.core.test_chain import codes


def test_files_that_nobody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw(tmp_path / "base.raw", 1 * MIB)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("chains.core.layer.os.open", refuse)
    assert codes(tmp_path, path.name) == {"backing-unreadable": "critical"}


def test_a_change_between_the_header_and_the_tables(tmp_path: Path) -> None:
    raw(tmp_path / "base.raw", 1 * MIB, "write 0 1M")
    top = qcow2(tmp_path / "top.qcow2", None, "write 0 64k", backing="base.raw")
    chain = read_chain(str(tmp_path), "top.qcow2")
    assert len(read_chain_maps(chain)) == 2
    write(top, "write 512k 64k")
    with pytest.raises(ReadError) as caught:
        read_chain_maps(chain)
    assert caught.value.finding.code is Code.CHANGED_WHILE_READ
    assert "top.qcow2" in str(caught.value)
    chain = read_chain(str(tmp_path), "top.qcow2")
    top.rename(tmp_path / "moved.qcow2")
    with pytest.raises(ReadError):
        read_chain_maps(chain)


def test_a_change_while_the_tables_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = qcow2(tmp_path / "top.qcow2", 1 * MIB, "write 0 64k")
    chain = read_chain(str(tmp_path), "top.qcow2")
    real = os.preadv

    def cut(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        os.truncate(top, 65536)
        return real(fd, buffers, offset, flags)

    monkeypatch.setattr("chains.core.source.os.preadv", cut)
    with pytest.raises(ReadError) as caught:
        read_chain_maps(chain)
    assert caught.value.finding.code is Code.CHANGED_WHILE_READ


def test_a_change_that_leaves_the_tables_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = qcow2(tmp_path / "top.qcow2", 1 * MIB, "write 0 64k")
    chain = read_chain(str(tmp_path), "top.qcow2")
    real = os.preadv

    def grow(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        os.truncate(top, 4 * MIB)
        return real(fd, buffers, offset, flags)

    monkeypatch.setattr("chains.core.source.os.preadv", grow)
    with pytest.raises(ReadError) as caught:
        read_chain_maps(chain)
    assert caught.value.finding.code is Code.CHANGED_WHILE_READ


def test_special_files_are_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    opened: list[object] = []
    monkeypatch.setattr("chains.core.layer.os.open", lambda *args: opened.append(args))
    assert codes(tmp_path, "fifo") == {"backing-special": "critical"}
    assert opened == []


def test_a_fifo_put_in_place_of_a_volume_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "base.raw"
    os.mkfifo(path)
    before = Inside("base.raw", str(path), stat.S_IFREG)  # as it looked a moment ago
    assert OPEN_FLAGS & os.O_NONBLOCK  # or the next line would wait for ever
    with pytest.raises(ReadError) as caught:
        open_regular(before)
    assert caught.value.finding.code is Code.BACKING_SPECIAL
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(ReadError):
        open_regular(before)
