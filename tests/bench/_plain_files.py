"""Snapshots made directly from sample files, without a workspace: what the training benches run on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from core.imaging.stored import hash_array, write_array
from core.learning.snapshot import Snapshot, SnapshotItem
from core.readings.reading import Boxes, Mask
from core.readings.stored import hash_reading, write_reading
from core.types import Array, ImageInfo, make_labels


def make_item(
    folder: Path, number: int, name: str, split: str, image: Array, truth: Array | Boxes
) -> SnapshotItem:
    """Store one image and its mask or boxes; every image is a patient of its own."""
    reading = truth if isinstance(truth, Boxes) else Mask(truth)
    layout = "yxc" if image.ndim == 3 else "yx"
    image_path, reading_path = folder / f"{number}.npy", folder / f"{number}.npz"
    write_array(image, image_path)
    write_reading(reading, reading_path)
    return SnapshotItem(
        case_id=number,
        case_name=name,
        patient_key=f"case:{name}",
        split=split,
        image_path=image_path,
        image_sha256=hash_array(image),
        info=ImageInfo(layout=layout, shape=image.shape, dtype=image.dtype.name),
        reading_path=reading_path,
        reading_sha256=hash_reading(reading),
    )


def nuclei_snapshot(data: Path, folder: Path) -> Snapshot:
    """Make a snapshot of ``seg_nuclei_dsb2018`` in the splits of its index; every nucleus is label 1."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    with open(data / "index.csv", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            image = np.asarray(PilImage.open(data / "images" / f"{row['id']}.png").convert("RGB"))
            mask = (np.asarray(PilImage.open(data / "labels" / f"{row['id']}.png")) > 0).astype(np.uint8)
            items.append(make_item(folder, number, row["id"], row["split"], image, mask))
    return Snapshot("segmentation", make_labels(["nucleus"]), tuple(items))


def nuclei_instances(data: Path, folder: Path) -> Snapshot:
    """Make a snapshot of ``seg_nuclei_dsb2018`` for detection: every nucleus an object with its own mask."""
    from skimage.measure import regionprops

    folder.mkdir(parents=True, exist_ok=True)
    items = []
    with open(data / "index.csv", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            image = np.asarray(PilImage.open(data / "images" / f"{row['id']}.png").convert("RGB"))
            regions = regionprops(
                np.asarray(PilImage.open(data / "labels" / f"{row['id']}.png")).astype(np.int32)
            )
            corners = [[one.bbox[1], one.bbox[0], one.bbox[3], one.bbox[2]] for one in regions]
            boxes = Boxes(
                np.array(corners, np.float32).reshape(-1, 4),
                np.ones(len(regions), np.uint16),
                np.zeros(len(regions), np.int32),
                None,
                tuple(one.image for one in regions),
            )
            items.append(make_item(folder, number, row["id"], row["split"], image, boxes))
    return Snapshot("detection", make_labels(["nucleus"]), tuple(items))


def cells_snapshot(data: Path, folder: Path) -> Snapshot:
    """Make a snapshot of ``det_bccd`` in its official splits, from its COCO files."""
    folder.mkdir(parents=True, exist_ok=True)
    items: list[SnapshotItem] = []
    names: list[str] = []
    for split in ("train", "val"):
        content = json.loads((data / f"instances_{split}.json").read_text())
        names = [row["name"] for row in sorted(content["categories"], key=lambda row: row["id"])]
        for row in content["images"]:
            image = np.asarray(PilImage.open(data / row["file_name"]).convert("RGB"))
            rows = [one for one in content["annotations"] if one["image_id"] == row["id"]]
            corners = np.array([one["bbox"] for one in rows], np.float32).reshape(-1, 4)
            corners[:, 2:] += corners[:, :2]
            labels = np.array([one["category_id"] for one in rows], np.uint16)
            corners = np.clip(corners, 0, (row["width"], row["height"]) * 2).astype(np.float32)
            boxes = Boxes(corners, labels, np.zeros(len(rows), np.int32))
            items.append(make_item(folder, len(items), row["file_name"], split, image, boxes))
    return Snapshot("detection", make_labels(names), tuple(items))
