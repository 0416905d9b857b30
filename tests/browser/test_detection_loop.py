"""Boxes in the browser: drawn on three blood images, corrected, a small detector trained, run and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.readings.reading import Boxes
from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server, picture, settle
from tests.browser.test_first_page import real_errors
from tests.browser.test_import_browse_compare import upload
from tests.browser.test_whole_loop import choose, fill_number, open_page
from tests.conftest import SHARED_DATA

pytestmark = pytest.mark.browser
NAME = "Blood"
N_IMAGES = 3
DRAWN = (((0.1, 0.1), (0.3, 0.35)), ((0.5, 0.4), (0.75, 0.8)))  # shares of the canvas


@pytest.fixture(scope="module")
def smears(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three blood images: real ones where they lie beside the checkout, else synthetic ones."""
    found = sorted((SHARED_DATA / "det_bccd" / "images").glob("*.jpg"))[:N_IMAGES]
    if found:
        return found
    from PIL import Image

    from core.imaging.phantoms import blood_smear

    out = tmp_path_factory.mktemp("smears")
    for seed in range(N_IMAGES):
        Image.fromarray(blood_smear(seed).image.array).save(out / f"smear{seed}.png")
    return sorted(out.glob("*.png"))


def create(page: Any, url: str) -> None:
    """Create a detection project by hand."""
    page.goto(f"{url}/projects")
    settle(page)
    if not page.get_by_label("Name", exact=True).is_visible():
        page.get_by_text("New project").click()
    page.get_by_label("Name", exact=True).fill(NAME)
    choose(page, "Task", "Detection")
    page.get_by_role("textbox", name="Labels, separated by commas").fill("red cell, white cell")
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("heading", name=NAME).wait_for()
    settle(page)


def press(page: Any, key: str) -> None:
    """Press a button of the Annotate page."""
    settle(page)
    page.locator(f".st-key-annotate_{key} button").first.click()


def pull(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag on the canvas from one share of its size to another."""
    box = page.locator("canvas.upper-canvas").bounding_box()
    points = [
        (box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        for x, y in np.linspace(start, end, 8).tolist()
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def boxes_of(server: Server) -> dict[str, Boxes]:
    """The annotator's latest boxes by case."""
    with Workspace.open(server.home) as store:
        project = store.get_project(NAME)
        cases = {case.id: case.name for case in store.list_cases(project.id)}
        found = store.readings_of(project.id, "annotator")
        return {cases[case_id]: store.load_reading(version) for case_id, version in found.items()}


def mark(page: Any, server: Server) -> None:
    """Draw two boxes on each image; move, relabel and delete one of a third drawn on the last."""
    open_page(page, server, "annotate", NAME)
    page.get_by_text("Quick marking").click()
    for number in range(N_IMAGES):
        page.locator("canvas.upper-canvas").wait_for()
        settle(page)
        press(page, "label_1")
        settle(page)
        pull(page, *DRAWN[0])
        page.get_by_text("saved · version 1").wait_for()
        press(page, "label_2")
        settle(page)
        pull(page, *DRAWN[1])
        page.get_by_text("saved · version 2").wait_for()
        if number < N_IMAGES - 1:
            page.get_by_role("button", name="Next case to read").click()
            settle(page)
    picture(page, "detection-annotate")


@pytest.mark.long
@pytest.mark.timeout(900)  # a minute on a free machine
def test_boxes_from_drawing_to_comparing(page: Any, server: Server, seen: Seen, smears: list[Path]) -> None:
    create(page, server.url)
    page.goto(f"{server.url}/import")
    settle(page)
    upload(page, "images", smears)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text(f"{N_IMAGES} cases and 0 readings came in.").wait_for(timeout=200_000)

    mark(page, server)
    drawn = boxes_of(server)
    assert len(drawn) == N_IMAGES
    for boxes in drawn.values():
        assert boxes.labels.tolist() == [1, 2]
    with Workspace.open(server.home) as store:
        info = store.list_cases(store.get_project(NAME).id)[-1].info
    height, width = info.spatial_shape
    last = drawn[list(drawn)[-1]]
    expected = [(x * width, y * height) for corners in DRAWN for x, y in corners]
    np.testing.assert_allclose(last.box_xyxy.reshape(-1, 2), expected, atol=0.01 * width)

    press(page, "tool_move")
    settle(page)
    pull(page, (0.2, 0.22), (0.25, 0.22))  # the middle of the first box: it moves
    page.get_by_text("saved · version 3").wait_for()
    settle(page)
    press(page, "relabel_2")
    page.get_by_text("saved · version 4").wait_for()
    settle(page)
    pull(page, (0.75, 0.6), (0.85, 0.6))  # the right edge of the second box: it grows
    page.get_by_text("saved · version 5").wait_for()
    settle(page)
    picture(page, "detection-corrected")
    shown, now = next(
        (case, boxes) for case, boxes in boxes_of(server).items() if boxes.labels.tolist() == [2, 2]
    )
    last = drawn[shown]
    moved = now.box_xyxy[0] - last.box_xyxy[0]
    np.testing.assert_allclose(moved, [0.05 * width, 0, 0.05 * width, 0], atol=0.01 * width)
    grown = now.box_xyxy[1] - last.box_xyxy[1]
    np.testing.assert_allclose(grown, [0, 0, 0.1 * width, 0], atol=0.01 * width)
    press(page, "delete")
    page.get_by_text("saved · version 6").wait_for()
    assert len(boxes_of(server)[shown]) == 1
    settle(page)
    press(page, "undo")
    page.get_by_text("saved · version 7").wait_for()
    assert len(boxes_of(server)[shown]) == 2

    open_page(page, server, "train", NAME)
    page.get_by_role("button", name="Split all cases").click()
    settle(page)
    fill_number(page, "Minutes", 0)
    fill_number(page, "Epochs", 2)
    page.get_by_text("Model", exact=True).first.click()
    fill_number(page, "Features", 32)
    page.get_by_text("Data", exact=True).last.click()
    fill_number(page, "Input size", 96)
    picture(page, "detection-train-form")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("is ready").wait_for(timeout=400_000)
    settle(page)
    picture(page, "detection-train-done")

    open_page(page, server, "infer", NAME)
    page.get_by_role("button", name=f"Run on {N_IMAGES} cases").click()
    page.get_by_text("Readings of this model").wait_for(timeout=300_000)
    page.locator('[data-testid="stImage"] img').first.wait_for()
    settle(page)
    page.get_by_text("Score from which boxes count").wait_for()
    picture(page, "detection-infer")

    open_page(page, server, "compare", NAME)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("All objects of").wait_for(timeout=200_000)
    settle(page)
    page.get_by_text("Gallery of the worst cases").click()
    settle(page)
    picture(page, "detection-compare")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert seen.outside == []
    assert real_errors(seen) == []
