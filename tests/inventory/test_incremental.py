"""A scan that looks only at what changed finds just what a scan of everything finds."""

import os
import random
import shutil

import pytest

from chains.core.findings import Code, critical
from chains.core.layer import Fingerprint
from chains.inventory.saving import AROUND, FACTS
from chains.inventory.scan import scan_domain, scan_paths
from chains.models import DomainHistory, Scan, ScanState, StorageDomain, Volume
from chains.storage.directory import DirectoryReader
from tests import images

MIB = images.MIB


@pytest.fixture
def twin(domain):
    """The same directory as a domain that has never been scanned."""

    def make() -> StorageDomain:
        StorageDomain.objects.filter(name="twin").delete()
        return StorageDomain.objects.create(
            name="twin", path=domain.path, path_text=domain.path_text, storage_host="here"
        )

    return make


def told(domain: StorageDomain) -> dict[str, object]:
    """All that a scan says, without ids and moments."""
    names = [name for name in (*FACTS, *AROUND) if name not in ("not_seen_since", "backing")]
    return {
        "volumes": {
            row[0]: row[1:] for row in domain.volumes.values_list("path", "backing__path", *names)
        },
        "disks": sorted(domain.disks.values_list(
            "name", "active__path", "layers", "virtual_size", "on_disk", "oldest_snapshot", "findings",
            "severity",
        )),
        "findings": sorted(domain.findings.open().values_list(
            "path", "code", "severity", "detail", "endangers", "volume__path"
        ), key=str),
        "totals": StorageDomain.objects.values_list(
            "volume_count", "disk_count", "deepest", "virtual_total", "on_disk_total",
            "critical_count", "warning_count", "info_count",
        ).get(pk=domain.pk),
    }  # fmt: skip


def grow(root, luck, number):
    names = [path.name for path in root.iterdir() if path.suffix == ".qcow2" and path.is_file()]
    if not names or luck.random() < 0.2:
        images.qcow2(root / f"r{number}.qcow2", MIB)
    else:
        name = luck.choice(names)
        backing = luck.choice([name, f"./{name}", str(root / name), f"sub/../{name}"])
        images.qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F",
                        luck.choice(["qcow2", "qcow2", "raw"]), root / f"o{number}.qcow2", str(MIB))  # fmt: skip


def change(root, luck, number):
    """One thing that happens to a directory of images."""
    files = [path for path in root.iterdir() if path.is_file()]
    victim = luck.choice(files) if files else root / "none"
    what = luck.choice(
        ["grow", "grow", "write", "remove", "rename", "damage", "link", "raw", "move"]
    )
    if what == "grow" or not files:
        grow(root, luck, number)
    elif what == "write":
        os.utime(victim, (luck.random() * 1e9, luck.random() * 1e9))
    elif what == "remove":
        victim.unlink()
    elif what == "rename":
        victim.rename(root / f"n{number}{victim.suffix}")
    elif what == "damage" and not victim.is_symlink():
        with victim.open("r+b") as file:
            file.write(luck.randbytes(4))
    elif what == "link":
        (root / f"l{number}.qcow2").symlink_to(victim.name)
        grow(root, luck, number)
    elif what == "raw":
        (root / f"x{number}.img").write_bytes(luck.choice([b"", b"x" * 512, victim.read_bytes()]))
    elif what == "move":
        (root / "sub").mkdir(exist_ok=True)
        shutil.move(victim, root / "sub" / victim.name)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_between_two_scans(seed, root, domain, twin):
    luck = random.Random(seed)  # noqa: S311 - a test that can be repeated
    for number in range(12):
        for part in range(luck.randint(1, 3)):
            change(root, luck, number * 10 + part)
        scan_domain(domain)
        fresh = twin()
        scan_domain(fresh)
        assert told(domain) == told(fresh)


@pytest.fixture
def reads(monkeypatch):
    """The volumes whose headers are read, in order; the fixture counts looks at files too."""
    found: list[str] = []
    real = DirectoryReader.read

    def read(self, path, hint):
        found.append(path)
        return real(self, path, hint)

    monkeypatch.setattr(DirectoryReader, "read", read)
    return found


def test_what_has_not_changed_is_not_opened(root, domain, scan, reads):
    images.lesson(root)
    images.deep(root / "deep", 6)
    scan()
    assert len(reads) >= 9
    reads.clear()
    scan()
    assert reads == []
    images.write(root / "deep" / "layer3.qcow2", "qcow2", "write -P 1 0 64k")
    scan()
    assert reads == ["deep/layer3.qcow2"]


def test_a_leaf_whose_overlay_is_gone_is_asked_what_it_is(root, domain, scan):
    """Its overlay said raw; by itself, its content decides."""
    images.qcow2(root / "base.img", MIB)
    images.qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", "base.img", "-F", "raw",
                    root / "over.qcow2", str(MIB))  # fmt: skip
    scan()
    assert Volume.objects.get(path="base.img").format == "raw"
    (root / "over.qcow2").unlink()
    scan()
    assert Volume.objects.get(path="base.img").format == "qcow2"


def test_a_backing_file_behind_a_link_that_now_leads_elsewhere(root, domain, scan):
    one, two = (images.qcow2(root / name, MIB) for name in ("one.qcow2", "two.qcow2"))
    (root / "current").symlink_to(one.name)
    images.overlay(root / "over.qcow2", "current", "qcow2")
    scan()
    assert Volume.objects.get(path="over.qcow2").backing.path == "one.qcow2"
    (root / "current").unlink()
    (root / "current").symlink_to(two.name)
    scan()
    assert Volume.objects.get(path="over.qcow2").backing.path == "two.qcow2"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_can_not_be_read_keeps_its_volumes(root, domain, scan):
    _unread_folder(root, domain, scan, lambda folder, mode: folder.chmod(mode))


