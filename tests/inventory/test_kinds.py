"""Domains of every kind, from storage to rows: what their records say stands beside what is there."""

import json
from pathlib import Path

import pytest
from django.test import Client

from chains.core.extents import ExtentMap, Kind
from chains.inventory import blockmaps, scanning, selectors, services, volumes
from chains.merges.situation import plans_from_inventory
from chains.models import Scan, ScanState, StorageDomain, Volume
from project.builders import ovirt
from project.builders.ovirt import described
from tests import images
from tests.storage import blocks

MIB = images.MIB


def scanned(kind: str, path: Path, **facts: object) -> StorageDomain:
    domain = services.add_domain(f"the {kind}", str(path), kind, "here")
    StorageDomain.objects.filter(pk=domain.pk).update(**facts)
    return again(domain)


def again(domain: StorageDomain) -> StorageDomain:
    scan = scanning.run_scan(services.request_scan(domain, None, "test", queue=False).pk)
    assert scan.state == ScanState.SUCCEEDED, scan.message
    domain.refresh_from_db()
    return domain


def found(domain: StorageDomain) -> set[tuple[str, str]]:
    return set(domain.findings.open().values_list("path_text", "code"))


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_ovirt_file_domain(version: int, tmp_path: Path, db: None) -> None:
    lab = ovirt.lab(tmp_path, version)
    domain = scanned("ovirt-file", lab.domain.root)
    assert domain.facts["version"] == version
    assert domain.facts["checksum"] == "ok"
    disks = {disk.name: disk for disk in domain.disks.select_related("active")}
    assert {"web_Disk1", "desk1", "desk2", "db_Disk1"} <= set(disks)
    assert disks["web_Disk1"].layers == 3
    assert disks["web_Disk1"].key == lab.chain[0].image
    # Both clones stand on the one template, which is one volume though it has three names.
    template = Volume.objects.get(
        domain=domain, path=f"images/{lab.template.image}/{lab.template.uuid}"
    )
    assert template.overlays.count() == 2
    assert Volume.objects.filter(domain=domain, path_text__contains=lab.template.uuid).count() == 1
    assert template.notes["metadata"]["voltype"] == "SHARED"
    for name in ("desk1", "desk2"):
        chain = selectors.chain_of(disks[name].active)
        assert [row.pk for row in chain] == [disks[name].active_id, template.pk]
    illegal = f"images/{lab.illegal.image}/{lab.illegal.uuid}"
    assert found(domain) == {(illegal, "volume-illegal"), *(
        (f"images/{v.image}/{v.uuid}", "several-leafs") for v in lab.previewed[1:]
    )}  # fmt: skip
    removed = Volume.objects.get(domain=domain, path_text__contains="_remove_me_")
    assert removed.notes["passing"]


def test_a_clone_s_reads_go_through_the_template(tmp_path: Path, db: None) -> None:
    lab = ovirt.lab(tmp_path)
    domain = scanned("ovirt-file", lab.domain.root)
    clone = lab.clones[0]
    disk = domain.disks.get(active__path=f"images/{clone.image}/{clone.uuid}")
    blockmaps.read_disk(disk)
    figures = blockmaps.stored_measures(disk)
    assert figures is not None
    assert [layer["answered"] for layer in figures["layers"]] == [64 * 1024, MIB]


def test_nothing_is_merged_behind_ovirt_s_back(tmp_path: Path, db: None) -> None:
    lab = ovirt.lab(tmp_path)
    domain = scanned("ovirt-file", lab.domain.root)
    base, top = (
        Volume.objects.get(domain=domain, path=f"images/{v.image}/{v.uuid}")
        for v in (lab.chain[1], lab.chain[2])
    )
    for plan in plans_from_inventory(base, top):
        assert any("oVirt manages" in refusal.text for refusal in plan.refusals)


def test_metadata_that_is_rewritten_is_read_again(tmp_path: Path, db: None) -> None:
    lab = ovirt.lab(tmp_path)
    domain = scanned("ovirt-file", lab.domain.root)
    leaf = lab.chain[-1]
    leaf.write(DESCRIPTION=described("renamed"), LEGALITY="ILLEGAL")
    again(domain)
    disk = domain.disks.get(active__path=f"images/{leaf.image}/{leaf.uuid}")
    assert disk.name == "renamed"
    assert disk.severity == "critical"
    assert (disk.active.path, "volume-illegal") in found(domain)
    row = domain.findings.open().get(volume=disk.active, code="volume-illegal")
    assert row.endangers == ["renamed"]
    leaf.write(LEGALITY="LEGAL")
    again(domain)
    row.refresh_from_db()
    assert row.resolved_at is not None


