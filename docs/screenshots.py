"""Pictures of the running demo for these docs; bin/screenshots calls it."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).resolve().parent
PASSWORDS = HERE.parent / "var" / "demo-passwords"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def sign_in(page: Page, address: str) -> None:
    """As the demo's operator."""
    words = PASSWORDS.read_text().split()
    page.goto(f"{address}/login/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", words[words.index("operator") + 1])
    page.click("main button[type=submit]")
    page.wait_for_url(f"{address}/")


def disk_page(page: Page, address: str, name: str) -> str:
    """The address of a disk of the demo."""
    page.goto(f"{address}/api/v1/disks/?limit=1000")
    disks = page.evaluate("JSON.parse(document.body.innerText).results")
    return next(f"{address}/disks/{disk['id']}/" for disk in disks if disk["name"] == name)


def witnessed_page(page: Page, address: str) -> str:
    """The address of a volume of the demo of which an LV's tags say something that is not so."""
    page.goto(f"{address}/api/v1/findings/?code=tag-metadata-differ")
    return f"{address}/volumes/{page.evaluate('JSON.parse(document.body.innerText).results')[0]['volume']}/"


def take(browser: Browser, address: str, scheme: str) -> None:
    """Every picture in one colour scheme."""
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1280, "height": 800},
    )
    page = context.new_page()
    sign_in(page, address)
    lesson, chain = (
        disk_page(page, address, name) for name in ("lesson/snap2.img", "db/2026-08-01.qcow2")
    )
    pages = {
        "overview": f"{address}/",
        "domains": f"{address}/domains/",
        "disk": lesson,
        "plan": f"{chain}merge/",
        "activity": f"{address}/activity/",
        "findings": f"{address}/findings/",
        "volume": witnessed_page(page, address),
    }
    page.goto(f"{address}/domains/")
    pages["domain"] = address + (page.get_attribute("main a[href^='/domains/']", "href") or "/")
    pages["batch"] = f"{pages['domain']}batch/?all=1&scope=whole"
    page.goto(f"{address}/activity/")
    merge = page.query_selector("main a[href^='/merges/']")
    if merge is not None:
        pages["merge"] = address + (merge.get_attribute("href") or "")
    for name, where in pages.items():
        page.goto(where)
        page.wait_for_timeout(800)
        page.screenshot(path=HERE / "pictures" / f"{name}-{scheme}.png", full_page=True)
        if name == "disk":
            page.locator("#reads").screenshot(path=HERE / "pictures" / f"reads-{scheme}.png")
    context.close()


def main() -> None:
    """Light and dark."""
    address = sys.argv[1].rstrip("/")
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    (HERE / "pictures").mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
        for scheme in ("light", "dark"):
            take(browser, address, scheme)
        browser.close()


if __name__ == "__main__":
    main()
