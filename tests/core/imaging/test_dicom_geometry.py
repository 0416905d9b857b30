"""Physical geometry: a phantom whose sides cannot be confused, against the truth and against SimpleITK."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from core.imaging.dicom import read_dicom_series
from core.imaging.found import Found
from core.imaging.geometry import orientation_letters, side_marks
from core.settings import Settings
from tests.core.imaging.dicom_files import build, save

TOLERANCE_MM = 1e-3
SPACING_ZYX = (2.5, 0.7, 0.9)
SHAPE = (5, 6, 8)
ORIGIN = np.array([-31.25, 12.5, 140.75])
# Three marks at different distances from the first corner along each axis: no flip or swap maps them to themselves.
MARKS = {101: (1, 1, 1), 202: (3, 2, 5), 303: (4, 5, 6)}  # value -> z, y, x
FLIPS = list(itertools.product((1, -1), repeat=3))
SWAPS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0), (0, 0, 1)),
}
LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))


def rotation(a: float, b: float) -> np.ndarray:
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return z @ x


def phantom() -> np.ndarray:
    array = np.zeros(SHAPE, np.int16)
    for value, place in MARKS.items():
        array[place] = value
    return array


def place_of(index: tuple[int, int, int], axes: np.ndarray) -> np.ndarray:
    """Return the true LPS mm of a voxel (z, y, x); ``axes`` has the directions of z, y, x as rows."""
    return ORIGIN + (np.array(index) * SPACING_ZYX) @ axes


def slices(axes: np.ndarray, shear: np.ndarray | None = None) -> list[Dataset]:
    """Return the phantom as single-frame objects; their order in time is the array's, whatever its direction."""
    array, found = phantom(), []
    for z in range(SHAPE[0]):
        dataset = build(array[z], InstanceNumber=z + 1, SliceThickness=99, SpacingBetweenSlices=77)
        position = place_of((z, 0, 0), axes) + (z * shear if shear is not None else 0)
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
        dataset.ImageOrientationPatient = [f"{value:.9f}" for value in (*axes[2], *axes[1])]
        dataset.PixelSpacing = list(SPACING_ZYX[1:])
        dataset.FrameOfReferenceUID, dataset.StudyInstanceUID = "1.2.3", "1.2.3.4"
        found.append(dataset)
    return found


def write(datasets: list[Dataset], folder: Path) -> list[Path]:
    return [save(dataset, folder / f"{number}.dcm") for number, dataset in enumerate(datasets)]


def read_one(paths: list[Path]) -> Found:
    (found,) = read_dicom_series(paths, "salt", Settings())
    return found


def check_against_truth(found: Found, axes: np.ndarray, shear: np.ndarray | None = None) -> None:
    info, array = found.image.info, found.image.array
    affine = np.array(info.affine_lps)
    for value, place in MARKS.items():
        z, y, x = (int(n) for n in np.argwhere(array == value)[0])
        truth = place_of(place, axes) + (place[0] * shear if shear is not None else 0)
        assert affine @ [x, y, z, 1] == pytest.approx([*truth, 1], abs=TOLERANCE_MM)
    assert info.spacing_mm == pytest.approx(SPACING_ZYX, abs=1e-6)
    assert np.linalg.det(affine[:3, :3]) > 0 or shear is not None


def check_against_simpleitk(found: Found, paths: list[Path]) -> None:
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    if len(paths) > 1:
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
        theirs = reader.Execute()
    else:
        theirs = sitk.ReadImage(str(paths[0]))
    their_array = sitk.GetArrayFromImage(theirs)
    affine = np.array(found.image.info.affine_lps)
    for value in MARKS:
        z, y, x = (int(n) for n in np.argwhere(found.image.array == value)[0])
        tz, ty, tx = (int(n) for n in np.argwhere(their_array == value)[0])
        point = theirs.TransformIndexToPhysicalPoint((tx, ty, tz))
        assert (affine @ [x, y, z, 1])[:3] == pytest.approx(point, abs=TOLERANCE_MM)


