"""Every tool by mouse and keys on real images; what the server holds is bit for bit what the browser shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from core.imaging.scan import scan
from core.readings.notes import measure, notes_from_json
from core.readings.outlines import rasterise_polygon, rasterise_stroke
from core.readings.reading import Boxes, Mask
from core.settings import load_settings
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server, picture
from tests.browser.test_first_page import real_errors
from tests.browser.viewer.conftest import Room

pytestmark = pytest.mark.browser
Add = Callable[..., Case]


@pytest.fixture
def add(server: Server, tmp_path: Path) -> Add:
    """Add an image (a file, or one in memory) as the only case of a project of its own."""

    def _add(
        name: str, image: Image | Path, labels: tuple[str, ...] = ("a", "b", "c"), task: str = "segmentation"
    ) -> Case:
        if isinstance(image, Path):
            found = (
                one.image for one in scan([image], tmp_path, "salt", load_settings()) if hasattr(one, "image")
            )
            image = next(found)
        with Workspace.open(server.home) as store:
            project = store.create_project(name, task, make_labels(list(labels)))
            return store.add_case(project.id, NewCase(name, image, name))

    return _add


def stored(server: Server, case: Case, reader: str = "annotator") -> np.ndarray:
    """Return the newest label map at the server, as a stack."""
    with Workspace.open(server.home) as store:
        version = store.latest_reading(case.id, reader)
        assert version is not None
        array = store.load_reading(version).array
    return array if array.ndim == 3 else array[None]


def agree(room: Room, server: Server, case: Case) -> np.ndarray:
    """Browser and server hold the same; returns it."""
    room.saved()
    here, there = room.volume(), stored(server, case)
    np.testing.assert_array_equal(here, there)
    return there


def ct(shape: tuple[int, int, int] = (12, 64, 72)) -> Image:
    """A body with a bright ball in it; 3 mm slices, 1.5 x 1 mm pixels."""
    z, y, x = np.indices(shape)
    array = np.full(shape, -900, np.int16)
    array[((y - 32) / 28) ** 2 + ((x - 36) / 32) ** 2 < 1] = 40
    array[((z - 6) * 3) ** 2 + ((y - 30) * 1.5) ** 2 + (x - 40) ** 2 < 12**2] = 300
    array += np.random.default_rng(0).integers(-9, 10, shape, dtype=np.int16)
    affine = ((1.0, 0, 0, 0), (0, 1.5, 0, 0), (0, 0, 3.0, 0), (0, 0, 0, 1))
    return Image(array, ImageInfo("zyx", shape, "int16", (3.0, 1.5, 1.0), affine, "CT"))


def test_brush_and_eraser_and_locks(room: Room, server: Server, seen: Seen, add: Add) -> None:
    flat = np.random.default_rng(0).integers(0, 255, (120, 150)).astype(np.uint8)
    case = add("brush", Image(flat, ImageInfo("yx", flat.shape, "uint8")))
    room.open("annotate", case.project_id, case.id)
    assert room.ask("viewer.tool.name") == "brush" and room.ask("bench.brush.size") == 5
    points = [(20.3, 30.2), (70.6, 30.2), (70.6, 80.7)]
    room.drag(*points, steps=3)
    found = agree(room, server, case)[0]
    expected = rasterise_stroke(points, 5, flat.shape)
    np.testing.assert_array_equal(found, expected)  # what lies between mouse events lies on the line
    room.press("2")
    room.drag((10.5, 50.5), (90.5, 50.5))
    found = agree(room, server, case)[0]
    second = rasterise_stroke([(10.5, 50.5), (90.5, 50.5)], 5, flat.shape)
    np.testing.assert_array_equal(found, np.where(second, 2, expected))
    room.page.get_by_role("button", name="Lock b").click()
    room.press("e", "]", "]")
    size = room.ask("bench.brush.size")
    room.drag((5.5, 50.5), (100.5, 50.5))
    found = agree(room, server, case)[0]
    erased = rasterise_stroke([(5.5, 50.5), (100.5, 50.5)], size, flat.shape)
    np.testing.assert_array_equal(found, np.where(second, 2, np.where(erased, 0, expected)))
    room.press("1", "b", "[", "[")
    room.page.keyboard.down("Shift")
    room.click((120.5, 100.5))  # a straight line from the last end
    room.page.keyboard.up("Shift")
    assert agree(room, server, case)[0][75, 110] == 1
    assert real_errors(seen) == []


def test_outlines_fill_and_boxes(room: Room, server: Server, seen: Seen, add: Add) -> None:
    flat = np.zeros((120, 150), np.uint8)
    case = add("outlines", Image(flat, ImageInfo("yx", flat.shape, "uint8")))
    room.open("annotate", case.project_id, case.id)
    corners = [(20.3, 20.4), (60.2, 25.6), (50.7, 70.3), (15.4, 60.2)]
    room.press("p")
    room.click(*corners)
    room.press("Enter")
    expected = rasterise_polygon(corners, flat.shape).astype(np.uint8)
    np.testing.assert_array_equal(agree(room, server, case)[0], expected)
    room.press("2")
    room.click(
        *[(x + 70, y) for x, y in corners], (corners[0][0] + 70, corners[0][1])
    )  # closed by its first corner
    expected[rasterise_polygon([(x + 70, y) for x, y in corners], flat.shape)] = 2
    np.testing.assert_array_equal(agree(room, server, case)[0], expected)
    room.press("x", "3")
    room.drag((100.2, 90.3), (140.4, 110.6))
    expected[90:111, 100:140] = 3
    np.testing.assert_array_equal(agree(room, server, case)[0], expected)
    room.press("y", "1")
    room.drag((40.5, 80.5), (70.5, 90.5))
    room.page.mouse.move(*room.places([(65.5, 105.5)])[0])
    room.click((65.5, 105.5))
    found = agree(room, server, case)[0]
    assert found[95, 55] == 1 and found[82, 60] == 0 and (found == 1).sum() > (expected == 1).sum() + 300
    room.press("l", "2")
    room.drag((10.5, 90.5), (30.5, 90.5), (30.5, 110.5), (10.5, 110.5), steps=4)
    found = agree(room, server, case)[0]
    np.testing.assert_array_equal(found[91:110, 11:30], 2)
    # An outline of the brush, filled; an open one is not.
    room.press("Control+z", "b", "3")
    room.drag((10.5, 90.5), (30.5, 90.5), (30.5, 110.5), (10.5, 110.5), (10.5, 90.5), steps=4)
    room.press("g")
    room.click((20.5, 100.5))
    np.testing.assert_array_equal(agree(room, server, case)[0][90:111, 10:31], 3)
    before = room.volume()
    room.click((146.5, 5.5))
    room.page.get_by_text("This area is not closed").wait_for()
    np.testing.assert_array_equal(room.volume(), before)
    assert real_errors(seen) == []


def test_volumes_ball_range_region_between_and_parts(
    room: Room, server: Server, seen: Seen, add: Add
) -> None:
    image = ct()
    case = add("volume", image)
    room.open("annotate", case.project_id, case.id)
    room.ask("viewer.goTo(pane, 6)")
    room.page.get_by_text("Ball through the slices").click()
    room.ask("Object.assign(bench.brush, {size: 13})")
    room.click((40.6, 30.4))
    z, y, x = np.indices(image.array.shape)
    ball = ((z - 6) * 3.0) ** 2 + ((y - 29.9) * 1.5) ** 2 + (x - 40.1) ** 2 <= 6.5**2
    np.testing.assert_array_equal(agree(room, server, case), ball)
    room.page.get_by_text("Ball through the slices").click()
    room.press("2", "d")  # threshold brush over the bright ball
    room.ask("Object.assign(bench.brush, {size: 60, range: [200, 500]})")
    room.click((40.5, 30.5))
    found = agree(room, server, case)
    np.testing.assert_array_equal(found[6] == 2, image.array[6] >= 200)
    room.press("Control+z")
    room.press("3", "j")
    room.ask("Object.assign(bench.brush, {tolerance: 60})")
    room.page.get_by_text("Through all slices").click()
    room.click((40.5, 30.5))
    room.page.get_by_text("Enter accepts").wait_for()
    np.testing.assert_array_equal(room.volume(), ball)  # a proposal changes nothing
    room.press("Escape")
    room.click((40.5, 30.5))
    room.page.get_by_text("Enter accepts").wait_for()
    room.press("Enter")
    np.testing.assert_array_equal(agree(room, server, case) == 3, image.array > 200)
    room.press("Control+z", "Control+z")
    assert not agree(room, server, case).any()

    room.press("b", "1")
    room.ask("Object.assign(bench.brush, {size: 21})")
    for index, place in ((3, (30.5, 30.5)), (7, (40.5, 30.5))):
        room.ask("viewer.goTo(pane, index)", index=index)
        room.page.wait_for_timeout(80)
        room.click(place)
    room.press("Shift+G")
    room.page.get_by_text("3 slices filled.").wait_for()
    found = agree(room, server, case)
    assert all(found[k].any() for k in range(3, 8)) and not found[[2, 8]].any()
    middle = ndimage.center_of_mass(found[5])
    assert middle[1] == pytest.approx(35, abs=0.6)
    room.press("Control+ArrowUp")  # slice 8 of 12 becomes like slice 7
    found = agree(room, server, case)
    np.testing.assert_array_equal(found[7], found[6])

    room.ask("viewer.goTo(pane, 10)")
    room.page.wait_for_timeout(80)
    room.press("1")
    room.drag((20.5, 30.5), (50.5, 30.5))
    room.ask("Object.assign(bench.brush, {size: 2})")
    room.click((60.5, 10.5))
    room.press("e")
    room.click((35.5, 30.5))
    room.page.locator('[data-part="change"] summary').click()
    room.page.get_by_role("button", name="Fill holes of the label").click()
    room.page.get_by_text("1 hole filled.").wait_for()
    room.page.get_by_role("button", name="Remove islands of the label").click()
    room.page.get_by_text("1 island removed.").wait_for()
    found = agree(room, server, case)
    assert ndimage.label(found[10])[1] == 1 and found[10][30, 35] == 1
    room.page.get_by_role("button", name="Clear this slice").click()
    assert not agree(room, server, case)[10].any()
    assert real_errors(seen) == []


def test_marks_across_the_slices(room: Room, server: Server, add: Add) -> None:
    case = add("across", ct())
    room.open("annotate", case.project_id, case.id)
    room.press("Shift+M")
    room.page.wait_for_timeout(400)
    room.ask("Object.assign(bench.brush, {size: 9})")
    room.drag((20.5, 6.5), (50.5, 6.5), number=1)  # on the plane of axis y: (x, z)
    plane = int(room.ask("viewer.panes[1].index"))
    found = agree(room, server, case)
    assert found[6, plane, 20:51].all() and found[5, plane, 35] == 1
    assert not np.delete(found, plane, axis=1).any()
    # A brush of 9 mm reaches one slice of 3 mm to either side.
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [5, 6, 7]
    room.press("p", "2")
    room.click((10.5, 2.5), (50.5, 2.5), (50.5, 9.5), number=2)
    room.press("Enter")
    found = agree(room, server, case)
    row = int(room.ask("viewer.panes[2].index"))
    expected = rasterise_polygon([(10.5, 2.5), (50.5, 2.5), (50.5, 9.5)], (12, 64))
    np.testing.assert_array_equal(found[:, :, row] == 2, expected)
    picture(room.page, "viewer-three-planes")


def test_measurements_points_and_classes(room: Room, server: Server, seen: Seen, add: Add) -> None:
    image = ct()
    case = add("measure", image)
    room.open("annotate", case.project_id, case.id)
    room.ask("viewer.goTo(pane, 6)")
    room.page.wait_for_timeout(80)
    a, b, c, d = (20.5, 20.5), (50.5, 20.5), (35.5, 40.5), (35.5, 12.5)
    room.press("Shift+L")
    room.drag(a, b)
    room.press("Shift+A")
    room.click(a, c, b)
    room.press("Shift+B")
    room.drag(a, b)
    room.drag(c, d)
    room.press("Shift+E")
    room.drag((30.5, 20.5), (50.5, 40.5))
    room.press("Shift+R")
    room.drag((30.2, 20.2), (50.8, 40.8))
    room.press("t")
    room.click((40.5, 30.5))
    room.page.locator('[data-part="class"] summary').click()
    room.page.locator('[data-part="class"] fieldset').nth(1).get_by_text("c", exact=True).click()
    room.saved()
    with Workspace.open(server.home) as store:
        notes, _ = notes_from_json(store.latest_reading(case.id, "annotator").notes)
    by_kind = {note.kind: note for note in notes.values()}
    assert sorted(by_kind) == ["angle", "bidirectional", "class", "ellipse", "length", "point", "rectangle"]
    assert measure(by_kind["length"], image.info)["length_mm"] == pytest.approx(30, abs=1e-6)
    assert measure(by_kind["bidirectional"], image.info)["short_mm"] == pytest.approx(30, abs=1e-6)
    region = measure(by_kind["rectangle"], image.info, image.array[6])
    assert region["mean"] == pytest.approx(image.array[6, 20:41, 30:51].mean(), abs=1e-6)
    assert (by_kind["class"].plane, by_kind["class"].label) == (6, 3)
    assert by_kind["point"].points[0] == pytest.approx((40.5, 30.5, 6.5), abs=1e-6)
    words = room.page.locator(".items").inner_text()
    assert "length 30.0 mm" in words and "bidirectional 42.0 × 30.0 mm" in words
    picture(room.page, "viewer-measurements")
    # Move one end, delete another; undo brings both back; a reload shows them again.
    room.press("s")
    room.drag(a, (20.5, 30.5))
    room.saved()
    room.page.get_by_role("button", name="Delete angle", exact=False).click()
    room.saved()
    assert room.ask("bench.marks.items.size") == 6
    room.press("u", "u")
    room.saved()
    assert room.ask("bench.marks.items.size") == 7
    room.page.reload()
    room.ready()
    assert room.ask("bench.marks.items.size") == 7
    with Workspace.open(server.home) as store:
        assert notes_from_json(store.latest_reading(case.id, "annotator").notes)[0] == notes
    assert real_errors(seen) == []


def test_boxes_where_readings_are_boxes(room: Room, server: Server, seen: Seen, add: Add) -> None:
    flat = np.random.default_rng(0).integers(0, 255, (120, 150)).astype(np.uint8)
    case = add("cells", Image(flat, ImageInfo("yx", flat.shape, "uint8")), task="detection")
    room.open("annotate", case.project_id, case.id)
    room.drag((10.5, 20.5), (40.5, 60.5))
    room.press("2", "x")
    room.drag((100.5, 100.5), (160.5, 110.5))  # cut at the border
    room.press("y")
    room.drag((60.5, 20.5), (90.5, 40.5))
    room.click((80.5, 60.5))
    room.saved()
    with Workspace.open(server.home) as store:
        version = store.latest_reading(case.id, "annotator")
        boxes = store.load_reading(version)
    assert isinstance(boxes, Boxes) and len(boxes) == 3
    np.testing.assert_allclose(boxes.box_xyxy[0], (10.5, 20.5, 40.5, 60.5), atol=1e-3)
    np.testing.assert_allclose(boxes.box_xyxy[1], (100.5, 100.5, 150, 110.5), atol=1e-3)
    assert boxes.labels.tolist() == [1, 2, 2]
    assert boxes.crops is not None and boxes.crops[0].all() and 0 < boxes.crops[2].mean() < 0.9
    room.press("s")
    room.drag((10.5, 40.5), (15.5, 45.5))
    room.press("2")  # what is selected with the arrow takes the label
    room.saved()
    assert sorted(
        room.ask(
            "[...bench.marks.items.values()].filter((item) => item.kind === 'box').map((item) => item.label)"
        )
    ) == [2, 2, 2]
    room.press("u", "Delete")
    room.saved()
    room.press("u")
    room.saved()
    with Workspace.open(server.home) as store:
        boxes = store.load_reading(store.latest_reading(case.id, "annotator"))
    assert len(boxes) == 3
    assert real_errors(seen) == []


def test_a_models_boxes_to_start_from(room: Room, server: Server, add: Add) -> None:
    """Those below the model's own score are neither shown nor taken; what was a crowd stays one."""
    flat = np.zeros((120, 150), np.uint8)
    case = add("found", Image(flat, ImageInfo("yx", flat.shape, "uint8")), task="detection")
    table = np.array([[10, 10, 40, 40], [60, 60, 90, 90], [100, 10, 140, 50]], np.float32)
    found = Boxes(
        table, np.array([1, 2, 1], np.uint16), np.zeros(3, np.int32), np.array([0.9, 0.2, 0.8], np.float32),
        crowds=np.array([False, False, True]), threshold=0.5,
    )  # fmt: skip
    with Workspace.open(server.home) as store:
        store.save_reading(case.id, "net", found, kind="model")
    room.open("annotate", case.project_id, case.id)
    room.page.locator('[data-part="others"] summary').click()
    room.page.get_by_role("button", name="Start from it").click()
    room.page.get_by_text("Started from net").wait_for()
    room.drag((20.5, 60.5), (50.5, 90.5))
    room.saved()
    with Workspace.open(server.home) as store:
        version = store.latest_reading(case.id, "annotator")
        assert version is not None
        boxes = store.load_reading(version)
    assert isinstance(boxes, Boxes) and boxes.scores is None
    assert boxes.box_xyxy[:2].tolist() == table[[0, 2]].tolist() and len(boxes) == 3
    assert boxes.crowds is not None and boxes.crowds.tolist() == [False, True, False]


