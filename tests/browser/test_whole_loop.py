"""The main job in one browser: import, annotate, train, infer, compare; a CT series in the quick marking mode."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server, picture, settle
from tests.browser.test_first_page import real_errors
from tests.browser.test_import_browse_compare import create_project, upload
from tests.browser.viewer.conftest import Room

pytestmark = pytest.mark.browser
N_IMAGES = 6
LIST_MS = 8_000
SUGGESTION_TRIES = 120
N_MASKS = 5  # the sixth is marked by hand


def open_page(page: Any, server: Server, path: str, project: str) -> None:
    """Open a page with a project chosen."""
    with Workspace.open(server.home) as store:
        number = store.get_project(project).id
    page.goto(f"{server.url}/{path}?project={number}")
    settle(page)


def stroke(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw one stroke on the canvas with the mouse; places are shares of its width and height."""
    box = page.locator("canvas.upper-canvas").bounding_box()
    points = [
        (box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        for x, y in np.linspace(start, end, 12).tolist()
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def choose(page: Any, label: str, option: str) -> None:
    """Choose an option of a select box."""
    from playwright.sync_api import TimeoutError as LateError

    for last in (False, True):
        page.get_by_role("combobox", name=label).click()
        try:
            page.get_by_role("option", name=option, exact=True).click(timeout=LIST_MS)
            break
        except LateError:  # a rerun that came late has closed the list: open it again
            if last:
                raise
            page.keyboard.press("Escape")
    settle(page)


def fill_number(page: Any, label: str, value: int) -> None:
    """Type a number."""
    field = page.get_by_label(label, exact=True)
    field.fill(str(value))
    field.press("Enter")
    settle(page)


@pytest.mark.long
def test_import_annotate_train_infer_compare(
    page: Any, server: Server, seen: Seen, shared_data: Path
) -> None:
    images = sorted((shared_data / "seg_nuclei_dsb2018" / "images").glob("*.png"))[:N_IMAGES]
    masks = [shared_data / "seg_nuclei_dsb2018" / "labels" / image.name for image in images[:N_MASKS]]
    create_project(page, server.url, "Loop", "nucleus")
    page.goto(f"{server.url}/import")
    settle(page)
    upload(page, "images", images)
    upload(page, "masks", masks)
    page.get_by_role("textbox", name="What do the values mean?").fill("any=nucleus")
    page.get_by_role("textbox", name="What do the values mean?").press("Enter")
    settle(page)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text(f"{N_IMAGES} cases and {N_MASKS} readings came in.").wait_for(timeout=60_000)

    open_page(page, server, "annotate", "Loop")
    page.get_by_role("button", name="Next case to read").click()
    settle(page)
    room = Room(page, server)
    room.ready()
    unread = [image.stem for image in images[N_MASKS:]]
    for _ in range(SUGGESTION_TRIES):  # the first suggestion waits for a process to start
        shown = room.ask("viewer.scene.title")
        if shown in unread:
            break
        page.wait_for_timeout(500)
    assert shown in unread
    room.ready()
    with Workspace.open(server.home) as store:
        case = next(one for one in store.list_cases(store.get_project("Loop").id) if one.name == shown)
    rows, columns = case.info.spatial_shape
    for row in (0.3, 0.5, 0.7):
        room.drag((0.2 * columns, row * rows), (0.6 * columns, row * rows))
    room.saved()
    picture(page, "loop-annotate")
    with Workspace.open(server.home) as store:
        latest = store.latest_reading(case.id, "annotator")
        assert latest is not None
        marked = store.load_reading(latest).array
    for row in (0.3, 0.5, 0.7):
        assert marked[round(row * rows), round(0.4 * columns)] == 1
    assert marked[round(0.4 * rows), round(0.4 * columns)] == 0
    assert not marked[:, round(0.75 * columns) :].any()

    open_page(page, server, "train", "Loop")
    page.get_by_role("button", name="Split all cases").click()
    settle(page)
    choose(page, "Architecture", "classic_unet")
    fill_number(page, "Minutes", 0)
    fill_number(page, "Epochs", 2)
    page.get_by_text("Model", exact=True).first.click()
    fill_number(page, "Base features", 8)
    page.get_by_text("Data", exact=True).last.click()
    fill_number(page, "Input size", 64)
    picture(page, "loop-train-form")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("is ready").wait_for(timeout=120_000)
    settle(page)
    picture(page, "loop-train-done")

    open_page(page, server, "infer", "Loop")
    page.get_by_role("button", name=f"Run on {N_IMAGES} cases").click()
    page.get_by_text("Readings of this model").wait_for(timeout=90_000)
    page.locator(".pane[data-ready]").first.wait_for()
    settle(page)
    page.get_by_text("Own threshold").click()
    page.get_by_text("Sizes at a probability of").wait_for()
    page.locator(".pane[data-ready]").first.wait_for()
    picture(page, "loop-infer")

    open_page(page, server, "compare", "Loop")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Means over").wait_for(timeout=60_000)
    settle(page)
    picture(page, "loop-compare")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert seen.outside == []
    assert real_errors(seen) == []


def test_a_ct_series_is_looked_at_and_marked(
    page: Any, server: Server, seen: Seen, shared_data: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "series.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted((shared_data / "dicom_ct_series_torchio").glob("*.dcm")):
            out.write(path, path.name)
    create_project(page, server.url, "CT marks", "lesion")
    page.goto(f"{server.url}/import")
    settle(page)
    upload(page, "images", [archive])
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("1 case and 0 readings came in.").wait_for(timeout=60_000)

    open_page(page, server, "annotate", "CT marks")
    page.get_by_text("Quick marking").click()
    page.locator("canvas.upper-canvas").wait_for()
    settle(page)
    stroke(page, (0.4, 0.5), (0.6, 0.5))
    page.get_by_text("saved · version 1").wait_for()
    settle(page)
    picture(page, "loop-ct")
    with Workspace.open(server.home) as store:
        case = store.list_cases(store.get_project("CT marks").id)[0]
        latest = store.latest_reading(case.id, "annotator")
        assert latest is not None
        array = store.load_reading(latest).array
    assert array.shape == (17, 128, 88) or array.shape == case.info.spatial_shape
    assert np.count_nonzero(array.any(axis=(1, 2))) == 1  # one slice was marked
    plane = array[array.any(axis=(1, 2))][0]
    assert plane[plane.shape[0] // 2, plane.shape[1] // 2] == 1
    assert real_errors(seen) == []
