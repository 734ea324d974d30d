"""The picture of redirected reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.diagrams.palette import heat_class
from chains.diagrams.reads_dot import reads_dot
from chains.diagrams.render import render_svg
from chains.diagrams.rows import fold_rows
from chains.diagrams.types import ReadsPicture
from tests.diagrams.samples import groups, links, parse, picture, seconds, texts, titles


def drawn(view: ReadsPicture):
    return parse(render_svg(reads_dot(view), title="Redirected reads"))


def cells(svg, row: str):
    node = next(g for g in groups(svg, "dg-node") if g.get("data-key") == row)
    return groups(node, "dg-cell")


def frame(cell) -> tuple[float, float, float, float]:
    rect = groups(cell, "dg-frame")[0]
    x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, width, height


def heads(svg) -> int:
    return sum(1 for g in groups(svg, "dg-read") if any(e.tag.endswith("polygon") for e in g))


def test_a_read_hops_through_every_layer_that_holds_nothing() -> None:
    svg = drawn(picture(["#...", "##..", "###."]))
    # One hop to the active layer, two to the next, three to the root; nobody answers the last.
    assert len(groups(svg, "dg-read")) == 1 + 2 + 3
    assert heads(svg) == 3


def test_arrows_are_straight_down_and_end_at_the_block_that_answers() -> None:
    svg = drawn(picture(["#..", ".#.", "..#"]))
    for block, row in enumerate(("r0", "r1", "r2")):
        x, y, width, _ = frame(cells(svg, row)[block])
        ends = [g for g in groups(svg, "dg-read") if f"dg-layer-{block}" in g.get("class")]
        assert len(ends) == block + 1
        tips = []
        for hop in ends:
            for path in (e for e in hop.iter() if e.tag.endswith("path")):
                points = path.get("d").replace("M", "").replace("C", " ").split()
                for point in points:
                    assert float(point.split(",")[0]) == pytest.approx(x + width / 2, abs=1)
            tips += [e for e in hop.iter() if e.tag.endswith("polygon")]
        assert len(tips) == 1
        lowest = max(float(p.split(",")[1]) for p in tips[0].get("points").split())
        assert lowest == pytest.approx(y, abs=1.5)


def test_columns_line_up_exactly_in_every_row() -> None:
    names = [
        "short",
        "a very much longer name of a layer, far too long to be shown.qcow2",
        "界" * 40,
    ]
    svg = drawn(picture(["#" * 32, "." * 32, "#" * 32], names=names))
    columns = [[frame(cell)[0] for cell in cells(svg, row)] for row in ("_guest", "r0", "r1", "r2")]
    assert columns[0] == columns[1] == columns[2] == columns[3]
    assert len(set(columns[0])) == 32
    sizes = {frame(cell)[2:] for cell in groups(svg, "dg-cell")}
    assert sizes == {(27.0, 20.0)}


@pytest.mark.parametrize("blocks", range(1, 33))
def test_columns_line_up_whatever_stands_over_them(blocks: int) -> None:
    view = picture(["#" * blocks, "." * blocks])
    starts = [(2**60 + 123456789) * i for i in range(7, 7 + blocks)]
    svg = drawn(replace(view, starts=starts, lengths=[2**60 + 123456789] * blocks))
    columns = [[frame(cell)[0] for cell in cells(svg, row)] for row in ("_guest", "r0", "r1")]
    assert columns[0] == columns[1] == columns[2]
    assert {frame(cell)[2:] for cell in groups(svg, "dg-cell")} == {(27.0, 20.0)}


def test_rows_are_in_the_order_of_a_read() -> None:
    svg = drawn(picture(["#.", ".#", ".."]))
    tops = [frame(cells(svg, row)[0])[1] for row in ("_guest", "r0", "r1", "r2")]
    assert tops == sorted(tops)


def test_what_answers_is_solid_what_is_hidden_hatched_what_is_empty_neither() -> None:
    svg = drawn(picture(["#.", "##"]))
    top, hidden, empty, low = (
        cells(svg, "r0")[0], cells(svg, "r1")[0], cells(svg, "r0")[1], cells(svg, "r1")[1],
    )  # fmt: skip
    assert groups(top, "dg-answer")
    assert groups(low, "dg-answer")
    assert not groups(hidden, "dg-answer")
    assert groups(hidden, "dg-held")
    assert any("hatch" in over.get("fill") for over in groups(hidden, "dg-over"))
    assert not groups(empty, "dg-answer")
    assert not groups(empty, "dg-held")
    assert "dg-empty" in empty.get("class")


def patterns(svg) -> dict[str, str]:
    return {
        f"url(#{element.get('id')})": element.get("class")
        for element in svg.iter() if element.tag.endswith("pattern")
    }  # fmt: skip


def test_every_pattern_that_is_used_is_there_and_no_other() -> None:
    svg = drawn(picture(["." * 20] * 19 + ["#" * 20, "#" * 20], max_rows=30))
    used = {g.get("fill") for g in groups(svg, "dg-over")}
    assert len(used) == 2
    assert used == set(patterns(svg))


def test_layers_have_patterns_of_their_own_in_their_own_colours() -> None:
    svg = drawn(picture(["#.......", ".#......", "..#.....", "...#....", "....####"]))
    there = patterns(svg)
    seen = []
    for block in range(5):
        over = groups(cells(svg, f"r{block}")[block], "dg-over")
        seen.append(over[0].get("fill") if over else "")
        if over:
            assert f"dg-layer-{block}" in there[over[0].get("fill")]
    assert len(set(seen)) == 5
    # The guest's blocks have the same.
    assert [(groups(c, "dg-over") or [None])[0] is None for c in cells(svg, "_guest")[:2]] == [
        True,
        False,
    ]


def test_by_hops_colours_tell_how_far_down_and_the_guest_wears_the_average() -> None:
    view = picture(["#....", ".#...", "..#..", "...#.", "....#"])
    svg = drawn(replace(view, hops=[0.0, 0.4, 2.0, 3.0, 4.0]))
    guest = [cell.get("class") for cell in cells(svg, "_guest")]
    assert guest == [f"dg-cell {heat_class(level)}" for level in (0, 1, 2, 3, 3)]
    for row, level in enumerate((0, 1, 2, 3, 3)):
        assert f"dg-heat-{level}" in cells(svg, f"r{row}")[row].get("class")
    assert not any("dg-layer" in (element.get("class") or "") for element in svg.iter())
    assert any("0.40 hops on average" in text for text in titles(svg))


def test_the_block_that_is_asked_for_is_marked_where_it_is_asked_and_answered() -> None:
    view = picture(["#.#", ".#."])
    svg = drawn(replace(view, marked=1, marked_row=1))
    rings = [
        (row, block)
        for row in ("_guest", "r0", "r1")
        for block, cell in enumerate(cells(svg, row))
        if groups(cell, "dg-here")
    ]
    assert rings == [("_guest", 1), ("r1", 1)]
    assert len(groups(svg, "dg-read-here")) == 2
    assert not groups(drawn(view), "dg-here")
    # Who answers the byte need not be who answers most of its block.
    other = drawn(replace(view, marked=0, marked_row=1))
    assert groups(cells(other, "r1")[0], "dg-here")
    assert not groups(cells(other, "r0")[0], "dg-here")
    assert not groups(other, "dg-read-here")


def test_a_block_held_in_part_is_filled_in_part() -> None:
    view = picture(["#"])
    row = replace(view.rows[0], held=[0.75], answered=[0.25])
    cell = cells(drawn(replace(view, rows=[row])), "r0")[0]
    assert float(groups(cell, "dg-answer")[0].get("height")) == 5
    assert float(groups(cell, "dg-held")[0].get("height")) == 10


def test_one_cluster_of_a_large_block_can_still_be_seen() -> None:
    view = picture(["#"])
    row = replace(view.rows[0], held=[1e-9], answered=[1e-9])
    cell = cells(drawn(replace(view, rows=[row])), "r0")[0]
    assert float(groups(cell, "dg-answer")[0].get("height")) >= 2


def test_the_guest_wears_the_colour_of_who_answers() -> None:
    svg = drawn(picture(["#..", ".#."]))
    classes = [cell.get("class") for cell in cells(svg, "_guest")]
    assert classes == ["dg-cell dg-layer-0", "dg-cell dg-layer-1 dg-stripes", "dg-cell dg-nobody"]


def test_blocks_lead_to_their_zoom_and_rows_to_their_volume() -> None:
    svg = drawn(picture(["#.", ".#"]))
    zooms = ["?start=0&length=65536", "?start=65536&length=65536"]
    assert links(svg) == [*zooms, "/volumes/0/", "/volumes/1/"]
    without = drawn(replace(picture(["#."]), block_urls=["", ""]))
    assert links(without) == ["/volumes/0/"]


def test_tooltips_tell_the_exact_bytes() -> None:
    found = titles(drawn(picture(["#.", ".#"])))
    assert "row 1 block 0" in found
    assert "64 KiB at 64 KiB, answered by layer1.qcow2" in found
    assert "64 KiB at 0 B, held by no layer: it reads as zeroes" in titles(drawn(picture(["."])))


def test_details_may_be_left_out() -> None:
    view = picture(["#."])
    rows = [replace(view.rows[0], detail=[])]
    assert len(cells(drawn(replace(view, rows=rows)), "r0")) == 2


def test_300_layers_are_folded_to_those_that_answer() -> None:
    held = ["." * 8 for _ in range(300)]
    held[0], held[70], held[299] = "#.......", ".##.....", "########"
    svg = drawn(picture(held))
    assert [g.get("data-key") for g in groups(svg, "dg-row")] == ["r0", "r70", "r299"]
    folded = [t for g in groups(svg, "dg-rows-folded") for t in texts(g) if t != "⋮"]
    assert folded == ["… 69 layers answer nothing here", "… 228 layers answer nothing here"]
    # 1 block one row down, 2 blocks three rows down, 5 blocks five rows down.
    assert len(groups(svg, "dg-read")) == 1 * 1 + 2 * 3 + 5 * 5


def test_too_many_answering_layers_are_folded_from_the_least() -> None:
    held = ["".join("#" if block == row else "." for block in range(32)) for row in range(32)]
    view = picture(held)
    rows = fold_rows(view.rows, 16)
    assert len(rows) <= 16
    assert rows[0].layers == range(1)
    svg = drawn(view)
    assert heads(svg) == 32
    assert any("answer" in text and "block" in text for text in texts(svg))


@pytest.mark.parametrize("limit", [1, 2, 3, 16, 299])
def test_the_limit_of_rows_holds(limit: int) -> None:
    held = ["#." if row % 2 else ".#" for row in range(300)]
    rows = fold_rows(picture(held).rows, limit)
    assert len(rows) <= max(2, limit)
    assert [i for row in rows for i in row.layers] == list(range(300))


def test_a_full_picture_is_quick() -> None:
    held = ["".join("#" if row == 15 else "." for _ in range(32)) for row in range(16)]
    assert seconds(lambda: drawn(picture(held))) < 0.5
    svg = drawn(picture(held))
    assert len(groups(svg, "dg-cell")) == 32 * 17
    assert len(groups(svg, "dg-read")) == 32 * 16


def test_a_disk_without_blocks_or_layers_is_an_empty_picture() -> None:
    assert not groups(drawn(ReadsPicture([], [], [], [], [])), "dg-cell")
    assert len(groups(drawn(ReadsPicture([0], [512], [], [-1], [""])), "dg-nobody")) == 1
