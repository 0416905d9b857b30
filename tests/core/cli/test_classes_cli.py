"""Classes and DICOM segmentations from the terminal: a table in, the same table out."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.core.cli.conftest import Run


@pytest.mark.long
def test_a_table_comes_in_and_goes_out(sightline: Run, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        volume = nibabel.Nifti1Image(random.integers(0, 99, (6, 5, 3), dtype=np.int16), np.diag([1, 1, 2, 1]))
        nibabel.save(volume, images / f"{name}.nii.gz")
    rows = ["file,slice,label", "a.nii.gz,,benign", "a.nii.gz,3,malignant", "b.nii.gz,,malignant"]
    (tmp_path / "classes.csv").write_text("\n".join(rows) + "\n")
    assert sightline("project", "create", "Skin", "--labels", "benign,malignant").code == 0
    done = sightline("import", "Skin", images, "--labels", tmp_path / "classes.csv", "--json")
    assert done.code == 0, done.err
    assert (done.json["cases"], done.json["readings"], done.json["skipped"]) == (2, 2, [])
    out = tmp_path / "out"
    for form, names in (("classes", ["classes.csv"]), ("dicom-seg", ["a.dcm", "b.dcm", "classes.csv"])):
        exported = sightline("export", "Skin", "--format", form, "--out", out)
        assert exported.code == 0, exported.err
        assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "classes.csv").read_text().splitlines() == rows