def test_metadata_that_comes_to_contradict_an_image_that_has_not_changed(
    tmp_path: Path, db: None
) -> None:
    lab = ovirt.lab(tmp_path)
    domain = scanned("ovirt-file", lab.domain.root)
    before = found(domain)
    leaf, middle = lab.chain[2], lab.chain[1]
    leaf.write(PUUID=lab.chain[0].uuid)
    middle.write(CAP=MIB)
    again(domain)
    assert found(domain) - before == {
        (f"images/{leaf.image}/{leaf.uuid}", "metadata-parent"),
        (f"images/{middle.image}/{middle.uuid}", "metadata-capacity"),
    }  # fmt: skip
    again(domain)
    leaf.write()
    middle.write()
    again(domain)
    assert found(domain) == before


def test_tags_that_come_to_contradict_an_image_that_has_not_changed(
    tmp_path: Path, db: None
) -> None:
    (tmp_path / "pvs").mkdir()
    (tmp_path / "files").mkdir()
    group = blocks.domain(tmp_path / "pvs", blocks.files(tmp_path / "files"))
    domain = scanned("ovirt-block", group.folder)
    before = found(domain)
    lv = group.lvs[blocks.TOP]
    lv.tags = tuple(tag.replace(blocks.MIDDLE, blocks.BASE) for tag in lv.tags)
    group.slot(6, blocks.metadata(blocks.BASE, VOLTYPE="LEAF"))
    group.write()
    group.slot(6, blocks.metadata(blocks.BASE, VOLTYPE="LEAF"))
    again(domain)
    assert {code for _, code in found(domain) - before} == {"metadata-parent", "tag-header-differ"}


def test_a_disk_on_two_domains_at_once(tmp_path: Path, admin_client: Client) -> None:
    """As in the midst of a storage migration: two volumes, two disks, one key; no finding about it."""
    one = ovirt.Domain(tmp_path / "a", 5, "11111111-2222-4333-8444-555555555555")
    two = ovirt.Domain(tmp_path / "b", 5, "21111111-2222-4333-8444-555555555555")
    image = one.new_uuid()
    for domain in (one, two):
        domain.volume(image=image, DESCRIPTION=described("moving"))
    rows = [scanned("ovirt-file", domain.root) for domain in (one,)]
    other = services.add_domain("other", str(two.root), "ovirt-file", "here")
    rows.append(again(other))
    assert [domain.disks.get().key for domain in rows] == [image, image]
    assert [twin.domain for twin in selectors.twins(rows[0].disks.get())] == [rows[1]]
    page = admin_client.get(f"/disks/{rows[0].disks.get().pk}/")
    assert "other</a> too" in page.text
    assert all(not found(domain) for domain in rows)


def test_an_ovirt_block_domain(tmp_path: Path, db: None) -> None:
    (tmp_path / "pvs").mkdir()
    (tmp_path / "files").mkdir()
    originals = blocks.files(tmp_path / "files")
    group = blocks.domain(tmp_path / "pvs", originals)
    domain = scanned("ovirt-block", group.folder)
    assert domain.facts["version"] == 5
    assert domain.capacity > domain.free > 0
    disk = domain.disks.select_related("active").get()
    assert (disk.name, disk.layers, disk.key) == ("vm1_Disk1", 3, blocks.IMAGE)
    chain = selectors.chain_of(disk.active)
    assert [row.path for row in chain] == [blocks.TOP, blocks.MIDDLE, blocks.BASE]
    assert [row.format for row in chain] == ["qcow2", "qcow2", "raw"]
    assert [row.allocated for row in chain] == [8 * MIB, 16 * MIB, 16 * MIB]
    assert all(row.in_use is None for row in chain), "a free lock proves nothing on a block device"
    assert chain[0].notes["tags"]["parent"] == blocks.MIDDLE
    ends = [volumes.image_end(row) for row in chain]
    assert all(
        end is not None and 0 < end <= row.allocated
        for end, row in zip(ends[:2], chain[:2], strict=True)
    ), ends
    table = volumes.table_of(chain[0], 0)
    assert table is not None
    assert table.witnesses == ("image header", "metadata", "LV tags")
    again(domain)
    assert [volumes.image_end(row) for row in selectors.chain_of(disk.active)] == ends
    assert chain[0].notes["metadata"]["voltype"] == "LEAF"
    # Its volumes say that they were made years ago, and each holds all of its LV.
    assert found(domain) == {
        ("", "in-use-unknown"), (blocks.TOP, "snapshot-old"), (blocks.TOP, "snapshot-large"),
    }  # fmt: skip
    blockmaps.read_disk(disk)
    maps = blockmaps.stored_maps(chain)
    assert maps is not None
    said = json.loads(images.qemu_img("map", "--output=json", "-f", "qcow2", originals[-1]))
    assert _held_by(maps[0]) == sum(
        run["length"] for run in said if run["depth"] == 0 and run["data"]
    )


