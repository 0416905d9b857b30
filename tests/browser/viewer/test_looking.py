"""Looking: scroll, window, zoom, compare; what lies over the picture; the marker phantom turned eight ways."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from core.readings.reading import Mask
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from tests.browser.conftest import Seen, Server
from tests.browser.test_first_page import real_errors
from tests.browser.viewer.conftest import Room

pytestmark = pytest.mark.browser
SHAPE = (40, 60, 80)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-900, 1200, SHAPE, dtype=np.int16)


@pytest.fixture(scope="module")
def case(server: Server, volume: np.ndarray) -> Case:
    affine = ((0.8, 0, 0, 0), (0, 0.8, 0, 0), (0, 0, 2.0, 0), (0, 0, 0, 1))
    info = ImageInfo("zyx", SHAPE, "int16", (2.0, 0.8, 0.8), affine, "CT")
    with Workspace.open(server.home) as store:
        project = store.create_project("Looking", "segmentation", make_labels(["a", "b"]))
        return store.add_case(project.id, NewCase("case", Image(volume, info), "case"))


def test_scrolling_windows_zoom_and_values(room: Room, seen: Seen, case: Case, volume: np.ndarray) -> None:
    room.open("cases", case.project_id, case.id)
    while room.ask("pane.sides[0].source.loaded") < SHAPE[0]:
        room.page.wait_for_timeout(100)
    asked: list[str] = []
    room.page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    (x, y) = room.places([(40.5, 30.5)])[0]
    room.page.mouse.move(x, y)

    def index() -> int:
        return int(room.ask("pane.index"))

    assert index() == 20
    room.page.mouse.wheel(0, 120)
    room.page.wait_for_timeout(100)
    assert index() == 22
    for key, expected in (
        ("ArrowUp", 21),
        ("PageDown", 31),
        ("Control+Home", 0),
        ("Control+End", 39),
        ("ArrowLeft", 38),
    ):
        room.press(key)
        assert index() == expected, key
    bar = room.page.locator(".slices").bounding_box()
    room.page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] * 0.5)
    assert abs(index() - 20) <= 2
    room.page.mouse.move(x, y)
    words = room.page.locator(".corner.bl").inner_text()
    assert f"value {volume[index(), 30, 40]} HU" in words and "x 40  y 30" in words

    room.press("4")
    room.page.get_by_text("L -600 W 1500").wait_for()  # lung
    room.press("w")
    room.drag((40.5, 30.5), (60.5, 30.5))
    wider = room.ask("viewer.windowOf(pane.facts)")
    assert wider["width"] > 1500 and wider["center"] == -600
    room.press("a")
    room.page.mouse.move(x, y)
    room.page.mouse.down(button="right")
    room.page.mouse.move(x, y + 60, steps=4)
    room.page.mouse.up(button="right")
    assert room.ask("viewer.windowOf(pane.facts)")["center"] > -600

    before = room.ask("pane.camera.scale")
    room.page.keyboard.down("Control")
    room.page.mouse.wheel(0, -200)
    room.page.keyboard.up("Control")
    room.page.wait_for_timeout(100)
    assert room.ask("pane.camera.scale") > before * 1.2
    place = room.places([(40.5, 30.5)])[0]
    room.drag((40.5, 30.5), (50.5, 35.5))  # the hand moves the picture along
    moved = room.places([(40.5, 30.5)])[0]
    assert moved[0] > place[0] and moved[1] > place[1]
    room.press("f")
    assert room.ask("pane.camera.scale") == pytest.approx(before)
    room.press("Control+Home", "c")
    room.page.wait_for_timeout(700)
    room.press("c")
    assert index() > 2
    assert asked == []  # the browser holds the slices
    assert real_errors(seen) == []


def test_two_fingers_zoom_and_leave_no_mark(room: Room, case: Case) -> None:
    room.open("annotate", case.project_id, case.id)
    (x, y), before = room.places([(40.5, 30.5)])[0], room.ask("pane.camera.scale")
    client = room.page.context.new_cdp_session(room.page)

    def touch(kind: str, apart: float | None) -> None:
        points = (
            [] if apart is None else [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        )
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 40)
    for apart in (60, 80, 100):
        touch("touchMove", apart)
    touch("touchEnd", None)
    room.page.wait_for_timeout(150)
    assert room.ask("pane.camera.scale") == pytest.approx(before * 2.5, rel=0.05)
    assert not room.volume().any()


def colour_at(room: Room, number: int, u: float, v: float) -> tuple[int, ...]:
    """Return the colour of the overlay at a place of the image: (r, g, b), with alpha undone."""
    x, y = room.ask("viewer.panes[number].camera.toCanvas(u, v)", number=number, u=u, v=v)
    red, green, blue, alpha = room.canvas(number, layer=1)[int(y), int(x)].tolist()
    return (red, green, blue) if alpha else ()


def near(colour: tuple[int, ...], expected: str) -> bool:
    """Whether a colour is "#rrggbb"; canvases hold colours times alpha, so a little is lost."""
    parts = [int(expected[i : i + 2], 16) for i in (1, 3, 5)]
    return len(colour) == 3 and int(np.abs(np.subtract(colour, parts)).max()) <= 3


def test_differences_thresholds_heat_swipe_and_flicker(
    room: Room, server: Server, seen: Seen, case: Case, volume: np.ndarray
) -> None:
    truth, found = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    truth[20, 10:40, 10:40] = 1
    found[20, 10:40, 20:60] = 1
    found[20, 12:15, 22:25] = 2
    probabilities = np.zeros((3, *SHAPE), np.uint8)
    probabilities[1] = np.where(found == 1, 200, 0)
    probabilities[1, 20, 45:50, 10:20] = 102  # 0.4
    probabilities[2] = np.where(found == 2, 255, 0)
    probabilities[0] = 255 - probabilities[1:].sum(axis=0)
    with Workspace.open(server.home) as store:
        other = store.save_reading(case.id, "truth", Mask(truth))
        first = store.save_reading(case.id, "net", Mask(found, probabilities), kind="model")
    room.open("cases", case.project_id, case.id)
    layers: dict[str, dict[str, Any]] = {
        "difference": {"kind": "difference", "version": first.id, "other": other.id},
        "threshold": {"kind": "threshold", "version": first.id},
        "heat": {"kind": "heat", "version": first.id, "label": 1},
    }
    panes = [
        {"title": name, "layers": [layer], "image": None, "second": None} for name, layer in layers.items()
    ]
    room.ask(
        "viewer.shell.update({...viewer.scene, id: 'three', start: 20, threshold: 0.5, panes}, () => {})",
        panes=panes,
    )
    room.page.locator(".pane[data-ready]").nth(2).wait_for()
    room.page.wait_for_timeout(800)
    colours = room.ask("viewer.look.labels.map((label) => label.color)")
    assert near(colour_at(room, 0, 30.5, 20.5), "#009e73")  # both
    assert near(colour_at(room, 0, 50.5, 20.5), "#e66100")  # only the model
    assert near(colour_at(room, 0, 15.5, 20.5), "#0072ce")  # only the reference
    assert near(colour_at(room, 0, 23.5, 13.5), "#cc79a7")  # another label
    counts = room.page.locator(".legend [data-code] output").all_inner_texts()
    both = int(((truth == found) & (truth > 0)).sum())
    assert [int(re.sub(r"\D", "", text)) for text in counts] == [both, 600, 300, 9]
    assert near(colour_at(room, 1, 30.5, 20.5), colours[0]) and colour_at(room, 1, 15.5, 47.5) == ()
    assert colour_at(room, 2, 15.5, 47.5) == () and colour_at(room, 2, 30.5, 20.5) != ()
    room.page.get_by_role("slider", name="Threshold").fill("0.3")
    room.page.wait_for_timeout(300)
    assert near(colour_at(room, 1, 15.5, 47.5), colours[0]) and colour_at(room, 2, 15.5, 47.5) != ()
    # Zoomed and scrolled together while they are linked, alone when they are not.
    room.ask("viewer.root.focus()")
    room.press("+", "ArrowDown")
    assert len(set(room.ask("viewer.panes.map((one) => `${one.index} ${one.camera.scale}`)"))) == 1
    room.press("Shift+K", "ArrowDown")
    assert room.ask("viewer.panes.map((one) => one.index)") == [22, 21, 21]

    second = {
        "title": "truth",
        "layers": [{"kind": "reading", "version": other.id}],
        "image": None,
        "second": None,
    }
    pane = {
        "title": "net",
        "layers": [{"kind": "reading", "version": first.id}],
        "image": None,
        "second": second,
    }
    room.ask(
        "viewer.shell.update({...viewer.scene, id: 'over', start: 20, panes: [pane_]}, () => {})", pane_=pane
    )
    room.page.locator(".pane[data-ready]").first.wait_for()
    room.page.wait_for_timeout(600)
    middle = (SHAPE[2] / 2 + 0.2, 50.5)
    room.drag(middle, (30.5, 50.5))  # the line between the two
    assert colour_at(room, 0, 25.5, 30.5) != () and colour_at(room, 0, 55.5, 30.5) == ()
    assert room.page.locator(".corner.tl").inner_text().startswith("net  |  truth")
    room.press("x")
    room.page.wait_for_timeout(150)
    seen_truth = room.page.locator(".corner.tl").inner_text().startswith("truth")
    assert seen_truth and colour_at(room, 0, 12.5, 30.5) != () and colour_at(room, 0, 55.5, 30.5) == ()
    room.press("x")
    room.page.wait_for_timeout(150)
    assert colour_at(room, 0, 12.5, 30.5) == () and colour_at(room, 0, 55.5, 30.5) != ()
    assert real_errors(seen) == []


def marker_phantom(signs: tuple[int, ...]) -> tuple[Image, np.ndarray, np.ndarray]:
    """Return a volume with two markers, and where they lie: at the patient's left, front and head, 24 mm apart."""
    shape, spacing = (20, 36, 60), (3.0, 1.5, 1.0)
    affine = np.diag([*(np.array(signs) * spacing[::-1]), 1.0])
    corner = np.array([50.5, 5.5, 16.5])  # (x, y, z) where all axes run to L, P and H
    size = np.array(shape[::-1])
    place = np.where(np.array(signs) > 0, corner, size - corner)
    other = place - np.array([signs[0] * 24.0, 0, 0])
    array = np.full(shape, -500, np.int16)
    for x, y, z in (place.astype(int), other.astype(int)):
        array[z, y, x] = 1000
    info = ImageInfo("zyx", shape, "int16", spacing, tuple(map(tuple, affine.tolist())), "CT")
    return Image(array, info), place, other


