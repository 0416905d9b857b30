"""Super-resolution in the browser: a small model trained, before and after swiped, stages blended, images compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server, picture, settle
from tests.browser.test_first_page import real_errors
from tests.browser.test_import_browse_compare import upload
from tests.browser.test_whole_loop import choose, fill_number, open_page
from tests.conftest import SHARED_DATA

pytestmark = pytest.mark.browser
NAME = "Radiographs"
N_IMAGES, SIDE = 4, 192


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four parts of chest radiographs: real ones where they lie beside the checkout, else synthetic textures."""
    found = sorted((SHARED_DATA / "cls_cxr_projection" / "images").glob("*.png"))[:N_IMAGES]
    out = tmp_path_factory.mktemp("radiographs")
    for number in range(N_IMAGES):
        if found:
            array = np.asarray(Image.open(found[number]).convert("L"))[200 : 200 + SIDE, 200 : 200 + SIDE]
        else:
            from tests.core.tasks.super_resolution.samples import texture

            array = texture(number, (SIDE, SIDE))
        Image.fromarray(np.ascontiguousarray(array)).save(out / f"chest{number}.png")
    return sorted(out.glob("*.png"))


def create(page: Any, url: str) -> None:
    """Create a project without labels by hand."""
    page.goto(f"{url}/projects")
    settle(page)
    if not page.get_by_label("Name", exact=True).is_visible():
        page.get_by_text("New project").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    choose(page, "Task", "Super-resolution")
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("heading", name=NAME).wait_for()
    settle(page)


def train(page: Any, server: Server) -> None:
    """Train both stages for some steps."""
    open_page(page, server, "train", NAME)
    page.get_by_role("button", name="Split all cases").click()
    settle(page)
    fill_number(page, "Minutes", 0)
    fill_number(page, "Epochs", 4)
    fill_number(page, "Scale", 2)
    choose(page, "Architecture", "edsr")
    page.get_by_text("Adversarial", exact=True).first.click()
    settle(page)
    page.get_by_text("Model", exact=True).first.click()
    fill_number(page, "Blocks", 1)
    fill_number(page, "Features", 16)
    page.get_by_text("Realism", exact=True).first.click()
    fill_number(page, "Discriminator features", 4)
    picture(page, "super-resolution-train-form")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("is ready").wait_for(timeout=400_000)
    settle(page)
    picture(page, "super-resolution-train-done")


def swipe(page: Any) -> None:
    """Drag the bar between both pictures from the middle to the right; the finer one must yield."""
    frame = page.locator(".swipe").first
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box["width"] > 200 and box["height"] > 200
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.5, steps=6)
    page.mouse.up()
    at = frame.evaluate("element => parseFloat(element.style.getPropertyValue('--at'))")
    assert at == pytest.approx(80, abs=3)
    clip = frame.locator(".after").evaluate("element => getComputedStyle(element).clipPath")
    assert clip.startswith("inset(0px 0px 0px") and clip != "inset(0px)"
    frame.locator(".bar").press("ArrowLeft")
    assert frame.evaluate("element => parseFloat(element.style.getPropertyValue('--at'))") < at
    for side in ("before", "after"):
        width = frame.locator(f"img.{side}").evaluate("element => element.naturalWidth")
        assert width >= SIDE


@pytest.mark.long
@pytest.mark.timeout(900)  # a minute on a free machine
def test_super_resolution_from_training_to_comparing(
    page: Any, server: Server, seen: Seen, radiographs: list[Path]
) -> None:
    create(page, server.url)
    page.goto(f"{server.url}/import")
    settle(page)
    upload(page, "images", radiographs)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text(f"{N_IMAGES} cases and 0 readings came in.").wait_for(timeout=200_000)

    train(page, server)
    open_page(page, server, "infer", NAME)
    page.get_by_role("button", name="Look closely").click()
    slider = page.get_by_role("slider", name="Blend: 0 true pixels, 1 sharp look").last
    slider.wait_for(timeout=200_000, state="attached")
    settle(page)
    picture(page, "super-resolution-look")
    shown = page.get_by_alt_text("Restored").first
    before = shown.get_attribute("src")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([alt, source]) => document.querySelector(`img[alt='${alt}']`)?.getAttribute('src') !== source",
        arg=["Restored", before],
        timeout=60_000,
    )
    settle(page)
    picture(page, "super-resolution-blend")

    page.get_by_role("button", name=f"Run on {N_IMAGES} cases").click()
    page.get_by_text("Readings of this model").wait_for(timeout=300_000)
    settle(page)
    page.get_by_text("Computed, not acquired").first.wait_for()
    page.locator(".swipe").last.scroll_into_view_if_needed()
    swipe(page)
    settle(page)
    picture(page, "super-resolution-infer")
    with Workspace.open(server.home) as store:
        project = store.get_project(NAME)
        model = store.list_models(project_id=project.id)[0]
        versions = store.readings_of(project.id, model.name)
        assert len(versions) == N_IMAGES
        reading = store.load_reading(next(iter(versions.values())))
        assert reading.array.shape == (2 * SIDE, 2 * SIDE)
        assert reading.computed

    open_page(page, server, "compare", NAME)
    page.get_by_role("button", name="Try the model").click()
    page.get_by_text("Cases, worst first").wait_for(timeout=200_000)
    settle(page)
    page.get_by_role("button", name="Look closely").click()
    page.get_by_text("Truth", exact=True).wait_for(timeout=200_000)
    settle(page)
    picture(page, "super-resolution-compare")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert seen.outside == []
    assert real_errors(seen) == []
