"""Label files that are damaged, hostile or of other images: one sentence each, and the rest comes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from core.errors import FileRefused, LabelError
from core.readings.coco import coco_from_text
from core.readings.voc import parse_xml, read_voc
from core.readings.yolo import read_names
from tests.core.readings.label_samples import FLAT, notes, problems, read

GOOD = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 12]}


def coco(*annotations: Any, **more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
        "annotations": [GOOD, *annotations],
        "categories": [{"id": 1, "name": "red cell"}, {"id": 2, "name": "ghost"}],
        **more,
    }


ANNOTATIONS = {
    "no object": (7, "must be an object"),
    "no image": ({**GOOD, "image_id": 5}, "Its image 5 is not among"),
    "image is text": ({**GOOD, "image_id": "1"}, "Its image 1 is not among"),
    "unknown category": ({**GOOD, "category_id": 9}, "Its category 9 is not among"),
    "label not in the project": ({**GOOD, "category_id": 2}, "called 'ghost', which is no label"),
    "bbox of three": ({**GOOD, "bbox": [1, 2, 3]}, "4 finite numbers"),
    "bbox of text": ({**GOOD, "bbox": ["1", "2", "3", "4"]}, "4 finite numbers"),
    "bbox of truth": ({**GOOD, "bbox": [True, 2, 3, 4]}, "4 finite numbers"),
    "NaN": ({**GOOD, "bbox": [float("nan"), 2, 3, 4]}, "4 finite numbers"),
    "infinity": ({**GOOD, "bbox": [1, 2, float("inf"), 4]}, "4 finite numbers"),
    "huge whole number": ({**GOOD, "bbox": [10**400, 2, 3, 4]}, "4 finite numbers"),
    "negative size": ({**GOOD, "bbox": [10, 10, -3, 4]}, "negative size (-3 x 4)"),
    "no size": ({**GOOD, "bbox": [10, 10, 0, 4]}, "has no size"),
    "outside": ({**GOOD, "bbox": [90, 10, 5, 4]}, "lies outside of the image of 80 x 60"),
    "no box and no mask": ({**GOOD, "bbox": []}, "neither a box nor a mask"),
    "score of two": ({**GOOD, "score": 2}, "score must lie between 0 and 1"),
    "odd polygon": ({**GOOD, "segmentation": [[1, 2, 3]]}, "at least 3 corners"),
    "polygon of text": ({**GOOD, "segmentation": "x"}, "list of polygons or run lengths"),
    "polygon of nothing": ({**GOOD, "segmentation": [[100, 100, 101, 100, 101, 101]]}, "encloses no pixel"),
    "runs of another image": ({**GOOD, "segmentation": {"size": [5, 5], "counts": [25]}}, "image of 5 x 5"),
    "runs too short": ({**GOOD, "segmentation": {"size": [60, 80], "counts": [25]}}, "add up to 4800"),
    "negative runs": ({**GOOD, "segmentation": {"size": [60, 80], "counts": [-1, 4801]}}, "whole numbers"),
    "runs without size": ({**GOOD, "segmentation": {"counts": [4800]}}, "need the size"),
    "broken text runs": ({**GOOD, "segmentation": {"size": [60, 80], "counts": "~~~"}}, "cannot be read"),
    "huge text runs": ({**GOOD, "segmentation": {"size": [60, 80], "counts": "o" * 40}}, "cannot be read"),
    "empty mask": ({**GOOD, "segmentation": {"size": [60, 80], "counts": [4800]}}, "marks no pixel"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_an_annotation_is_named_and_the_rest_comes_in(name: str, tmp_path: Path) -> None:
    annotation, words = ANNOTATIONS[name]
    row = {**annotation, "id": 77} if isinstance(annotation, dict) else annotation
    (tmp_path / "set.json").write_text(json.dumps(coco(row)))
    readings, items = read(tmp_path, {"a.png": FLAT})
    [line] = problems(items)
    assert words in line
    assert "set.json" in line
    assert "annotation 77" in line or "no object" in name or "not in the project" in name
    assert readings["a.png"].box_xyxy.tolist() == [[1, 2, 11, 14]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no whole JSON"),
        ("[" * 100_000 + "]" * 100_000, "no whole JSON"),
        ('{"images": [], "annotations": {}}', "no list of annotations, categories"),
        ("[]", "list of COCO results"),
        ("3", "no list of images"),
    ],
)
def test_no_coco_file(text: str, words: str) -> None:
    with pytest.raises(FileRefused, match=words):
        coco_from_text(text, "x.json")


def test_images_and_categories_without_names_are_named() -> None:
    data = coco(images=[{"id": 1}, {"id": 2, "file_name": "a.png"}], categories=[{"name": "x"}])
    found = coco_from_text(json.dumps(data), "x.json")
    assert [problem.where for problem in found.problems[:2]] == ["x.json, an image", "x.json, a category"]
    assert [image.name for image in found.images] == ["a.png"]


def test_labels_of_another_image_are_refused_whole(tmp_path: Path) -> None:
    data = coco(images=[{"id": 1, "file_name": "a.png", "width": 800, "height": 600}])
    (tmp_path / "set.json").write_text(json.dumps(data))
    readings, items = read(tmp_path, {"a.png": FLAT})
    assert readings == {}
    assert "says that a.png has 800 x 600 pixels, the image has 80 x 60" in problems(items)[0]


def test_images_that_are_not_there_are_told_in_one_sentence(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "width": 80, "height": 60} for n in range(1, 30)]
    (tmp_path / "set.json").write_text(json.dumps(coco(images=images)))
    _, items = read(tmp_path, {"7.png": FLAT})
    assert problems(items) == [
        "set.json: 28 of its images are not in this import, such as 1.png (a label belongs to the image of the same "
        "file name; where several share it, the folders decide)."
    ]


def test_boxes_that_reach_out_are_cut_and_said(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps(coco({**GOOD, "bbox": [70, 50, 100, 100]})))
    readings, items = read(tmp_path, {"a.png": FLAT})
    assert readings["a.png"].box_xyxy.tolist()[1] == [70, 50, 80, 60]
    assert "1 boxes reached out of the image" in notes(items)


def test_two_thousand_boxes_in_one_image(tmp_path: Path) -> None:
    many = [{**GOOD, "id": n, "bbox": [n % 70, n % 50, 5.5, 4.5]} for n in range(2, 2001)]
    (tmp_path / "set.json").write_text(json.dumps(coco(*many)))
    readings, items = read(tmp_path, {"a.png": FLAT})
    assert len(readings["a.png"]) == 2000
    assert problems(items) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        ("<annotation><object>", "no whole XML"),
        ("<a>" * 100 + "</a>" * 100, "nested too deeply"),
        ("", "no whole XML"),
        ("<annotation>\x00</annotation>", "no whole XML"),
    ],
)
def test_hostile_xml(text: str, words: str) -> None:
    with pytest.raises(FileRefused, match=words):
        parse_xml(text, "a.xml")


def test_voc_objects_without_numbers_are_named(tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>nan</ymin><xmax>5</xmax><ymax>9</ymax></bndbox>"
    (tmp_path / "a.xml").write_text(
        f"<annotation><object><name>x</name>{box}</object><object><name>y</name></object></annotation>"
    )
    found = read_voc(tmp_path / "a.xml", "a.xml")
    assert [one.where for one in found.problems] == ["a.xml, object 1", "a.xml, object 2"]
    (tmp_path / "b.xml").write_text("<html/>")
    with pytest.raises(FileRefused, match="<html>"):
        read_voc(tmp_path / "b.xml", "b.xml")


@pytest.mark.parametrize(
    "line", ["x 0.5 0.5 0.1 0.1", "0 0.5 0.5 0.1", "0 nan 0.5 0.1 0.1", "0 0.5 0.5 -0.1 0.1", "0 .5 .5 .1 .1 7",
             "-1 0.5 0.5 0.1 0.1", "0 0.5 0.5 0.1 1e999"],
)  # fmt: skip
def test_yolo_lines_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.25 0.5\n{line}\n\n")
    readings, items = read(tmp_path, {"a.png": FLAT}, form="yolo")
    assert problems(items)[0].startswith("a.txt, line 2: A line must be")
    assert readings["a.png"].box_xyxy.tolist() == [[30, 15, 50, 45]]


def test_yolo_classes_by_order_by_name_and_by_map(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n7 0.5 0.5 0.25 0.5\n")
    readings, items = read(tmp_path / "labels", {"a.png": FLAT})
    assert readings["a.png"].labels.tolist() == [2]
    assert "called 'class 7'" in problems(items)[0]
    assert "taken for 0 red cell, 1 white cell" in notes(items)
    (tmp_path / "data.yaml").write_text("names: [plate, 'red cell']\n")
    readings, _ = read(tmp_path / "labels", {"a.png": FLAT})
    assert readings["a.png"].labels.tolist() == [1]
    readings, items = read(tmp_path / "labels", {"a.png": FLAT}, label_map="any=white cell")
    assert readings["a.png"].labels.tolist() == [2, 2]
    readings, items = read(tmp_path / "labels", {"a.png": FLAT}, label_map="1=white cell,7=background")
    assert readings["a.png"].labels.tolist() == [2]
    assert problems(items) == []


@pytest.mark.parametrize(
    "text", ["names: !!python/object/apply:os.system ['echo']", "names: 3", "[", "names: []", "a: &a [*a]"]
)
def test_hostile_yaml(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(FileRefused):
        read_names(tmp_path / "data.yaml", "data.yaml")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",red cell,1,2,3,4", "names no file"),
        ("a.png,red cell,1,2,3", "four finite numbers"),
        ("a.png,,1,2,3,4", "needs a label"),
        ("a.png,red cell,1,x,3,4", "four finite numbers"),
        ("a.png,red cell,5,2,3,4", "has no size"),
        ("a.png,blue cell,1,2,3,4", "no label of this project"),
    ],
)
def test_rows_of_a_table_are_named(row: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"filename,class,xmin,ymin,xmax,ymax\na.png,red cell,1,2,10,20\n{row}\n")
    readings, items = read(tmp_path, {"a.png": FLAT})
    assert words in problems(items)[0]
    assert readings["a.png"].box_xyxy.tolist() == [[1, 2, 10, 20]]


def test_a_table_of_something_else_is_no_label_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    _, items = read(tmp_path, {"a.png": FLAT}, form="csv")
    assert "no column file" in problems(items)[0]


def test_large_and_binary_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x01" * 10)
    _, items = read(tmp_path, {"a.png": FLAT}, form="yolo")
    assert "no text in UTF-8" in problems(items)[0]
    with pytest.raises(FileRefused, match="label files may have"):
        from core.readings.objects import read_label_text

        read_label_text(tmp_path / "a.txt", "a.txt", limit=10)


def test_a_map_that_counts_objects_needs_a_label(tmp_path: Path) -> None:
    array = np.zeros(FLAT.shape, np.uint16)
    array[:5, :5], array[10:15, 10:15] = 300, 301
    PilImage.fromarray(array).save(tmp_path / "a.png")
    _, items = read(tmp_path, {"a.png": FLAT}, form="instances")
    assert "give a label map such as any=red cell" in problems(items)[0]
    readings, _ = read(tmp_path, {"a.png": FLAT}, label_map="any=red cell")
    assert len(readings["a.png"]) == 2
    PilImage.fromarray(array[:30]).save(tmp_path / "a.png")
    _, items = read(tmp_path, {"a.png": FLAT}, label_map="any=red cell")
    assert "its image has" in problems(items)[0]


def test_files_of_no_use_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"shapes": []}')
    _, items = read(tmp_path, {"a.png": FLAT})
    assert "no COCO file" in problems(items)[0]
    (tmp_path / "a.json").unlink()
    (tmp_path / "data.yaml").write_text("names: [a]")
    with pytest.raises(LabelError, match="No label files"):
        read(tmp_path, {"a.png": FLAT})


def test_pictures_beside_text_labels_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    PilImage.fromarray(np.zeros(FLAT.shape, np.uint8)).save(tmp_path / "a.png")
    readings, items = read(tmp_path, {"a.png": FLAT})
    assert len(readings["a.png"]) == 1
    assert "passed over: a.png" in notes(items)


def test_names_that_fit_two_images_are_left_out_unless_folders_tell(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    readings, items = read(tmp_path, {"set/one/a.png": FLAT, "set/two/a.png": FLAT})
    assert set(readings) == {"set/two/a.png"}
    assert "2 images are called a" in problems(items)[0]
