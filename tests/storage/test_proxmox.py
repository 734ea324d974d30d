"""A tree of Proxmox VE, built by the real tools as it builds one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.findings import Code
from chains.storage.directory import Directory
from chains.storage.profiles.proxmox import MAX_CONF, parse_conf
from chains.storage.types import Notes
from tests.images import MIB, overlay, qcow2, raw

CONF = """#a note
boot: order=scsi0
name: web1
scsi0: nfs1:101/vm-101-disk-0.qcow2,iothread=1,size=1M
unused0: nfs1:101/vm-101-disk-1.raw

[monday]
name: old
scsi0: nfs1:101/vm-101-disk-9.qcow2
"""


@pytest.fixture
def tree(tmp_path):
    images = tmp_path / "nfs1" / "images"
    qcow2(images / "9000" / "base-9000-disk-0.qcow2", MIB)
    qcow2(images / "101" / "snap-monday-vm-101-disk-0.qcow2", MIB)
    overlay(images / "101" / "vm-101-disk-0.qcow2", "snap-monday-vm-101-disk-0.qcow2", "qcow2")
    raw(images / "101" / "vm-101-disk-1.raw", MIB)
    overlay(images / "102" / "vm-102-disk-0.qcow2", "../9000/base-9000-disk-0.qcow2", "qcow2")
    raw(images / "102" / "vm-102-state-now.raw", MIB)
    qcow2(images / "102" / "strange.qcow2", MIB)
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "101.conf").write_text(CONF)
    (conf / "9000.conf").write_text("name: debian\ntemplate: 1\nscsi0: nfs1:9000/x.qcow2\n")
    return tmp_path


def notes_of(tree, before=None, **options):
    driver = Directory(**options)
    found = driver.list(str(tree / "nfs1"), before or {}, lambda: None)
    assert found.facts == {"profile": "proxmox"}
    reader = driver.reader(str(tree / "nfs1"), found)
    layers = {path: reader.read(path, None) for path in found.paths}
    names = {path.rpartition("/")[2]: note for path, note in found.notes.items()}
    return names, layers, found


def test_names_without_configurations(tree):
    names, layers, found = notes_of(tree)
    assert names == {
        "base-9000-disk-0.qcow2": Notes("base-9000-disk-0", "VM 9000 disk-0 (template)", "VM 9000"),
        "snap-monday-vm-101-disk-0.qcow2": Notes("vm-101-disk-0", "VM 101 disk-0", "VM 101"),
        "vm-101-disk-0.qcow2": Notes("vm-101-disk-0", "VM 101 disk-0", "VM 101"),
        "vm-101-disk-1.raw": Notes("vm-101-disk-1", "VM 101 disk-1", "VM 101"),
        "vm-102-disk-0.qcow2": Notes("vm-102-disk-0", "VM 102 disk-0", "VM 102"),
        "vm-102-state-now.raw": Notes("vm-102-state-now", "VM 102 state-now", "VM 102"),
    }
    assert not found.findings
    clone = layers["images/102/vm-102-disk-0.qcow2"]
    assert clone.backing_path == "images/9000/base-9000-disk-0.qcow2"
    assert not any(layer.findings for layer in layers.values())


def test_names_from_configurations(tree):
    names, _, found = notes_of(tree, proxmox_conf=str(tree / "conf"))
    assert names["vm-101-disk-0.qcow2"].disk_name == "web1 scsi0"
    assert names["snap-monday-vm-101-disk-0.qcow2"].disk_name == "web1 scsi0"
    assert names["vm-101-disk-1.raw"].disk_name == "web1 unused0"
    assert names["base-9000-disk-0.qcow2"].disk_name == "debian disk-0 (template)"
    assert names["vm-102-disk-0.qcow2"].vm == "VM 102"  # it has no configuration here
    assert not found.findings


def test_names_stay_when_the_configurations_can_not_be_read(tree):
    _, _, before = notes_of(tree, proxmox_conf=str(tree / "conf"))
    names, _, found = notes_of(tree, before.notes, proxmox_conf=str(tree / "gone"))
    assert names["vm-101-disk-0.qcow2"].disk_name == "web1 scsi0"
    assert [finding.code for finding in found.findings] == [Code.OWNERS_UNREAD]
    assert "gone" in found.findings[0].detail


@pytest.mark.parametrize("kind", ["huge", "folder", "link"])
def test_a_hostile_configuration(tree, kind):
    path = tree / "conf" / "101.conf"
    path.unlink()
    if kind == "huge":
        path.write_bytes(b"x" * (MAX_CONF + 1))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/etc/passwd")
    names, _, found = notes_of(tree, proxmox_conf=str(tree / "conf"))
    assert names["vm-101-disk-0.qcow2"].vm == "VM 101"
    assert names["base-9000-disk-0.qcow2"].vm == "debian"
    assert len(found.findings) == 1


def test_a_linked_clone_s_drive():
    machine = parse_conf(
        b"virtio1: local:9000/base-9000-disk-0.qcow2/101/vm-101-disk-0.qcow2,size=1\n"
    )
    assert machine.drives == {"vm-101-disk-0": "virtio1"}


def test_bytes_that_are_not_utf_8():
    assert parse_conf(b"name: a\xffb\n").name == "a\udcffb"


@given(st.binary(max_size=300))
def test_any_bytes_are_borne(data):
    assert len(parse_conf(data).name) <= 255
