"""Small synthetic snapshots with planted squares, which a detector learns in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.learning.snapshot import Snapshot, SnapshotItem
from core.readings.reading import Boxes, crop_shape
from core.tasks.detection.settings import make_settings
from core.tasks.task import TrainingRequest
from core.types import make_labels
from tests.bench._plain_files import make_item

SIZE = 64
SMALL = {
    "architecture": "fcos",
    "encoder": "resnet18",
    "features": 32,
    "head_convs": 1,
    "head_features": 32,
    "input_size": SIZE,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "augmentation": "light",
    "ema_decay": 0.9,
    "workers": 0,
    "val_every": 1,
    "samples": 0,
}


def squares(seed: int, labels: int, size: int = SIZE, count: int = 2) -> tuple[np.ndarray, Boxes]:
    """Return a noisy grey picture with bright squares, one brightness per label, and their boxes."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(60, 6, (size, size))
    corners, values = [], []
    for cell in rng.permutation(4)[:count]:  # one to a quarter, so that none hides another
        side = int(rng.integers(10, 18))
        low = np.array([cell % 2, cell // 2]) * (size // 2) + rng.integers(0, size // 2 - side, 2)
        label = int(rng.integers(1, labels + 1))
        picture[low[1] : low[1] + side, low[0] : low[0] + side] += 70 * label
        corners.append([*low, *(low + side)])
        values.append(label)
    box_xyxy = np.array(corners, np.float32).reshape(-1, 4)
    crops = tuple(np.ones(crop_shape(box), bool) for box in box_xyxy)
    boxes = Boxes(box_xyxy, np.array(values, np.uint16), np.zeros(count, np.int32), None, crops)
    return picture.clip(0, 255).astype(np.uint8), boxes


def make_snapshot(
    folder: Path, labels: int = 1, train: int = 8, val: int = 4, size: int = SIZE, count: int = 2
) -> Snapshot:
    """Store pictures with squares as a snapshot."""
    folder.mkdir(parents=True, exist_ok=True)
    items: list[SnapshotItem] = []
    for number in range(train + val):
        picture, boxes = squares(number, labels, size, count)
        split = "train" if number < train else "val"
        items.append(make_item(folder, number, f"squares{number}", split, picture, boxes))
    return Snapshot("detection", make_labels([f"square{n}" for n in range(1, labels + 1)]), tuple(items))


def make_request(snapshot: Snapshot, folder: Path, **settings: object) -> TrainingRequest:
    """Ask for a small training in a folder of its own."""
    work_dir = folder / "work"
    work_dir.mkdir(parents=True, exist_ok=True)
    return TrainingRequest(snapshot, make_settings({**SMALL, **settings}), work_dir, folder / "model")
