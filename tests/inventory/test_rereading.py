"""What has not changed is not read again; a running guest's layer is read as it stands; what no guest reaches."""

import os
import threading
from unittest import mock

import pytest
from django.utils import timezone

from chains.core import mapping
from chains.core.chain import read_chain
from chains.core.copies import CopyTable
from chains.core.errors import ReadError
from chains.core.extents import Kind
from chains.core.ranges import shown
from chains.core.reads import read_chain_maps, resolve
from chains.inventory import blockmaps, families, scanning, selectors, services
from chains.models import BlockMap, Scan, ScanState, VolumeMap
from tests import images
from tests.inventory.conftest import disk

KIB64, MIB = images.KIB64, images.MIB


@pytest.fixture
def readings():
    """The names of the layers whose tables were read from storage, in order."""
    seen: list[str] = []
    real = mapping._read

    def read(fd, layer, tick):
        seen.append(layer.path)
        return real(fd, layer, tick)

    with mock.patch.object(mapping, "_read", read):
        yield seen


def test_an_unchanged_chain_costs_no_second_read(root, domain, scan, readings):
    images.lesson(root)
    scan()
    found = disk(domain, "snap2.img")
    blockmaps.read_disk(found)
    assert sorted(readings) == ["base.img", "snap1.img", "snap2.img"]
    before = BlockMap.objects.get(disk=found)
    blockmaps.read_disk(found)
    after = BlockMap.objects.get(disk=found)
    assert len(readings) == 3
    assert after.read_at > before.read_at, "it is known to be true as of now"
    assert (after.data, after.figures) == (before.data, before.figures)


def test_only_the_layer_that_changed_is_read_again(root, domain, scan, readings):
    images.lesson(root)
    scan()
    found = disk(domain, "snap2.img")
    blockmaps.read_disk(found)
    readings.clear()
    images.write(root / "snap2.img", "qcow2", "write -P 9 50M 3M")
    blockmaps.read_disk(found)
    assert readings == ["snap2.img"]
    assert BlockMap.objects.get(disk=found).figures["layers"][0]["allocated"] == 8 * MIB


def test_a_new_snapshot_costs_the_reading_of_one_layer(root, domain, scan, readings):
    images.lesson(root)
    scan()
    blockmaps.read_disk(disk(domain, "snap2.img"))
    readings.clear()
    images.overlay(root / "snap3.img", "snap2.img", "qcow2", "write -P 4 0 1M")
    scan()
    blockmaps.read_disk(disk(domain, "snap3.img"))
    assert readings == ["snap3.img"]


def test_every_merge_is_measured(root, domain, scan):
    images.deep(root, 5)
    scan()
    found = disk(domain, "layer4.qcow2")
    blockmaps.read_disk(found)
    table = CopyTable.from_bytes(bytes(BlockMap.objects.get(disk=found).copies))
    maps = blockmaps.stored_maps(selectors.chain_of(found.active))
    assert maps is not None
    for top in range(5):
        for base in range(top + 1, 5):
            assert table.convert(base, top) == shown(resolve(maps[top : base + 1]), Kind.DATA).total


def test_a_disk_of_a_running_guest_is_mapped_and_said_to_be_live(root, domain, scan):
    images.lesson(root)
    with images.opened(root / "snap2.img"):
        scan()
        found = disk(domain, "snap2.img")
        blockmaps.read_disk(found)
        row = BlockMap.objects.get(disk=found)
        assert (row.live, row.error) == (True, "")
        assert blockmaps.stored_measures(found)["live"]
    blockmaps.read_disk(found)
    assert not BlockMap.objects.get(disk=found).live, "an idle disk is read for good"


def test_a_layer_that_is_written_meanwhile(root):
    """Each map that comes out is one that the layer had; none of the readings fails."""
    top = images.qcow2(root / "top.qcow2", 64 * MIB)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set() and number < 60:
            images.write(top, "qcow2", f"write -P 7 {number}M 64k")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        held = []
        while writer.is_alive() and len(held) < 200:
            chain = read_chain(str(root), "top.qcow2")
            if chain.is_safe:
                maps = read_chain_maps(chain, written="top.qcow2")
                held.append(maps[0].allocated)
    finally:
        stop.set()
        writer.join()
    assert held == sorted(held), "it only grows"
    assert held[-1] > held[0]
    assert all(size % KIB64 == 0 for size in held)


def test_a_written_layer_that_was_replaced_is_another(root):
    top = images.qcow2(root / "top.qcow2", 8 * MIB, "write 0 64k")
    chain = read_chain(str(root), "top.qcow2")
    fresh = images.qcow2(root / "fresh.qcow2", 8 * MIB, "write 0 1M")
    os.replace(fresh, top)
    with pytest.raises(ReadError) as caught:
        read_chain_maps(chain, written="top.qcow2")
    assert caught.value.finding.code == "changed-while-read"