def test_another_reading_to_start_from(room: Room, server: Server, add: Add) -> None:
    case = add("start", ct())
    theirs = np.zeros(case.info.spatial_shape, np.uint8)
    theirs[3:9, 20:40, 30:50] = 2
    with Workspace.open(server.home) as store:
        store.save_reading(case.id, "net", Mask(theirs), kind="model")
    room.open("annotate", case.project_id, case.id)
    room.drag((10.5, 10.5), (60.5, 10.5))
    mine = agree(room, server, case).copy()
    room.page.locator('[data-part="others"] summary').click()
    room.page.get_by_role("button", name="Start from it").click()
    room.page.get_by_text("Started from net").wait_for()
    np.testing.assert_array_equal(agree(room, server, case), theirs)
    room.press("u")
    np.testing.assert_array_equal(agree(room, server, case), mine)


def test_three_hundred_labels(room: Room, server: Server, add: Add) -> None:
    flat = np.zeros((40, 50), np.uint8)
    names = tuple(f"label {n}" for n in range(1, 301))
    case = add("many", Image(flat, ImageInfo("yx", flat.shape, "uint8")), names)
    room.open("annotate", case.project_id, case.id)
    room.page.get_by_role("searchbox", name="Find a label").fill("300")
    room.page.locator('button[data-label="300"]').click()
    room.drag((10.5, 10.5), (30.5, 10.5))
    assert agree(room, server, case)[0][10, 20] == 300


