"""Measurements against SimpleITK and scikit-image, on oblique and non-square voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.draw import ellipse

from core.errors import LabelError
from core.readings.notes import (
    WHOLE_IMAGE,
    Note,
    measure,
    misfit_of_note,
    note_from_json,
    note_to_json,
    notes_from_json,
    notes_to_json,
)
from core.types import ImageInfo

A, B = (3.5, 4.5, 2.5), (20.5, 11.5, 6.5)
FLAT = ImageInfo("yx", (40, 60), "uint8")
SPACED = ImageInfo("yx", (40, 60), "uint8", (0.8, 0.25))


def oblique() -> ImageInfo:
    direction = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = direction * (0.7, 0.9, 2.5)  # x, y, z
    affine[:3, 3] = (-12, 40, 7)
    return ImageInfo(
        "zyx", (9, 30, 40), "int16", (2.5, 0.9, 0.7), tuple(tuple(row) for row in affine.tolist())
    )


def test_lengths_equal_simpleitk_on_an_oblique_grid() -> None:
    info = oblique()
    affine = np.asarray(info.affine_lps)
    image = sitk.Image(40, 30, 9, sitk.sitkInt16)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetDirection((affine[:3, :3] / (0.7, 0.9, 2.5)).ravel().tolist())
    image.SetOrigin((-12, 40, 7))
    ends = [
        image.TransformContinuousIndexToPhysicalPoint([value - 0.5 for value in point]) for point in (A, B)
    ]
    expected = math.dist(*ends)
    assert measure(Note("length", (A, B)), info) == {"length_mm": pytest.approx(expected, abs=1e-9)}
    both = measure(Note("bidirectional", (A, (5.5, 4.5, 2.5), A, B)), info)
    assert both["long_mm"] == pytest.approx(expected)
    assert both["short_mm"] == pytest.approx(2 * 0.7)


def test_angles_are_in_millimetres_not_in_pixels() -> None:
    note = Note("angle", ((10, 0, 0.5), (0, 0, 0.5), (10, 10, 0.5)))
    assert measure(note, FLAT)["angle_deg"] == pytest.approx(45)
    assert measure(note, SPACED)["angle_deg"] == pytest.approx(math.degrees(math.atan2(8, 2.5)))
    assert math.isnan(measure(Note("angle", ((1, 1, 0), (1, 1, 0), (2, 2, 0))), FLAT)["angle_deg"])


def test_regions_equal_scikit_image() -> None:
    plane = np.random.default_rng(1).normal(100, 20, (40, 60)).astype(np.float32)
    note = Note("ellipse", ((10.0, 5.0, 0.5), (31.0, 24.0, 0.5)))
    found = measure(note, SPACED, plane)
    # scikit-image's ellipse leaves out its very border, ours keeps it: no centre lies on it here.
    rows, columns = ellipse((5 + 24) / 2 - 0.5, (10 + 31) / 2 - 0.5, 9.5, 10.5, plane.shape)
    inside = plane[rows, columns].astype(float)
    assert found["n"] == inside.size
    assert found["mean"] == pytest.approx(inside.mean()) and found["sd"] == pytest.approx(inside.std())
    assert (found["min"], found["max"]) == (inside.min(), inside.max())
    assert found["area_mm2"] == pytest.approx(math.pi / 4 * 21 * 0.25 * 19 * 0.8)
    box = measure(Note("rectangle", ((10.0, 5.0, 0.5), (31.0, 24.0, 0.5))), FLAT, plane)
    assert box["n"] == 21 * 19 and box["area_px2"] == 21 * 19
    assert box["mean"] == pytest.approx(plane[5:24, 10:31].mean(dtype=float))


def test_a_region_across_slices_uses_the_slice_distance() -> None:
    note = Note("rectangle", ((0.0, 3.5, 1.0), (10.0, 3.5, 5.0)), axis="y", plane=3)
    assert measure(note, oblique())["area_mm2"] == pytest.approx(10 * 0.7 * 4 * 2.5)


def test_notes_come_back_from_json() -> None:
    notes = {"a": Note("length", (A, B), text="lesion"), "b": Note("class", (), plane=WHOLE_IMAGE, label=2)}
    kept = notes_to_json(notes, ["b0"])
    assert notes_from_json(kept) == (notes, ["b0"])
    assert notes_to_json({}, []) == {} and notes_from_json(None) == ({}, [])


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"kind": "song"},
        {"kind": "length", "points": [[1, 2, 3]]},
        {"kind": "length", "points": [[1, 2], [3, 4]]},
        {"kind": "length", "points": [[1, 2, float("nan")], [1, 2, 3]]},
        {"kind": "point", "points": [[1, 2, 3]]},
        {"kind": "class", "points": 5},
        {"kind": "length", "points": [[1, 2, 3], [4, 5, 6]], "axis": "t"},
    ],
)
def test_what_is_no_note_is_refused(entry: dict) -> None:
    with pytest.raises(LabelError, match="note could not be read"):
        note_from_json(entry)


def test_notes_off_the_image_are_told() -> None:
    assert misfit_of_note(Note("length", (A, B), plane=1), FLAT) == "A note lies on plane 2, the image has 1."
    assert misfit_of_note(Note("length", (A, B), axis="y", plane=1), FLAT) is not None
    assert misfit_of_note(Note("class", (), plane=WHOLE_IMAGE, label=1), FLAT) is None
    assert misfit_of_note(note_from_json(note_to_json(Note("length", (A, B), "x", 39))), oblique()) is None
