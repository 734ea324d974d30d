"""Which profile a tree is recognised by, from the names of its files alone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.storage.directory import Directory
from chains.storage.profiles import PROFILES, Options, detect

UUID = "0a1b2c3d-1111-4222-8333-00000000000{}"
SHA = "0123456789abcdef0123456789abcdef01234567"
PLAIN = ["base.img", "snap1.img", "lab/a.qcow2", "notes.txt"]
LIBVIRT = ["web1.qcow2", "web1.snap1", "db1.qcow2", "xml/web1.xml", "xml/db1.xml"]
PROXMOX = [
    "images/101/vm-101-disk-0.qcow2",
    "images/101/snap-monday-vm-101-disk-0.qcow2",
    "images/9000/base-9000-disk-0.qcow2",
    "template/iso/debian.iso",
    "dump/vzdump-qemu-101.vma.zst",
]
NOVA = [
    f"_base/{SHA}",
    f"{UUID.format(1)}/disk",
    f"{UUID.format(1)}/disk.info",
    f"{UUID.format(1)}/libvirt.xml",
    f"{UUID.format(1)}/console.log",
    f"{UUID.format(2)}/disk.config",
    "locks/nova-storage-registry-lock",
    "compute_nodes",
]


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        ([], "plain"), (PLAIN, "plain"), (LIBVIRT, "libvirt"), (PROXMOX, "proxmox"), (NOVA, "nova"),
        ([f"nfs1/{path}" for path in PROXMOX], "proxmox"),
        ([path.removeprefix("images/") for path in PROXMOX[:3]], "proxmox"),
        ([f"instances/{path}" for path in NOVA], "nova"),
        # One odd name does not make a tree.
        ([*(f"disk{n}.qcow2" for n in range(100)), "101/vm-101-disk-0.qcow2"], "plain"),
        (["101/vm-102-disk-0.qcow2", "vm-101-disk-0.qcow2"], "plain"),
        (["web1.xml"], "plain"),
        ([f"{UUID.format(1)}/disk.info"], "plain"),
    ],
)  # fmt: skip
def test_a_tree_is_recognised(paths, name):
    assert detect(paths).name == name


def test_libvirt_s_own_directory_is_known_by_its_name():
    assert detect(["web1.qcow2"], "/var/lib/libvirt/images").name == "libvirt"
    assert detect(PROXMOX, "/var/lib/libvirt/images").name == "proxmox"


def test_an_option_says_more_than_names_that_could_be_anybody_s():
    assert detect(PLAIN, options=Options(libvirt_uri="qemu:///system")).name == "libvirt"
    assert detect(PLAIN, options=Options(proxmox_conf="/etc/pve/qemu-server")).name == "proxmox"
    assert detect(NOVA, options=Options(libvirt_xml="/etc/libvirt/qemu")).name == "nova"


def test_the_profile_can_be_set_by_hand(tmp_path):
    for profile in PROFILES:
        found = Directory(profile=profile.name).list(str(tmp_path), {}, lambda: None)
        assert found.facts == {"profile": profile.name}


def test_detection_is_cheap():
    names = [f"images/{100 + n // 9}/vm-{100 + n // 9}-disk-{n}.qcow2" for n in range(100_000)]
    start = time.process_time()
    assert detect(names).name == "proxmox"
    assert time.process_time() - start < 2  # 0.2 s on an idle machine


NAMES = st.lists(
    st.one_of(st.text(max_size=40), st.sampled_from(PLAIN + LIBVIRT + PROXMOX + NOVA)), max_size=30
)


@given(NAMES)
def test_any_names_are_borne(paths):
    for profile in PROFILES:
        assert 0 <= profile.sureness(paths, "/x") <= 1
    assert detect(paths) in PROFILES


def test_long_names_do_not_keep_a_pattern_busy():
    names = ["images/" * 580 + "x", "a/" * 2000 + "vm-", "100/snap-" + "vm-100-" * 500]
    start = time.process_time()
    detect(names * 100)
    assert time.process_time() - start < 2
