"""add_domain of every kind, set_domain --scan-every, set_thresholds, scan_domain --json and Ctrl-C."""

import json
import os
import struct
import time
from pathlib import Path

import pytest

from chains.inventory import scanning
from chains.models import AuditRecord, Scan, StorageDomain, Volume
from project.builders import ovirt
from tests import images
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


def test_ctrl_c_after_all_is_stored_takes_nothing_back(lesson, monkeypatch):
    def interrupted(domain):
        raise KeyboardInterrupt

    monkeypatch.setattr(scanning, "_try_again", interrupted)
    images.overlay(lesson / "snap3.img", "snap2.img", "qcow2")
    done = manage("scan_domain", "lab")
    assert (done.code, done.err) == (130, ["it had just ended: all is stored"])
    assert Scan.objects.latest("pk").state == "succeeded"
    assert Volume.objects.filter(path="snap3.img").exists()
    assert StorageDomain.objects.get().last_scan_id == Scan.objects.latest("pk").pk


def test_ctrl_c_leaves_the_scan_of_another_alone(lesson, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    Scan.objects.create(domain=StorageDomain.objects.get(), state="running")
    monkeypatch.setattr(scanning, "follow_scan", interrupted)
    done = manage("scan_domain", "lab")
    assert (done.code, done.out, len(done.err)) == (130, "", 1)
    assert "it goes on" in done.err[0]
    assert Scan.objects.latest("pk").state == "running"


def test_a_scan_that_stores_for_long_is_not_taken_for_dead(lesson, monkeypatch):
    monkeypatch.setattr(scanning, "BEAT_SECONDS", 0.05)
    seen = set()

    def slow(domain, *args, **kwargs):
        for _ in range(100):
            seen.add(Scan.objects.latest("pk").alive_at)
            if len(seen) > 2:
                return
            time.sleep(0.05)

    monkeypatch.setattr(scanning, "scan_domain", slow)
    assert manage("scan_domain", "lab").code == 0
    assert len(seen) > 2


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


def test_a_check(lesson):
    done = manage("check_volume", "lab", "snap1.img")
    assert (done.code, done.err) == (0, [])
    assert done.out.startswith("snap1.img: sound: 0 corruptions, 0 leaked clusters,")
    found = json.loads(manage("check_volume", "lab", "snap1.img", "--json").out)
    assert (found["verdict"], found["current"], found["failed"]) == ("sound", True, "")
    for arguments, code, words in (
        (["lab", "base.img"], 1, "no tables"),
        (["lab", "gone.img"], 2, "not a volume"),
        (["nothing", "snap1.img"], 2, "no storage domain"),
    ):
        done = manage("check_volume", *arguments)
        assert (done.code, len(done.err)) == (code, 1), done
        assert words in done.err[0]


def test_a_check_finds_what_is_leaked_and_what_is_damaged(lesson):
    leak(lesson / "snap2.img")
    done = manage("check_volume", "lab", "snap2.img")
    assert (done.code, done.err) == (0, []), done
    assert "leaks: 0 corruptions, 1 leaked clusters (64 KiB)" in done.out
    assert Volume.objects.get(path="snap2.img").findings.open().filter(code="leaked").exists()
    damage(lesson / "snap2.img")
    assert manage("scan_domain", "lab").code == 0, "what was found of another file is forgotten"
    assert not Volume.objects.get(path="snap2.img").findings.open().filter(code="leaked").exists()
    done = manage("check_volume", "lab", "snap2.img")
    assert (done.code, len(done.err)) == (1, 1), done
    assert "damaged" in done.out


def table_of(path):
    """Where the first block of reference counts lies (docs/interop/qcow2.txt)."""
    with path.open("rb") as file:
        file.seek(48)
        (table,) = struct.unpack(">Q", file.read(8))
        file.seek(table)
        return struct.unpack(">Q", file.read(8))[0]


def leak(path):
    """A cluster at the end that is counted, and that nothing points to."""
    counts = table_of(path)
    number = -(-path.stat().st_size // 65536)
    with path.open("r+b") as file:
        file.truncate((number + 1) * 65536)
        file.seek(counts + 2 * number)
        file.write(struct.pack(">H", 1))


def damage(path):
    """The counts of all clusters but the first are lost: what is in use counts as free."""
    with path.open("r+b") as file:
        file.seek(table_of(path) + 2 * 4)
        file.write(bytes(64))


def test_who_made_a_tree_is_changed_by_hand(tmp_path, transactional_db):
    (tmp_path / "d").mkdir()
    assert manage("add_domain", "d", str(tmp_path / "d")).code == 0
    assert manage("set_domain", "d", "--profile", "proxmox", "--proxmox-conf", "/etc/pve").code == 0
    row = StorageDomain.objects.get(name="d")
    assert (row.profile, row.options) == ("proxmox", {"proxmox_conf": "/etc/pve"})
    assert manage("set_domain", "d", "--proxmox-conf", "").code == 0
    row.refresh_from_db()
    assert (row.profile, row.options) == ("proxmox", {})
    refused = manage("set_domain", "d", "--libvirt-uri", "x" * 5000)
    assert (refused.code, "give a path or an address" in str(refused)) == (2, True)
    row.refresh_from_db()
    assert row.options == {}


def test_another_directory_at_the_domain_s_place_is_accepted_once_only(lesson, tmp_path):
    domain = StorageDomain.objects.get()
    root = Path(domain.path)
    root.rename(tmp_path / "away")
    root.mkdir()
    refused = manage("scan_domain", domain.name)
    assert (refused.code, "--accept-empty" in str(refused)) == (1, True)
    assert domain.volumes.count() == 3
    assert manage("scan_domain", domain.name, "--accept-empty").code == 0
    assert domain.volumes.count() == 0


def test_a_domain_of_another_host_is_scanned_there(lesson):
    StorageDomain.objects.update(storage_host="elsewhere")
    name = StorageDomain.objects.get().name
    refused = manage("scan_domain", name)
    assert (refused.code, "reached by the host elsewhere" in str(refused)) == (2, True)
    assert manage("scan_domain", name, "--here").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add_domain", "x", ""], "give the PATH"),
        (["add_domain", "a\nb", "/srv"], "plain text in one line"),
        (["add_domain", "a\udcff", "/srv"], "plain text in one line"),
        (["scan_domain", "\udcff"], "no storage domain"),
        (["set_domain", "lab", "--libvirt-uri", "x y"], "qemu:///system"),
        (["set_domain", "lab", "--libvirt-xml", "relative"], "whole path"),
        (["set_domain", "lab", "--libvirt-xml", "/\udcff"], "path or an address"),
        (["set_domain", "lab", "--keep", "3h", "--scan-every", "1s"], "60"),
    ],
)
def test_one_clear_line_and_nothing_is_changed(arguments, words, lesson):
    before = list(StorageDomain.objects.values())
    done = manage(*arguments)
    assert (done.code, words in str(done)) == (2, True), done
    assert list(StorageDomain.objects.values()) == before
