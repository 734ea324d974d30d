"""Forests and chains as pages show them: folds, searches, pages of trees, waiting, files."""

import xml.etree.ElementTree as ET

import pytest
from django.core.cache import cache
from django.utils import timezone

from chains.diagrams import render
from chains.inventory import forest as inventory
from chains.models import Disk, Finding, StorageDomain, Volume
from chains.web import drawings, forest
from tests.web import samples
from tests.web.markup import Page


@pytest.fixture(autouse=True)
def _nothing_kept(settings, tmp_path):
    """What another run has drawn says nothing of this one."""
    settings.CACHES = {
        "default": settings.CACHES["default"] | {"LOCATION": tmp_path / "drawings"},
    }
    cache.clear()


@pytest.fixture
def place(db) -> StorageDomain:
    return StorageDomain.objects.create(
        name="<i>place</i>", path="/nowhere", path_text="/nowhere", storage_host="nobody"
    )


def add(place: StorageDomain, name: str, below: Volume | None = None, **facts) -> Volume:
    values = {
        "path_text": name, "format": "qcow2", "virtual_size": 1 << 30, "file_size": 1 << 20,
        "on_disk": 1 << 20, "fingerprint": name, "modified": timezone.now(), "backing": below,
        "backing_file": below and below.path,
    }  # fmt: skip
    return Volume.objects.create(domain=place, path=name, **(values | facts))


def template(place: StorageDomain, clones: int) -> Volume:
    root = add(place, "template.qcow2")
    for number in range(clones):
        add(place, f"clone-{number:03}.qcow2", root)
    return root


def text_of(response) -> str:
    assert response.status_code == 200, response.text
    page = Page(response.text)
    assert page.wrong == []
    return " ".join(page.text.split())


def finding(volume: Volume, rank: int) -> None:
    severity = {1: "critical", 2: "warning", 3: "info"}[rank]
    Finding.objects.create(
        domain=volume.domain, volume=volume, path=volume.path, path_text=volume.path_text,
        code="dirty", severity=severity, rank=rank, detail="x",
    )  # fmt: skip


def test_clones_fold_open_and_turn_their_pages(place, browser):
    root = template(place, 100)
    client, own = browser("auditor"), f"/domains/{place.pk}/forest/"
    folded = client.get(own)
    assert "100 clones" in text_of(folded)
    assert f'href="?open=cv{root.pk}#forest"' in folded.text
    opened = client.get(f"{own}?open=cv{root.pk}&part=2")
    assert "41–80 of 100 are open" in text_of(opened)
    assert "clone-040.qcow2" in opened.text
    assert "clone-039.qcow2" not in opened.text
    assert "60 more clones" in opened.text
    assert "81–100 of 100" in text_of(client.get(f"{own}?open=cv{root.pk}&part=99"))


def test_a_volume_that_is_folded_away_is_found_and_lit(place, browser):
    template(place, 100)
    response = browser("auditor").get(f"/domains/{place.pk}/forest/?find=clone-077")
    said = text_of(response)
    assert "template.qcow2 ← clone-077.qcow2" in said
    assert "No disk reads through it." in said
    assert "99 more clones" in said
    assert response.text.count('dg-lit" id="') == 2
    assert "Others of that name" not in said
    many = browser("auditor").get(f"/domains/{place.pk}/forest/?find=clone-0")
    assert "Others of that name" in text_of(many)
    nothing = browser("auditor").get(f"/domains/{place.pk}/forest/?find=nobody")
    assert "No volume of this domain is called so." in text_of(nothing)


def test_the_name_itself_is_found_before_names_that_hold_it(place):
    for name in ("base-old.qcow2", "x/base", "zz-base"):
        add(place, name)
    found = inventory.find(place, inventory.Asked(find="BASE"))
    assert [volume.path for volume in found.volumes] == ["x/base", "zz-base", "base-old.qcow2"]
    other = next(volume for volume in found.volumes if volume.path == "zz-base")
    chosen = inventory.find(place, inventory.Asked(find="base", at=other.pk)).chosen
    assert chosen == other


def test_trees_come_worst_first_then_largest_a_page_at_a_time(place):
    roots = [add(place, f"root{number}") for number in range(5)]
    top = add(place, "over1", roots[1])
    finding(roots[3], 2)
    finding(add(place, "over2", roots[2]), 1)
    add(place, "over1b", top)
    first = inventory.trees(place, "", 2)
    assert list(first.rows) == [(1, 2, roots[2].pk), (2, 1, roots[3].pk)]
    assert (first.total, first.before) == (5, 0)
    second = inventory.trees(place, inventory.cursor(first.rows[-1]), 2)
    assert [row[2] for row in second.rows] == [roots[1].pk, roots[0].pk]
    last = inventory.trees(place, inventory.cursor(second.rows[-1]), 2)
    assert [row[2] for row in last.rows] == [roots[4].pk]
    assert last.before == 4
    assert not inventory.trees(place, inventory.cursor(last.rows[-1]), 2).rows