def axes_of(plane: str, flips: tuple[int, int, int]) -> np.ndarray:
    """Return the directions of z, y, x of a volume, each perhaps turned round."""
    row, column = (np.array(direction, float) for direction in SWAPS[plane])
    return np.array([flips[0] * np.cross(row, column), flips[1] * column, flips[2] * row])


@pytest.mark.parametrize("plane", SWAPS)
@pytest.mark.parametrize("flips", FLIPS)
def test_all_axis_flips(tmp_path, plane, flips):
    axes = axes_of(plane, flips)
    paths = write(slices(axes), tmp_path)
    found = read_one(paths[::-1])
    check_against_truth(found, axes)
    check_against_simpleitk(found, paths)
    assert found.image.info.warnings == ()
    to_right, to_bottom = axes[2], axes[1]
    edges = [-to_right, to_right, -to_bottom, to_bottom]
    letters = [LETTERS[np.abs(edge).argmax()][0 if edge.sum() > 0 else 1] for edge in edges]
    assert side_marks(found.image.info) == tuple(letters)


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("angles", [(0.3, -0.5), (0.75, 0.2), (-1.2, 2.9)])
def test_oblique_planes(tmp_path, flips, angles):
    axes = axes_of("axial", flips) @ rotation(*angles).T
    paths = write(slices(axes), tmp_path)
    found = read_one(paths)
    check_against_truth(found, axes)
    check_against_simpleitk(found, paths)


@pytest.mark.parametrize("flips", FLIPS)
def test_enhanced_file_with_all_axis_flips(tmp_path, flips):
    axes = axes_of("axial", flips)
    dataset = build(phantom(), NumberOfFrames=SHAPE[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    frames = []
    for z in range(SHAPE[0]):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [f"{value:.6f}" for value in place_of((z, 0, 0), axes)]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [f"{value:.6f}" for value in (*axes[2], *axes[1])]
    measures.PixelSpacing, measures.SliceThickness = list(SPACING_ZYX[1:]), 99
    measures.SpacingBetweenSlices = SPACING_ZYX[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence = frames, [shared]
    path = save(dataset, tmp_path / "a.dcm")
    found = read_one([path])
    check_against_truth(found, axes)
    check_against_simpleitk(found, [path])


def test_tilted_gantry(tmp_path):
    axes, shear = axes_of("axial", (1, 1, 1)), np.array([0, 0.6, 0])
    found = read_one(write(slices(axes, shear), tmp_path))
    check_against_truth(found, axes, shear)
    assert "gantry tilted by 13.5 degrees" in found.image.info.warnings[0]


def test_slices_beside_the_line_are_said(tmp_path):
    datasets = slices(axes_of("axial", (1, 1, 1)))
    datasets[2].ImagePositionPatient[0] += 3
    found = read_one(write(datasets, tmp_path))
    assert "do not lie in line (up to 3.00 mm beside it)" in found.image.info.warnings[0]


def test_missing_spacing_stays_unknown(tmp_path):
    datasets = slices(axes_of("axial", (1, 1, 1)))
    for dataset in datasets:
        del dataset.PixelSpacing
    found = read_dicom_series(write(datasets, tmp_path), "salt", Settings())
    assert [item.image.info.spacing_mm for item in found] == [None] * SHAPE[0]
    assert [item.image.info.layout for item in found] == ["yx"] * SHAPE[0]


@pytest.mark.parametrize(
    ("matrix", "letters"),
    [
        (np.diag([1.0, 1, 1]), "LPS"),
        (np.diag([-1.0, -1, 1]), "RAS"),
        (np.diag([-2.0, 3, -4]), "RPI"),
        (np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]), "PIL"),
        (rotation(0.78, 0.1), "LPS"),
    ],
)
def test_orientation_letters(matrix, letters):
    affine = np.eye(4)
    affine[:3, :3] = matrix
    assert orientation_letters(affine) == letters


@pytest.mark.parametrize("seed", range(20))
def test_orientation_letters_equal_nibabel(seed):
    import nibabel

    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = rotation(*rng.uniform(-3, 3, 2))[:, rng.permutation(3)] * rng.uniform(0.5, 3, 3)
    theirs = "".join(nibabel.aff2axcodes(np.diag([-1, -1, 1, 1]) @ affine))
    assert orientation_letters(affine) == theirs
