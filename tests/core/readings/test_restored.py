"""Restored images: they fit or say why not, come back from the store, and every file says that they were computed."""

from __future__ import annotations

import csv
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
import tifffile
from PIL import Image as PILImage

from core.errors import LabelError
from core.imaging.computed import computed_by, mark_computed
from core.imaging.found import Found
from core.imaging.geometry import finer_info
from core.imaging.scan import scan
from core.readings.export import ExportItem
from core.readings.reading import RestoredImage
from core.readings.restored_files import RESTORED_EXPORTERS, read_restored
from core.readings.stored import hash_reading, read_reading, write_reading
from core.settings import Settings
from core.types import ImageInfo

HOW = "super-resolution x4 by model nuclei (1f2e3d4c)"
AFFINE = ((0.0, 0.6, 0.0, -12.0), (0.5, 0.0, 0.0, 30.0), (0.0, 0.0, -2.0, 100.0), (0.0, 0.0, 0.0, 1.0))


def coarse_of(layout: str, shape: tuple[int, ...], dtype: str = "uint8") -> ImageInfo:
    volume = layout[0] == "z"
    spacing = (2.0, 0.6, 0.5) if volume else (0.6, 0.5)
    return ImageInfo(layout, shape, dtype, spacing, AFFINE if volume else None, "CT" if volume else "DX")


def restored(info: ImageInfo, factors: tuple[int, ...], low: int, high: int, dtype: str) -> RestoredImage:
    fine = mark_computed(replace(finer_info(info, factors), dtype=dtype), HOW)
    values = np.random.default_rng(0).integers(low, high, fine.shape).astype(dtype)
    return RestoredImage(values, fine, facts={"consistency_db": 48.5})


CASES = {
    "bytes": (coarse_of("yx", (5, 6)), (4, 4), 0, 256, "uint8", ".png"),
    "words": (coarse_of("yx", (5, 6), "uint16"), (2, 2), 0, 65536, "uint16", ".png"),
    "colour": (coarse_of("yxc", (5, 6, 3)), (3, 3), 0, 256, "uint8", ".png"),
    "negative": (coarse_of("yx", (5, 6), "int16"), (2, 2), -1000, 900, "int16", ".tif"),
    "floats": (coarse_of("yx", (5, 6), "float32"), (2, 2), 0, 5, "float32", ".tif"),
    "clip": (coarse_of("tyx", (3, 5, 6)), (1, 2, 2), 0, 256, "uint8", ".tif"),
    "volume": (coarse_of("zyx", (3, 5, 6), "int16"), (1, 2, 2), -1000, 900, "int16", ".nii.gz"),
    "slices": (coarse_of("zyx", (3, 5, 6), "int16"), (3, 1, 1), -1000, 900, "int16", ".nii.gz"),
}


def found_in(path: Path, tmp_path: Path) -> list[Found]:
    found = list(scan([path], tmp_path / "unpacked", "", Settings()))
    assert all(isinstance(item, Found) for item in found), found
    return found


@pytest.mark.parametrize("name", CASES)
def test_files_hold_the_values_and_the_mark(name: str, tmp_path: Path) -> None:
    info, factors, low, high, dtype, ending = CASES[name]
    reading = restored(info, factors, low, high, dtype)
    [path] = RESTORED_EXPORTERS["images"]([ExportItem("a/b", info, reading, "net")], (), tmp_path)
    assert path.name == f"a_b_computed_x{max(factors)}{ending}"
    if ending == ".png":
        with PILImage.open(path) as picture:
            stored, words = np.asarray(picture), picture.info["Description"]
    elif ending == ".tif":
        with tifffile.TiffFile(path) as file:
            stored, words = file.asarray(), file.pages[0].tags["ImageDescription"].value
    else:
        image = nibabel.load(path)
        stored, words = np.asarray(image.dataobj).T, bytes(image.header["descrip"].item()).decode()
        assert np.allclose(image.header.get_zooms(), reading.info.spacing_mm[::-1])
    assert np.array_equal(stored, reading.array)
    assert words.startswith("computed by super-resolution x4")
    [again] = found_in(path, tmp_path)
    assert computed_by(again.image.info) == HOW
    assert any("not acquired" in warning for warning in again.image.info.warnings)


@pytest.mark.parametrize("name", ["bytes", "words", "colour", "negative", "volume"])
def test_dicom_is_derived_and_exact(name: str, tmp_path: Path) -> None:
    info, factors, low, high, dtype, _ = CASES[name]
    reading = restored(info, factors, low, high, dtype)
    files = RESTORED_EXPORTERS["dicom"]([ExportItem("case", info, reading)], (), tmp_path / "out")
    headers = [pydicom.dcmread(path) for path in files]
    assert len({header.SOPInstanceUID for header in headers}) == len(files) == reading.info.slices
    for header in headers:
        assert list(header.ImageType) == ["DERIVED", "SECONDARY"]
        assert header.DerivationDescription == f"computed by {HOW}, not acquired"
        assert (header.PatientID, str(header.PatientName)) == ("", "")
    [found] = found_in(tmp_path / "out", tmp_path)
    assert np.array_equal(found.image.array, reading.array)
    assert computed_by(found.image.info) == HOW
    if name == "volume":
        assert np.allclose(found.image.info.affine_lps, reading.info.affine_lps, atol=1e-6)
        other = SimpleITK.ReadImage([str(path) for path in files])  # reads values by the rescale, too
        assert np.array_equal(SimpleITK.GetArrayFromImage(other), reading.array)