def test_one_turns_the_pages_of_trees(place, browser):
    for number in range(7):
        add(place, f"root{number}")
    client, url, seen = browser("auditor"), f"/domains/{place.pk}/forest/", []
    asked = inventory.Asked(nodes=3)
    for _ in range(3):
        page = forest.read(place, asked)
        seen += [volume.path for volume in page.rows.values()]
        asked = inventory.Asked(nodes=3, after=page.following)
    assert sorted(seen) == [f"root{number}" for number in range(7)]
    assert page.following == ""
    assert "7 nodes" in text_of(client.get(f"{url}?nodes=1000"))


@pytest.mark.parametrize("length", [1, 3])
def test_volumes_that_back_each_other_are_a_tree_too(place, browser, length):
    ring = [add(place, f"ring{number}") for number in range(length)]
    for number, volume in enumerate(ring):
        Volume.objects.filter(pk=volume.pk).update(backing=ring[(number + 1) % length])
    over = add(place, "over", ring[-1])
    add(place, "alone")
    rows = inventory.trees(place, "", 9).rows
    assert sorted(row[1] for row in rows) == [1, length + 1]
    said = text_of(browser("auditor").get(f"/domains/{place.pk}/forest/?find=over"))
    assert over.path in said
    assert "ring0" in said


def test_of_a_large_domain_the_order_of_its_trees_is_kept_for_a_while(
    place, monkeypatch, django_assert_num_queries
):
    add(place, "one")
    monkeypatch.setattr(inventory, "LARGE", -1)
    assert inventory.trees(place, "", 9).total == 1
    add(place, "two")
    with django_assert_num_queries(0):
        assert inventory.trees(place, "", 9).total == 1


def test_a_large_picture_is_not_waited_for_until_it_has_been_drawn(place, browser, monkeypatch):
    root = template(place, 100)
    monkeypatch.setattr(drawings, "AT_ONCE", 10)
    client, query = browser("auditor"), f"?open=cv{root.pk}"
    waiting = client.get(f"/domains/{place.pk}/{query}")
    assert "Drawing…" in text_of(waiting)
    assert f'data-drawing="/domains/{place.pk}/forest/{query}"' in waiting.text
    assert "clone-001.qcow2</text>" in client.get(f"/domains/{place.pk}/forest/{query}").text
    assert "Drawing…" not in client.get(f"/domains/{place.pk}/{query}").text


def test_of_a_large_domain_its_page_reads_no_shape(place, browser, monkeypatch):
    template(place, 20)
    monkeypatch.setattr(forest, "READ_AT_ONCE", 0)
    StorageDomain.objects.filter(pk=place.pk).update(volume_count=21)
    monkeypatch.setattr(inventory, "trees", None)
    assert "Drawing…" in text_of(browser("auditor").get(f"/domains/{place.pk}/"))


def test_a_picture_that_can_not_be_drawn_says_why(place, browser, monkeypatch):
    add(place, "one")
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Diagrams need Graphviz" in text_of(
        browser("auditor").get(f"/domains/{place.pk}/forest/")
    )
    file = browser("auditor").get(f"/domains/{place.pk}/forest.svg")
    assert file.status_code == 422
    monkeypatch.undo()

    def busy(*_args, **_more):
        raise render.RenderBusyError("in a moment")

    monkeypatch.setattr(drawings, "render_file", busy)
    assert browser("auditor").get(f"/domains/{place.pk}/forest.svg").status_code == 503


@pytest.mark.parametrize(
    "query",
    ["open=x1", "open=cv1%00", "trees=5-1-1", "trees=1", "part=-1", "part=x", "at=x", "open=cv"],
)
def test_an_address_that_makes_no_sense_is_said_so(place, browser, query):
    for url in ("", "forest/", "forest.svg"):
        assert browser("auditor").get(f"/domains/{place.pk}/{url}?{query}").status_code == 400


@pytest.mark.parametrize(
    "query", ["open=cv9", "open=rv9&part=9", "at=9&find=x", "open=bv9", "find=%00"]
)
def test_what_is_not_there_is_not_open(place, browser, query):
    add(place, "one")
    assert "one" in text_of(browser("auditor").get(f"/domains/{place.pk}/forest/?{query}"))


