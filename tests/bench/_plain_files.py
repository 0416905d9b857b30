"""Snapshots made directly from sample files, without a workspace: what the training benches run on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from core.imaging.stored import hash_array, write_array
from core.learning.snapshot import Snapshot, SnapshotItem
from core.readings.reading import Mask
from core.readings.stored import hash_reading, write_reading
from core.types import Array, ImageInfo, make_labels


def make_item(folder: Path, number: int, name: str, split: str, image: Array, mask: Array) -> SnapshotItem:
    """Store one image and its mask; every image is a patient of its own."""
    layout = "yxc" if image.ndim == 3 else "yx"
    image_path, reading_path = folder / f"{number}.npy", folder / f"{number}.npz"
    write_array(image, image_path)
    write_reading(Mask(mask), reading_path)
    return SnapshotItem(
        case_id=number,
        case_name=name,
        patient_key=f"case:{name}",
        split=split,
        image_path=image_path,
        image_sha256=hash_array(image),
        info=ImageInfo(layout=layout, shape=image.shape, dtype=image.dtype.name),
        reading_path=reading_path,
        reading_sha256=hash_reading(Mask(mask)),
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
