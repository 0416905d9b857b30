"""Marks on the canvas become edits of boxes; each change is a version, undone like any other."""

from __future__ import annotations

import numpy as np
import pytest

from core.readings.reading import Boxes, no_boxes
from core.types import ImageInfo, make_labels
from core.workspace.records import Case, Project
from core.workspace.workspace import Workspace
from pages.annotate import desk as work
from pages.annotate.desk import Desk, Place
from pages.annotate.objects import Edit, apply_marks, inside, object_at, relabel, remove, replace_box, titles
from pages.shared.canvas import Batch, Mark, View, read_mark, stroke_color
from tests.pages.conftest import add_flat, add_volume

VIEW = View(0, 0, 64, 48, 640, 480)  # ten screen pixels a pixel


def boxes(*rows: tuple[float, ...], crops: bool = False) -> Boxes:
    table = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    masks = tuple(np.ones((int(b - t), int(r - x)), bool) for x, t, r, b in table.tolist()) if crops else None
    labels = np.array([row[4] if len(row) > 4 else 1 for row in rows], np.uint16)
    return Boxes(table, labels, np.zeros(len(rows), np.int32), None, masks)


def box_mark(left: float, top: float, right: float, bottom: float, label: int = 1) -> Mark:
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) * 10
    return Mark("box", label, corners)


def drag_mark(start: tuple[float, float], end: tuple[float, float]) -> Mark:
    return Mark("move", 0, np.array([start, end]) * 10, 2.0)


def apply(one: Boxes, *marks: Mark, chosen: int | None = None) -> Edit:
    return apply_marks(one, marks, VIEW, 0, chosen)


def test_a_box_is_added_with_its_label() -> None:
    edit = apply(no_boxes(), box_mark(5, 6, 15, 16, 2))
    assert edit.boxes.box_xyxy.tolist() == [[5, 6, 15, 16]]
    assert (edit.boxes.labels.tolist(), edit.chosen, edit.word) == ([2], 0, "drawn")
    assert len(apply(no_boxes(), box_mark(5, 6, 5.5, 16)).boxes) == 0  # thinner than a pixel


@pytest.mark.parametrize(
    ("start", "end", "expected", "word"),
    [
        ((15, 15), (20, 17), [15, 12, 25, 22], "moved"),
        ((10, 15), (6, 15), [6, 10, 20, 20], "resized"),
        ((20, 20), (30, 25), [10, 10, 30, 25], "resized"),
        ((20.5, 15), (23.5, 15), [10, 10, 23, 20], "resized"),
        ((10, 10), (25, 15), [20, 15, 25, 20], "resized"),  # pulled over the other side
        ((15, 15), (15.1, 15), [10, 10, 20, 20], None),  # a click
        ((40, 40), (50, 40), [10, 10, 20, 20], None),  # nothing there
    ],
)
def test_a_drag_moves_or_resizes(start, end, expected, word) -> None:
    edit = apply(boxes((10, 10, 20, 20)), drag_mark(start, end))
    np.testing.assert_allclose(edit.boxes.box_xyxy[0], expected, atol=1e-5)
    assert edit.word == word


def test_a_click_chooses_the_smallest_and_the_one_in_hand_comes_first() -> None:
    two = boxes((0, 0, 40, 40), (10, 10, 20, 20))
    point = np.array([15.0, 15.0])
    assert object_at(two, 0, point, (0.5, None)) == 1
    assert object_at(two, 0, point, (0.5, 0)) == 0
    assert object_at(two, 1, point, (0.5, None)) is None
    assert apply(two, drag_mark((15, 15), (15, 15))).chosen == 1


def test_masks_of_objects_move_along_and_are_cut() -> None:
    one = boxes((10, 10, 20, 20), crops=True)
    moved = replace_box(one, 0, np.array([12.0, 11, 22, 21]), "moved").boxes
    assert moved.crops[0].all()
    smaller = replace_box(one, 0, np.array([12.0, 10, 20, 15]), "resized").boxes
    assert smaller.crops[0].shape == (5, 8) and smaller.crops[0].all()
    larger = replace_box(one, 0, np.array([8.0, 10, 22, 20]), "resized").boxes
    assert larger.crops[0].sum() == 100 and larger.crops[0].shape == (10, 14)


