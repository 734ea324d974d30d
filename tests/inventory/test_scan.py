"""Scans of real directories: what is found, what stays, what is forgotten, and what is never opened."""

import os
import threading

import pytest
from django.db import connection, connections

from chains.core.errors import StrataError
from chains.inventory import blockmaps, scanning, selectors, services
from chains.inventory.scan import scan_domain
from chains.models import BlockMap, Scan, ScanState, StorageDomain, Volume
from tests import images
from tests.inventory.conftest import codes, disk

MIB = images.MIB


def versions() -> dict[str, list[tuple[int, str]]]:
    """The row version of every row of the inventory: a write, even of the same values, changes it."""
    found = {}
    for table in ("volume", "disk", "finding", "blockmap", "volumemap"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT id, xmin::text || ctid::text FROM chains_{table} ORDER BY id")  # noqa: S608
            found[table] = cursor.fetchall()
    return found


def fill(root):
    """Every kind of chain in one domain."""
    images.lesson(root)
    images.deep(root / "deep", 8)
    template = images.qcow2(root / "template.qcow2", 8 * MIB, "write -P 9 0 1M")
    for number in range(4):
        images.overlay(root / "clones" / f"c{number}.qcow2", f"../{template.name}", "qcow2")
    images.overlay(root / "preview.qcow2", "snap1.img", "qcow2")
    images.raw(root / "lost.img", MIB)
    images.overlay(root / "orphan.qcow2", "lost.img", "raw")
    (root / "lost.img").unlink()
    (root / "notes.txt").write_text("no image")
    (root / "empty.img").write_bytes(b"")


def test_every_kind_of_chain(root, domain, scan):
    fill(root)
    done = scan()
    assert done.state == ScanState.SUCCEEDED
    assert domain.last_scan_id == done.pk
    assert domain.capacity >= domain.free > 0
    layers = {row.active.path: row.layers for row in domain.disks.select_related("active")}
    assert layers == {
        "snap2.img": 3, "preview.qcow2": 3, "deep/layer7.qcow2": 8, "orphan.qcow2": 1, "empty.img": 1,
        **{f"clones/c{n}.qcow2": 2 for n in range(4)},
    }  # fmt: skip
    assert not Volume.objects.filter(path="notes.txt").exists()
    assert codes(domain) >= {("orphan.qcow2", "backing-missing")}
    assert disk(domain, "orphan.qcow2").severity == "critical"
    assert disk(domain, "snap2.img").severity == ""
    chain = selectors.chain_of(disk(domain, "snap2.img").active)
    assert [v.path for v in chain] == ["snap2.img", "snap1.img", "base.img"]
    assert [v.format for v in chain] == ["qcow2", "qcow2", "raw"]
    assert disk(domain, "snap2.img").virtual_size == 64 * MIB
    assert {v.path for v in selectors.family_of(chain[0])} == {
        "base.img", "snap1.img", "snap2.img", "preview.qcow2",
    }  # fmt: skip


def test_a_scan_of_what_has_not_changed_writes_nothing(root, domain, scan):
    fill(root)
    scan()
    blockmaps.read_disk(disk(domain, "snap2.img"))
    before = versions()
    assert scan().state == ScanState.SUCCEEDED
    assert versions() == before


def test_a_scan_writes_only_what_changed(root, domain, scan):
    fill(root)
    scan()
    before = versions()
    images.write(root / "clones" / "c1.qcow2", "qcow2", "write -P 5 2M 1M")
    scan()
    after = versions()
    changed = [len(set(after[t]) - set(before[t])) for t in ("volume", "disk", "finding")]
    assert changed == [1, 1, 0]


def test_a_file_that_is_gone_is_forgotten(root, domain, scan):
    fill(root)
    scan()
    kept = disk(domain, "preview.qcow2").pk
    (root / "snap2.img").unlink()
    (root / "clones" / "c0.qcow2").unlink()
    scan()
    assert not domain.volumes.filter(path__in=["snap2.img", "clones/c0.qcow2"]).exists()
    assert not domain.disks.filter(name__in=["snap2.img", "clones/c0.qcow2"]).exists()
    assert disk(domain, "preview.qcow2").pk == kept
    assert domain.disks.count() == 7


def test_a_backing_file_that_is_gone_and_comes_back(root, domain, scan):
    images.lesson(root)
    scan()
    row = disk(domain, "snap2.img")
    base = (root / "base.img").rename(root.parent / "aside")
    scan()
    assert ("snap1.img", "backing-missing") in codes(domain)
    row.refresh_from_db()
    assert (row.severity, row.layers) == ("critical", 2)
    base.rename(root / "base.img")
    scan()
    row.refresh_from_db()
    assert (row.severity, row.layers, codes(domain)) == ("", 3, set())


def test_what_the_header_says_is_kept(root, domain, scan):
    leaf = images.qcow2(root / "leaf.qcow2", MIB)
    images.raw(root / "base.img", MIB)
    images.qemu_img("bitmap", "--add", leaf, "b")
    for name in ("x" * 12, "two"):
        images.qemu_img("snapshot", "-c", name, leaf)
    hostile = b"a\xff\n\x1b<b>\0z"
    content = leaf.read_bytes()
    leaf.write_bytes(content.replace(b"x" * 12, hostile.ljust(12, b"\0"), 1))
    scan()
    header = Volume.objects.get(path="leaf.qcow2").header
    assert header["version"] == 3
    assert [s["name"] for s in header["snapshots"]] == ["a\\xff\\n\\x1b<b>", "two"]
    assert [(b["name"], b["enabled"]) for b in header["bitmaps"]] == [("b", True)]
    assert Volume.objects.get(path="base.img").header is None
    before = versions()
    scan()
    assert versions() == before
    images.qemu_img("snapshot", "-d", "two", leaf)
    scan()
    assert Volume.objects.get(path="leaf.qcow2").header["snapshot_count"] == 1


def test_a_table_that_lies_is_found_by_a_scan(root, domain, scan):
    leaf = images.qcow2(root / "leaf.qcow2", MIB)
    images.qemu_img("snapshot", "-c", "one", leaf)
    at = int.from_bytes(leaf.read_bytes()[64:72], "big")
    with leaf.open("r+b") as file:
        file.seek(at + 36)
        file.write(b"\xff" * 4)  # the length of its extra data
    scan()
    assert codes(domain) == {("leaf.qcow2", "tables-invalid")}
    assert disk(domain, "leaf.qcow2").severity == "critical"


def test_a_new_snapshot_keeps_the_disk(root, domain, scan):
    images.lesson(root)
    scan()
    before = disk(domain, "snap2.img")
    images.overlay(root / "snap3.img", "snap2.img", "qcow2")
    images.overlay(root / "snap4.img", "snap3.img", "qcow2")
    scan()
    after = disk(domain, "snap4.img")
    assert after.pk == before.pk
    assert (after.name, after.layers) == ("snap4.img", 5)
    assert domain.disks.count() == 1
    assert after.oldest_snapshot is not None


def test_a_preview_makes_a_disk_and_takes_none(root, domain, scan):
    images.lesson(root)
    scan()
    before = disk(domain, "snap2.img").pk
    images.overlay(root / "preview.qcow2", "snap1.img", "qcow2")
    scan()
    assert disk(domain, "snap2.img").pk == before
    assert disk(domain, "preview.qcow2").pk != before


def test_two_overlays_on_one_active_layer(root, domain, scan):
    images.lesson(root)
    scan()
    before = disk(domain, "snap2.img").pk
    for name in ("left.qcow2", "right.qcow2"):
        images.overlay(root / name, "snap2.img", "qcow2")
    scan()
    found = {disk(domain, name).pk for name in ("left.qcow2", "right.qcow2")}
    assert len(found) == 2
    assert before in found, "one of them is the disk that was there"


def test_a_domain_that_can_not_be_read_keeps_its_rows(root, domain, scan):
    fill(root)
    scan()
    before, free = versions(), domain.free
    root.rename(root.parent / "unmounted")
    done = scan()
    assert done.state == ScanState.FAILED
    assert "No such file or directory" in done.message
    assert "mount it" in done.message
    assert domain.unreachable == done.message
    assert domain.free == free
    assert versions() == before
    (root.parent / "unmounted").rename(root)
    assert scan().state == ScanState.SUCCEEDED
    assert domain.unreachable == ""
    assert versions() == before


def test_a_file_in_the_place_of_the_domain(root, domain, scan):
    root.rmdir()
    root.write_text("not a directory")
    assert scan().state == ScanState.FAILED
    assert "Not a directory" in domain.unreachable


def test_two_scans_at_once_are_one(domain):
    first = services.request_scan(domain, None, "test", queue=False)
    assert services.request_scan(domain, None, "test", queue=False).pk == first.pk
    Scan.objects.filter(pk=first.pk).update(state=ScanState.RUNNING)
    assert services.request_scan(domain, None, "test", queue=False).pk == first.pk
    assert scanning.run_scan(first.pk).state == ScanState.RUNNING, "somebody else runs it"
    Scan.objects.filter(pk=first.pk).update(state=ScanState.FAILED)
    assert services.request_scan(domain, None, "test", queue=False).pk != first.pk


@pytest.mark.django_db(transaction=True)
def test_two_that_ask_at_the_same_moment_get_the_same_scan(root):
    domain = services.add_domain("test", str(root), "directory", "here")
    start, found = threading.Barrier(4), []

    def ask():
        try:
            start.wait()
            found.append(services.request_scan(domain, None, "test").pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert Scan.objects.count() == 1


def test_a_loop_of_backing_files(root, domain, scan):
    one = images.qcow2(root / "one.qcow2", MIB)
    two = images.overlay(root / "two.qcow2", one.name, "qcow2")
    images.qemu_img("rebase", "-u", "-f", "qcow2", "-b", two.name, "-F", "qcow2", one)
    assert scan().state == ScanState.SUCCEEDED
    assert {code for _, code in codes(domain)} == {"backing-loop"}
    for volume in domain.volumes.all():
        assert len(selectors.chain_of(volume)) <= 2
        assert selectors.family_of(volume)


@pytest.mark.parametrize("way", ["link", "absolute", "dots", "folder"])
def test_nothing_outside_of_the_domain_is_reached(way, root, domain, scan):
    outside = images.qcow2(root.parent / "secret.qcow2", MIB, "write -P 7 0 64k")
    names = {
        "link": "link.qcow2", "absolute": str(outside), "dots": "../secret.qcow2",
        "folder": "folder/secret.qcow2",
    }  # fmt: skip
    (root / "link.qcow2").symlink_to(outside)
    (root / "folder").symlink_to(root.parent)
    images.overlay(root / "over.qcow2", names[way], "qcow2")
    scan()
    assert codes(domain) == {("over.qcow2", "backing-outside")}
    assert {v.path for v in domain.volumes.all()} == {"over.qcow2"}
    with pytest.raises(StrataError, match="outside"):
        blockmaps.read_disk(disk(domain, "over.qcow2"))
    assert BlockMap.objects.get().data is None
    assert "outside" in BlockMap.objects.get().error


def test_a_link_of_another_name_inside_is_followed(root, domain, scan):
    images.lesson(root)
    (root / "alias.img").symlink_to("snap2.img")
    images.overlay(root / "over.qcow2", "alias.img", "qcow2")
    scan()
    assert [v.path for v in selectors.chain_of(disk(domain, "over.qcow2").active)] == [
        "over.qcow2", "snap2.img", "snap1.img", "base.img",
    ]  # fmt: skip


def test_what_is_no_file_is_passed_over(root, domain, scan):
    os.mkfifo(root / "fifo.img")
    (root / "dangling.img").symlink_to("nowhere")
    (root / "dir.img").mkdir()
    assert scan().state == ScanState.SUCCEEDED
    assert domain.volumes.count() == 0


def test_a_silent_worker_s_scan_is_ended(domain):
    asked = services.request_scan(domain, None, "test", queue=False)
    Scan.objects.filter(pk=asked.pk).update(
        state=ScanState.RUNNING, alive_at=asked.requested_at - scanning.SILENCE
    )
    scanning.keep_scans("elsewhere", [])
    asked.refresh_from_db()
    assert asked.state == ScanState.RUNNING
    scanning.keep_scans("here", [])
    asked.refresh_from_db()
    assert asked.state == ScanState.FAILED
    assert "went away" in asked.message


def test_the_progress_of_a_scan_reaches_its_end(root, domain):
    images.deep(root, 5)
    seen = []
    scan_domain(domain, lambda done, total: seen.append((done, total)))
    assert [found for found in seen if found[1]] == [(n, 5) for n in range(1, 6)]


def test_domains_do_not_touch_one_another(root, domain, scan, tmp_path):
    images.lesson(root)
    other_root = tmp_path / "other"
    images.lesson(other_root)
    other = StorageDomain.objects.create(
        name="other", path=str(other_root), path_text=str(other_root), storage_host="here"
    )
    scan()
    scan_domain(other)
    before = set(other.volumes.values_list("pk", flat=True))
    (root / "snap2.img").unlink()
    scan()
    assert set(other.volumes.values_list("pk", flat=True)) == before
    assert other.disks.count() == 1


def test_domains_do_not_overlap(root, domain):
    inside = root / "inside"
    inside.mkdir()
    for path in (root, inside, root.parent):
        with pytest.raises(StrataError, match="overlaps"):
            services.add_domain("other", str(path), "directory", "here")
    with pytest.raises(StrataError, match="root directory"):
        services.add_domain("other", "/", "directory", "here")
    services.add_domain("elsewhere", str(root), "directory", "another-host")
    services.add_domain("beside", f"{root}-2", "directory", "here")


def test_a_file_from_a_year_that_no_calendar_has(root, domain, scan):
    images.lesson(root)
    os.utime(root / "snap1.img", (0, 0))
    os.utime(root / "base.img", (1, -(2**40)))
    os.utime(root / "snap2.img", (1, 2**40))
    scan()
    years = {row.path: row.modified.year for row in domain.volumes.all()}
    assert years["snap1.img"] == years["base.img"] == 1970
    assert years["snap2.img"] > 2400, "as late as the file system can say"


def test_overlays_that_disagree_on_a_format_are_both_told(root, domain, scan):
    images.qcow2(root / "base.qcow2", MIB)
    images.overlay(root / "right.qcow2", "base.qcow2", "qcow2")
    images.qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", "base.qcow2", "-F", "raw",
                    root / "wrong.qcow2", str(MIB))  # fmt: skip
    scan()
    told = domain.findings.open().filter(code="backing-format-wrong")
    assert {row.path for row in told} == {"right.qcow2", "wrong.qcow2"}
    assert "“wrong.qcow2”, which lies over the same file" in told.get(path="right.qcow2").detail
    (root / "wrong.qcow2").unlink()
    scan()
    assert not domain.findings.open().exists()
    assert domain.volumes.get(path="base.qcow2").format == "qcow2"
