"""What the canvas shows is what numpy says: for CT, MONOCHROME1, 16 bit, floats, colour, turned, in tiles, across."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.imaging.pyramid import open_level
from core.imaging.windows import CT_PRESETS, default_window, to_display
from core.readings.picture import to_rgb
from core.readings.reading import Mask
from core.types import Image, ImageInfo, Window, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server
from tests.browser.test_first_page import real_errors
from tests.browser.viewer.conftest import Room

pytestmark = pytest.mark.browser
AFFINE = ((-0.7, 0.0, 0.0, 100.0), (0.0, -0.7, 0.0, 90.0), (0.0, 0.0, 2.5, -40.0), (0.0, 0.0, 0.0, 1.0))


def samples() -> dict[str, Image]:
    rng = np.random.default_rng(0)

    def grey(shape: tuple[int, ...], dtype: str, low: float, high: float, **facts: Any) -> Image:
        array = rng.uniform(low, high, shape).astype(dtype)
        return Image(array, ImageInfo("yx" if array.ndim == 2 else "zyx", array.shape, dtype, **facts))

    colour = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    deep = rng.integers(0, 65536, (90, 120, 3)).astype(np.uint16)
    return {
        "ct": grey((5, 80, 96), "int16", -1000, 1500, modality="CT"),
        "turned": grey(
            (5, 80, 96), "int16", -1000, 1500, modality="MR", spacing_mm=(2.5, 0.7, 0.7), affine_lps=AFFINE
        ),
        "monochrome1": grey((70, 64), "int16", 0, 4000, inverted=True, window=Window(2000, 3000)),
        "sixteen": grey((70, 64), "int32", 0, 65535),
        "bytes": grey((70, 64), "uint8", 0, 255),
        "float": grey((70, 64), "float32", -2, 7),
        "colour": Image(colour, ImageInfo("yxc", colour.shape, "uint8")),
        "deep": Image(deep, ImageInfo("yxc", deep.shape, "uint16")),
        "dot": grey((1, 1), "uint8", 200, 201),
    }


@pytest.fixture(scope="module")
def cases(server: Server) -> dict[str, Case]:
    with Workspace.open(server.home) as store:
        project = store.create_project("Pixels", "segmentation", make_labels(["a", "b"]))
        return {
            name: store.add_case(project.id, NewCase(name, image, name)) for name, image in samples().items()
        }


def shown_at_one_to_one(room: Room, number: int = 0) -> np.ndarray:
    """Return the part of the canvas that holds the image, when one pixel is one pixel."""
    rgba = room.canvas(number)
    a, b, c, d, e, f = room.ask("viewer.panes[number].camera.matrix", number=number)
    columns, rows = room.ask(
        "[viewer.panes[number].facts.columns, viewer.panes[number].facts.rows]", number=number
    )
    assert abs(a) + abs(c) == pytest.approx(1) and abs(b) + abs(d) == pytest.approx(1)
    xs = sorted((e, e + a * columns + c * rows))
    ys = sorted((f, f + b * columns + d * rows))
    return rgba[round(ys[0]) : round(ys[1]), round(xs[0]) : round(xs[1]), :3]


@pytest.mark.parametrize("name", ["ct", "monochrome1", "sixteen", "bytes", "float", "colour", "deep", "dot"])
def test_the_canvas_shows_the_windowed_array(
    room: Room, seen: Seen, cases: dict[str, Case], name: str
) -> None:
    case, image = cases[name], samples()[name]
    room.open("cases", case.project_id, case.id)
    room.press("o")
    room.page.wait_for_timeout(150)
    window = image.info.window or default_window(image.array, image.info)
    middle = room.ask("pane.index")
    expected = to_rgb(to_display(np.asarray(image.plane(middle)), window, image.info.inverted))
    np.testing.assert_array_equal(shown_at_one_to_one(room), expected)
    if image.info.channels == 1 and name != "dot":
        room.press("2", "i")  # full range, inverted
        room.page.wait_for_timeout(150)
        chosen = room.ask("viewer.windowOf(pane.facts)")
        expected = to_display(np.asarray(image.plane(middle)), Window(**chosen), not image.info.inverted)
        np.testing.assert_array_equal(shown_at_one_to_one(room), to_rgb(expected))
    assert real_errors(seen) == []


def test_turned_pictures_and_all_slices(room: Room, cases: dict[str, Case]) -> None:
    """Hung as radiologists do, this one is turned by half; every turn and mirror is numpy's."""
    case, image = cases["turned"], samples()["turned"]
    room.open("cases", case.project_id, case.id)
    room.press("o", "Control+Home")
    window = default_window(image.array, image.info)
    for index in range(5):
        room.page.wait_for_timeout(120)
        plane = to_display(image.array[index], window)
        np.testing.assert_array_equal(shown_at_one_to_one(room)[..., 0], plane[::-1, ::-1])
        room.press("ArrowDown")
    plane = to_display(image.array[4], window)[::-1, ::-1]
    for key, turn in (
        ("r", lambda p: np.rot90(p, -1)),
        ("h", lambda p: p[:, ::-1]),
        ("r", lambda p: np.rot90(p, -1)),
        ("v", lambda p: p[::-1]),
    ):
        room.press(key)
        plane = turn(plane)
        room.page.wait_for_timeout(120)
        np.testing.assert_array_equal(shown_at_one_to_one(room)[..., 0], plane)


