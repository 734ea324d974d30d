"""Redirected reads on the page of a disk: the lens, the colours, the table, the files."""

import re
from dataclasses import replace

import numpy as np
import pytest

from chains.core.extents import Kind
from chains.core.readmap import NOBODY, ReadMap
from chains.models import BlockMap, Disk
from tests import images
from tests.diagrams.samples import parse
from tests.web import samples

MIB = images.MIB


@pytest.fixture
def lesson(domain) -> Disk:
    return samples.disk_of(domain, "lesson/snap2.img")


def reads(client, disk: Disk, query: str = "") -> str:
    page = client.get(f"/disks/{disk.pk}/{query}").text
    return page.split('id="reads"')[1].split("</section>")[0]


def links(part: str, name: str) -> str:
    found = re.search(rf'data-zoom="{name}" href="([^"]+)"', part)
    return found[1].replace("&amp;", "&") if found else ""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("0xa00000", ("0xa00000", "10,485,760 B", "snap2.img", "answers with data", "no hop", "4 MiB")),
        ("5M", ("snap1.img", "answers with data", "1 hop down")),
        ("s2048", ("0x100000", "snap1.img", "reads as zero", "1 hop down")),
        ("21 MiB", ("base.img", "answers with data", "2 hops down", "0x1400000", "2,097,152 B")),
        ("60M", ("base.img", "reads as zero")),
    ],
)  # fmt: skip
def test_the_lens_says_in_words_who_answers(asked, words, lesson, browser):
    part = reads(browser("auditor"), lesson, f"?at={asked}")
    answer = part.split('id="reads-answer"')[1].split("</form>")[0].split('class="zoom"')[0]
    for word in words:
        assert word in answer
    assert part.count('class="dg-here"') == 2
    assert f'value="{asked}"' in part


@pytest.mark.parametrize("asked", ["", "x", "64M", "%00", "-1"])
def test_what_is_no_byte_marks_nothing(asked, lesson, browser):
    part = reads(browser("auditor"), lesson, f"?at={asked}")
    assert "dg-here" not in part
    assert "dg-guest" in part
    assert ("notice-warning" in part) == (asked not in {"", "%00"})


def test_a_byte_that_nobody_holds(lesson, domain, browser):
    """As if snap1 were the root: nobody holds what only base does."""
    BlockMap.objects.filter(disk=lesson).update(fingerprint="old")
    row = BlockMap.objects.get(disk=lesson)
    resolved = ReadMap.from_bytes(bytes(row.data or b""))
    orphaned = replace(
        resolved,
        owners=np.where(resolved.owners == 2, NOBODY, resolved.owners).astype(np.int16),
        kinds=np.where(resolved.owners == 2, Kind.UNALLOCATED, resolved.kinds).astype(np.uint8),
    )
    row.data = orphaned.to_bytes()
    row.save()
    part = reads(browser("auditor"), lesson, "?at=60M")
    assert "no layer holds it, so it reads as zero. 3 layers were asked." in part
    assert part.count('class="dg-here"') == 1


def test_all_that_is_asked_for_stays_in_every_address(lesson, browser):
    part = reads(browser("auditor"), lesson, f"?from=0&to={8 * MIB}&by=hops&at=5M&as=table")
    for name in ("in", "out", "next", "whole"):
        for word in ("by=hops", "at=5M", "as=table"):
            assert word in links(part, name), name
    assert "by=hops" not in links(part, "layer")
    assert "as=table" not in links(part, "table")
    assert f"to={8 * MIB}" in links(part, "layer")
    # Zooming in goes to what is looked at.
    start, end = (int(n) for n in re.findall(r"(?:from|to)=(\d+)", links(part, "in")))
    assert start <= 5 * MIB < end
    assert end - start == 4 * MIB
    form = part.split("data-lens")[1].split("</form>")[0]
    assert 'type="hidden" name="by" value="hops"' in form
    assert f'name="to" value="{8 * MIB}"' in form


