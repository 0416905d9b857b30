"""Boxes and masks come back from every format as they went in, and others' readers see the same."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.readings.box_export import (
    export_box_table,
    export_coco,
    export_instances,
    export_instances_nifti,
    export_voc,
    export_yolo,
)
from core.readings.masks import write_masks_png
from core.readings.reading import Boxes, Mask, no_boxes
from core.readings.voc import parse_xml
from core.types import ImageInfo
from tests.core.readings.label_samples import (
    FLAT,
    LABELS,
    VOLUME,
    assert_same,
    notes,
    problems,
    random_boxes,
    read,
    write,
)

EXACT = {"coco": export_coco, "csv": export_box_table, "voc": export_voc}
seeds = st.integers(0, 10**6)


def there_and_back(export, boxes: Boxes, info: ImageInfo, folder: Path, name: str = "case one.png") -> Boxes:
    write(export, {name: (info, boxes)}, folder)
    readings, items = read(folder, {f"images/{name}": info})
    assert problems(items) == []
    return readings[f"images/{name}"]


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from(sorted(EXACT)), st.booleans(), st.booleans())
def test_boxes_come_back_bit_by_bit(tmp_path_factory, seed: int, name: str, whole: bool, stack: bool) -> None:
    info = VOLUME if stack else FLAT
    boxes = random_boxes(seed, info, whole, more=name != "voc")
    back = there_and_back(EXACT[name], boxes, info, tmp_path_factory.mktemp("out"))
    assert_same(back, boxes)
    if boxes.scores is not None:
        np.testing.assert_array_equal(back.scores, boxes.scores)


@settings(max_examples=25, deadline=None)
@given(seeds, st.booleans(), st.booleans())
def test_yolo_boxes_come_back(tmp_path_factory, seed: int, whole: bool, stack: bool) -> None:
    info = VOLUME if stack else FLAT
    boxes = random_boxes(seed, info, whole, more=True)
    back = there_and_back(export_yolo, boxes, info, tmp_path_factory.mktemp("out"))
    np.testing.assert_allclose(back.box_xyxy, boxes.box_xyxy, atol=1e-5)
    if whole:
        assert_same(back, boxes)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(["coco", "yolo"]), st.booleans())
def test_masks_of_objects_come_back_bit_by_bit(tmp_path_factory, seed: int, name: str, stack: bool) -> None:
    info = VOLUME if stack else FLAT
    boxes = random_boxes(seed, info, crops=True)
    export = export_coco if name == "coco" else export_yolo
    assert_same(there_and_back(export, boxes, info, tmp_path_factory.mktemp("out")), boxes)


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from(["coco", "yolo"]), st.booleans())
def test_label_maps_come_back_bit_by_bit(tmp_path_factory, seed: int, name: str, stack: bool) -> None:
    info, folder = VOLUME if stack else FLAT, tmp_path_factory.mktemp("out")
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 4, (*info.shape[:-2], 12, 16))
    mask = Mask(np.kron(coarse, np.ones((5, 5))).astype(np.uint8).reshape(info.shape))
    write(export_coco if name == "coco" else export_yolo, {"a.png": (info, mask)}, folder)
    readings, items = read(folder, {"a.png": info}, "mask")
    assert problems(items) == []
    assert_same(readings["a.png"], mask)


def apart(boxes: Boxes) -> Boxes:
    """Leave out objects that overlap others: a label map shows one object in a pixel."""
    taken = np.zeros((VOLUME.slices, 60, 80), bool)
    kept = []
    for number, (left, top, right, bottom) in enumerate(boxes.box_xyxy.astype(int).tolist()):
        part = taken[boxes.planes[number], top:bottom, left:right]
        if not part.any():
            part[...] = True
            kept.append(number)
    return boxes.only(np.array(kept, int))


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([FLAT, VOLUME]), st.booleans())
def test_instance_maps_come_back(tmp_path_factory, seed: int, info: ImageInfo, nifti: bool) -> None:
    folder = tmp_path_factory.mktemp("out")
    boxes = apart(random_boxes(seed, info, crops=True, more=True))
    export = export_instances_nifti if nifti else export_instances
    write(export, {"a.png": (info, boxes)}, folder)
    back = read(folder, {"a.png": info}, form="instances")[0]["a.png"]
    if not len(boxes):
        assert not len(back)
        return
    assert_same(back, boxes)
    np.testing.assert_array_equal(back.scores, boxes.scores)


def test_pycocotools_reads_what_we_write(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    boxes = random_boxes(8, FLAT, crops=True, more=True)
    crowd = np.arange(len(boxes)) == 1
    boxes = replace(boxes, crowds=crowd)
    [path] = write(export_coco, {"a.png": (FLAT, boxes)}, tmp_path)
    coco = COCO(str(path))
    rows = coco.loadAnns(coco.getAnnIds())
    assert len(rows) == len(boxes) > 2
    for number, row in enumerate(rows):
        left, top, right, bottom = boxes.box_xyxy[number].astype(int)
        plane = np.zeros(FLAT.shape, bool)
        plane[top:bottom, left:right] = boxes.crops[number]
        np.testing.assert_array_equal(coco.annToMask(row).astype(bool), plane)
        assert row["bbox"] == [left, top, right - left, bottom - top]
        assert row["iscrowd"] == int(crowd[number])
        assert row["area"] == plane.sum()
        assert coco.loadCats(row["category_id"])[0]["name"] == LABELS[boxes.labels[number] - 1].name
    readings, _ = read(tmp_path, {"a.png": FLAT})
    np.testing.assert_array_equal(readings["a.png"].crowds, crowd)


def test_masks_of_a_label_map_in_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    array = np.zeros(FLAT.shape, np.uint8)
    array[5:20, 5:30], array[9:12, 9:12] = 1, 0  # a part with a hole
    array[30:40, 30:40], array[40:45, 40:45] = 2, 2  # two squares that touch at a corner
    [path] = write(export_coco, {"a.png": (FLAT, Mask(array))}, tmp_path)
    coco = COCO(str(path))
    rows = coco.loadAnns(coco.getAnnIds())
    assert [isinstance(row["segmentation"], dict) for row in rows] == [True, False]
    for row in rows:
        np.testing.assert_array_equal(coco.annToMask(row).astype(bool), array == row["category_id"])


def test_torchvision_reads_the_voc_files(tmp_path: Path) -> None:
    from torchvision.datasets import VOCDetection

    whole = Boxes(np.array([[0, 0, 80, 60]], np.float32), np.array([1], np.uint16), np.zeros(1, np.int32))
    [path] = write(export_voc, {"a.png": (FLAT, whole)}, tmp_path)
    told = VOCDetection.parse_voc_xml(parse_xml(path.read_text(), path.name))["annotation"]
    assert told["size"] == {"width": "80", "height": "60"}
    [one] = told["object"]
    assert one["bndbox"] == {
        "xmin": "1",
        "ymin": "1",
        "xmax": "80",
        "ymax": "60",
    }  # VOC: from 1, last included
    assert one["name"] == "red cell"
    assert told["filename"] == "a.png"


def test_yolo_lines_are_ultralytics_shares(tmp_path: Path) -> None:
    import yaml

    one = Boxes(np.array([[8, 6, 24, 36]], np.float32), np.array([2], np.uint16), np.zeros(1, np.int32))
    files = write(export_yolo, {"a.png": (FLAT, one)}, tmp_path)
    assert (
        tmp_path / "labels" / "a.txt"
    ).read_text() == "1 0.2 0.35 0.2 0.5\n"  # class, centre, size / image
    names = yaml.safe_load(files[0].read_text())["names"]
    assert names == {0: "red cell", 1: "white cell", 2: "=plate, é"}


def test_formulas_in_a_table_are_neutralised_and_come_back(tmp_path: Path) -> None:
    one = Boxes(np.array([[8.25, 6, 24, 36]], np.float32), np.array([3], np.uint16), np.zeros(1, np.int32))
    [path] = write(export_box_table, {"=a.png": (FLAT, one), "b.png": (FLAT, no_boxes())}, tmp_path)
    rows = list(csv.reader(path.open()))
    assert rows[0] == ["file", "label", "left", "top", "right", "bottom"]
    assert rows[1] == ["'=a.png", "'=plate, é", "8.25", "6", "24", "36"]
    assert rows[2] == ["b.png", "", "", "", "", ""]
    readings, _ = read(path, {"=a.png": FLAT, "b.png": FLAT})
    assert_same(readings["=a.png"], one)
    assert len(readings["b.png"]) == 0


@pytest.mark.parametrize("export", [export_coco, export_voc, export_yolo, export_box_table])
def test_images_without_objects_come_back_as_such(export, tmp_path: Path) -> None:
    for info in (FLAT, VOLUME):
        back = there_and_back(export, no_boxes(), info, tmp_path / info.layout, "a.png")
        assert len(back) == 0


def test_labelimg_corners_and_vocs_own_counting(tmp_path: Path) -> None:
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>"
    row = f"<object><name>red cell</name>{box}</object>"
    for name, database in (("a", "Unknown"), ("b", "The VOC2007 Database")):
        source = f"<source><database>{database}</database></source>"
        (tmp_path / f"{name}.xml").write_text(f"<annotation>{source}{row}</annotation>")
    readings, items = read(tmp_path, {"a.png": FLAT, "b.png": FLAT})
    assert readings["a.png"].box_xyxy.tolist() == [[3, 4, 10, 20]]
    assert readings["b.png"].box_xyxy.tolist() == [[2, 3, 10, 20]]
    assert "LabelImg" in notes(items) and "VOC's way" in notes(items)


def test_polygons_of_others_become_masks_in_both_kinds_of_project(tmp_path: Path) -> None:
    data = {
        "images": [{"id": 7, "file_name": "x/a.png", "width": 80, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 10, 20, 10], "iscrowd": 0,
             "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20], [40, 40, 44, 40, 44, 44, 40, 44]]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [50, 10, 4, 4], "segmentation": []},
        ],
        "categories": [{"id": 3, "name": "White Cell"}],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(data))
    readings, items = read(tmp_path, {"a.png": FLAT})
    boxes = readings["a.png"]
    assert boxes.labels.tolist() == [2, 2]  # "White Cell" is "white cell"
    assert boxes.box_xyxy.tolist() == [[10, 10, 44, 44], [50, 10, 54, 14]]  # grown around all of its mask
    assert [int(crop.sum()) for crop in boxes.crops] == [216, 16]
    assert "box but no mask" in notes(items)
    _, items = read(tmp_path, {"a.png": FLAT}, "mask")
    assert "masks; import it into a detection project" in problems(items)[0]
    data["annotations"].pop()
    (tmp_path / "a.json").write_text(json.dumps(data))
    mask = read(tmp_path, {"a.png": FLAT}, "mask")[0]["a.png"]
    assert (mask.array == 2).sum() == 216


def test_a_mask_becomes_objects(tmp_path: Path) -> None:
    array = np.zeros(FLAT.shape, np.uint8)
    array[2:8, 2:8], array[8:10, 8:10], array[20:30, 20:25] = 1, 1, 2
    write_masks_png(Mask(array), tmp_path / "a.png")
    readings, items = read(tmp_path, {"a.png": FLAT})
    assert readings["a.png"].box_xyxy.tolist() == [[2, 2, 10, 10], [20, 20, 25, 30]]
    assert readings["a.png"].labels.tolist() == [1, 2]
    assert "connected parts became objects (2)" in notes(items)
    numbered = array.copy()
    numbered[array == 2] = 7
    write_masks_png(Mask(numbered), tmp_path / "a.png")
    readings, items = read(tmp_path, {"a.png": FLAT}, label_map="any=white cell")
    assert readings["a.png"].labels.tolist() == [2, 2]
    assert len(readings["a.png"].crops) == 2


def test_a_volume_mask_becomes_findings_in_space(tmp_path: Path) -> None:
    from core.readings.masks import write_mask_nifti

    array = np.zeros(VOLUME.shape, np.uint8)
    array[0:3, 5:9, 5:9], array[2:4, 30:40, 30:40] = 1, 1
    write_mask_nifti(Mask(array), VOLUME, tmp_path / "a.nii.gz")
    boxes = read(tmp_path, {"a.nii.gz": VOLUME})[0]["a.nii.gz"]
    assert boxes.planes.tolist() == [0, 1, 2, 2, 3]
    assert boxes.groups.tolist() == [1, 1, 1, 2, 2]
