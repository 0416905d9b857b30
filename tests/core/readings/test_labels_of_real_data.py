"""Real label files: the blood smears' VOC and COCO agree, the nuclei's COCO and label maps do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.imaging.raster import read_raster
from core.jobs.label_import import LabelRequest, read_labels
from core.readings.reading import Boxes
from core.settings import load_settings
from core.types import ImageInfo, make_labels
from tests.core.readings.label_samples import problems

BLOOD = make_labels(["RBC", "WBC", "Platelets"])
SMEAR = ImageInfo("yxc", (480, 640, 3), "uint8")


def boxes_of(
    root: Path, images: dict[str, ImageInfo], labels, label_map=None
) -> tuple[dict[str, Boxes], list]:
    files = tuple(sorted(path for path in root.rglob("*") if path.is_file())) if root.is_dir() else (root,)
    base = root if root.is_dir() else root.parent
    shown = {file: str(file.relative_to(base)) for file in files}
    request = LabelRequest(root, shown, images, labels, "boxes", "auto", label_map)
    items = list(read_labels(request))
    return {item.image: item.reading for item in items if item.image}, items


def test_voc_and_coco_of_the_blood_smears_agree(shared_data: Path) -> None:
    folder = shared_data / "det_bccd"
    images = {f"det_bccd/images/{path.name}": SMEAR for path in sorted((folder / "images").glob("*.jpg"))}
    voc, items = boxes_of(folder / "annotations_voc", images, BLOOD)
    named = sorted(problems(items))
    assert [line.split(",")[0] for line in named] == ["BloodImage_00338.xml", "BloodImage_00343.xml"]
    assert named[0].endswith("Its box has no size: (504, 337) to (504, 337).")
    assert all("has no size" in line for line in named)
    coco: dict[str, Boxes] = {}
    for split in ("train", "val"):
        found, items = boxes_of(folder / f"instances_{split}.json", images, BLOOD)
        assert problems(items) == []
        coco |= found
    assert len(voc) == len(coco) == len(images) == 292
    for name, boxes in voc.items():
        np.testing.assert_array_equal(boxes.box_xyxy, coco[name].box_xyxy)
        np.testing.assert_array_equal(boxes.labels, coco[name].labels)
    counts = np.bincount(np.concatenate([boxes.labels for boxes in voc.values()]))
    assert counts.tolist() == [0, 3348, 301, 292]


def test_coco_and_label_maps_of_the_nuclei_agree(shared_data: Path) -> None:
    folder = shared_data / "seg_nuclei_dsb2018"
    paths = sorted((folder / "images").glob("*.png"))[:12]
    images = {path.name: read_raster(path, load_settings()).image.info for path in paths}
    labels = make_labels(["nucleus"])
    maps = {}
    for path in paths:
        found, items = boxes_of(folder / "labels" / path.name, {path.name: images[path.name]}, labels)
        assert problems(items) == []
        maps |= found
    coco: dict[str, Boxes] = {}
    for split in ("train", "val"):
        coco |= boxes_of(folder / f"instances_{split}.json", images, labels, {"any": "nucleus"})[0]
    assert set(maps) == set(coco) == set(images)
    for name in images:
        np.testing.assert_array_equal(maps[name].box_xyxy, coco[name].box_xyxy)
        assert coco[name].crops is None and maps[name].crops is not None
    areas = [int(crop.sum()) for boxes in maps.values() for crop in boxes.crops]
    assert sum(areas) > 1000