def test_one_pixel(room: Room, server: Server, add: Add) -> None:
    case = add("dot", Image(np.array([[7]], np.uint8), ImageInfo("yx", (1, 1), "uint8")))
    room.open("annotate", case.project_id, case.id)
    room.click((0.5, 0.5))
    assert agree(room, server, case).tolist() == [[[1]]]


def use_every_tool(room: Room, rows: int, columns: int) -> int:
    """Drive all tools that mark or measure, each by its key, over a picture; returns how many steps were made."""

    def at(*shares: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * columns, y * rows) for x, y in shares]

    room.drag(*at((0.3, 0.4), (0.6, 0.45), (0.5, 0.6)))
    room.press("2", "p")
    room.click(*at((0.2, 0.2), (0.4, 0.2), (0.3, 0.35)))
    room.press("Enter", "3", "l")
    room.drag(*at((0.6, 0.2), (0.8, 0.2), (0.8, 0.35), (0.6, 0.35)), steps=3)
    room.press("1", "x")
    room.drag(*at((0.1, 0.6), (0.25, 0.75)))
    room.press("2", "y")
    room.drag(*at((0.6, 0.75), (0.8, 0.8)))
    room.page.mouse.move(*room.places(at((0.75, 0.9)))[0])
    room.click(*at((0.75, 0.9)))
    room.press("e")
    room.drag(*at((0.12, 0.65), (0.24, 0.65)))
    room.press("3", "g")
    room.click(*at((0.3, 0.22)))
    room.press("1", "d")
    room.ask("Object.assign(bench.brush, {range: [-1e6, 1e6]})")
    room.drag(*at((0.3, 0.85), (0.5, 0.85)))
    room.press("j")
    room.ask("Object.assign(bench.brush, {tolerance: 1})")
    room.click(*at((0.45, 0.3)))
    room.page.get_by_text("Enter accepts").wait_for()
    room.press("Enter", "t")
    room.click(*at((0.5, 0.5)))
    for key in ("Shift+L", "Shift+E", "Shift+R"):
        room.press(key)
        room.drag(*at((0.4, 0.4), (0.55, 0.55)))
    room.press("Shift+A")
    room.click(*at((0.2, 0.5), (0.3, 0.6), (0.4, 0.5)))
    room.press("Shift+B")
    room.drag(*at((0.2, 0.3), (0.5, 0.5)))
    room.drag(*at((0.4, 0.3), (0.3, 0.5)))
    return 15


