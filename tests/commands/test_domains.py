"""add_domain of every kind, set_domain --scan-every, set_thresholds, scan_domain --json and Ctrl-C."""

import json
import os

import pytest

from chains.inventory import scanning
from chains.models import AuditRecord, Scan, StorageDomain, Volume
from tests import images, ovirt
from tests.commands.conftest import manage


@pytest.fixture
def mount(tmp_path):
    path = tmp_path / "mount"
    path.mkdir()
    return path


def kinds():
    return dict(StorageDomain.objects.values_list("name", "kind"))


def test_a_directory_is_guessed(root, transactional_db):
    images.lesson(root)
    done = manage("add_domain", "lab", root, "--profile", "plain", "--scan-every", "15min")
    assert (done.code, done.err) == (0, [])
    row = StorageDomain.objects.get()
    assert (row.kind, row.profile, row.scan_seconds) == ("directory", "plain", 900)
    assert AuditRecord.objects.get().details["scan_every"] == "15min"


def test_every_ovirt_domain_of_a_mount_is_registered_once(mount, transactional_db):
    first = ovirt.Domain(mount)
    done = manage("add_domain", "nfs", mount)
    assert (done.code, done.err) == (0, [])
    assert kinds() == {"nfs": "ovirt-file"}
    assert StorageDomain.objects.get().path == str(first.root)
    second = ovirt.Domain(mount, sd_uuid="0a1b2c3d-c7d8-43d6-a663-4e52160de620")
    done = manage("add_domain", "nfs", mount, "--kind", "ovirt-file", "--read-only")
    assert (done.code, done.err) == (0, [])
    assert kinds() == {"nfs": "ovirt-file", f"nfs-{second.uuid[:8]}": "ovirt-file"}
    assert "there already" in done.out
    assert StorageDomain.objects.get(path=str(second.root)).read_only
    assert manage("add_domain", "nfs", mount).out.count("there already") == 2


def test_no_ovirt_domain_there(root, transactional_db):
    done = manage("add_domain", "nfs", root, "--kind", "ovirt-file")
    assert (done.code, len(done.err)) == (2, 1)
    assert "No oVirt storage domain" in done.err[0]


def test_block_domains_are_known_by_their_devices(root, transactional_db):
    assert manage("add_domain", "vg", "/dev/no-such-vg/").code == 0
    with (root / "pv0").open("wb") as file:
        file.write(bytes(512) + b"LABELONE" + bytes(1024))
    assert manage("add_domain", "files", root).code == 0
    assert kinds() == {"vg": "ovirt-block", "files": "ovirt-block"}
    assert StorageDomain.objects.get(name="vg").path == "/dev/no-such-vg"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scan-every", "5s"], "60 s"),
        (["--scan-every", "often"], "no length of time"),
        (["--kind", "ovirt-block", "--profile", "libvirt"], "directories only"),
        (["--libvirt-uri", ""], "give a path or an address"),
    ],
)
def test_what_makes_no_sense_is_one_line(root, arguments, words, transactional_db):
    done = manage("add_domain", "lab", root, *arguments)
    assert (done.code, len(done.err)) == (2, 1), done
    assert words in done.err[0]
    assert not StorageDomain.objects.exists()


def test_how_often_it_is_scanned(lesson):
    done = manage("set_domain", "lab", "--scan-every", "0")
    assert (done.code, done.err) == (0, [])
    assert "scanned when asked" in done.out
    assert StorageDomain.objects.get().scan_seconds == 0
    assert "scanned every 2h" in manage("set_domain", "lab", "--scan-every", "2h").out
    assert AuditRecord.objects.filter(details__scan_every="2h").exists()
    assert manage("set_domain", "lab", "--scan-every", "1s").code == 2


def test_a_scan_as_json(root, transactional_db):
    images.lesson(root)
    odd = os.fsdecode(b"caf\xe9.qcow2")
    images.overlay(root / odd, "base.img", "raw")
    images.overlay(root / "orphan.qcow2", "base.img", "raw")
    (root / "gone.img").write_bytes(bytes(65536))
    images.overlay(root / "lost.qcow2", "gone.img", "raw")
    (root / "gone.img").unlink()
    assert manage("add_domain", "lab", root).code == 0
    done = manage("scan_domain", "lab", "--json")
    assert (done.code, done.err) == (0, [])
    found = json.loads(done.out)
    done.out.encode()
    assert found["domain"]["volumes"] == len(found["volumes"]) == Volume.objects.count()
    paths = {row["path"]: row for row in found["volumes"]}
    assert "caf\\xe9.qcow2" in paths
    assert paths["snap1.img"]["header"]["version"] == 3
    assert paths["snap1.img"]["in_use"] is False
    assert paths["snap1.img"]["notes"] is None
    edges = {edge["overlay"]: (edge["backing"], edge["recorded"]) for edge in found["edges"]}
    assert edges["snap2.img"] == ("snap1.img", "snap1.img")
    assert edges["lost.qcow2"] == (None, "gone.img")
    assert {row["code"] for row in found["findings"]} >= {"backing-missing"}


def test_an_empty_domain_as_json(root, transactional_db):
    assert manage("add_domain", "lab", root).code == 0
    found = json.loads(manage("scan_domain", "lab", "--json").out)
    assert (found["volumes"], found["edges"], found["findings"]) == ([], [], [])


def test_ctrl_c_cancels_the_scan(lesson, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(scanning, "scan_domain", interrupted)
    done = manage("scan_domain", "lab")
    assert (done.code, done.out) == (130, "")
    assert done.err == ["cancelled: lab stays in the inventory as it was"]
    scan = Scan.objects.latest("pk")
    assert (scan.state, scan.message) == ("cancelled", scanning.CANCELLED)
    monkeypatch.undo()
    assert manage("scan_domain", "lab").code == 0, "nothing holds the domain"


def test_thresholds(lesson):
    done = manage("set_thresholds", "--depth", "4", "--snapshot-percent", "30%", "--winnable", "1G")
    assert (done.code, done.err) == (0, [])
    assert "--depth 4 (set here)" in done.out
    assert "They hold from the next scan on." in done.out
    done = manage("set_thresholds", "--domain", "lab", "--snapshot-age", "7d")
    assert "--snapshot-age 7d (set here)" in done.out
    assert "--depth 4 (as for all)" in done.out
    assert manage("set_thresholds", "--depth", "").out.count("--depth 8 (default)") == 1
    shown = manage("set_thresholds", "--domain", "lab")
    assert (shown.code, "next scan" in shown.out) == (0, False)
    for bad in (
        ["--depth", "x"],
        ["--depth", "-1"],
        ["--domain", "nothing"],
        ["--winnable", "lots"],
    ):
        done = manage("set_thresholds", *bad)
        assert (done.code, len(done.err)) == (2, 1), done
