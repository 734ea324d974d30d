"""Every page: for other eyes and hands, on narrow and wide screens, over a slow line."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from django.conf import settings
from django.urls import Resolver404, resolve
from playwright.sync_api import Page

from tests import images
from tests.browser.conftest import Site
from tests.web.access import ADDRESSES

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async ([tags, rules]) => {
  const only = rules ? {type: "rule", values: rules} : {type: "tag", values: tags};
  const found = await axe.run(document, {runOnly: only, resultTypes: ["violations"]});
  return found.violations.map((one) => `${one.id}: ${one.help}: ` +
    one.nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + (node.any[0]?.message ?? "")).join(" | "));
}"""
LINKS = "all => all.map((link) => new URL(link.getAttribute('href'), location.href).href)"
SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""
# Bytes on the line, and what browsers call a good layout, halved.
MOST_BYTES, MOST_SHIFT = 150_000, 0.05
# Pages whose way in is no link; and what the crawl leaves out: another program's pages, and files.
EXTRA = ["/domains/999999/"]


def pages_of_the_table() -> set[str]:
    """Each route that somebody who is signed in looks at, by its pattern."""
    seen = {
        name for name, address in ADDRESSES.items() if address.get[2] in (200, frozenset({200}))
    }
    others = ("api/", "admin/", "login/", "words/")
    files = (".svg", ".png", ".dot")
    return {name for name in seen if not name.startswith(others) and not name.endswith(files)}


@pytest.fixture(scope="module")
def journal(site: Site) -> None:
    """A batch, its merges, and a finding to look at."""
    images.overlay(site.root / "orphan" / "top.qcow2", "../look/base.img", "raw")
    images.qemu_img(
        "rebase",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "gone.img",
        "-F",
        "raw",
        site.root / "orphan" / "top.qcow2",
    )
    for line in (
        ["run_batch", "lab", "--disk", "look/snap2.img", "--scope", "whole", "--wait"],
        ["scan_domain", "lab"],
    ):
        argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), *line]
        done = subprocess.run(argv, env=site.environment, check=False, capture_output=True)
        assert done.returncode in (0, 1), done.stderr.decode()


def crawl(page: Page, site: Site) -> dict[str, str]:
    """One address of each route that links lead to."""
    found: dict[str, str] = {}
    # One way in is the button of a form, another a chart that is there after some days.
    disk = site.disks["merge"]
    todo = [f"{site.url}{path}" for path in (
        "/", f"/disks/{disk}/merge/", f"/disks/{disk}/chain/", "/domains/1/history/",
    )]  # fmt: skip
    seen = set(todo)
    while todo:
        url = todo.pop(0)
        path = url.removeprefix(site.url).partition("#")[0]
        try:
            route = resolve(path.partition("?")[0]).route
        except Resolver404:
            continue
        if route in found or route.startswith(("admin/", "static/", "api/")):
            continue
        answer = page.request.get(url)
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        found[route] = path
        page.goto(url)
        for link in page.eval_on_selector_all("a[href]", LINKS):
            if link.startswith(site.url) and link not in seen:
                seen.add(link)
                todo.append(link)
    # A page that has more on it when it is asked more.
    found["disks/<int:pk>/?at"] = f"/disks/{site.disks['look']}/?at=3M&by=hops&as=table"
    return found


@pytest.fixture(scope="module")
def addresses(site: Site, journal: None, enter: Callable[..., Page]) -> dict[str, str]:
    return crawl(enter("operator", quiet=False), site)


def test_links_lead_to_every_page(addresses: dict[str, str]) -> None:
    assert pages_of_the_table() - set(addresses) == set()


@pytest.mark.parametrize("language", ["en", "ru"])
def test_axe_finds_nothing(language, addresses, site, enter):
    page = speaking(enter("admin", quiet=False), site, language)
    wrong = []
    for path in [*addresses.values(), *EXTRA]:
        page.emulate_media(color_scheme="light")
        page.goto(site.url + path)
        wrong += [f"{path} light: {text}" for text in violations(page)]
        page.emulate_media(color_scheme="dark")
        page.reload()  # or some colours are still on their way
        wrong += [f"{path} dark: {text}" for text in violations(page, ["color-contrast"])]
    assert wrong == [], "\n" + "\n".join(wrong)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("width", [360, 3840])
def test_no_page_is_wider_than_the_window(width, language, addresses, site, enter):
    page = speaking(enter("admin", quiet=False), site, language)
    page.set_viewport_size({"width": width, "height": 900})
    wide = []
    for path in [*addresses.values(), *EXTRA]:
        page.goto(site.url + path)
        found = page.evaluate("document.documentElement.scrollWidth")
        if found > width:
            wide.append(f"{path}: {found}")
    assert wide == []


def test_the_first_view_is_light_and_nothing_jumps(addresses, site, enter):
    """Each page by a browser that has seen none yet: its bytes on the line, and its layout shifts."""
    start = enter("operator", quiet=False)
    heavy, jumped = [], []
    for path in addresses.values():
        context = start.context.browser.new_context(storage_state=start.context.storage_state())
        page = context.new_page()
        page.add_init_script(SHIFTS)
        line = context.new_cdp_session(page)
        line.send("Network.enable")
        sizes: list[float] = []
        line.on(
            "Network.loadingFinished", lambda event, to=sizes: to.append(event["encodedDataLength"])
        )
        page.goto(site.url + path, wait_until="networkidle")
        if sum(sizes) > MOST_BYTES:
            heavy.append(f"{path}: {sum(sizes) / 1000:.0f} kB in {len(sizes)} answers")
        if (shift := page.evaluate("window.shifted")) > MOST_SHIFT:
            jumped.append(f"{path}: {shift:.3f}")
        context.close()
    assert (heavy, jumped) == ([], [])


def test_a_page_is_there_soon_over_a_long_line(addresses, site, enter):
    """200 ms of latency, 10 Mbit/s: to read within two seconds, complete and live within five."""
    start = enter("operator", quiet=False)
    context = start.context.browser.new_context(storage_state=start.context.storage_state())
    page = context.new_page()
    line = context.new_cdp_session(page)
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", {
        "offline": False, "latency": 200, "downloadThroughput": 1_250_000, "uploadThroughput": 1_250_000,
    })  # fmt: skip
    page.goto(site.url, wait_until="commit")
    page.wait_for_selector("[data-connection=live]", timeout=10_000)
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    live = page.evaluate("performance.now()")
    context.close()
    assert (painted < 2000, live < 5000) == (True, True), (painted, live)


def speaking(page: Page, site: Site, language: str) -> Page:
    """The page in this language."""
    name = settings.LANGUAGE_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": language, "url": site.url}])
    return page


def violations(page: Page, rules: list[str] | None = None) -> Iterator[str]:
    page.evaluate(AXE)
    yield from page.evaluate(RUN, [TAGS, rules])
