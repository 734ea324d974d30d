"""The lens, the colours and the wheel on redirected reads; what flows while a merge runs."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MIB, Site
from tests.browser.test_main_job import CLUSTER, plan, wait_for_end

pytestmark = pytest.mark.browser

# Every state of the drawing that was on the screen, with what the page's own bar said.
WATCH = """() => {
  window.flow = [];
  const width = (shape) => Number(shape?.getAttribute("width") ?? 0);
  const look = () => {
    const box = document.querySelector("[data-flow]");
    const state = {
      stage: box.dataset.stage,
      came: width(box.querySelector(".flow-came")),
      full: Number(box.querySelector(".flow-came").dataset.full),
      left: width(box.querySelector(".flow-source .flow-fill")),
      gone: box.querySelectorAll(".flow-gone").length,
      moving: box.dataset.moving === "true",
      words: box.querySelector("[data-part=flow]").textContent,
    };
    if (JSON.stringify(window.flow.at(-1)) !== JSON.stringify(state)) window.flow.push(state);
    requestAnimationFrame(look);
  };
  look();
}"""


def reads(page: Page, site: Site, query: str = "") -> None:
    page.goto(f"{site.url}/disks/{site.disks['look']}/{query}")
    expect(page.locator("#reads .dg-guest")).to_be_visible(timeout=15_000)
    page.wait_for_timeout(1500)  # the page may bring itself up to date once, see activity.js


def span(page: Page) -> tuple[int, int]:
    picture = page.locator("#reads .reads-picture")
    found = [int(picture.get_attribute(f"data-{name}") or 0) for name in ("from", "to")]
    return found[0], found[1]


def test_the_lens_tells_which_file_answers_a_byte(site, sign_in):
    page = sign_in("auditor")
    reads(page, site)
    answer = page.locator("#reads-answer")
    expect(answer).to_be_hidden()
    for asked, words in (
        ("0x500000", ("0x500000 (5,242,880 B)", "snap2.img", "no hop", "0x400000 (4 MiB)", "4 MiB (4,194,304 B)")),
        ("3 MiB", ("snap1.img", "1 hop down", "data")),
        ("s0", ("base.img", "2 hops down")),
        ("254M", ("base.img", "reads as zero")),
        ("nowhere", ("no address of a byte",)),
        ("1T", ("The disk has no byte",)),
    ):  # fmt: skip
        page.fill("#reads-at", asked)
        page.press("#reads-at", "Enter")
        for word in words:
            expect(answer).to_contain_text(word)
        rings = 2 if len(words) > 1 else 0
        expect(page.locator("#reads .dg-here")).to_have_count(rings)
    page.fill("#reads-at", "0x500000")
    page.press("#reads-at", "Enter")
    expect(answer).to_contain_text("snap2.img")
    assert "at=0x500000" in page.url
    page.reload()
    expect(answer).to_contain_text("snap2.img")
    answer.locator("a", has_text="Show its cluster").click()
    expect(page.locator("#reads")).to_contain_text("a block is 64 KiB")
    start, end = span(page)
    assert start <= 0x500000 < end
    # A block of a single cluster asks for itself, in the guest's row and in a layer's.
    page.locator("#reads .dg-guest a").first.click()
    expect(answer).to_contain_text(hex(start))
    page.locator("#reads .dg-row .dg-cell").nth(5).click()
    expect(answer).to_contain_text(hex(start + 5 * CLUSTER))
    answer.locator("a", has_text="Take the mark away").click()
    expect(answer).to_be_hidden()


def test_colours_by_hops_and_the_table_stand_in_the_address(site, sign_in):
    page = sign_in("auditor")
    reads(page, site)
    expect(page.locator("#reads .dg-guest [class*=dg-heat-]")).to_have_count(0)
    page.click("#reads [data-zoom=hops]")
    expect(page.locator("#reads .dg-guest [class*=dg-heat-]").first).to_be_visible()
    expect(page.locator("#reads .dg-cell[class*=dg-layer-]")).to_have_count(0)
    assert "by=hops" in page.url
    expect(page.locator("#reads-legend")).to_contain_text("hops: 2")
    page.locator("#reads .dg-guest a").first.click()
    expect(page.locator("#reads .reads-picture")).to_have_attribute("data-to", str(8 * MIB))
    assert "by=hops" in page.url, "a zoom keeps the colours"
    page.click("#reads [data-zoom=table]")
    expect(page.locator("#reads-table tbody tr")).to_have_count(3)
    expect(page.locator("#reads-table")).to_contain_text("4,194,304 B")
    page.reload()
    expect(page.locator("#reads-table tbody tr")).to_have_count(3)
    page.click("#reads [data-zoom=layer]")
    expect(page.locator("#reads .dg-cell[class*=dg-layer-]").first).to_be_visible()


def test_the_wheel_goes_from_the_whole_disk_to_one_cluster_and_scrolls_without_ctrl(site, sign_in):
    page = sign_in("auditor")
    reads(page, site)
    picture = page.locator("#reads .reads-picture")
    picture.scroll_into_view_if_needed()
    block = page.locator("#reads .dg-guest .dg-slot").nth(20).bounding_box()
    assert block
    page.mouse.move(block["x"] + 3, block["y"] + 5)
    before = page.evaluate("() => scrollY")
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(400)
    assert span(page) == (0, 256 * MIB), "the wheel alone is the page's"
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(400)
    assert page.evaluate("() => scrollY") >= 0
    page.evaluate("y => scrollTo(0, y)", before)
    page.keyboard.down("Control")
    for _ in range(12):
        start, end = span(page)
        if end - start == CLUSTER:
            break
        box = page.locator("#reads .dg-guest .dg-slot").first.bounding_box()
        assert box
        page.mouse.move(box["x"] + 3, box["y"] + 5)
        for _ in range(4):
            page.mouse.wheel(0, -120)
        expect(picture).not_to_have_attribute("data-to", str(end))
    page.keyboard.up("Control")
    start, end = span(page)
    assert end - start == CLUSTER
    assert start % CLUSTER == 0
    expect(page.locator("#reads .dg-guest .dg-cell")).to_have_count(1)
    page.keyboard.down("Control")
    page.mouse.wheel(0, 120)
    page.keyboard.up("Control")
    expect(picture).not_to_have_attribute("data-to", str(end))


def test_what_flows_is_what_has_been_copied(site, sign_in):
    page = sign_in("operator")
    plan(page, site, "flow")
    page.click("#start-merge", no_wait_after=True)
    page.wait_for_selector("[data-flow]")
    page.evaluate(WATCH)
    page.wait_for_function("() => window.flow.some((s) => s.moving)", timeout=20_000)
    page.wait_for_function("() => window.flow.at(-1).came > 20", timeout=20_000)
    seen = page.evaluate("() => window.flow")
    # In the midst of it the page is loaded again: the server draws where it stands, not the beginning.
    page.reload()
    came = float(page.locator(".flow-came").get_attribute("width") or 0)
    assert came >= seen[-1]["came"] - 1
    page.evaluate(WATCH)
    wait_for_end(page)
    expect(page.locator("[data-flow]")).to_have_attribute("data-stage", "succeeded")
    expect(page.locator(".flow-gone")).to_have_count(2)
    later = page.evaluate("() => window.flow")
    for part in (seen, later):
        widths = [state["came"] for state in part]
        assert widths == sorted(widths)
        for state in part:
            # Nothing is removed before it is, and what is gone from the sources has arrived.
            assert state["gone"] == 0 or state["stage"] in {"remove", "succeeded"}
            if state["stage"] in {"queued", "preflight"}:
                assert state["came"] == 0
    copying = [state for state in seen + later if state["stage"] == "copy"]
    assert len({state["came"] for state in copying}) >= 4, copying
    assert any("have flowed into" in state["words"] for state in copying)
    assert {"verify", "succeeded"} <= {state["stage"] for state in later}
    assert later[-1]["came"] == later[-1]["full"]
    assert later[-1]["left"] == 0
    assert not later[-1]["moving"]
    assert "the old layers are out of the chain" in later[-1]["words"]


def test_a_cancelled_merge_stops_flowing_and_says_so(site, sign_in):
    page = sign_in("operator")
    plan(page, site, "stopped")
    page.click("#start-merge", no_wait_after=True)
    page.wait_for_selector("[data-flow]")
    page.wait_for_selector("[data-flow][data-moving=true]", timeout=20_000)
    page.locator("[data-when=can_cancel] button").click()
    page.click("dialog button[value=yes]")
    wait_for_end(page, "cancelled")
    box = page.locator("[data-flow]")
    expect(box).to_have_attribute("data-stage", "cancelled")
    expect(box).to_contain_text("it was cancelled: nothing flows any more")
    assert box.get_attribute("data-moving") is None
    expect(page.locator(".flow-gone")).to_have_count(0)
