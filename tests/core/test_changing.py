"""Volumes that change at any moment while they are read: at every system call of the reader."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from chains.core.chain import read_chain
from chains.core.errors import ReadError
from chains.core.reads import entries, read_chain_maps, resolve
from tests.core.images import KIB, MIB, patch, qcow2, raw
from tests.core.test_links import critical

CALLS = ("open", "fstat", "lstat", "pread", "preadv", "lseek", "close", "readlink")
# What may be said of a layer that changed. Never: a traceback, or a view that there never was.
CLEAR = {
    "changed-while-read", "backing-missing", "backing-special", "backing-unreadable", "truncated",
    "header-invalid", "backing-format-wrong", "backing-outside",
}  # fmt: skip


class Moment:
    """Does something right before the n-th of the reader's system calls, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.at = -1
        self.change: Callable[[], object] = lambda: None
        self.real = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(self.real[name]))

    def _watched(self, call: Callable[..., object]) -> Callable[..., object]:
        def watched(*arguments: object, **options: object) -> object:
            self.count += 1
            if self.count - 1 == self.at:
                self.change()
            return call(*arguments, **options)

        return watched

    def arm(self, at: int, change: Callable[[], object]) -> None:
        self.count, self.at, self.change = 0, at, change


def look(folder: Path) -> list[dict[str, int | bool]] | str:
    """Read the chain of top.qcow2: the entries of its map, or the code of what is wrong."""
    chain = read_chain(str(folder), "top.qcow2")
    try:
        return list(entries(resolve(read_chain_maps(chain))))
    except ReadError as error:
        return str(error.finding.code)


def fresh(folder: Path, *names: str) -> None:
    """Make layers as they are before the change, last written to long ago."""
    for name in names or ("base.raw", "mid.qcow2", "top.qcow2"):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        path.write_bytes((folder.parent / "kept" / name).read_bytes())
        # Or the change might fall into the same tick of the clock.
        os.utime(path, (10**9, 10**9))


def replace(path: Path, by: Callable[[Path], object]) -> None:
    new = path.with_name("new")
    by(new)
    if stat.S_ISDIR(os.lstat(new).st_mode):
        path.unlink()
    new.rename(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "vanishes": lambda path: path.unlink(),
    "becomes a FIFO": lambda path: replace(path, os.mkfifo),
    "becomes a folder": lambda path: replace(path, Path.mkdir),
    "becomes a link out": lambda path: replace(path, lambda new: new.symlink_to("/etc/passwd")),
    "becomes another image": lambda path: replace(
        path, lambda new: new.write_bytes((path.parent.parent / "kept/other.qcow2").read_bytes())
    ),
    "becomes empty": lambda path: os.truncate(path, 0),
    "shrinks": lambda path: os.truncate(path, path.stat().st_size // 2),
    "grows": lambda path: os.truncate(path, path.stat().st_size + MIB),
    "is written to": lambda path: patch(path, path.stat().st_size - 8, "Q", 1 << 63 | 1 << 40),
    "gets another header": lambda path: patch(path, 24, "Q", 2**50),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kept = tmp_path / "kept"
    kept.mkdir()
    raw(kept / "base.raw", MIB, "write 0 64k")
    qcow2(kept / "mid.qcow2", None, "write 64k 64k", backing="base.raw", cluster_size=4 * KIB)
    qcow2(kept / "top.qcow2", None, "write 96k 64k", backing="mid.qcow2", cluster_size=4 * KIB)
    qcow2(kept / "other.qcow2", 2 * MIB, "write 1M 64k", backing="base.raw")
    (tmp_path / "domain").mkdir()
    return tmp_path / "domain"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["top.qcow2", "mid.qcow2", "base.raw"])
def test_a_change_at_any_moment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: str
) -> None:
    fresh(folder)
    before = look(folder)
    CHANGES[change](folder / name)
    possible = [before, look(folder)]
    moment = Moment(monkeypatch)
    fresh(folder)
    moment.arm(-1, lambda: None)
    assert look(folder) == before
    calls = moment.count
    assert calls > 20
    codes = set()
    for at in range(calls):
        monkeypatch.undo()
        fresh(folder, name)
        moment = Moment(monkeypatch)
        moment.arm(at, lambda: monkeypatch.undo() or CHANGES[change](folder / name))
        found = look(folder)
        if isinstance(found, str):
            codes.add(found)
        else:
            assert found in possible, at
    monkeypatch.undo()
    assert codes - {p for p in possible if isinstance(p, str)} <= CLEAR
    assert codes, "no moment at which it was noticed"


def test_nothing_outside_is_read_when_a_volume_becomes_a_link(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file outside that looks like a part of the chain is never taken for one."""
    (folder.parent / "outside.qcow2").write_bytes((folder.parent / "kept/other.qcow2").read_bytes())
    for at in range(60):
        monkeypatch.undo()
        fresh(folder, "mid.qcow2")
        moment = Moment(monkeypatch)
        moment.arm(at, lambda: monkeypatch.undo() or replace(
            folder / "mid.qcow2", lambda new: new.symlink_to(folder.parent / "outside.qcow2")
        ))  # fmt: skip
        chain = read_chain(str(folder), "top.qcow2")
        assert [layer.virtual_size for layer in chain.layers if layer.header][:2] != [MIB, 2 * MIB]
        assert len(chain.layers) == 3 or critical(chain)
