"""GET disks/ID/reads/: the figures of the stored block map, or a worker asked for them."""

import json

from chains.inventory import blockmaps
from chains.models import BlockMap, Disk, Scan
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
