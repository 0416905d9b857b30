"""Readings to files: names, values, sizes in mm, and tables that no spreadsheet runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as PILImage

from core.errors import StorageError
from core.readings.export import (
    ExportItem,
    export_csv,
    export_masks,
    export_nifti,
    file_name,
    safe_cell,
)
from core.readings.exporters import MASK_EXPORTERS
from core.readings.reading import Mask
from core.types import ImageInfo, make_labels

LABELS = make_labels(["nerve", "=vessel"])
FLAT = ImageInfo("yx", (6, 8), "uint8", (0.5, 0.25))
VOLUME = ImageInfo("zyx", (3, 4, 5), "int16", (2.0, 1.0, 0.5))
CLIP = ImageInfo("tyx", (3, 4, 5), "uint8", (1.0, 1.0))


def item(name: str, info: ImageInfo) -> ExportItem:
    array = np.zeros(info.shape, np.uint8)
    array.ravel()[:7] = 1
    array.ravel()[7:10] = 2
    return ExportItem(name, info, Mask(array), "Dr. A")


def test_masks_choose_a_format_that_holds_them(tmp_path: Path) -> None:
    files = export_masks([item("a", FLAT), item("b", VOLUME), item("c", CLIP)], LABELS, tmp_path / "out")
    assert [path.name for path in files] == ["a.png", "b.nii.gz", "c.tif", "labels.json"]
    assert np.array_equal(np.asarray(PILImage.open(files[0])), item("a", FLAT).mask.array)
    assert nib.load(files[1]).shape == (5, 4, 3)
    names = json.loads(files[3].read_text())["labels"]
    assert [(row["value"], row["name"]) for row in names] == [(1, "nerve"), (2, "=vessel")]


def test_nifti_for_all(tmp_path: Path) -> None:
    files = export_nifti([item("a", FLAT), item("b", VOLUME), item("c", CLIP)], LABELS, tmp_path)
    for path, name, info in zip(files, "abc", (FLAT, VOLUME, CLIP), strict=False):
        assert np.array_equal(np.asanyarray(nib.load(path).dataobj).T.squeeze(), item(name, info).mask.array)
    assert nib.load(files[1]).header.get_zooms() == pytest.approx((0.5, 1.0, 2.0))


def test_table(tmp_path: Path) -> None:
    (path,) = export_csv([item("=cmd()", FLAT), item("v", VOLUME), item("t", CLIP)], LABELS, tmp_path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 6
    assert rows[0]["case"] == "'=cmd()" and rows[1]["label"] == "'=vessel"
    assert (rows[0]["pixels"], rows[0]["area_mm2"], rows[0]["volume_mm3"]) == ("7", "0.875", "")
    assert (rows[2]["pixels"], rows[2]["area_mm2"], rows[2]["volume_mm3"]) == ("7", "", "7.0")
    assert rows[4]["area_mm2"] == "" and rows[2]["slices_with_label"] == "1"


def test_names_stay_in_the_folder_and_apart(tmp_path: Path) -> None:
    names = ["../../x", "A", "a", "a/b", "con", "", "ü é"]
    files = export_masks([item(name, FLAT) for name in names], LABELS, tmp_path / "out")
    assert len({str(path).lower() for path in files}) == 8
    assert all(path.parent == tmp_path / "out" and path.is_file() for path in files)
    assert file_name("..") == "case" and file_name("x" * 300) == "x" * 150


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1"])
def test_formulas_are_neutralised(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert safe_cell("a=1") == "a=1" and safe_cell(-3) == -3


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for export in MASK_EXPORTERS.values():
        with pytest.raises(StorageError):
            export([item("a", FLAT)], LABELS, tmp_path / "file" / "out")
