"""Assistance as a person meets it: scribbles, clicks, boxes, growing; accepted, rejected, undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.assist.promptables import remove_promptable
from core.assist.prompting import add_promptable
from core.imaging.scan import scan
from core.settings import load_settings
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server, picture
from tests.browser.test_first_page import real_errors
from tests.browser.viewer.conftest import Room
from tests.core.assist.pictures import dice, disc, noisy
from tests.core.assist.test_promptables import foreign, two, zipped

pytestmark = pytest.mark.browser
WAIT_MS = 90_000  # the first answer waits for a process to start, on a busy machine
SHAPE = (120, 150)
RADII = (0, 14, 20, 22, 20, 14, 0)
BODY = np.stack([disc(SHAPE, (60, 70), radius) if radius else np.zeros(SHAPE, bool) for radius in RADII])


def add(server: Server, name: str, image: Image) -> Case:
    with Workspace.open(server.home) as store:
        project = store.create_project(name, "segmentation", make_labels(["a", "b"]))
        return store.add_case(project.id, NewCase(name, image, name))


def body(server: Server, name: str) -> Case:
    array = np.stack([noisy(plane, seed=z) for z, plane in enumerate(BODY)])
    return add(server, name, Image(array, ImageInfo("zyx", array.shape, "uint8", (3.0, 1.0, 1.0))))


def proposed(room: Room, plane: int) -> np.ndarray:
    """Wait for a proposal and return its plane."""
    room.page.get_by_text("Enter accepts").wait_for(timeout=WAIT_MS)
    found = room.ask("bench.proposal.planes.get(z)", z=plane)
    return np.asarray(found).reshape(SHAPE)


def stored(server: Server, case: Case) -> np.ndarray | None:
    with Workspace.open(server.home) as store:
        version = store.latest_reading(case.id, "annotator")
        return None if version is None else store.load_reading(version).array


def test_scribbles_propose_and_enter_accepts(room: Room, server: Server, seen: Seen) -> None:
    case = body(server, "scribbles")
    room.open("annotate", case.project_id, case.id)
    room.ask("viewer.goTo(pane, 3)")
    room.press("Shift+t")
    room.drag((60.5, 60.5), (80.5, 60.5))
    room.page.get_by_text("Scribble a second kind").wait_for()
    room.page.keyboard.down("Alt")
    room.drag((15.5, 15.5), (130.5, 15.5), (130.5, 105.5))
    room.page.keyboard.up("Alt")
    assert dice(proposed(room, 3) == 1, BODY[3]) > 0.93
    assert stored(server, case) is None  # a proposal is no reading
    room.page.locator('details[data-part="assist"] summary').click()
    room.page.get_by_label("Show where it is unsure").check()
    picture(room.page, "viewer-scribbles")
    room.page.locator(".pane").first.click(position={"x": 5, "y": 5}, trial=True)
    room.ask("viewer.root.focus()")
    room.press("Enter")
    room.saved()
    kept = room.volume()
    np.testing.assert_array_equal(stored(server, case), kept)
    assert dice(kept[3] == 1, BODY[3]) > 0.93 and not kept[[0, 1, 2, 4, 5, 6]].any()
    room.press("u")
    room.saved()
    assert not stored(server, case).any()
    room.press("Shift+u")
    room.saved()
    np.testing.assert_array_equal(stored(server, case), kept)
    room.press("Shift+y")  # from this slice to its neighbours
    proposed(room, 4)
    room.press("Enter")
    room.saved()
    grown = stored(server, case)
    np.testing.assert_array_equal(grown, room.volume())
    for z in range(1, 6):
        assert dice(grown[z] == 1, BODY[z]) > 0.85, z
    assert not grown[[0, 6]].any()
    assert real_errors(seen) == []


def test_clicks_boxes_and_escape(room: Room, server: Server, seen: Seen) -> None:
    case = body(server, "clicks")
    room.open("annotate", case.project_id, case.id)
    room.ask("viewer.goTo(pane, 2)")
    room.press("2", "Shift+j")
    room.click((70.5, 60.5))
    assert dice(proposed(room, 2) == 2, BODY[2]) > 0.9
    picture(room.page, "viewer-click")
    room.press("Escape")
    assert room.ask("bench.proposal") is None and room.ask("bench.hints.clicks.length") == 0
    room.drag((40.2, 30.2), (100.4, 90.4))
    assert dice(proposed(room, 2) == 2, BODY[2]) > 0.9
    room.press("Backspace")
    assert room.ask("bench.proposal") is None
    room.page.keyboard.down("Alt")
    room.click((20.5, 20.5))
    room.page.keyboard.up("Alt")
    room.page.get_by_text("Click on the thing first").wait_for()
    assert stored(server, case) is None
    room.click((70.5, 60.5))
    proposed(room, 2)
    room.page.get_by_role("button", name="Lock b").click()
    room.ask("viewer.root.focus()")
    room.press("Enter")
    assert room.ask("bench.marks.undoable.length") == 0  # a locked label stays as it is
    room.page.get_by_role("button", name="Unlock b").click()
    room.ask("viewer.root.focus()")
    room.click((70.5, 60.5))
    found = proposed(room, 2)
    room.press("Enter")
    room.saved()
    np.testing.assert_array_equal(stored(server, case)[2], found)
    with Workspace.open(server.home) as store:
        (work,) = store.list_work(case.project_id)
    assert (work.strokes, work.accepted, work.rejected) == (1, 1, 2) and 0 < work.seconds < 600
    assert real_errors(seen) == []


def test_clicks_follow_a_network_that_the_site_put_in(
    room: Room, server: Server, seen: Seen, tmp_path: Path
) -> None:
    case = body(server, "networks")
    add_promptable(zipped(tmp_path / "n.zip", two(*foreign())), server.home, "SAM of the site")
    try:
        room.open("annotate", case.project_id, case.id)
        room.ask("viewer.goTo(pane, 3)")
        room.page.locator('details[data-part="assist"] summary').click()
        room.page.get_by_label("Clicks follow").select_option("click network SAM of the site")
        picture(room.page, "viewer-click-network")
        room.ask("viewer.root.focus()")
        room.press("Shift+j")
        room.click((70.5, 60.5))
        assert dice(proposed(room, 3) == 1, BODY[3]) > 0.9
        room.press("Enter")
        room.saved()
        assert dice(stored(server, case)[3] == 1, BODY[3]) > 0.9
    finally:
        remove_promptable(server.home, "SAM of the site")
    assert real_errors(seen) == []


def test_real_images_are_helped_with(room: Room, server: Server, seen: Seen, shared_data, tmp_path) -> None:
    file = sorted((shared_data / "seg_us_nerve" / "images").glob("*.png"))[0]
    image = next(
        one.image for one in scan([file], tmp_path, "salt", load_settings()) if hasattr(one, "image")
    )
    case = add(server, "ultrasound", image)
    rows, columns = case.info.spatial_shape[-2:]
    room.open("annotate", case.project_id, case.id)
    room.press("Shift+t")
    room.drag((columns * 0.45, rows * 0.4), (columns * 0.55, rows * 0.42))
    room.page.keyboard.down("Alt")
    room.drag((columns * 0.2, rows * 0.2), (columns * 0.8, rows * 0.2), (columns * 0.8, rows * 0.8))
    room.page.keyboard.up("Alt")
    room.page.get_by_text("Enter accepts").wait_for(timeout=WAIT_MS)
    picture(room.page, "viewer-scribbles-us")
    room.press("Enter")
    room.saved()
    np.testing.assert_array_equal(stored(server, case), room.volume()[0])
    assert real_errors(seen) == []
