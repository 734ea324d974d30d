"""Bytes out of files and out of extents of files, past the cache."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from chains.core.direct import ALIGNMENT, ROOM, DirectFile
from chains.core.source import ExtentsSource, FileSource, Piece

CONTENT = hashlib.shake_256(b"any").digest(3 * ROOM + 777)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(CONTENT)
    return made


RANGES = [
    (0, 1), (0, ALIGNMENT), (1, ALIGNMENT), (511, 2), (ROOM - 1, ROOM + 2), (3, 3 * ROOM),
    (len(CONTENT) - 5, 100), (len(CONTENT), 1), (len(CONTENT) + 5, 1), (0, len(CONTENT) + 9),
]  # fmt: skip


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_direct_reads(path: Path, offset: int, length: int, plain: bool):
    with DirectFile(str(path)) as file:
        assert file.size == len(CONTENT)
        if plain:
            file._give_up_direct()
        assert file.pread(length, offset) == CONTENT[offset : offset + length]


def test_a_file_system_that_refuses(path: Path, monkeypatch: pytest.MonkeyPatch):
    real_open, real_read = os.open, os.preadv

    def refusing(name, flags, *more, **options):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "refused")
        return real_open(name, flags, *more, **options)

    told = []
    real_advice = os.posix_fadvise
    monkeypatch.setattr(os, "posix_fadvise", lambda *a: (told.append(a), real_advice(*a)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        with DirectFile(str(path)) as file:
            assert not file.direct
            assert file.pread(10, 5) == CONTENT[5:15]
    assert {advice for *_, advice in told} == {os.POSIX_FADV_DONTNEED}
    with DirectFile(str(path)) as file:
        if not file.direct:
            pytest.skip("this file system refuses O_DIRECT")
        calls = []

        def once(fd, buffers, offset, flags=0):
            calls.append(fd)
            if len(calls) == 1:
                raise OSError(errno.EINVAL, "refused")
            return real_read(fd, buffers, offset, flags)

        monkeypatch.setattr(os, "preadv", once)
        assert file.pread(10, 5) == CONTENT[5:15]
        assert not file.direct


def test_only_files_and_devices_are_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(OSError, match="no regular file"):
            DirectFile(str(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        DirectFile(str(tmp_path / "nothing"))


def test_what_another_host_writes_is_seen(path: Path):
    with DirectFile(str(path)) as file:
        assert file.pread(3, 0) == CONTENT[:3]
        with path.open("r+b") as other:
            other.write(b"new")
            os.fsync(other.fileno())
        assert file.pread(3, 0) == b"new"


def test_extents_of_two_files(tmp_path: Path, path: Path):
    second = tmp_path / "second"
    second.write_bytes(CONTENT[::-1])
    with DirectFile(str(path)) as one, DirectFile(str(second)) as two:
        pieces = [Piece(5000, one, 100), Piece(0, one, 0), Piece(70_000, two, 5), Piece(3, one, 0)]
        source = ExtentsSource(pieces)
        model = CONTENT[100:5100] + CONTENT[::-1][5:70_005] + CONTENT[:3]
        assert source.size == source.on_disk == len(model)
        for offset, length in [*RANGES, (4999, 2), (75_000, 100), (4000, 71_000)]:
            assert source.pread(length, offset) == model[offset : offset + length]
        assert source.next_data(7) == 7
        assert source.next_hole(7) == len(model)
        with pytest.raises(OSError, match="No such device"):
            source.next_data(len(model))
        room = memoryview(bytearray(10))
        assert source.read_cached(room, 0) == 0
        assert source.read_into(room, len(model)) == 0
        assert source.read_into(room, -1) == 0
        source.will_need(0, 10)


def test_a_device_that_ends_before_its_extents(path: Path):
    with DirectFile(str(path)) as file:
        source = ExtentsSource([Piece(len(CONTENT), file, 10)])
        with pytest.raises(OSError, match="ends before its extents"):
            source.pread(100, len(CONTENT) - 50)


def test_files(path: Path):
    with path.open("rb") as opened:
        source = FileSource(opened.fileno())
        assert (source.size, source.on_disk) == (len(CONTENT), path.stat().st_blocks * 512)
        assert source.pread(5, 3) == CONTENT[3:8]
