"""The whole lesson in a browser, on real files that a worker makes."""

import os
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_the_lesson_from_its_first_step_to_its_last(
    site: Site, sign_in: Callable[..., Page]
) -> None:
    page = sign_in("operator")
    page.goto(f"{site.url}/lesson/")
    sandboxes = site.place / "var" / "lesson"
    for number in range(1, 12):
        expect(page.locator("[aria-current=step] .lesson-number")).to_have_text(str(number))
        page.click("#lesson-run")
        # The result comes by itself: nothing here loads the page again.
        expect(page.locator("#result")).to_be_visible(timeout=15_000)
        expect(page.locator("#result")).to_contain_text("exit code 0")
        expect(page.locator(".lesson-seen .dg-guest .dg-slot")).to_have_count(16)
        if number == 6:
            page.click("#question summary")
            expect(page.locator("#question")).to_contain_text("Block 5: snap1.img, one hop down.")
        if number == 10:
            (place,) = sandboxes.iterdir()
            assert sorted(os.listdir(place)) == [
                "base.img",
                "newbase.img",
                "snap1.img",
                "snap2.img",
            ]
        if number < 11:
            page.locator("#result").focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_url(f"{site.url}/lesson/?step={number + 1}")
    expect(page.get_by_text("What to take along")).to_be_visible()
    assert list(sandboxes.iterdir()) == []
    page.get_by_role("button", name="Start over").click()
    page.locator("dialog").get_by_role("button", name="Start over").click()
    expect(page.locator("#lesson-run")).to_be_visible(timeout=15_000)
    assert page.locator(".is-done").count() == 0


def test_files_that_are_changed_from_outside(site: Site, sign_in: Callable[..., Page]) -> None:
    page = sign_in("admin")
    for number in (1, 2):
        page.goto(f"{site.url}/lesson/?step={number}")
        page.click("#lesson-run")
        expect(page.locator("#result")).to_be_visible(timeout=15_000)
    (image,) = (site.place / "var" / "lesson").glob("*/base.img")
    with image.open("r+b") as file:
        file.write(b"somebody else")
    page.goto(f"{site.url}/lesson/")
    page.click("#lesson-run")
    expect(page.get_by_text("Somebody else has been at the files.")).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Run step 3 again").click()
    expect(page.locator("#result")).to_be_visible(timeout=15_000)
