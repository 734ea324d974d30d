"""The main job in a real browser: see a chain, see its redirected reads, merge, and watch it live."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests import images
from tests.browser.conftest import MIB, Site

CLUSTER = 65536
pytestmark = pytest.mark.browser

# Records every value that the bar shows, and when, from the moment that the page is there.
WATCH = """() => {
  const bar = document.querySelector("[data-bar]");
  window.seen = [];
  const look = () => {
    if (window.seen.at(-1) !== bar.value) window.seen.push(bar.value);
    requestAnimationFrame(look);
  };
  look();
}"""
MOVES = "() => document.querySelector('[data-bar]')?.value > 0"


def state(page: Page) -> str:
    return page.inner_text("[data-part=state]")


def wait_for_end(page: Page, words: str = "succeeded", seconds: float = 40) -> None:
    expect(page.locator("[data-part=state]")).to_have_text(words, timeout=seconds * 1000)


def plan(page: Page, site: Site, disk: str) -> None:
    """From the disk's page to the plan of base…snap1, the way that takes longest."""
    page.goto(f"{site.url}/disks/{site.disks[disk]}/")
    page.wait_for_selector("#reads .dg-guest")
    page.click("#plan-form button")
    ways = page.locator("#plan table tbody tr")
    expect(ways).to_have_count(3)
    expect(ways.first).to_contain_text("recommended")
    expect(ways.first).to_have_attribute("aria-current", "true")
    ways.locator("th a", has_text=re.compile("^convert$")).click()
    expect(ways.filter(has_text="convert")).to_have_attribute("aria-current", "true")
    page.wait_for_selector("#start-merge")


def begin(page: Page, site: Site, disk: str) -> float:
    """Starts the merge; returns the seconds from the click to the first progress on the screen."""
    plan(page, site, disk)
    clicked = time.monotonic()
    page.click("#start-merge", no_wait_after=True)
    page.wait_for_function(MOVES, timeout=20_000)
    return time.monotonic() - clicked


def value(page: Page) -> float:
    return float(page.evaluate("() => document.querySelector('[data-bar]').value"))


def test_an_operator_sees_a_chain_and_its_reads(site, sign_in):
    page = sign_in("operator")
    expect(page.locator("main")).to_contain_text("lab")
    page.click("text=lab >> nth=0")
    expect(page.locator("#forest svg").first).to_be_visible()
    page.fill("#q", "look")
    page.press("#q", "Enter")
    expect(page.locator("#disks tbody tr")).to_have_count(1)
    page.click("#disks tbody a")
    assert page.url.endswith(f"/disks/{site.disks['look']}/")
    chain = page.locator("#chain svg.dg").first
    for name in ("base.img", "snap1.img", "snap2.img"):
        expect(chain).to_contain_text(name)
    # The map is read by the worker; the picture comes by itself.
    expect(page.locator("#reads .dg-guest")).to_be_visible(timeout=15_000)
    expect(page.locator("#reads")).to_contain_text("The whole disk, 256 MiB")
    # A raw layer answers for its holes too: all but 4 + 2 + 1/16 MiB is the root's.
    for name, size in (("snap2.img", "4 MiB"), ("snap1.img", "2.06 MiB"), ("base.img", "250 MiB")):
        row = page.locator("#reads .legend li", has_text=name)
        expect(row.locator(".number")).to_contain_text(size)


def test_zooming_down_to_one_cluster_and_out_again(site, sign_in):
    page = sign_in("auditor")
    page.goto(f"{site.url}/disks/{site.disks['look']}/")
    expect(page.locator("#reads .dg-guest")).to_be_visible(timeout=15_000)
    page.wait_for_timeout(1500)  # the page may bring itself up to date once, see activity.js
    picture = page.locator("#reads .reads-picture")
    lengths = [256 * MIB]
    while int(picture.get_attribute("data-block") or 0) > CLUSTER:
        page.locator("#reads .dg-guest a").first.click()
        expect(picture).not_to_have_attribute("data-to", str(lengths[-1]))
        lengths.append(int(picture.get_attribute("data-to") or 0))
    assert lengths == [256 * MIB, 8 * MIB, 256 * 1024]
    expect(page.locator("#reads")).to_contain_text("a block is 64 KiB")
    block = page.locator("#reads .dg-guest a").first.get_attribute("href") or ""
    assert "to=262144&at=0x0" in block, "one cluster can not be cut: it tells who answers it"
    assert "from=0" in page.url
    page.reload()
    expect(page.locator("#reads .reads-picture")).to_have_attribute("data-to", str(lengths[-1]))
    page.click("#reads [data-zoom=out]")
    expect(page.locator("#reads .reads-picture")).not_to_have_attribute("data-to", str(lengths[-1]))
    page.go_back()
    expect(page.locator("#reads .reads-picture")).to_have_attribute("data-to", str(lengths[-1]))
    page.click("#reads [data-zoom=whole]")
    expect(page.locator("#reads")).to_contain_text("The whole disk, 256 MiB")


