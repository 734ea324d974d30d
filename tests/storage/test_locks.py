"""Whether images are in use, told from the kernel's table, and held against the real tool."""

import fcntl
import os
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.storage.locks import F_OFD_SETLK, LockTable, in_use, parse
from chains.storage.mounts import Mount, mount_at
from tests.images import MIB, mounted, opened, qcow2, raw


def network(mount: Mount, fs_type: str, *options: str) -> Mount:
    return mount._replace(fs_type=fs_type, options=options)


@pytest.fixture
def image(tmp_path):
    return qcow2(tmp_path / "a.qcow2", MIB)


def test_an_image_that_qemu_holds(image, tmp_path):
    other = raw(tmp_path / "b.img", MIB)
    mount = mount_at(str(tmp_path))
    with opened(image):
        table = LockTable.read()
        assert table.state(str(image), mount) is True
        assert table.state(str(other), mount) is False
        assert in_use(str(image))
    # The table is as old as its reading.
    assert table.state(str(image), mount) is True
    assert LockTable.read().state(str(image), mount) is False


def test_without_a_table_each_image_is_asked(image, tmp_path):
    mount = mount_at(str(tmp_path))
    for table in (LockTable.read(str(tmp_path / "gone")), LockTable.read("/dev/null")):
        assert table.state(str(image), mount) is False
        with opened(image):
            assert table.state(str(image), mount) is True


def test_a_device_that_the_table_does_not_know_so_is_asked(image, tmp_path):
    mount = mount_at(str(tmp_path))
    elsewhere = mount._replace(device=(250, 250))
    nobody = LockTable(())
    with opened(image):
        assert nobody.state(str(image), mount) is False
        assert nobody.state(str(image), elsewhere) is True
        for name in ("btrfs", "overlay", "nfs4", "fuse.bindfs"):
            assert nobody.state(str(image), network(mount, name)) is True


@pytest.mark.parametrize(
    ("fs_type", "options", "state"),
    [
        ("nfs", ("vers=3",), None),
        ("nfs", (), None),
        ("nfs4", ("vers=4.2",), False),
        ("nfs4", ("vers=4.2", "local_lock=all"), None),
        ("cifs", (), False),
        ("cifs", ("nobrl",), None),
        ("virtiofs", (), None),
        ("9p", (), None),
        ("fuse.sshfs", (), None),
        ("fuse.glusterfs", (), False),
        ("btrfs", (), False),
    ],
)
def test_what_no_lock_proves(image, fs_type, options, state):
    mount = network(mount_at(str(image)), fs_type, *options)
    assert LockTable(()).state(str(image), mount) is state


def test_nobody_can_tell(image, tmp_path):
    mount = mount_at(str(tmp_path))
    table = LockTable.read()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(image)
    for name in ("gone", "fifo", "link", "nul\0"):
        assert table.state(str(tmp_path / name), mount) is None
    assert table.state(str(image), None) is None
    with opened(image):
        assert table.state(str(image), None) is True


def test_other_locks_on_the_file_are_not_qemu_s(image, tmp_path):
    mount = mount_at(str(tmp_path))
    with image.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for start, count in ((0, 100), (264, 0)):
            lock = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, count, 0)
            fcntl.fcntl(file, F_OFD_SETLK, lock)
        assert LockTable.read().state(str(image), mount) is False
        fcntl.lockf(file, fcntl.LOCK_EX, 1, 263)
        assert LockTable.read().state(str(image), mount) is True
    assert LockTable.read().state(str(image), mount) is False


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_real_file_systems(tmp_path, kind):
    where = tmp_path / "mnt"
    where.mkdir()
    with mounted(where, kind):
        folder = where
        if kind == "btrfs":
            # Of a subvolume stat gives another device than the table of locks.
            folder = where / "sub"
            made = subprocess.run(["btrfs", "subvolume", "create", folder], check=False)
            assert made.returncode == 0
        image = qcow2(folder / "a.qcow2", MIB)
        free = qcow2(folder / "b.qcow2", MIB)
        mount = mount_at(str(folder))
        assert mount.fs_type == kind
        with opened(image):
            table = LockTable.read()
            assert table.state(str(image), mount) is True
            assert table.state(str(free), mount) is False
        assert LockTable.read().state(str(image), mount) is False


def test_the_table_is_read_by_its_columns():
    text = (
        "1: OFDLCK ADVISORY  READ -1 fe:00:11 100 101\n"
        "1: -> OFDLCK ADVISORY  WRITE -1 fe:00:12 100 101\n"
        "2: POSIX  ADVISORY  WRITE 77 08:1f:13 0 EOF\n"
        "3: FLOCK  ADVISORY  WRITE 77 08:1f:14 0 EOF\n"
        "4: POSIX  ADVISORY  WRITE 77 08:1f:15 264 EOF\n"
        "5: POSIX  ADVISORY  WRITE 77 08:1f:16 0 99\n"
        "6: OFDLCK ADVISORY  READ -1 00:2d:17 263 263\n"
        "7: POSIX  ADVISORY  READ 5 <none>:0 100 100\n"
        "8: POSIX\n"
    )
    assert parse(text) == {(0xFE, 0, 11), (8, 0x1F, 13), (0, 0x2D, 17)}


@given(st.text(max_size=300))
def test_any_table_is_borne(text):
    parse(text)