def test_a_folder_whose_storage_fails_keeps_its_volumes(root, domain, scan, monkeypatch):
    real, broken = os.scandir, set()

    def scandir(path):
        if str(path) in broken:
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    _unread_folder(root, domain, scan, lambda folder, mode: (
        broken.discard(str(folder)) if mode else broken.add(str(folder))
    ))  # fmt: skip


def _unread_folder(root, domain, scan, set_mode):
    images.deep(root / "vm", 3)
    images.lesson(root)
    scan()
    before = told(domain)
    set_mode(root / "vm", 0)
    (root / "snap2.img").unlink()
    assert scan().state == ScanState.SUCCEEDED
    rows = domain.volumes.filter(path_text__startswith="vm/")
    assert [row.not_seen_since is not None for row in rows] == [True] * 3
    assert domain.disks.filter(name="vm/layer2.qcow2", layers=3).exists()
    assert not domain.volumes.filter(path="snap2.img").exists()
    assert ("vm", "folder-unreadable") in set(domain.findings.open().values_list("path", "code"))
    since = rows[0].not_seen_since
    scan()
    assert domain.volumes.filter(path_text__startswith="vm/", not_seen_since=since).count() == 3
    set_mode(root / "vm", 0o755)
    images.overlay(root / "snap2.img", "snap1.img", "qcow2")
    scan()
    after = told(domain)
    assert after["volumes"].keys() == before["volumes"].keys()
    assert not domain.volumes.exclude(not_seen_since=None).exists()
    assert not domain.findings.open().exists()


@pytest.mark.parametrize("part", [False, True])
def test_a_volume_that_can_not_be_opened_now_keeps_what_was_known(
    part, root, domain, scan, monkeypatch
):
    images.lesson(root)
    scan()
    before = told(domain)["volumes"]
    real = DirectoryReader.read

    def read(self, path, hint):
        layer = real(self, path, hint)
        if path != "snap1.img":
            return layer
        why = critical(
            Code.BACKING_UNREADABLE, path, "The file can not be opened: Input/output error."
        )
        return layer._replace(
            format="raw", virtual_size=0, on_disk=0, backing_file=None, backing_path=None, header=None,
            fingerprint=Fingerprint(0, 0, 0, 0, 0), findings=(why,),
        )  # fmt: skip

    monkeypatch.setattr(DirectoryReader, "read", read)
    os.utime(root / "snap1.img")
    if part:
        scan_paths(domain, list(before))
    else:
        scan()
    row = domain.volumes.get(path="snap1.img")
    assert row.not_seen_since is not None
    assert told(domain)["volumes"] == before
    assert [f.code for f in domain.findings.open()] == ["backing-unreadable"]
    assert domain.disks.get().layers == 3


def test_a_mount_point_without_its_mount(root, domain, scan, tmp_path):
    images.lesson(root)
    scan()
    before = told(domain)
    # The directory below the mount point: another one, and empty.
    root.rename(tmp_path / "aside")
    root.mkdir()
    done = scan()
    assert done.state == ScanState.FAILED
    assert "mount the storage domain" in done.message
    assert domain.unreachable_since is not None
    assert told(domain) == before
    root.rmdir()
    (tmp_path / "aside").rename(root)
    assert scan().state == ScanState.SUCCEEDED
    assert domain.unreachable_since is None


def test_a_directory_that_was_emptied_is_empty(root, domain, scan):
    images.lesson(root)
    scan()
    for path in root.iterdir():
        path.unlink()
    assert scan().state == ScanState.SUCCEEDED
    assert not domain.volumes.exists()


def test_a_part_is_read_again_as_the_whole_would_be(root, domain, twin):
    images.lesson(root)
    images.deep(root / "deep", 4)
    (root / "deep" / "layer0.qcow2").rename(root / "deep" / "hidden")
    scan_domain(domain)
    images.write(root / "snap2.img", "qcow2", "write -P 1 0 64k")
    images.overlay(root / "snap3.img", "snap2.img", "qcow2")
    (root / "deep" / "layer3.qcow2").unlink()
    scan_paths(domain, ["base.img", "snap1.img", "snap2.img", "snap3.img"])
    assert domain.volumes.filter(path="deep/layer3.qcow2").exists(), "nobody asked for this one"
    assert domain.disks.filter(active__path="snap3.img", layers=4).exists()
    scan_paths(domain, [f"deep/layer{number}.qcow2" for number in range(4)])
    fresh = twin()
    scan_domain(fresh)
    assert told(domain) == told(fresh)


def test_a_volume_that_is_gone_and_one_that_came_back(root, domain, twin):
    images.lesson(root)
    scan_domain(domain)
    content = (root / "snap2.img").read_bytes()
    (root / "snap2.img").unlink()
    scan_paths(domain, ["snap2.img", "snap1.img", "base.img"])
    assert [disk.active.path for disk in domain.disks.select_related("active")] == ["snap1.img"]
    (root / "snap2.img").write_bytes(content)
    scan_paths(domain, ["snap2.img", "snap1.img", "base.img"])
    fresh = twin()
    scan_domain(fresh)
    assert told(domain) == told(fresh)


def test_the_past_of_a_domain(root, domain, scan):
    images.lesson(root)
    scan()
    scan()
    assert DomainHistory.objects.filter(domain=domain).count() == 1
    images.overlay(root / "snap3.img", "snap2.img", "qcow2")
    scan()
    rows = list(DomainHistory.objects.filter(domain=domain))
    assert [(row.volumes, row.disks, row.deepest) for row in rows] == [(3, 1, 3), (4, 1, 4)]
    assert Scan.objects.filter(state=ScanState.SUCCEEDED).count() == 3
