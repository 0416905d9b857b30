"""Small synthetic snapshots that a network learns in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.learning.snapshot import Snapshot, SnapshotItem
from core.tasks.segmentation.settings import make_settings
from core.tasks.task import TrainingRequest
from core.types import make_labels
from tests.bench._plain_files import make_item

SIZE = 32
SMALL = {
    "architecture": "classic_unet",
    "base_features": 4,
    "input_size": SIZE,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "augmentation": "light",
    "ema_decay": 0.9,
    "workers": 0,
    "val_every": 1,
}


def disc(seed: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy grey picture with one disc per label, and the label map."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    truth = np.zeros((SIZE, SIZE), np.uint8)
    for label in range(1, labels + 1):
        centre_y, centre_x = rng.integers(6, SIZE - 6, 2)
        truth[(y - centre_y) ** 2 + (x - centre_x) ** 2 < 25] = label
    picture = 40 + 80 * truth.astype(np.float32) + rng.normal(0, 6, truth.shape)
    return picture.clip(0, 255).astype(np.uint8), truth


def make_snapshot(folder: Path, labels: int = 1, train: int = 8, val: int = 4) -> Snapshot:
    """Store discs as a snapshot."""
    folder.mkdir(parents=True, exist_ok=True)
    items: list[SnapshotItem] = []
    for number in range(train + val):
        picture, truth = disc(number, labels)
        split = "train" if number < train else "val"
        items.append(make_item(folder, number, f"disc{number}", split, picture, truth))
    return Snapshot("segmentation", make_labels([f"disc{n}" for n in range(1, labels + 1)]), tuple(items))


def make_request(snapshot: Snapshot, folder: Path, **settings: object) -> TrainingRequest:
    """Ask for a small training in a folder of its own."""
    work_dir = folder / "work"
    work_dir.mkdir(parents=True, exist_ok=True)
    return TrainingRequest(snapshot, make_settings({**SMALL, **settings}), work_dir, folder / "model")