def test_floats_in_dicom_are_near(tmp_path: Path) -> None:
    info = coarse_of("yx", (5, 6), "float32")
    reading = restored(info, (2, 2), 0, 5, "float32")
    values = (reading.array * 0.731 - 0.2).astype(np.float32)
    [path] = RESTORED_EXPORTERS["dicom"](
        [ExportItem("case", info, replace(reading, array=values))], (), tmp_path
    )
    [found] = found_in(path, tmp_path)
    assert np.abs(found.image.array - values).max() <= (values.max() - values.min()) / 65535


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("name", ["bytes", "words", "colour", "volume"])
def test_dicom3tools_finds_no_error(name: str, tmp_path: Path) -> None:
    info, factors, low, high, dtype, _ = CASES[name]
    reading = restored(info, factors, low, high, dtype)
    files = RESTORED_EXPORTERS["dicom"]([ExportItem("case", info, reading)], (), tmp_path)
    said = subprocess.run(["dciodvfy", str(files[0])], capture_output=True, text=True, check=False)
    assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []


def test_an_acquired_image_is_not_written_as_derived(tmp_path: Path) -> None:
    info = coarse_of("yx", (5, 6))
    acquired = RestoredImage(np.zeros((10, 12), np.uint8), finer_info(info, (2, 2)))
    with pytest.raises(LabelError, match="computed"):
        RESTORED_EXPORTERS["dicom"]([ExportItem("case", info, acquired)], (), tmp_path)


def test_the_table_names_what_computed_it(tmp_path: Path) -> None:
    info, factors, *values, _ = CASES["volume"]
    [path] = RESTORED_EXPORTERS["csv"](
        [ExportItem("=case", info, restored(info, factors, *values))], (), tmp_path
    )
    with open(path, newline="") as file:
        [row] = csv.DictReader(file)
    assert row["case"] == "'=case"
    assert row["computed_by"] == HOW
    assert (row["columns"], row["rows"], row["slices"]) == ("12", "10", "3")
    assert float(row["value"]) == 48.5


@pytest.mark.parametrize("name", CASES)
def test_the_store_gives_back_what_it_got(name: str, tmp_path: Path) -> None:
    info, factors, *values, _ = CASES[name]
    reading = restored(info, factors, *values)
    spread = np.random.default_rng(1).random(reading.info.spatial_shape).astype(np.float16)
    reading = replace(reading, spread=spread)
    write_reading(reading, tmp_path / "reading.npz")
    again = read_reading(tmp_path / "reading.npz")
    assert isinstance(again, RestoredImage)
    assert np.array_equal(again.array, reading.array)
    assert np.array_equal(again.spread, spread)
    assert (again.info, dict(again.facts)) == (reading.info, dict(reading.facts))
    assert hash_reading(again) == hash_reading(reading)
    assert read_reading(tmp_path / "reading.npz", with_probabilities=False).spread is None
    assert hash_reading(replace(reading, facts={"consistency_db": 1.0})) != hash_reading(reading)


@pytest.mark.parametrize(
    ("shape", "says"),
    [((10, 12), None), ((10, 13), "whole multiple"), ((5, 6), "must have more"), ((10, 12, 3), "channels")],
)
def test_misfit(shape: tuple[int, ...], says: str | None) -> None:
    info = coarse_of("yx", (5, 6))
    layout = "yx" if len(shape) == 2 else "yxc"
    reading = RestoredImage(np.zeros(shape, np.uint8), ImageInfo(layout, shape, "uint8"))
    misfit = reading.misfit(info)
    assert (misfit is None) if says is None else (misfit is not None and says in misfit)


def test_a_finer_truth_is_read_from_a_file(tmp_path: Path) -> None:
    info = coarse_of("yx", (5, 6))
    fine = np.random.default_rng(0).integers(0, 255, (10, 12), dtype=np.uint8)
    PILImage.fromarray(fine).save(tmp_path / "fine.png")
    reading = read_restored(tmp_path / "fine.png", info)
    assert np.array_equal(reading.array, fine)
    assert reading.computed == ""
    PILImage.fromarray(fine[:9]).save(tmp_path / "odd.png")
    with pytest.raises(LabelError, match="whole multiple"):
        read_restored(tmp_path / "odd.png", info)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(LabelError):
        read_restored(tmp_path / "broken.png", info)


@pytest.mark.parametrize("factors", [(1, 2, 2), (3, 1, 1), (2, 4, 4)])
def test_the_finer_grid_covers_the_same_field_of_view(factors: tuple[int, int, int]) -> None:
    """An independent library gives the same corners of the field of view for both grids."""
    info = coarse_of("zyx", (3, 5, 6), "int16")
    fine = finer_info(info, factors)
    corners = []
    for one in (info, fine):
        nifti = nibabel.Nifti1Image(np.zeros(one.shape[::-1], np.int16), np.array(one.affine_lps))
        edges = np.array([[-0.5] * 3, np.array(one.shape[::-1]) - 0.5])
        corners.append(nibabel.affines.apply_affine(nifti.affine, edges))
    assert np.allclose(*corners)
    assert np.allclose(np.array(fine.spacing_mm) * factors, info.spacing_mm)
