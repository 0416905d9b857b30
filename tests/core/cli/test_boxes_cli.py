"""Boxes from the terminal: labels in, the same boxes out, scores between two people; the demo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.imaging.phantoms import blood_smear
from core.jobs.demo import DEMOS, TRUTHS
from core.readings.reading import Boxes
from core.workspace.workspace import Workspace
from tests.core.cli.conftest import Run

NAMES = ("red cell", "white cell", "platelet")


@pytest.fixture
def smears(tmp_path: Path) -> Path:
    """Three synthetic smears with a COCO file of all their cells, and one box that has no size."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(3):
        smear = blood_smear(number)
        Image.fromarray(smear.image.array).save(folder / "images" / f"s{number}.png")
        images.append({"id": number, "file_name": f"images/s{number}.png", "width": 320, "height": 240})
        for one in smear.boxes:
            left, top, right, bottom = one.box_xyxy
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": one.label,
                 "bbox": [left, top, right - left, bottom - top]}
            )  # fmt: skip
    annotations.append({"id": 999, "image_id": 0, "category_id": 1, "bbox": [5, 5, 0, 5]})
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "cells.json").write_text(json.dumps(data))
    return folder


def readings(home: Path, reader: str) -> dict[str, Boxes]:
    with Workspace.open(home) as store:
        project = store.get_project("Cells")
        found = store.readings_of(project.id, reader)
        return {store.get_case(key).name: store.load_reading(version) for key, version in found.items()}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_labels_come_in_go_out_and_are_scored(
    sightline: Run, home: Path, smears: Path, tmp_path: Path
) -> None:
    """COCO in, VOC out, VOC in again: the same boxes (the other formats: tests/core/readings)."""
    made = sightline("project", "create", "Cells", "--task", "detection", "--labels", ",".join(NAMES))
    assert made.code == 0, made.err
    coco = ("--labels", smears / "cells.json", "--reader", "coco")
    done = sightline("import", "Cells", smears / "images", *coco, "--json")
    assert done.code == 0, done.err
    assert (done.json["cases"], done.json["readings"]) == (3, 3)
    assert [row["path"] for row in done.json["skipped"]] == ["cells.json, annotation 999"]
    out = tmp_path / "voc"
    exported = sightline("export", "Cells", "--format", "voc", "--out", out, "--reader", "coco")
    assert exported.code == 0, exported.err
    back = sightline("import", "Cells", smears / "images", "--labels", out, "--reader", "voc", "--json")
    assert back.code == 0, back.err
    assert (back.json["readings"], back.json["skipped"]) == (3, [])
    truth, again = readings(home, "coco"), readings(home, "voc")
    assert len(truth["s0"]) == len(blood_smear(0).boxes)
    for case, boxes in again.items():
        np.testing.assert_array_equal(boxes.box_xyxy, truth[case].box_xyxy)
        np.testing.assert_array_equal(boxes.labels, truth[case].labels)
    scored = sightline("evaluate", "Cells", "--reader", "voc", "--against", "coco", "--json")
    assert scored.code == 0, scored.err
    metrics = scored.json["metrics"]
    for key in ("map50", "map", "froc", "map50/platelet", "sensitivity"):
        assert metrics[key]["value"] == 1.0
        assert metrics[key]["ci95"] == [1.0, 1.0]
        assert metrics[key]["n"] == 3
    refused = sightline("export", "Cells", "--format", "masks", "--out", tmp_path / "m", "--reader", "coco")
    assert refused.code == 1
    assert "boxes only" in refused.err


def test_a_format_that_is_none_is_wrong_usage(sightline: Run) -> None:
    done = sightline("import", "Cells", ".", "--labels", ".", "--format", "bmp")
    assert done.code == 2
    assert "coco" in done.err


def test_the_demo_has_exact_boxes() -> None:
    demo = next(one for one in DEMOS if one.task == "detection")
    boxes = TRUTHS["boxes"](demo.make(5))
    assert isinstance(boxes, Boxes)
    assert len(boxes) > 20
    assert boxes.misfit(demo.make(5).image.info) is None
