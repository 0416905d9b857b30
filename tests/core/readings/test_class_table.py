"""Tables of classes: recognised by their columns, read row by row, written so that they read back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import FileRefused, LabelError
from core.readings.class_table import export_classes, is_class_table, note_name, read_class_table, to_classes
from core.readings.export import ExportItem
from core.readings.label_formats import recognise, sort_labels
from core.readings.notes import WHOLE_IMAGE, Note
from core.readings.reading import Mask, no_boxes
from core.types import ImageInfo, make_labels

LABELS = make_labels(["normal", "=odd", "café, noir"])
FLAT, VOLUME = ImageInfo("yx", (4, 5), "uint8"), ImageInfo("zyx", (3, 4, 5), "uint8")


def note(plane: int, label: int) -> tuple[str, Note]:
    return note_name(plane, label), Note("class", (), plane=plane, label=label)


def table(text: str, folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "is_one"),
    [
        ("file,label", True), ("case;class;slice", True), ("Image,Label\r", True), ("image\tclass_name", True),
        ("file,slice,label", True), ("file,label,left,top,right,bottom", False), ("file,split", False),
        ("case,reader,label_value,label,pixels", False), ("file,value,label,score", False), ("label", False),
        ("", False),
    ],
)  # fmt: skip
def test_recognised_by_its_columns(header: str, is_one: bool, tmp_path: Path) -> None:
    assert is_class_table(f"{header}\na,b\n") == is_one
    assert (recognise(table(f"{header}\na,b\n", tmp_path)) == "classes") == is_one


def test_a_table_among_pictures_is_passed_over(tmp_path: Path) -> None:
    classes = table("file,label\na,normal\n", tmp_path)
    picture = tmp_path / "a.png"
    assert sort_labels({classes: "t.csv"}, "auto").format == "classes"
    both = {classes: "t.csv", picture: "a.png"}
    assert sort_labels(both, "auto").passed_over == (classes,)
    assert sort_labels(both, "classes").files == (classes,)
    damaged = table("nothing,here\n", tmp_path)
    assert sort_labels({damaged: "t.csv"}, "classes").files == (damaged,)


@pytest.mark.parametrize(
    ("row", "plane", "label"),
    [
        ("a.png,,normal", None, "normal"), ("a.png,2,normal", 1, "normal"), ("a.png, 1 ,'=odd", 0, "=odd"),
        ('a.png,,"café, noir"', None, "café, noir"), ("a.png,,", None, None), ("a.png", None, None),
    ],
)  # fmt: skip
def test_rows(row: str, plane: int | None, label: str | None, tmp_path: Path) -> None:
    found = read_class_table(table(f"\ufefffile,slice,label\n{row}\n,,\n", tmp_path), "t.csv")
    assert not found.problems
    [image] = found.images
    assert (image.name, image.plane) == ("a.png", plane)
    assert [one.label for one in image.objects] == ([] if label is None else [label])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",,normal", "names no file"), ("a,0,normal", "whole number from 1"), ("a,x,normal", "whole number"),
        ("a,1.5,normal", "whole number"), ("a,2,", "slice but no label"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_named(row: str, words: str, tmp_path: Path) -> None:
    found = read_class_table(table(f"file,slice,label\n{row}\nb,,normal\n", tmp_path), "t.csv")
    assert [problem.where for problem in found.problems] == ["t.csv, row 2"]
    assert words in found.problems[0].reason
    assert [image.name for image in found.images] == ["b"]


def test_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="no column label"):
        read_class_table(table("file,grade\na,1\n", tmp_path), "t.csv")


@pytest.mark.parametrize(
    ("text", "label_map", "values", "unknown"),
    [
        ("NORMAL", None, [1], ()), ("2", {2: "=odd"}, [2], ()), ("x", {"any": "normal"}, [1], ()),
        ("2", None, [], ("2",)), ("x", None, [], ("x",)), ("0", {0: "background"}, [], ()),
    ],
)  # fmt: skip
def test_names_of_classes(text, label_map, values, unknown, tmp_path: Path) -> None:
    found = read_class_table(table(f"file,label\na,{text}\n", tmp_path), "t.csv")
    classes = to_classes(found.images, FLAT, LABELS, label_map)
    assert [one.label for one in classes.notes.values()] == values
    assert classes.unknown == unknown


def test_a_slice_must_be_in_the_image(tmp_path: Path) -> None:
    found = read_class_table(table("file,slice,label\na,4,normal\n", tmp_path), "t.csv")
    with pytest.raises(LabelError, match="slice 4 of a, which has 3"):
        to_classes(found.images, VOLUME, LABELS)


def test_round_trip(tmp_path: Path) -> None:
    flat = dict([note(WHOLE_IMAGE, 2)])
    volume = dict([note(WHOLE_IMAGE, 1), note(0, 3), note(2, 1), note(2, 2)])
    other = {"length": Note("length", ((0, 0, 0), (1, 1, 0)))}
    items = [
        ExportItem("a", FLAT, Mask(np.zeros((4, 5), np.uint8)), "r", "folder/a.png", notes=flat),
        ExportItem("=b", VOLUME, no_boxes(), "r", "import 1, item 2", notes={**volume, **other}),
        ExportItem("c", FLAT, no_boxes(), "r", "c.tif", notes=other),
    ]
    [path] = export_classes(items, LABELS, tmp_path)
    assert path.read_text(encoding="utf-8").splitlines()[:3] == [
        "file,slice,label", "a.png,,'=odd", "'=b,,normal",
    ]  # fmt: skip
    found: dict[str, list] = {}
    for image in read_class_table(path, path.name).images:
        found.setdefault(image.name, []).append(image)
    assert to_classes(found["a.png"], FLAT, LABELS).notes == flat
    assert to_classes(found["=b"], VOLUME, LABELS).notes == volume
    assert to_classes(found["c.tif"], FLAT, LABELS).notes == {}
