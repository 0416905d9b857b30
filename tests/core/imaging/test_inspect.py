"""``inspect``: the stored values of every kind of file equal what a common library reads."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage

from core.imaging.inspect import Record, inspect_paths
from core.settings import Settings
from tests.core.imaging.dicom_files import build, place, save

KEYS = {
    "path", "kind", "modality", "layout", "shape", "dtype", "spacing_mm", "orientation", "min", "max", "sha256",
    "frames", "files", "photometric", "window", "warnings",
}  # fmt: skip


def look(tmp_path: Path, *paths: Path) -> list[Record]:
    return list(inspect_paths(list(paths), tmp_path / "work", Settings()))


def matches(record: Record, array: np.ndarray) -> bool:
    return (
        record["shape"] == list(array.shape)
        and record["dtype"] == str(array.dtype)
        and record["sha256"] == hashlib.sha256(array.tobytes()).hexdigest()
        and (record["min"], record["max"]) == (array.min(), array.max())
    )


def test_dicom_files_one_by_one_equal_the_index(shared_data, tmp_path):
    with open(shared_data / "dicom_index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["decode"] == "ok" and row["modality"] != "SEG"]
    chosen = rows[::4]
    for row in chosen:
        (record,) = look(tmp_path, shared_data / row["file"])
        assert record.keys() == KEYS
        if row["file"].endswith("JPGExtended.dcm"):
            continue
        assert record["path"] == str(shared_data / row["file"])
        assert "x".join(map(str, record["shape"])) == row["shape"]
        assert (record["dtype"], str(record["min"]), str(record["max"])) == (
            row["dtype"],
            row["min"],
            row["max"],
        )
        assert record["sha256"][:16] == row["sha256_pixels"]
        assert (record["photometric"], record["kind"]) == (row["photometric"], "dicom")
        assert record["frames"] == int(row["frames"] or 1)
    assert len(chosen) > 25


def test_a_series_is_one_volume_in_its_own_order(tmp_path):
    arrays = {z: np.full((3, 4), z, np.int16) for z in (4, 0, 2)}
    for z, array in arrays.items():
        dataset = place(
            build(array, RescaleSlope=2, RescaleIntercept=-1, WindowCenter=1, WindowWidth=9), (0, 0, z)
        )
        (tmp_path / "in" / str(z)).mkdir(parents=True)
        save(dataset, tmp_path / "in" / str(z) / "slice")
    (record,) = look(tmp_path, tmp_path / "in")
    assert matches(record, np.stack([arrays[z] for z in (0, 2, 4)]))
    assert record["path"] == str(tmp_path / "in")
    assert (record["files"], record["frames"], record["layout"]) == (3, 3, "zyx")
    assert (record["spacing_mm"], record["orientation"]) == ([2, 0.5, 0.8], "LPS")
    assert record["window"] == {"center": 1, "width": 9, "function": "linear"}


def test_archives_and_refused_files(tmp_path):
    for z in (0, 2):
        (tmp_path / "disc").mkdir(exist_ok=True)
        save(place(build(np.full((3, 4), z, np.int16)), (0, 0, z)), tmp_path / "disc" / f"{z}")
    (tmp_path / "disc" / "notes.txt").write_text("no image")
    packed = Path(shutil.make_archive(str(tmp_path / "disc"), "zip", tmp_path / "disc"))
    records = look(tmp_path, packed, tmp_path / "gone")
    assert [record["path"] for record in records] == [
        str(tmp_path / "disc.zip"), str(tmp_path / "disc.zip" / "notes.txt"), str(tmp_path / "gone"),
    ]  # fmt: skip
    assert records[0]["files"] == 2
    assert all(record["reason"].endswith(".") for record in records[1:])


@pytest.mark.parametrize(
    ("name", "volumes"),
    [("anatomical.nii", 1), ("example4d.nii.gz", 2), ("test.mgz", 1), ("standard.nii.gz", 1)],
)
def test_volumes_equal_nibabel(shared_data, tmp_path, name, volumes):
    path = shared_data / "nifti_nibabel" / name
    records = look(tmp_path, path)
    image = nibabel.load(path)
    stored = np.asarray(image.dataobj.get_unscaled())
    assert len(records) == volumes
    for number, record in enumerate(records):
        assert matches(record, stored if volumes == 1 else stored[..., number])
        assert record["orientation"] == "".join(nibabel.aff2axcodes(image.affine))
        assert record["kind"] == "nifti"


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """Write one picture of each kind; return what a common library reads from each."""
    rng = np.random.default_rng(0)
    grey, color = rng.integers(0, 255, (5, 7), np.uint8), rng.integers(0, 255, (5, 7, 3), np.uint8)
    deep = rng.integers(0, 65535, (5, 7)).astype(np.uint16)
    PILImage.fromarray(grey).save(folder / "grey.png")
    PILImage.fromarray(color).save(folder / "color.bmp")
    PILImage.fromarray(color).quantize(8).save(folder / "palette.png")
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    exif = PILImage.Exif()
    exif[0x0112] = 6
    PILImage.fromarray(color).save(folder / "turned.jpg", exif=exif)
    tifffile.imwrite(
        folder / "stack.tif", rng.integers(0, 9, (3, 5, 7)).astype(np.float32), photometric="minisblack"
    )
    return {
        "grey.png": grey,
        "color.bmp": color,
        "palette.png": np.asarray(PILImage.open(folder / "palette.png")),
        "deep.png": deep,
        "turned.jpg": np.asarray(PILImage.open(folder / "turned.jpg")),
        "stack.tif": tifffile.imread(folder / "stack.tif"),
    }


def test_pictures_equal_a_common_library(tmp_path):
    for name, array in pictures(tmp_path).items():
        (record,) = look(tmp_path, tmp_path / name)
        assert matches(record, array), name
        assert record["spacing_mm"] is None and record["kind"] == "raster"


def test_paths_are_told_as_they_were_given(tmp_path, monkeypatch):
    PILImage.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert [record["path"] for record in look(tmp_path, Path())] == ["a.png"]
    assert [record["path"] for record in look(tmp_path, Path("a.png"))] == ["a.png"]