def real_image(name: str, folder: Path) -> Image | Path:
    """Return one of the real images by a short name."""
    if name == "slide":
        return _slide(next(iter((folder / "wsi_openslide").glob("*.svs"))))
    paths = {
        "ct": folder / "vol_ct_totalseg" / "example_ct_sm.nii.gz",
        "series": folder / "dicom_ct_series_torchio",
        "us": sorted((folder / "seg_us_nerve" / "images").glob("*.png"))[0],
    }
    return paths[name]


@pytest.mark.parametrize(
    "name",
    [
        "ct",
        pytest.param("series", marks=pytest.mark.slow),
        pytest.param("us", marks=pytest.mark.slow),
        pytest.param("slide", marks=pytest.mark.long),
    ],
)
def test_every_tool_on_real_images(
    room: Room, server: Server, seen: Seen, add: Add, shared_data: Path, name: str
) -> None:
    """A CT, a series, an ultrasound picture in colour and a slide in tiles; all undone, and redone, to the bit."""
    case = add(f"real {name}", real_image(name, shared_data))
    room.open("annotate", case.project_id, case.id)
    steps = use_every_tool(room, *case.info.spatial_shape[-2:])
    found = agree(room, server, case)
    assert {1, 2, 3} <= set(np.unique(found).tolist())
    assert room.ask("bench.marks.undoable.length") == steps
    assert room.ask("bench.marks.items.size") == 6
    picture(room.page, f"viewer-real-{name}")
    room.press(*["u"] * steps)
    assert not agree(room, server, case).any() and room.ask("bench.marks.items.size") == 0
    room.press(*["Shift+U"] * steps)
    np.testing.assert_array_equal(agree(room, server, case), found)
    assert real_errors(seen) == []


def _slide(path: Path) -> Image:
    import tifffile

    pixels = tifffile.imread(path, key=0)
    return Image(pixels, ImageInfo("yxc", pixels.shape, "uint8", (0.0005, 0.0005)))
