"""GET disks/ID/reads/: the figures of the stored block map, or a worker asked for them."""

import json

import pytest

from chains.inventory import blockmaps
from chains.models import BlockMap, Disk, Scan
from tests import images
from tests.commands.conftest import manage


def get(browser, disk, role="auditor"):
    response = browser(role).get(f"/api/v1/disks/{disk.pk}/reads/")
    return response.status_code, response.json()


def test_the_figures_of_a_disk(domain, browser):
    disk = Disk.objects.filter(domain=domain, layers__gt=1, severity="").first()
    assert disk is not None
    BlockMap.objects.filter(disk=disk).delete()
    Scan.objects.all().delete()
    status, answer = get(browser, disk)
    assert status == 409
    assert "a worker reads it now" in answer["detail"]
    assert Scan.objects.filter(kind="blocks", disk=disk, state="queued").count() == 1
    blockmaps.read_disk(disk)
    status, answer = get(browser, disk)
    assert (status, answer["fresh"], answer["live"]) == (200, True, False)
    path = f"{domain.path}/{disk.active.path}"
    said = json.loads(manage("measure_chain", "--json", "--root", domain.path, path).out)
    for layer in answer["layers"]:
        layer.pop("unreachable")
    assert {key: answer[key] for key in said} == said


def test_a_disk_that_can_not_be_mapped_says_why(domain, browser):
    disk = Disk.objects.filter(domain=domain, layers__gt=1, severity="").first()
    assert disk is not None
    blockmaps.read_disk(disk)
    BlockMap.objects.filter(disk=disk).update(error="The file is cut.", data=None)
    assert get(browser, disk) == (
        409,
        {"detail": "The file is cut.", "reasons": ["The file is cut."]},
    )


def test_one_byte_is_told_as_qemu_img_map_tells_it(domain, browser):
    disk = Disk.objects.get(domain=domain, active__path="lesson/snap2.img")
    told = json.loads(
        images.qemu_img(
            "map", "--output=json", "-f", "qcow2", f"{domain.path}/{disk.active.path}"
        )
    )  # fmt: skip
    client = browser("auditor")
    for entry in told:
        at = entry["start"] + entry["length"] - 1
        answer = client.get(f"/api/v1/disks/{disk.pk}/reads/", {"at": hex(at)}).json()
        assert answer["at"] == at
        assert {name: answer[name] for name in ("depth", "present", "data")} == {
            name: entry[name] for name in ("depth", "present", "data")
        }
        names = ["lesson/snap2.img", "lesson/snap1.img", "lesson/base.img"]
        assert (answer["path"], answer["hops"]) == (names[entry["depth"]], entry["depth"])
        assert answer["start"] <= at < answer["start"] + answer["length"]
        assert answer["kind"] == ("data" if entry["data"] else "zero")
    sector = client.get(f"/api/v1/disks/{disk.pk}/reads/?at=s2048").json()
    assert sector["at"] == images.MIB


@pytest.mark.parametrize(
    ("at", "words"), [("nonsense", "no address of a byte"), ("64M", "the last one is 67,108,863")]
)
def test_what_is_no_byte_of_the_disk_says_why(at, words, domain, browser):
    disk = Disk.objects.get(domain=domain, active__path="lesson/snap2.img")
    answer = browser("auditor").get(f"/api/v1/disks/{disk.pk}/reads/", {"at": at})
    assert answer.status_code == 400
    assert words in answer.json()["at"][0]


def test_a_byte_before_the_map_is_read(domain, browser):
    disk = Disk.objects.get(domain=domain, active__path="lesson/snap2.img")
    BlockMap.objects.filter(disk=disk).delete()
    answer = browser("auditor").get(f"/api/v1/disks/{disk.pk}/reads/?at=0")
    assert answer.status_code == 409
    assert Scan.objects.filter(kind="blocks", disk=disk).exists()