def test_zoom_ends_at_one_cluster(lesson, browser):
    client = browser("auditor")
    query, steps = "", 0
    while (address := links(reads(client, lesson, query), "in")) and steps < 20:
        query, steps = "?" + address.partition("?")[2], steps + 1
    start, end = (int(n) for n in re.findall(r"(?:from|to)=(\d+)", query))
    assert (end - start, start % 65536, steps) == (65536, 0, 10)
    assert reads(client, lesson, query).count("dg-cell") == 4  # the guest's, and one a layer


def test_colours_by_hops(lesson, browser):
    client = browser("auditor")
    by_layer, by_hops = reads(client, lesson), reads(client, lesson, "?by=hops")
    assert "dg-layer-" in by_layer.split('class="reads-picture"')[1].split("card-foot")[0]
    assert "dg-layer-" not in by_hops.split('class="reads-picture"')[1].split("card-foot")[0]
    legend = by_hops.split('id="reads-legend"')[1].split("</ul>")[0]
    # The exact bytes, by how far down they are answered: 5 MiB, 4…10 and 1 MiB, the rest.
    hops = dict(re.findall(r"hops: (\S+)</span>.*?exact\">([\d,]+) B", legend, re.DOTALL))
    assert hops == {"0": "5,242,880", "1": "7,340,032", "2": "54,525,952"}
    swatches = re.findall(r'dg-swatch ([^"]+)"', legend)
    assert swatches[:3] == ["dg-heat-0", "dg-heat-1 dg-stripes", "dg-heat-2 dg-dots"]


def test_the_table_says_what_the_picture_shows(lesson, browser, monkeypatch):
    client = browser("auditor")
    assert "reads-table" not in reads(client, lesson)
    part = reads(client, lesson, "?as=table")
    rows = re.findall(
        r'<tr><th scope="row".*?</tr>', part.split('id="reads-table"')[1].split("</tbody>")[0]
    )
    cells = [re.sub(r"<[^>]+>", "|", row) for row in rows]
    assert len(cells) == 10
    assert sum(int(re.findall(r"([\d,]+) B", row)[-1].replace(",", "")) for row in cells) == 64 * MIB  # fmt: skip
    for word in ("snap1.img", "zero", "data"):
        assert any(word in row for row in cells)
    monkeypatch.setattr("chains.web.reads_picture.MOST_EXTENTS", 5)
    part = reads(client, lesson, "?as=table")
    assert "summed up by block and layer" in part
    assert "more rows are left out" in part
    assert len(re.findall(r"<tr><th scope=\"row\"", part)) == 5


@pytest.mark.parametrize("query", ["", "?by=hops&at=5M", f"?from=0&to={4 * MIB}"])
def test_the_picture_as_a_file(query, lesson, browser):
    client = browser("auditor")
    svg = client.get(f"/disks/{lesson.pk}/reads.svg{query}")
    assert svg["Content-Type"] == "image/svg+xml"
    assert svg["Content-Disposition"] == f'attachment; filename="reads-{lesson.pk}.svg"'
    root = parse(svg.content.decode())
    assert b"href" not in svg.content
    assert root[0].tag.endswith("style")
    assert ("dg-here" in str([e.get("class") for e in root.iter()])) == ("at=" in query)
    assert client.get(f"/disks/{lesson.pk}/reads.png{query}").content.startswith(b"\x89PNG")
    dot = client.get(f"/disks/{lesson.pk}/reads.dot{query}").content.decode()
    assert dot.startswith("digraph reads {")
    assert ("4 MiB at 0 B of 64 MiB" in dot) == ("to=" in query)


def test_there_is_no_file_before_the_map_is_read(lesson, browser):
    BlockMap.objects.filter(disk=lesson).delete()
    assert browser("auditor").get(f"/disks/{lesson.pk}/reads.svg").status_code == 404
    assert browser("auditor").get("/disks/999999/reads.png").status_code == 404
    assert browser("auditor").get(f"/disks/{lesson.pk}/reads.gif").status_code == 404


def test_hostile_names_go_into_no_file_unescaped(domain, browser):
    disk = samples.disk_of(domain, samples.HOSTILE[-1])
    client = browser("auditor")
    svg = client.get(f"/disks/{disk.pk}/reads.svg").content.decode()
    assert "<script" not in svg
    assert "<img" not in svg
    parse(svg)
    assert client.get(f"/disks/{disk.pk}/reads.png").content.startswith(b"\x89PNG")
