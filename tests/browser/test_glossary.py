"""“?” beside a term: by mouse and by keyboard, on wide and on narrow windows."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

SMALLEST = """Math.min(...[...document.querySelectorAll(".term-button")].flatMap((one) => {
  const box = one.getBoundingClientRect();
  return [box.width, box.height];
}))"""


def test_a_term_is_explained_where_it_stands(site: Site, sign_in: Callable[..., Page]) -> None:
    page = sign_in("auditor")
    for width, height in ((1280, 900), (390, 800)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(f"{site.url}/disks/{site.disks['look']}/")
        expect(page.locator(".dg-guest")).to_be_visible(timeout=15_000)
        assert page.evaluate(SMALLEST) >= 24
        button, card = page.locator("#what-shadowed"), page.locator("#term-shadowed")
        expect(button).to_have_accessible_name("What is “shadowed”?")
        expect(card).to_be_hidden()
        button.focus()
        page.keyboard.press("Enter")
        expect(card).to_be_visible()
        box, where = card.bounding_box(), button.bounding_box()
        assert box is not None
        assert where is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
        if width > 1000:
            assert 0 <= box["y"] - where["y"] - where["height"] < 12, "beside its button"
        page.keyboard.press("Escape")
        expect(card).to_be_hidden()
        expect(button).to_be_focused()
    button.click()
    # What is read stays open when the page is brought up to date under it.
    page.evaluate(
        """async (path) => {
          const { swap } = await import(path);
          const old = document.getElementById("chain");
          const fresh = old.cloneNode(true);
          fresh.dataset.new = "yes";
          swap(old, fresh);
        }""",
        page.locator("script[type=module][src]").get_attribute("src").replace("main", "fragments"),  # type: ignore[union-attr]
    )
    expect(page.locator("#chain[data-new]")).to_be_attached()
    expect(card).to_be_visible()
    card.get_by_role("link").click()
    page.wait_for_url(f"{site.url}/glossary/#shadowed")
    expect(page.locator("#shadowed")).to_be_in_viewport()
