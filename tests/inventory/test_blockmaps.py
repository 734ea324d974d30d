"""Block maps: exactly what qemu-img says, stored while it is true, thrown away when it is not."""

import json

import pytest
from django.http import QueryDict

from chains.core.errors import StrataError
from chains.core.reads import ReadMap, entries
from chains.inventory import blockmaps, scanning, selectors, services
from chains.models import BlockMap, Disk, Scan, ScanState, VolumeMap
from chains.web.reads import reads
from tests import images
from tests.inventory.conftest import disk, mapped

KEYS = ("start", "length", "depth", "present", "zero", "data")


def joined(rows):
    """Rows as qemu-img gives them, neighbours of one kind made one: it splits where files do."""
    found = []
    for row in rows:
        facts = {key: row[key] for key in KEYS}
        if not facts["present"]:
            facts["depth"] = 0
        same = found and all(found[-1][key] == facts[key] for key in KEYS[2:])
        if same:
            found[-1]["length"] += facts["length"]
        else:
            found.append(facts)
    return found


def stored(found):
    return ReadMap.from_bytes(bytes(BlockMap.objects.get(disk=found).data))


def read(domain, path):
    found = disk(domain, path)
    blockmaps.read_disk(found)
    return found, BlockMap.objects.get(disk=found)


@pytest.mark.parametrize(
    ("build", "leaf"),
    [(images.lesson, "snap2.img"), (lambda root: images.deep(root, 8), "layer7.qcow2")],
)
def test_the_figures_are_those_of_qemu_img(build, leaf, root, domain, scan):
    build(root)
    scan()
    found, row = read(domain, leaf)
    said = mapped(root / leaf)
    resolved = stored(found)
    assert joined(entries(resolved)) == joined(said)

    by_depth = [0] * found.layers
    for part in said:
        if part["present"]:
            by_depth[part["depth"]] += part["length"]
    assert [layer["answered"] for layer in row.figures["layers"]] == by_depth
    assert row.figures["unanswered"] == sum(p["length"] for p in said if not p["present"])
    hops = sum(depth * size for depth, size in enumerate(by_depth)) / sum(by_depth)
    assert row.figures["mean_hops"] == pytest.approx(hops)
    assert row.figures["max_hops"] == max(depth for depth, size in enumerate(by_depth) if size)

    # What each layer holds, asked of qemu-img one layer at a time.
    for depth, volume in enumerate(selectors.chain_of(found.active)):
        own = images.qemu_img("map", "--output=json", "-f", volume.format, root / volume.path)
        held = sum(
            part["length"] for part in json.loads(own)
            if part["depth"] == 0 and part["data"]
        )  # fmt: skip
        assert row.figures["layers"][depth]["allocated"] == held, volume.path


def state_on_the_page(found: Disk) -> str:
    return reads(found, selectors.chain_of(found.active), QueryDict("")).state


def test_a_map_is_thrown_away_when_a_layer_changes(root, domain, scan):
    images.lesson(root)
    scan()
    found, before = read(domain, "snap2.img")
    assert state_on_the_page(found) == "ready"
    images.write(root / "snap2.img", "qcow2", "write -P 8 40M 2M")
    scan()
    found.refresh_from_db()
    assert state_on_the_page(found) == "changed", "shown as it was, and said to be so"
    found, after = read(domain, "snap2.img")
    assert state_on_the_page(found) == "ready"
    grown = after.figures["layers"][0]["answered"] - before.figures["layers"][0]["answered"]
    assert grown == 2 * images.MIB


@pytest.mark.parametrize("name", ["base.img", "snap1.img"])
def test_a_change_below_counts_as_well(name, root, domain, scan):
    images.lesson(root)
    scan()
    found, _ = read(domain, "snap2.img")
    images.write(root / name, "raw" if name == "base.img" else "qcow2", "write -P 8 50M 1M")
    scan()
    assert state_on_the_page(found) == "changed"


def test_a_new_layer_counts_as_well(root, domain, scan):
    images.lesson(root)
    scan()
    found, _ = read(domain, "snap2.img")
    images.overlay(root / "snap3.img", "snap2.img", "qcow2")
    scan()
    found = disk(domain, "snap3.img")
    assert state_on_the_page(found) == "computing"
    read(domain, "snap3.img")
    assert state_on_the_page(found) == "ready"


def test_a_layer_written_since_the_scan_is_read_as_it_is(root, domain, scan):
    images.lesson(root)
    scan()
    images.write(root / "snap2.img", "qcow2", "write -P 8 40M 1M")
    found, _ = read(domain, "snap2.img")
    assert state_on_the_page(found) == "ready"
    assert joined(entries(stored(found))) == joined(mapped(root / "snap2.img"))


def test_a_chain_that_changed_its_shape_is_not_stored_as_the_old_one(root, domain, scan):
    images.lesson(root)
    scan()
    found = disk(domain, "snap2.img")
    images.qemu_img(
        "rebase", "-u", "-f", "qcow2", "-b", "base.img", "-F", "raw", root / "snap2.img"
    )
    with pytest.raises(StrataError, match="scan the domain again"):
        blockmaps.read_disk(found)
    assert VolumeMap.objects.count() == 0


def test_what_could_not_be_read_for_a_moment_is_read_again(root, domain, scan):
    images.lesson(root)
    scan()
    found = disk(domain, "snap2.img")
    root.rename(root.parent / "unmounted")
    with pytest.raises(StrataError):
        blockmaps.read_disk(found)
    (root.parent / "unmounted").rename(root)
    scan()
    again = Scan.objects.get(disk=found, state=ScanState.QUEUED)
    assert scanning.run_scan(again.pk).state == ScanState.SUCCEEDED
    found.refresh_from_db()
    assert state_on_the_page(found) == "ready", "or the error would stay for ever"


def test_a_disk_is_asked_for_once_and_its_failure_is_told(root, domain, scan):
    images.lesson(root)
    scan()
    found = disk(domain, "snap2.img")
    first = services.request_blocks(found, None, queue=False)
    assert services.request_blocks(found, None, queue=False).pk == first.pk
    (root / "base.img").unlink()
    done = scanning.run_scan(first.pk)
    assert done.state == ScanState.FAILED
    assert "base.img" in done.message
    assert Scan.objects.filter(kind="blocks").count() == 1


def test_clones_of_a_template_that_grew(root, domain, scan):
    """The map of one clone is read anew; the page of the other still shows its own, whole."""
    template = images.raw(root / "template.img", 8 * images.MIB, "write -P 1 0 1M")
    for name in ("one.qcow2", "two.qcow2"):
        images.overlay(root / name, template.name, "raw", "write -P 2 4M 64k")
    scan()
    other, _ = read(domain, "two.qcow2")
    read(domain, "one.qcow2")
    images.qemu_img("resize", "-q", "-f", "raw", template, str(16 * images.MIB))
    images.write(template, "raw", "write -P 3 12M 1M")
    scan()
    read(domain, "one.qcow2")
    assert state_on_the_page(other) == "changed"
    for query in ("from=0&to=65536", "from=4194304&to=99999999999", "from=-5&to=x", "from=7&to=3"):
        assert reads(other, selectors.chain_of(other.active), QueryDict(query)).picture