def test_hostile_names_are_text_in_pages_and_files(domain, browser):
    client = browser("auditor")
    disk = samples.disk_of(domain, samples.HOSTILE[-1])
    for url in (f"/domains/{domain.pk}/forest/?find=script", f"/disks/{disk.pk}/chain/"):
        response = client.get(url)
        assert "<script>alert" not in response.text
        text_of(response)
    for url in (f"/domains/{domain.pk}/forest", f"/disks/{disk.pk}/chain"):
        for kind, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph")):
            response = client.get(f"{url}.{kind}")
            assert response.status_code == 200
            assert response.content.startswith(start)
            assert response["Content-Type"].startswith(drawings.FILES[kind].split(";")[0])
            name = response["Content-Disposition"]
            assert name.startswith('attachment; filename="')
            assert name.endswith(f'.{kind}"')
        drawing = ET.fromstring(client.get(f"{url}.svg").content)  # noqa: S314 - it is ours
        assert not [e for e in drawing.iter() if e.tag.endswith(("script", "}a", "image"))]
        assert client.get(f"{url}.pdf").status_code == 404


def test_a_layer_says_its_size_its_age_its_guests_and_what_is_hidden(domain, browser):
    disk = samples.disk_of(domain, "lesson/snap2.img")
    Volume.objects.filter(pk=disk.active_id).update(in_use=True)
    response = browser("auditor").get(f"/disks/{disk.pk}/")
    said = text_of(response)
    assert "written today · in use" in response.text
    assert " shadowed</text>" in response.text
    assert 'class="dg-bar"' in response.text
    told = said.partition("who reads through it")[2]
    for words in ("snap2.img", "stands on", "snap1.img", "read by", "lesson/snap2.img"):
        place, told = told.find(words), told.partition(words)[2]
        assert place >= 0, words
    assert f'data-words-of="v{disk.active_id}"' in response.text


def test_guests_of_other_chains_read_through_what_is_shared(domain, browser):
    disk = samples.disk_of(domain, "lesson/snap2.img")
    base = samples.volume_of(domain, "lesson/base.img")
    other = add(domain, "other.qcow2", base)
    Disk.objects.create(domain=domain, active=other, name="the other guest", layers=2)
    page = browser("auditor").get(f"/disks/{disk.pk}/chain/").text
    shared = page.partition(f'data-words-of="v{base.pk}"')[2].partition("</li>")[0]
    assert "the other guest" in shared
    own = page.partition(f'data-words-of="v{disk.active_id}"')[2].partition("</li>")[0]
    assert "the other guest" not in own


def test_a_second_overlay_on_a_snapshot_of_the_same_disk_is_a_preview(place, browser):
    notes = {"disk_key": "image"}
    base = add(place, "base", notes=notes)
    snapshot = add(place, "snapshot", base, notes=notes)
    add(place, "active", snapshot, notes=notes)
    second = add(place, "second", base, notes=notes)
    disk = Disk.objects.create(domain=place, active=second, name="second", layers=2)
    assert "dg-role-preview" in browser("auditor").get(f"/disks/{disk.pk}/chain/").text
    Volume.objects.filter(pk=second.pk).update(notes={"disk_key": "other"})
    assert "dg-role-preview" not in browser("auditor").get(f"/disks/{disk.pk}/chain/").text


def test_folded_layers_open_in_their_place(place, browser):
    root = add(place, "root")
    for number in range(60):
        root = add(place, f"layer{number:02}", root)
    disk = Disk.objects.create(domain=place, active=root, name="deep", layers=61)
    client, url = browser("auditor"), f"/disks/{disk.pk}/chain/"
    folded = client.get(url).text
    assert "49 layers" in folded
    assert "layer30</text>" not in folded
    opened = client.get(
        url + folded.partition('href="?open=')[2].join(["?open=", ""]).partition("#")[0]
    )
    assert "layer30</text>" in opened.text
    assert "Folded layers stand open." in text_of(opened)
    assert "layer30</text>" in client.get(f"{url}?all=1").text


def test_a_long_table_has_a_page_of_its_own(place, browser, monkeypatch):
    template(place, 5)
    monkeypatch.setattr(forest, "TABLE_AT_ONCE", 3)
    client, own = browser("auditor"), f"/domains/{place.pk}/forest/"
    page = client.get(own)
    assert f'href="{own}?as=table"' in page.text
    assert '<th scope="row"' not in page.text
    table = client.get(f"{own}?as=table")
    assert "clone-004.qcow2" in text_of(table)
    assert table.text.count('<th scope="row"') == 6
    assert '<svg class="dg" viewBox' not in table.text