def test_boxes_stay_in_their_image() -> None:
    info = ImageInfo("yx", (48, 64), "uint8")
    kept = inside(boxes((-5, 10, 20, 20), (70, 10, 80, 20), crops=True), info)
    assert kept.box_xyxy.tolist() == [[0, 10, 20, 20]]
    assert kept.crops[0].shape == (10, 20)
    assert kept.misfit(info) is None


def test_relabel_remove_and_titles() -> None:
    two = boxes((0, 0, 40, 40), (10, 10, 20, 20, 2))
    assert relabel(two, 0, 2).boxes.labels.tolist() == [2, 2]
    assert remove(two, 0).boxes.box_xyxy.tolist() == [[10, 10, 20, 20]]
    info = ImageInfo("yx", (48, 64), "uint8")
    assert titles(two, make_labels(["a", "b"]), info) == ["1 · a · 40 × 40 px", "2 · b · 10 × 10 px"]


@pytest.fixture
def cells(store: Workspace) -> Project:
    return store.create_project("Cells", "detection", make_labels(["red", "white"]))


def send(desk: Desk, store: Workspace, place: Place, first: int, *raw: dict) -> None:
    work.merge(desk, store, [Batch(desk.name_place(place), first, raw)])


def raw_box(left: float, top: float, width: float, height: float, label: int) -> dict:
    color = stroke_color("box", label, "#102030")
    return {"type": "Rect", "left": left, "top": top, "width": width, "height": height, "stroke": color}


def raw_drag(start: tuple[int, int], end: tuple[int, int]) -> dict:
    path = [["M", *start], ["L", *end]]
    return {"type": "Path", "path": path, "strokeWidth": 2, "stroke": stroke_color("move", 0, "#ffffff")}


def latest(store: Workspace, case: Case) -> Boxes:
    reading = store.load_reading(store.latest_reading(case.id, "Ann"))
    assert isinstance(reading, Boxes)
    return reading


def test_the_desk_saves_versions_of_boxes_and_undoes_them(store: Workspace, cells: Project) -> None:
    case = add_flat(store, cells, "a")
    desk, place = Desk(), Place(case.id, "Ann", 0, VIEW)
    send(desk, store, place, 0, raw_box(100, 100, 100, 100, 1), raw_box(300, 200, 50, 50, 2))
    assert latest(store, case).labels.tolist() == [1, 2]
    send(desk, store, place, 2, raw_drag((150, 150), (200, 150)))
    assert latest(store, case).box_xyxy[0].tolist() == [15, 10, 25, 20]
    assert desk.chosen[case.id, "Ann"] == 0
    work.edit_object(desk, store, place, lambda one, number: relabel(one, number, 2))
    work.edit_object(desk, store, place, remove)
    assert len(latest(store, case)) == 1
    for expected in (2, 2, 2):
        work.undo(desk, store, place)
        assert len(latest(store, case)) == expected
    assert latest(store, case).box_xyxy[0].tolist() == [10, 10, 20, 20]
    work.clear_plane(desk, store, place)
    assert len(latest(store, case)) == 0


def test_a_models_boxes_become_a_persons(store: Workspace, cells: Project) -> None:
    case = add_volume(store, cells, "v")
    scored = Boxes(
        np.array([[1, 1, 9, 9], [2, 2, 12, 12]], np.float32), np.array([1, 2], np.uint16),
        np.array([4, 4], np.int32), np.array([0.9, 0.2], np.float32), threshold=0.5,
    )  # fmt: skip
    version = store.save_reading(case.id, "net", scored, kind="model")
    desk, place = Desk(), Place(case.id, "Ann", 4, VIEW)
    work.take_over(desk, store, place, version, "accepted")
    mine = latest(store, case)
    assert (len(mine), mine.scores, mine.threshold) == (1, None, None)
    work.copy_plane(desk, store, Place(case.id, "Ann", 5, VIEW), 4)
    assert latest(store, case).planes.tolist() == [4, 5]
    assert work.busiest_plane(mine, case.info) == 4


def test_the_move_tool_survives_the_browser() -> None:
    mark = read_mark(raw_drag((1, 2), (30, 40)))
    assert mark is not None
    assert (mark.tool, mark.label, mark.points.tolist()) == ("move", 0, [[1, 2], [30, 40]])