@pytest.mark.long
def test_the_marker_phantom_in_all_eight_orientations(room: Room, server: Server) -> None:
    phantoms = {signs: marker_phantom(signs) for signs in itertools.product((1, -1), repeat=3)}
    with Workspace.open(server.home) as store:
        project = store.create_project("Markers", "segmentation", make_labels(["a"]))
        cases = {
            signs: store.add_case(project.id, NewCase(str(signs), image, str(signs)))
            for signs, (image, _, _) in phantoms.items()
        }
    for signs, (image, place, other) in phantoms.items():
        room.open("cases", project.id, cases[signs].id)
        room.press("Shift+M", "m")
        room.page.wait_for_timeout(300)
        room.ask("viewer.setCross(place, viewer.panes[0])", place=place.tolist())
        room.ask("viewer.goTo(viewer.panes[0], index)", index=int(place[2]))
        room.ask("viewer.setWindow(pane.facts, {center: 0, width: 1000})")
        room.ask("viewer.setLook({crosshair: false})")
        room.page.wait_for_timeout(250)
        for number, sides in enumerate((("L", "A"), ("L", "H"), ("A", "H"))):
            texts = (
                "Object.entries(viewer.panes[number].letters).map(([edge, node]) => [edge, node.textContent])"
            )
            letters = dict(room.ask(texts, number=number))
            rows, columns = np.nonzero(room.canvas(number)[..., 0] > 200)
            height, width = room.canvas(number).shape[:2]
            edges = {
                "right" if columns.max() > width / 2 else "left",
                "bottom" if rows.mean() > height / 2 else "top",
            }
            if number == 2:
                edges = {"right" if columns.mean() > width / 2 else "left", *edges & {"top", "bottom"}}
            assert {letters[edge] for edge in edges} == set(sides), (signs, number)
        room.press("Shift+L")
        room.drag(tuple(place[:2]), tuple(other[:2]))
        room.page.locator(".items").get_by_text("length 24.0 mm").wait_for()
        assert image.array[int(place[2]), int(place[1]), int(place[0])] == 1000
