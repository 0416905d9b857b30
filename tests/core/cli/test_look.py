"""``sightline inspect`` in the terminal, and segmentations that come in with their images."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.core.cli.conftest import Run
from tests.core.imaging.dicom_files import build, place, save
from tests.core.readings.test_dicom_seg import segment, write


def test_inspect_prints_one_object_and_says_by_its_code_whether_anything_was_found(
    sightline: Run, tmp_path: Path, home: Path
) -> None:
    save(build(np.arange(12, dtype=np.int16).reshape(3, 4)), tmp_path / "a.dcm")
    (tmp_path / "b.txt").write_text("no image")
    done = sightline("inspect", tmp_path / "a.dcm", tmp_path / "b.txt", "--json")
    assert done.code == 0, done.err
    (image,), (skipped,) = done.json["images"], done.json["skipped"]
    assert (image["path"], image["shape"], image["max"]) == (str(tmp_path / "a.dcm"), [3, 4], 11)
    assert skipped["path"] == str(tmp_path / "b.txt") and "no image" in skipped["reason"]
    told = sightline("inspect", tmp_path / "a.dcm")
    assert told.code == 0 and "3 x 4 int16 [0 .. 11]" in told.out
    nothing = sightline("inspect", tmp_path / "b.txt", "--json")
    assert nothing.code == 1 and nothing.json["images"] == []
    assert "Traceback" not in nothing.err
    assert sightline("inspect").code == 2
    assert not home.exists()  # it looks and keeps nothing


def series(folder: Path, count: int = 4) -> None:
    folder.mkdir(parents=True)
    for z in range(count):
        dataset = build(np.full((5, 6), z, np.int16), InstanceNumber=z)
        place(dataset, (10, 20, 30 + 2 * z), spacing=(0.5, 0.8))
        save(dataset, folder / f"{z}.dcm")


@pytest.mark.parametrize("way", [pytest.param("with the images", marks=pytest.mark.long), "as labels"])
def test_segmentations_become_readings_of_the_series_they_name(
    sightline: Run, tmp_path: Path, way: str
) -> None:
    series(tmp_path / "images")
    marks = tmp_path / ("images" if way == "with the images" else "marks")
    marks.mkdir(exist_ok=True)
    pixels = np.zeros((5, 6), np.uint8)
    pixels[1:3, 2:5] = 1
    write(
        marks / "any-name.dcm", [(1, 2, pixels), (2, 3, pixels)], [segment(1, "Liver"), segment(2, "Spine")]
    )
    sightline("project", "create", "Organs", "--labels", "spine,liver")
    labels = [] if way == "with the images" else ["--labels", marks]
    done = sightline("import", "Organs", tmp_path / "images", *labels, "--reader", "anna", "--json")
    assert done.code == 0, done.err
    assert (done.json["cases"], done.json["readings"], done.json["skipped"]) == (1, 1, [])
    exported = sightline(
        "export", "Organs", "--format", "nifti", "--reader", "anna", "--out", tmp_path / "out"
    )
    assert exported.code == 0, exported.err
    (file,) = (tmp_path / "out").glob("*.nii.gz")
    array = np.asarray(nibabel.load(file).dataobj).T
    assert np.array_equal(array[2], pixels * 2) and np.array_equal(array[3], pixels)
    again = sightline("import", "Organs", tmp_path / "images", *labels, "--reader", "anna", "--json")
    assert (again.json["already_there"], again.json["readings"]) == (1, 1)


def test_a_segmentation_without_its_series_is_named_or_laid_by_its_place(
    sightline: Run, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    write(marks / "lost.dcm", [(1, 2, np.ones((5, 6), np.uint8))], [segment(1, "liver")])
    sightline("project", "create", "Organs", "--labels", "liver")
    lost = sightline("import", "Organs", marks, "--json")
    assert lost.code == 1
    assert "marks a series that is not in this project" in lost.json["skipped"][0]["reason"]
    volume = nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.diag([-0.8, -0.5, 2, 1]))
    volume.affine[:3, 3] = (-10, -20, 30)
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), volume.affine), tmp_path / "ct.nii.gz")
    done = sightline("import", "Organs", tmp_path / "ct.nii.gz", marks, "--json")
    assert (done.json["cases"], done.json["readings"]) == (1, 1), done.json
    assert any("whose place and size fit" in warning for warning in done.json["warnings"])
