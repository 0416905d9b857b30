"""Steps: packed and unpacked, applied and taken back, refused where they do not fit."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LabelError
from core.readings.draft import Ground, boxes_from_items, check_step, items_from_boxes, start_draft
from core.readings.reading import Boxes, Mask
from core.readings.runs import encode_runs
from core.readings.steps import ItemPatch, MaskPatch, Step, pack_steps, unpack_steps
from core.types import ImageInfo, make_labels

VOLUME = ImageInfo("zyx", (3, 10, 12), "int16")
MASKS = Ground(VOLUME, make_labels(["a", "b"]), "mask")
BOXES = Ground(ImageInfo("yx", (10, 12), "uint8"), make_labels(["a"]), "boxes")
BOX = {"kind": "box", "label": 1, "plane": 0, "box": [1.0, 2.0, 5.5, 6.0]}


def patch_between(before: np.ndarray, after: np.ndarray, z: int, y: int, x: int) -> MaskPatch:
    return MaskPatch(z, y, x, *after.shape, encode_runs(before), encode_runs(after))


def test_steps_come_back_packed() -> None:
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 3, (4, 5)).astype(np.uint8) for _ in range(2))
    step = Step(
        "tab",
        3,
        "do",
        "brush",
        (patch_between(before, after, 1, 2, 3), ItemPatch("n1", None, {"kind": "x", "é": 1})),
    )
    [back, again] = unpack_steps(pack_steps([step, step]))
    assert (back.client, back.number, back.kind, back.name) == ("tab", 3, "do", "brush")
    np.testing.assert_array_equal(back.patches[0].after, step.patches[0].after)
    np.testing.assert_array_equal(again.patches[0].before, step.patches[0].before)
    assert back.patches[1] == step.patches[1]
    assert unpack_steps(pack_steps([])) == []
    assert unpack_steps(zlib.decompress(pack_steps([step])))[0].patches[1] == step.patches[1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        zlib.compress(b"SLM1"),
        b"SLM1",
        b"SLM1\x09\0\0\0{}",
        zlib.compress(b"XXXX\x02\0\0\0{}"),
        zlib.compress(b"SLM1\x02\0\0\0{}"),
    ],
)
def test_what_is_no_step_is_refused(content: bytes) -> None:
    with pytest.raises(LabelError, match="could not be read"):
        unpack_steps(content)


@given(st.integers(0, 2**16))
@settings(max_examples=200, deadline=None)
def test_damaged_steps_never_do_worse_than_a_sentence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(zlib.decompress(pack_steps([Step("t", 1, "do", "b", (_whole(1),))])))
    for _ in range(3):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    try:
        steps = unpack_steps(zlib.compress(bytes(content)))
        for step in steps:
            check_step(step, MASKS)
        draft = start_draft(MASKS, None, {}, [])
        for step in steps:
            draft.apply(step)
    except LabelError:
        pass


def _whole(value: int) -> MaskPatch:
    return patch_between(np.zeros((10, 12), np.uint8), np.full((10, 12), value, np.uint8), 0, 0, 0)


def test_a_draft_applies_and_takes_back() -> None:
    rng = np.random.default_rng(1)
    start = rng.integers(0, 3, VOLUME.shape).astype(np.uint8)
    draft = start_draft(MASKS, Mask(start), {}, [])
    after = rng.integers(0, 3, (4, 5)).astype(np.uint8)
    patch = patch_between(start[1, 2:6, 3:8], after, 1, 2, 3)
    draft.apply(Step("t", 1, "do", "brush", (patch,)))
    expected = start.copy()
    expected[1, 2:6, 3:8] = after
    np.testing.assert_array_equal(draft.reading().array, expected)
    back = MaskPatch(1, 2, 3, 4, 5, patch.after, patch.before)
    draft.apply(Step("t", 2, "undo", "brush", (back,)))
    np.testing.assert_array_equal(draft.reading().array, start)


def test_notes_and_boxes_are_put_changed_and_removed() -> None:
    draft = start_draft(BOXES, None, {}, [])
    note = {"kind": "length", "points": [[1, 2, 0], [3, 4, 0]]}
    draft.apply(Step("t", 1, "do", "box", (ItemPatch("b", None, BOX), ItemPatch("n", None, note))))
    draft.apply(Step("t", 2, "do", "move", (ItemPatch("b", BOX, {**BOX, "box": [0, 0, 3, 3]}),)))
    assert draft.reading().box_xyxy.tolist() == [[0, 0, 3, 3]]
    assert draft.notes["n"].kind == "length"
    draft.apply(Step("t", 3, "do", "delete", (ItemPatch("b", BOX, None), ItemPatch("n", note, None))))
    assert len(draft.reading()) == 0 and draft.notes == {}


def test_crowds_and_findings_through_slices_survive_marking() -> None:
    table = np.array([[1, 1, 4, 4], [2, 2, 5, 5], [6, 6, 9, 9]], np.float32)
    labels, planes = np.ones(3, np.uint16), np.array([0, 1, 1], np.int32)
    groups, crowds = np.array([1, 1, 2], np.int32), np.array([False, False, True])
    items = items_from_boxes(Boxes(table, labels, planes, groups=groups, crowds=crowds))
    back = boxes_from_items(items.values())
    assert back.groups is not None and back.groups.tolist() == [1, 1, 2]
    assert back.crowds is not None and back.crowds.tolist() == [False, False, True]
    drawn = {"kind": "box", "label": 1, "plane": 0, "box": [0, 0, 2, 2]}
    more = boxes_from_items([*items.values(), drawn])
    assert more.groups is None  # who draws beside them says anew what belongs together
    assert more.crowds is not None and more.crowds.tolist() == [False, False, True, False]


def test_boxes_keep_their_crops_and_names() -> None:
    crop = np.array([[True, False], [True, True]])
    boxes = Boxes(
        np.array([[1, 2, 3, 4], [0, 0, 2, 1]], np.float32), np.array([1, 1], np.uint16), np.zeros(2, np.int32),
        np.array([0.5, 0.25], np.float32), (crop, np.ones((1, 2), bool)),
    )  # fmt: skip
    items = items_from_boxes(boxes, ["p", "q"])
    assert list(items) == ["p", "q"] and items["p"]["score"] == 0.5
    items["new"] = {**BOX, "box": [5.0, 5.0, 7.0, 8.0]}
    back = boxes_from_items(items.values())
    assert back.scores is None  # a person is not a probability
    np.testing.assert_array_equal(back.crops[0], crop)
    assert back.crops[2].all() and back.crops[2].shape == (3, 2)
    assert list(items_from_boxes(boxes, ["wrong number"])) == ["b0", "b1"]


@pytest.mark.parametrize(
    ("patch", "ground", "sentence"),
    [
        (patch_between(np.zeros((4, 4)), np.ones((4, 4)), 3, 0, 0), MASKS, "out of the image"),
        (patch_between(np.zeros((4, 4)), np.ones((4, 4)), 0, 7, 0), MASKS, "out of the image"),
        (patch_between(np.zeros((4, 4)), np.ones((4, 4)), 0, -1, 0), MASKS, "out of the image"),
        (patch_between(np.zeros((4, 4)), np.full((4, 4), 7), 0, 0, 0), MASKS, "label 7, which this project"),
        (patch_between(np.zeros((4, 4)), np.ones((4, 4)), 0, 0, 0), BOXES, "readings are boxes"),
        (ItemPatch("b", None, BOX), MASKS, "readings are masks"),
        (ItemPatch("b", None, {**BOX, "box": [0, 0, 99, 3]}), BOXES, "reaches out of the image"),
        (ItemPatch("b", None, {**BOX, "box": [3, 0, 1, 3]}), BOXES, "could not be read"),
        (ItemPatch("b", None, {**BOX, "label": 9}), BOXES, "label 9"),
        (ItemPatch("n", None, {"kind": "length", "points": []}), MASKS, "needs 2 points"),
    ],
)
def test_what_does_not_fit_is_refused(patch, ground: Ground, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        check_step(Step("t", 1, "do", "x", (patch,)), ground)


def test_many_labels_need_sixteen_bits() -> None:
    ground = Ground(VOLUME, make_labels([f"label {n}" for n in range(300)]), "mask")
    draft = start_draft(ground, Mask(np.zeros(VOLUME.shape, np.uint8)), {}, [])
    draft.apply(
        Step("t", 1, "do", "brush", (patch_between(np.zeros((1, 1)), np.full((1, 1), 300), 0, 0, 0),))
    )
    assert draft.reading().array.dtype == np.uint16 and draft.reading().array.max() == 300
