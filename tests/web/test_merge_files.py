"""Before and after of a merge, saved from its plan and from its page."""

import pytest

from chains.merges import services
from tests.web import samples


@pytest.fixture
def layers(domain):
    return [samples.volume_of(domain, f"lesson/{name}.img") for name in ("base", "snap1", "snap2")]


def test_a_plan_as_a_file_is_the_plan_of_the_page(layers, domain, browser):
    base, top, _ = layers
    disk = samples.disk_of(domain, "lesson/snap2.img")
    client = browser("auditor")
    for strategy, mark in (("convert", "· new"), ("rebase", "· changed")):
        query = f"?base={base.pk}&top={top.pk}&strategy={strategy}"
        page = client.get(f"/disks/{disk.pk}/merge/{query}").text
        link = f"/disks/{disk.pk}/merge/chains.dot{query}"
        assert link.replace("&", "&amp;") in page
        dot = client.get(link)
        assert mark in dot.content.decode()
        assert dot["Content-Disposition"] == f'attachment; filename="plan-{disk.pk}.dot"'
    assert client.get(f"/disks/{disk.pk}/merge/chains.png").content.startswith(b"\x89PNG")
    assert b"<svg" in client.get(f"/disks/{disk.pk}/merge/chains.svg").content


def test_what_can_not_be_joined_is_no_file(layers, domain, browser):
    disk = samples.disk_of(domain, "lesson/snap2.img")
    address = f"/disks/{disk.pk}/merge/chains.svg"
    client = browser("auditor")
    assert client.get(f"{address}?scope=depth&depth=9").status_code == 404
    assert client.get(f"{address}?base={layers[1].pk}&top={layers[0].pk}").status_code == 400


def test_a_merge_as_a_file(layers, domain, browser):
    merge = services.request_merge(
        layers[0], layers[1], None, "test", strategy="convert", queue=False
    )
    client = browser("auditor")
    assert f'href="/merges/{merge.pk}/chains.svg"' in client.get(f"/merges/{merge.pk}/").text
    dot = client.get(f"/merges/{merge.pk}/chains.dot").content.decode()
    assert f"base-merged-{merge.pk}.img" in dot
    assert "· removed" in dot
    merge.state = "failed"
    merge.save()
    assert "· removed" not in client.get(f"/merges/{merge.pk}/chains.dot").content.decode()
    assert client.get("/merges/999/chains.png").status_code == 404
