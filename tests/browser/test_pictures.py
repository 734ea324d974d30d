"""Pictures in a real browser: keys and buttons of the viewer, folds in place, and the light."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

# A template with a hundred clones, one of them twenty snapshots on: rows, without files behind them.
FOREST = """
import json
from django.utils import timezone
from chains.models import Disk, StorageDomain, Volume
domain = StorageDomain.objects.create(name="forest", path="/nowhere", path_text="/nowhere",
    storage_host="nobody", scan_seconds=0, volume_count=200, disk_count=101)
def add(name, below=None, **facts):
    return Volume.objects.create(domain=domain, path=name, path_text=name, format="qcow2",
        virtual_size=1 << 30, file_size=1 << 20, on_disk=1 << 20, backing=below, fingerprint=name,
        backing_file=below and below.path, modified=timezone.now(), **facts)
root = add("template.qcow2")
for number in range(100):
    top = add(f"clone-{number:03}.qcow2", root)
    Disk.objects.create(domain=domain, active=top, name=top.path, layers=2)
for number in range(200):
    root = add(f"layer-{number:03}.qcow2", root)
disk = Disk.objects.create(domain=domain, active=root, name="deep", layers=201)
print(json.dumps([domain.pk, disk.pk]))
"""
ZOOM = "() => Number(document.querySelector('[data-viewer-canvas]').dataset.zoom ?? 1)"


@pytest.fixture(scope="module")
def forest(site: Site) -> tuple[int, int]:
    argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "shell", "-v0", "-c", FOREST]
    done = subprocess.run(argv, env=site.environment, check=True, capture_output=True)
    domain, disk = json.loads(done.stdout)
    return domain, disk


def snap(page: Page, name: str) -> None:
    """For who wants to look: where STRATA_LOOK names a directory, the page is kept there."""
    if folder := os.environ.get("STRATA_LOOK"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_keys_and_buttons_move_a_picture(site, sign_in, forest):
    page = sign_in("auditor")
    page.goto(f"{site.url}/domains/{forest[0]}/forest/")
    stage = page.locator("[data-viewer-stage]")
    stage.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.evaluate(ZOOM) == pytest.approx(1.25**2)
    for _ in range(6):
        page.keyboard.press("+")
    before = stage.evaluate("stage => stage.scrollLeft + stage.scrollTop")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert stage.evaluate("stage => stage.scrollLeft + stage.scrollTop") > before
    page.keyboard.press("0")
    fits = "s => s.scrollHeight <= s.clientHeight + 1 && s.scrollWidth <= s.clientWidth + 1"
    assert stage.evaluate(fits)
    whole = page.evaluate(ZOOM)
    page.get_by_role("button", name="Larger").click()
    assert page.evaluate(ZOOM) == pytest.approx(whole * 1.25)
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function(f"() => ({ZOOM})() > {whole * 1.4}")


def test_dragging_moves_a_picture_and_follows_no_link(site, sign_in, forest):
    page = sign_in("auditor")
    page.goto(f"{site.url}/domains/{forest[0]}/forest/")
    stage = page.locator("[data-viewer-stage]")
    stage.focus()
    for _ in range(5):
        page.keyboard.press("+")
    link = page.locator(".dg-fold a", has_text="clones")
    link.scroll_into_view_if_needed()
    before = stage.evaluate("stage => stage.scrollTop")
    address, box = page.url, link.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 15, box["y"] + 55, steps=5)
    page.mouse.up()
    assert stage.evaluate("stage => stage.scrollTop") == pytest.approx(before - 50, abs=2)
    assert page.url == address


def test_a_fold_opens_in_place_and_folds_again(site, sign_in, forest):
    page = sign_in("auditor")
    page.goto(f"{site.url}/domains/{forest[0]}/")
    fold = page.locator("#forest .dg-fold", has_text="100 clones")
    fold.locator("a").click()
    expect(page.locator("#forest .dg-fold", has_text="60 more clones")).to_be_visible()
    assert "open=cv" in page.url
    expect(page.locator("#forest .viewer-open")).to_contain_text("1–40 of 100 are open")
    page.locator("#forest a[rel=next]").first.click()
    expect(page.locator("#forest .viewer-open")).to_contain_text("41–80 of 100")
    page.reload()
    expect(page.locator("#forest .viewer-open")).to_contain_text("41–80 of 100")
    snap(page, "open")
    page.get_by_role("link", name="Fold", exact=True).click()
    expect(page.locator("#forest .dg-fold", has_text="100 clones")).to_be_visible()
    page.go_back()
    expect(page.locator("#forest .viewer-open")).to_contain_text("41–80 of 100")


def test_a_search_lights_the_path_of_a_clone_that_is_folded_away(site, sign_in, forest):
    page = sign_in("auditor")
    page.goto(f"{site.url}/domains/{forest[0]}/")
    page.fill("#forest-find", "clone-077")
    page.press("#forest-find", "Enter")
    expect(page.locator("#forest .dg-node.dg-lit")).to_have_count(2)
    expect(page.locator("#forest .dg-node.dg-lit", has_text="clone-077")).to_be_in_viewport()
    expect(page.locator("#forest .viewer-found")).to_contain_text(
        "template.qcow2 ← clone-077.qcow2"
    )
    expect(page.locator("#forest .dg-fold", has_text="99 more clones")).to_be_visible()
    snap(page, "found")


def test_a_deep_chain_is_fetched_by_itself_and_a_layer_lights_its_path(site, sign_in, forest):
    page = sign_in("auditor")
    page.goto(f"{site.url}/disks/{forest[1]}/?all=1")
    expect(page.locator("#chain-picture [data-viewer]")).to_be_visible(timeout=15_000)
    expect(page.locator("#chain-picture .dg-volume")).to_have_count(201)
    page.goto(f"{site.url}/disks/{forest[1]}/")
    node = page.locator("#chain-picture .dg-volume").nth(2)
    node.locator("a").focus()
    expect(page.locator("#chain-picture [data-light-words]")).to_contain_text("layer-197.qcow2")
    expect(page.locator("#chain-picture [data-light-words]")).to_contain_text("read by deep")
    assert (
        page.locator("#chain-picture .dg-node.is-lit").count()
        == page.locator("#chain-picture .dg-node").count()
    )
    page.locator("#chain-picture .dg-fold a").click()
    expect(page.locator("#chain-picture .dg-volume")).to_have_count(201, timeout=15_000)
    assert "open=v" in page.url
    snap(page, "deep")


def test_what_is_saved_is_a_picture(site, sign_in, forest, tmp_path):
    page = sign_in("auditor")
    page.goto(f"{site.url}/domains/{forest[0]}/forest/")
    with page.expect_download() as saved:
        page.get_by_role("link", name="SVG").click()
    assert saved.value.suggested_filename == f"forest-{forest[0]}.svg"
    saved.value.save_as(tmp_path / "forest.svg")
    look = page.context.new_page()
    look.goto(f"file://{tmp_path}/forest.svg")
    assert look.evaluate("() => document.documentElement.tagName") == "svg"
    if folder := os.environ.get("STRATA_LOOK"):
        look.screenshot(path=f"{folder}/file.png")
