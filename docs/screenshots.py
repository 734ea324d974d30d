"""Pictures of the running demo for these docs, of every page, in both themes and languages.

bin/screenshots calls it. English ones lie in pictures/, Russian ones in pictures/ru/.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).resolve().parent
PASSWORDS = HERE.parent / "var" / "demo-passwords"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TALLEST = 3200  # pixels of a picture: what lies below is left out


def sign_in(page: Page, address: str) -> None:
    """As the demo's operator."""
    words = PASSWORDS.read_text().split()
    page.goto(f"{address}/login/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", words[words.index("operator") + 1])
    page.click("main button[type=submit]")
    page.wait_for_url(f"{address}/")


def asked(page: Page, address: str, path: str) -> list[dict[str, Any]]:
    """The rows of a list of the API."""
    rows: list[dict[str, Any]] = page.request.get(f"{address}/api/v1/{path}").json()["results"]
    return rows


def addresses(page: Page, address: str) -> dict[str, str]:
    """Every page by its name; of those that there are many of, the most telling one."""
    disks = {disk["name"]: disk["id"] for disk in asked(page, address, "disks/?limit=1000")}
    domains = {domain["name"]: domain["id"] for domain in asked(page, address, "domains/")}
    lesson, deep = disks["lesson/snap2.img"], disks["db/2026-08-01.qcow2"]
    told = asked(page, address, "findings/?code=tag-metadata-differ")[0]
    demo = domains["demo"]
    found = {
        "overview": "/", "domains": "/domains/", "domain": f"/domains/{demo}/",
        "volumes": f"/domains/{demo}/volumes/", "history": f"/domains/{demo}/history/",
        "disk": f"/disks/{lesson}/", "chain": f"/disks/{deep}/",
        "hops": f"/disks/{lesson}/?by=hops&at=0x2000000#reads",
        "plan": f"/disks/{deep}/merge/", "batch": f"/domains/{demo}/batch/?all=1&scope=whole",
        "volume": f"/volumes/{told['volume']}/", "findings": "/findings/",
        "finding": f"/findings/{told['id']}/", "thresholds": "/thresholds/", "sprawl": "/sprawl/",
        "activity": "/activity/", "audit": "/audit/", "lesson": "/lesson/", "glossary": "/glossary/",
    }  # fmt: skip
    for name in ("merge", "batch-journal"):
        kind = "merges" if name == "merge" else "batches"
        if rows := asked(page, address, f"{kind}/"):
            found[name] = f"/{kind}/{rows[0]['id']}/"
    return {name: address + path for name, path in found.items()}


def take(browser: Browser, address: str, scheme: str, language: str) -> None:
    """Every picture in one colour scheme and language."""
    folder = HERE / "pictures" / ("" if language == "en" else language)
    folder.mkdir(exist_ok=True)
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1280, "height": 800},
    )
    context.add_cookies([{"name": "django_language", "value": language, "url": address}])
    page = context.new_page()
    sign_in(page, address)
    for name, where in addresses(page, address).items():
        page.goto(where)
        page.wait_for_timeout(800)
        tall = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": 1280, "height": tall}
        page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True, clip=clip)  # type: ignore[arg-type]
        if name == "disk":
            page.locator("#reads").screenshot(path=folder / f"reads-{scheme}.png")
    context.close()


def main() -> None:
    """Take all pictures."""
    address = sys.argv[1].rstrip("/")
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for scheme in ("light", "dark"):
            for language in ("en", "ru"):
                take(browser, address, scheme, language)
        browser.close()


if __name__ == "__main__":
    main()
