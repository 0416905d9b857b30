"""Phantoms: the same for the same seed, truth where it was drawn, and a CT series other programs read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from core.imaging.phantom_dicom import write_dicom_series
from core.imaging.phantoms import PHANTOMS, Phantom, blood_smear, ct_chest, dermoscopy, ultrasound
from core.settings import Settings


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return ct_chest(3)


@pytest.mark.parametrize("kind", sorted(PHANTOMS))
def test_seed_decides_everything(kind: str) -> None:
    first, again, other = PHANTOMS[kind](5), PHANTOMS[kind](5), PHANTOMS[kind](6)
    assert np.array_equal(first.image.array, again.image.array) and np.array_equal(first.truth, again.truth)
    assert not np.array_equal(first.image.array, other.image.array)
    info = first.image.info
    assert info.metadata["synthetic"] == "yes" and "SYNTHETIC" in info.metadata["description"]
    assert (
        info.modality
        == {"ct_chest": "CT", "ultrasound": "US", "dermoscopy": "DMS", "blood_smear": "GM"}[kind]
    )
    assert first.truth.shape == info.spatial_shape and first.truth.dtype == np.uint8
    assert set(np.unique(first.truth)) <= {0} | {label.value for label in first.labels}
    assert first.truth.any() and info.spacing_mm is not None


def test_chest_values_are_hounsfield_units(chest: Phantom) -> None:
    hu, nodule = chest.image.array, chest.truth == 1
    assert hu.dtype == np.int16 and hu.shape == (40, 192, 192)
    core = ndimage.binary_erosion(nodule, np.ones((1, 3, 3)))
    ring = ndimage.binary_dilation(nodule, np.ones((1, 9, 9))) & ~ndimage.binary_dilation(
        nodule, np.ones((1, 5, 5))
    )
    assert core.any()
    assert hu[core].mean() > -50 and np.median(hu[ring]) < -650
    assert -1020 < np.median(hu[:, :8]) < -980  # air around the patient
    assert (hu > 300).sum() > 5000  # bone
    assert ndimage.label(nodule)[1] >= 2


def test_chest_lies_on_its_back_with_the_heart_to_the_left(chest: Phantom) -> None:
    info = chest.image.info
    affine = np.array(info.affine_lps)
    assert np.allclose(np.diag(affine)[:3], np.array(info.spacing_mm)[::-1])
    bone = chest.image.array > 300
    assert (np.argwhere(bone)[:, 1].mean() - 96) > 0  # the spine is at the back: larger y
    lung = (chest.image.array < -600) & (chest.image.array > -960)
    middle = lung[15:25, 60:110]
    assert middle[..., :96].sum() > 1.05 * middle[..., 96:].sum()  # the heart takes room from the left lung


def test_cyst_is_dark_and_its_surround_is_not() -> None:
    phantom = ultrasound(0)
    cyst = ndimage.binary_erosion(phantom.truth == 1, iterations=2)
    ring = ndimage.binary_dilation(phantom.truth == 1, iterations=8) & (phantom.truth == 0)
    assert phantom.image.array[cyst].mean() * 2.5 < phantom.image.array[ring].mean()


def test_lesion_is_darker_than_skin() -> None:
    phantom = dermoscopy(0)
    grey = phantom.image.array.mean(axis=2)
    assert grey[phantom.truth == 1].mean() + 30 < grey[phantom.truth == 0].mean()
    assert ndimage.label(phantom.truth)[1] == 1


def test_blood_cells_have_boxes_that_hold_them() -> None:
    phantom = blood_smear(1)
    assert {box.label for box in phantom.boxes} == {1, 2, 3}
    covered = np.zeros(phantom.truth.shape, bool)
    for box in phantom.boxes:
        x0, y0, x1, y1 = (int(v) for v in box.box_xyxy)
        assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 240
        covered[y0:y1, x0:x1] = True
    assert not (phantom.truth[~covered] > 0).any()
    red, background = (phantom.image.array[phantom.truth == v].mean(axis=0) for v in (1, 0))
    assert background[1] - red[1] > 25 and red[0] > red[2]


def test_dicom_series_is_read_alike_by_simpleitk_and_us(chest: Phantom, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    files = write_dicom_series(chest.image, tmp_path / "series", 4, "SYN-003")
    assert len(files) == 40
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    volume = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(volume), chest.image.array)
    assert volume.GetSpacing()[::-1] == pytest.approx(chest.image.info.spacing_mm)
    affine = np.array(chest.image.info.affine_lps)
    assert volume.GetOrigin() == pytest.approx(affine[:3, 3])

    from core.imaging.dicom import read_dicom_series

    (found,) = read_dicom_series(files, "salt", Settings())
    assert np.array_equal(found.image.array, chest.image.array)
    assert np.allclose(found.image.info.affine_lps, affine)
    assert found.image.info.modality == "CT" and found.image.info.spacing_mm == pytest.approx((4, 1.8, 1.8))


def test_dicom_files_say_that_they_are_synthetic(chest: Phantom, tmp_path: Path) -> None:
    import pydicom

    first, again = (write_dicom_series(chest.image, tmp_path / n, 1, "SYN-1") for n in ("a", "b"))
    assert first[0].read_bytes() == again[0].read_bytes()
    datasets = [pydicom.dcmread(path) for path in first]
    assert len({str(d.SOPInstanceUID) for d in datasets}) == len(datasets)
    for dataset in (datasets[0], datasets[-1]):
        for field in ("ImageComments", "SeriesDescription", "PatientName", "StudyDescription"):
            assert "SYNTHETIC" in str(dataset[field].value)
        assert dataset.RescaleIntercept == -1024 and dataset.BitsStored == 12
    with pytest.raises(ValueError, match="zyx"):
        write_dicom_series(ultrasound(0).image, tmp_path / "c", 1, "SYN")