def test_planes_across_and_slabs(room: Room, cases: dict[str, Case]) -> None:
    case, image = cases["turned"], samples()["turned"]
    room.open("cases", case.project_id, case.id)
    room.press("Shift+M")
    room.page.wait_for_timeout(400)
    assert room.ask("viewer.panes.map((one) => one.axis)") == ["z", "y", "x"]
    code = "viewer.panes[n].sides[0].source.plane(viewer.panes[n].axis, i)"
    for number, axis, index in ((1, 1, 33), (2, 2, 50)):
        found = room.ask(code, n=number, i=index)
        expected = np.take(image.array, index, axis=axis)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    room.press("Shift+M", "Shift+I", "o")
    room.page.wait_for_timeout(300)
    slab = image.array.max(axis=0)  # nine slices reach over all five
    window = default_window(image.array, image.info)
    np.testing.assert_array_equal(shown_at_one_to_one(room)[..., 0], to_display(slab, window)[::-1, ::-1])


def test_marks_are_drawn_where_they_are(room: Room, server: Server, cases: dict[str, Case]) -> None:
    case, image = cases["ct"], samples()["ct"]
    mask = (np.random.default_rng(1).random(image.array.shape) > 0.7).astype(np.uint8)
    mask[:, 30:50, 20:70] = 2
    with Workspace.open(server.home) as store:
        labels = store.get_project(case.project_id).labels
        store.save_reading(case.id, "Ada", Mask(mask))
    room.open("cases", case.project_id, case.id)
    room.press("o")
    room.page.wait_for_timeout(400)
    index = room.ask("pane.index")
    a, _, _, d, e, f = room.ask("pane.camera.matrix")
    assert (a, d) == (1, 1)
    seen = room.canvas(layer=1)[int(f) : int(f) + 80, int(e) : int(e) + 96]
    for label in labels:
        where = mask[index] == label.value
        colour = [int(label.color[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(seen[where][:, :3].astype(int) - colour).max() <= 2  # canvases hold colours times alpha
        assert (seen[where][:, 3] == round(0.45 * 255)).all()
    assert (seen[mask[index] == 0] == 0).all()
    room.press("k")
    room.page.wait_for_timeout(150)
    assert not room.canvas(layer=1).any()


def test_large_images_come_in_tiles(room: Room, server: Server, seen: Seen) -> None:
    rng = np.random.default_rng(2)
    plane = rng.integers(0, 255, (2100, 2300)).astype(np.uint8)
    plane = np.kron(plane[::10, ::10], np.ones((10, 10), np.uint8))
    info = ImageInfo("yx", plane.shape, "uint8", (0.001, 0.001))
    with Workspace.open(server.home) as store:
        project = store.create_project("Large", "segmentation", make_labels(["a"]))
        case = store.add_case(project.id, NewCase("large", Image(plane, info), "large"))
        folder = store.pyramid_folder(case, 0)
    asked: list[str] = []
    room.page.on("request", lambda request: asked.append(request.url) if "/tiles/" in request.url else None)
    room.open("cases", project.id, case.id)
    room.page.wait_for_timeout(500)
    assert room.ask("viewer.sources.get(pane.facts.id).constructor.name") == "TileSource"
    assert all("/tiles/0/" not in url for url in asked)  # nothing finer than the screen was fetched
    room.press("o")
    room.page.locator(".pane[data-ready]").wait_for()
    room.page.wait_for_timeout(500)
    a, _, _, d, e, f = room.ask("pane.camera.matrix")
    assert (a, d) == (1, 1)
    shown = room.canvas()[..., 0]
    left, top = -int(e), -int(f)
    np.testing.assert_array_equal(shown, plane[top : top + shown.shape[0], left : left + shown.shape[1]])
    level = open_level(plane, folder, 1)
    assert level.shape == (1050, 1150)
    assert real_errors(seen) == []


def test_real_images_are_shown_as_numpy_says(
    room: Room, server: Server, seen: Seen, shared_data: Path, tmp_path: Path
) -> None:
    from core.imaging.scan import scan
    from core.settings import load_settings

    paths = [
        shared_data / "vol_ct_totalseg" / "example_ct_sm.nii.gz",
        shared_data / "dicom_ct_series_torchio",
        sorted((shared_data / "seg_us_nerve" / "images").glob("*.png"))[0],
    ]
    with Workspace.open(server.home) as store:
        project = store.create_project("Real", "segmentation", make_labels(["a"]))
        images = [
            next(
                found.image
                for found in scan([path], tmp_path, "salt", load_settings())
                if hasattr(found, "image")
            )
            for path in paths
        ]
        real = [
            store.add_case(project.id, NewCase(path.name, image, "x"))
            for path, image in zip(paths, images, strict=True)
        ]
    for path, case, image in zip(paths, real, images, strict=True):
        room.open("cases", project.id, case.id)
        room.press("o")
        room.page.wait_for_timeout(250)
        plane = np.asarray(image.plane(room.ask("pane.index")))
        window = image.info.window or default_window(image.array, image.info)
        if path.name.startswith("example_ct"):  # the file does not say CT, its values do
            window = CT_PRESETS["soft tissue"]
        expected = to_rgb(to_display(plane, window))
        turn = [int(value) for value in room.ask("pane.camera.turn")]
        if turn[0] == 0:
            expected = expected.transpose(1, 0, 2)
        expected = expected[:: turn[2] + turn[3], :: turn[0] + turn[1]]
        np.testing.assert_array_equal(shown_at_one_to_one(room), expected)
    assert real_errors(seen) == []
