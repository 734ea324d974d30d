"""The kernel's list of mounts, as it is read."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.storage.mounts import (
    is_network,
    mount_at,
    mount_of,
    nfs_version,
    parse,
    read_mounts,
)

SAMPLE = r"""22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
30 28 0:45 /@data /srv rw,noatime master:2 propagate_from:1 - btrfs /dev/vdb rw,subvol=/@data
31 30 0:50 / /srv/two\040words\011\134 rw - nfs4 nas:/export\040one rw,vers=4.2,hard
32 28 0:51 / /mnt/three rw - nfs nas:/three rw,vers=3,nolock
33 28 0:52 / /mnt rw - tmpfs  rw
34 33 0:53 / /mnt/four rw - fuse.sshfs host:/x rw
35 34 0:54 / /mnt/four rw - xfs /dev/vdc rw
broken
36 28 x:y / /bad rw - ext4 /dev/vdd rw
"""


def at(path):
    return mount_of(path, parse(SAMPLE))


def test_a_line_is_read():
    mount = at("/srv/a.img")
    assert mount is not None
    assert mount.device == (0, 45)
    assert (mount.fs_type, mount.source, mount.point) == ("btrfs", "/dev/vdb", "/srv")
    assert mount.options == ("rw", "noatime", "rw", "subvol=/@data")
    assert len(parse(SAMPLE)) == 8


def test_octal_escapes():
    mount = at("/srv/two words\t\\/a.img")
    assert mount is not None
    assert mount.source == "nas:/export one"
    assert mount.is_network


def test_what_another_mount_covers_is_not_seen():
    # A file system was mounted on /mnt after the one on /mnt/three, which it hides.
    assert at("/mnt/three/a").fs_type == "tmpfs"
    assert at("/mnt/three/a").source == ""
    # Two on one point: the later one lies on top.
    assert at("/mnt/four/a").fs_type == "xfs"
    assert at("/mnt/fourteen").fs_type == "tmpfs"
    assert at("/home/x").fs_type == "ext4"
    assert mount_of("/x", []) is None


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("1 0 0:1 / / rw - nfs a:/b rw,vers=3", (3, 0)),
        ("1 0 0:1 / / rw - nfs4 a:/b rw,vers=4.2", (4, 2)),
        ("1 0 0:1 / / rw - nfs4 a:/b rw", (4, 0)),
        ("1 0 0:1 / / rw - nfs a:/b rw,nfsvers=4", (4, 0)),
        ("1 0 0:1 / / rw - nfs a:/b rw", None),
        ("1 0 0:1 / / rw - ext4 a:/b rw,vers=3", None),
    ],
)
def test_versions_of_nfs(line, version):
    assert nfs_version(parse(line)[0]) == version


def test_which_file_systems_other_hosts_may_use():
    far = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "glusterfs", "9p", "virtiofs")
    assert all(map(is_network, far))
    assert not any(map(is_network, ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "zfs")))


def test_this_machine_s_own_list():
    mount = mount_at("/proc/self")
    assert mount is not None
    assert mount.fs_type == "proc"
    status = os.stat("/sys")
    mount = mount_at("/sys")
    assert mount is not None
    assert mount.device == (os.major(status.st_dev), os.minor(status.st_dev))


def test_another_list(tmp_path):
    (tmp_path / "info").write_text(SAMPLE)
    assert mount_at("/nowhere", read_mounts(str(tmp_path / "info"))).fs_type == "ext4"


def test_a_name_that_is_not_utf_8(tmp_path):
    (tmp_path / "info").write_bytes(b"1 0 0:1 / /a\xff\\040b rw - ext4 /dev/x rw\n")
    (mount,) = read_mounts(str(tmp_path / "info"))
    assert os.fsencode(mount.point) == b"/a\xff b"


@given(st.text(max_size=200), st.text(max_size=20))
def test_any_text_is_borne(text, path):
    mounts = parse(text)
    mount_of(f"/{path}", [*mounts, *parse(SAMPLE)])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=10))
def test_any_tree_of_mounts_ends(edges):
    text = "\n".join(f"{a} {b} 0:1 / /a rw - ext4 x rw" for a, b in edges)
    mount_of("/a/b", parse(text))