def test_damage_in_a_written_layer_is_told_after_three_tries(root, readings):
    top = images.qcow2(root / "top.qcow2", 8 * MIB, "write 0 64k")
    chain = read_chain(str(root), "top.qcow2")
    with top.open("r+b") as file:
        file.seek(chain.layers[0].header.l1_offset)
        file.write((1 << 63 | 513).to_bytes(8, "big"))
    with pytest.raises(ReadError) as caught:
        read_chain_maps(chain, written="top.qcow2")
    assert caught.value.finding.code == "tables-invalid"
    assert len(readings) == mapping.TRIES


def test_progress_is_told_while_a_worker_reads(root, domain, scan, monkeypatch):
    images.deep(root, 6)
    scan()
    monkeypatch.setattr(mapping, "REPORT_SECONDS", 0.01)
    real = mapping._read
    told = []

    def slowly(fd, layer, tick):
        tick(0.5)
        threading.Event().wait(0.05)
        return real(fd, layer, tick)

    monkeypatch.setattr(mapping, "_read", slowly)
    blockmaps.read_disk(
        disk(domain, "layer5.qcow2"), lambda done, total: told.append((done, total))
    )
    assert {total for _, total in told} == {6 * mapping.STEPS_A_LAYER}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert 0 < told[0][0] < told[-1][0]


@pytest.fixture
def clones(root, domain, scan):
    """A template of 8 MiB with three clones; megabytes 0 and 1 are overwritten by all of them."""
    images.qcow2(root / "template.qcow2", 16 * MIB, "write -P 1 0 8M")
    for number in range(3):
        images.overlay(
            root / f"clone{number}.qcow2", "template.qcow2", "qcow2",
            "write -P 2 0 2M", f"write -P 3 {2 + number}M 1M",
        )  # fmt: skip
    scan()
    return domain


def reach(domain):
    rows = VolumeMap.objects.filter(volume__domain=domain).select_related("volume")
    return {row.volume.path: (row.unreachable, row.leaves) for row in rows}


def test_what_no_clone_can_reach_any_more(clones):
    asked = services.request_blocks(disk(clones, "clone1.qcow2"), None, queue=False)
    assert scanning.run_scan(asked.pk).state == ScanState.SUCCEEDED
    found = reach(clones)
    assert found["template.qcow2"] == (2 * MIB, 3), "each clone alone hides three megabytes"
    assert found["clone0.qcow2"] == (0, 1)
    layers = blockmaps.stored_measures(disk(clones, "clone1.qcow2"))["layers"]
    assert [layer["shadowed"] for layer in layers] == [0, 3 * MIB]
    assert [layer["unreachable"] for layer in layers] == [0, 2 * MIB]


def test_a_clone_that_can_not_be_read_leaves_it_unknown(clones, root):
    found = disk(clones, "clone1.qcow2")
    blockmaps.read_disk(found)
    families.measure_family(found)
    assert reach(clones)["template.qcow2"] == (2 * MIB, 3)
    images.write(root / "clone2.qcow2", "qcow2", "write -P 4 9M 64k")
    clones.volumes.filter(path="clone2.qcow2").update(fingerprint="1:2:3:4:5")
    (root / "clone2.qcow2").unlink()
    families.measure_family(found)
    assert reach(clones)["template.qcow2"] == (None, None)


def test_a_family_too_large_to_read_in_passing_is_left_unknown(clones, monkeypatch):
    found = disk(clones, "clone1.qcow2")
    blockmaps.read_disk(found)
    monkeypatch.setattr(families, "MAX_MISSING", 1)
    families.measure_family(found)
    assert reach(clones)["template.qcow2"] == (None, None)
    blockmaps.read_disk(disk(clones, "clone0.qcow2"))
    families.measure_family(found)
    assert reach(clones)["template.qcow2"] == (2 * MIB, 3), "only one was left to read"


def test_looking_has_a_worker_look_again(root, domain, scan):
    images.lesson(root)
    scan()
    found = disk(domain, "snap2.img")
    blockmaps.read_disk(found)
    services.freshen_blocks(found, None)
    assert not Scan.objects.filter(kind="blocks").exists(), "one has looked a moment ago"
    BlockMap.objects.update(read_at=timezone.now() - services.LOOK_AGAIN)
    services.freshen_blocks(found, None)
    asked = Scan.objects.get(kind="blocks")
    images.write(root / "snap1.img", "qcow2", "write -P 9 32M 16M")
    assert scanning.run_scan(asked.pk).state == ScanState.SUCCEEDED
    assert BlockMap.objects.get(disk=found).figures["layers"][1]["allocated"] == 24 * MIB
    BlockMap.objects.update(read_at=timezone.now() - services.LOOK_AGAIN)
    (root / "snap1.img").rename(root / "away")
    asked = services.request_blocks(found, None, queue=False)
    assert scanning.run_scan(asked.pk).state == ScanState.FAILED
    assert "snap1.img" in blockmaps.stored_measures(found)["error"]
    (root / "away").rename(root / "snap1.img")
    asked = services.request_blocks(found, None, queue=False)
    assert scanning.run_scan(asked.pk).state == ScanState.SUCCEEDED
    assert blockmaps.stored_measures(found)["error"] == ""
