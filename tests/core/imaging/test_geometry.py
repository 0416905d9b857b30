"""Affines: round trips, spacing, and the letters at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.imaging.geometry import (
    affine_from_spacing,
    is_usable,
    lps_from_ras,
    plane_name,
    ras_from_lps,
    side_marks,
    spacing_from_affine,
    to_rows,
)
from core.types import ImageInfo

SIZES = st.floats(0.05, 20)
ANGLES = st.floats(-3.1, 3.1)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES, SIZES, ANGLES, ANGLES, ANGLES)
def test_spacing_survives_any_rotation_and_the_way_to_ras_and_back(z, y, x, a, b, c):
    affine = np.eye(4)
    affine[:3, :3] = rotation(a, b, c) * [x, y, z]
    affine[:3, 3] = (12.5, -7, 3)
    assert spacing_from_affine(affine) == pytest.approx((z, y, x), rel=1e-6)
    assert np.array_equal(lps_from_ras(ras_from_lps(affine)), affine)
    assert spacing_from_affine(ras_from_lps(affine)) == pytest.approx((z, y, x), rel=1e-6)


def test_spacing_of_sheared_slices_is_the_distance_between_planes():
    affine = np.array([[1, 0, 2, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    assert spacing_from_affine(affine) == (3, 1, 1)
    assert np.prod(spacing_from_affine(affine)) == pytest.approx(abs(np.linalg.det(affine[:3, :3])))


def test_affine_from_spacing_is_axis_parallel():
    assert spacing_from_affine(affine_from_spacing((3, 2, 1))) == (3, 2, 1)
    assert affine_from_spacing((2, 1), (5, 6, 7))[0] == (1, 0, 0, 5)
    assert is_usable(affine_from_spacing((2, 1)))
    assert not is_usable(np.zeros((4, 4)))
    assert not is_usable(np.full((4, 4), np.nan))


@pytest.mark.parametrize(
    ("columns", "marks", "name"),
    [
        (((1, 0, 0), (0, 1, 0), (0, 0, 1)), ("R", "L", "A", "P"), "axial"),
        (((-1, 0, 0), (0, -1, 0), (0, 0, 1)), ("L", "R", "P", "A"), "axial"),
        (((1, 0, 0), (0, 0, -1), (0, 1, 0)), ("R", "L", "H", "F"), "coronal"),
        (((0, 1, 0), (0, 0, -1), (-1, 0, 0)), ("A", "P", "H", "F"), "sagittal"),
    ],
)
def test_side_marks_name_the_side_at_each_edge(columns, marks, name):
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T
    info = ImageInfo("zyx", (2, 3, 4), "int16", (1, 1, 1), to_rows(affine))
    assert side_marks(info) == marks
    assert plane_name(info) == name


def test_without_geometry_there_are_no_marks():
    info = ImageInfo("yx", (3, 4), "uint8")
    assert side_marks(info) is None
    assert plane_name(info) is None