def _held_by(layer: ExtentMap) -> int:
    return int(layer.lengths[layer.kinds == Kind.DATA].sum())


def test_a_block_domain_that_has_not_changed_is_left_alone(tmp_path: Path, db: None) -> None:
    (tmp_path / "pvs").mkdir()
    (tmp_path / "files").mkdir()
    group = blocks.domain(tmp_path / "pvs", blocks.files(tmp_path / "files"))
    domain = scanned("ovirt-block", group.folder)
    before = list(domain.volumes.values_list("pk", "fingerprint", "modified"))
    again(domain)
    assert list(domain.volumes.values_list("pk", "fingerprint", "modified")) == before
    group.slot(6, blocks.metadata(blocks.BASE, VOLTYPE="LEAF"))
    again(domain)
    assert (blocks.TOP, "metadata-parent") in found(domain)
    assert (blocks.TOP, "tag-metadata-differ") in found(domain)


def test_a_block_domain_whose_devices_are_gone(tmp_path: Path, db: None) -> None:
    (tmp_path / "pvs").mkdir()
    (tmp_path / "files").mkdir()
    group = blocks.domain(tmp_path / "pvs", blocks.files(tmp_path / "files"))
    domain = scanned("ovirt-block", group.folder)
    for number in range(2):
        group.path(number).rename(tmp_path / f"away{number}")
    scan = scanning.run_scan(services.request_scan(domain, None, "test", queue=False).pk)
    assert scan.state == ScanState.FAILED
    domain.refresh_from_db()
    assert domain.unreachable
    assert domain.unreachable_since is not None
    assert domain.volumes.count() == 3


def test_a_directory_that_libvirt_uses(tmp_path: Path, db: None) -> None:
    root, xml = tmp_path / "images", tmp_path / "xml"
    root.mkdir()
    xml.mkdir()
    images.lesson(root)
    images.qcow2(root / "lost.qcow2", MIB)
    (xml / "web1.xml").write_text(
        f"<domain type='kvm'><name>web1</name><uuid>{blocks.IMAGE}</uuid><devices>"
        f"<disk type='file' device='disk'><source file='{root}/snap2.img'/><target dev='vda'/></disk>"
        "</devices></domain>"
    )
    domain = scanned("directory", root, profile="libvirt", options={"libvirt_xml": str(xml)})
    disk = domain.disks.get(active__path="snap2.img")
    assert (disk.name, disk.vm) == ("web1 vda", "web1")
    assert found(domain) == {("lost.qcow2", "unreferenced")}
    (root / "base.img").unlink()
    again(domain)
    row = domain.findings.open().get(code="backing-missing")
    assert (row.endangers, row.endangered) == (["web1"], 1)


def test_an_option_that_can_not_work_is_told(tmp_path: Path, db: None) -> None:
    domain = services.add_domain("bad", str(tmp_path), "directory", "here")
    StorageDomain.objects.filter(pk=domain.pk).update(profile="vmware")
    scan = scanning.run_scan(services.request_scan(domain, None, "test", queue=False).pk)
    assert (scan.state, "profile" in scan.message) == (ScanState.FAILED, True)
    assert Scan.objects.count() == 1