def test_an_operator_merges_and_watches(site, sign_in):
    page = sign_in("operator")
    folder = site.root / "merge"
    before = images.view(folder / "snap2.img")
    plan(page, site, "merge")
    for words in (
        "qemu-img convert",
        "qemu-img compare",
        "qemu-img rebase",
        "base.img",
        "snap1.img",
    ):
        expect(page.locator("#plan")).to_contain_text(words)
    clicked = time.monotonic()
    page.click("#start-merge", no_wait_after=True)
    page.wait_for_function(MOVES, timeout=20_000)
    first = time.monotonic() - clicked
    page.evaluate(WATCH)
    assert state(page) == "running"
    expect(page.locator("[data-part=throughput]")).to_contain_text("/s")
    wait_for_end(page)
    seen = page.evaluate("() => window.seen")
    assert seen == sorted(seen)
    assert len(seen) >= 5, seen
    assert value(page) == 100
    for step in ("preflight", "copy", "verify", "switch", "remove"):
        expect(page.locator(f"[data-step={step}]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-step=copy]")).to_contain_text("qemu-img convert")
    expect(page.locator("#merge-picture")).to_contain_text("As it is now")
    page.goto(f"{site.url}/disks/{site.disks['merge']}/")
    chain = page.locator("#chain svg.dg").first
    expect(chain).to_contain_text("snap2.img", timeout=10_000)
    expect(chain).not_to_contain_text("base.img")
    expect(page.locator("#chain tbody tr")).to_have_count(2)
    assert images.view(folder / "snap2.img") == before
    assert not (folder / "base.img").exists()
    assert first < 1.0, f"the first progress came {first:.2f} s after the click"


def test_a_reload_and_a_second_browser_show_the_same(site, sign_in):
    page, auditor = sign_in("operator"), sign_in("auditor")
    begin(page, site, "reload")
    auditor.goto(page.url)
    at = value(page)
    page.reload()
    for one in (page, auditor):
        expect(one.locator("[data-part=state]")).to_have_text("running")
        assert value(one) >= at
        expect(one.locator("[data-connection]").first).to_have_attribute("data-connection", "live")
    assert auditor.locator("[data-when]").count() == 0
    wait_for_end(page)
    wait_for_end(auditor, seconds=2)
    auditor.goto(f"{site.url}/activity/")
    expect(auditor.locator("main")).to_contain_text("reload/snap2.img")
    page.reload()
    assert (state(page), value(page)) == ("succeeded", 100)


def test_a_restart_of_the_web_process_in_the_middle(site, sign_in):
    page = sign_in("operator", quiet=False)
    begin(page, site, "restart")
    page.wait_for_function("() => document.querySelector('[data-bar]').value > 3")
    site.kill("web")
    connection = page.locator("[data-connection]").first
    expect(connection).to_have_attribute("data-connection", "reconnecting")
    frozen = value(page)
    site.start_web()
    back = time.monotonic()
    expect(connection).to_have_attribute("data-connection", "live", timeout=5_000)
    page.wait_for_function("at => document.querySelector('[data-bar]').value > at", arg=frozen)
    seconds = time.monotonic() - back
    assert state(page) in {"running", "succeeded"}
    wait_for_end(page)
    for step in ("preflight", "copy", "verify", "switch", "remove"):
        expect(page.locator(f"[data-step={step}]")).to_have_attribute("data-state", "done")
    assert seconds < 2.0, f"right again only {seconds:.2f} s after the web process was back"


def test_cancel_leaves_the_chain_as_it_was(site, sign_in):
    folder = site.root / "cancel"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    seen = images.view(folder / "snap2.img")
    page = sign_in("operator")
    begin(page, site, "cancel")
    page.click("[data-when=can_cancel] button")
    page.click("dialog button[value=yes]")
    wait_for_end(page, "cancelled")
    expect(page.locator("[data-part=message]")).to_contain_text("The chain is as it was")
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert images.view(folder / "snap2.img") == seen
    page.goto(f"{site.url}/disks/{site.disks['cancel']}/")
    expect(page.locator("#chain tbody tr")).to_have_count(3)


def test_an_auditor_sees_everything_and_changes_nothing(site, sign_in):
    page = sign_in("auditor")
    base = f"{site.url}/disks/{site.disks['look']}/"
    pages = ["/", "/domains/", "/activity/", f"/domains/{domain_of(page)}/", base, base + "merge/"]
    for address in pages:
        page.goto(address if address.startswith("http") else site.url + address)
        assert page.locator("main form[method=post]").count() == 0, address
    expect(page.locator("main")).to_contain_text("Your role sees plans")
    token = page.locator("input[name=csrfmiddlewaretoken]").first.get_attribute("value")
    headers = {"X-CSRFToken": token or "", "Referer": base}
    forged = {
        base + "merge/": 403, f"{site.url}/domains/{domain_of(page)}/scan/": 403,
        f"{site.url}/api/v1/domains/{domain_of(page)}/scan/": 403,
    }  # fmt: skip
    for address, status in forged.items():
        body = {"data" if "/api/" in address else "form": {"base": "1", "top": "2"}}
        answer = page.request.post(address, headers=headers, **body)
        assert answer.status == status, address
        assert not re.search("CSRF", answer.text()), "the role refuses it, not only the token"
    assert sorted(path.name for path in (site.root / "look").iterdir()) == [
        "base.img", "snap1.img", "snap2.img",
    ]  # fmt: skip


def domain_of(page: Page) -> int:
    address = f"{page.url.split('/', 3)[0]}//{page.url.split('/', 3)[2]}/api/v1/domains/"
    return int(page.request.get(address).json()["results"][0]["id"])


def test_the_logs_hold_no_traceback(site):
    """Last: the processes have worked for all of the tests above."""
    for name in ("web", "worker"):
        assert "Traceback" not in site.log(name)
