"""Small synthetic snapshots with fine structure that a network learns in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from core.imaging.stored import hash_array, write_array
from core.learning.snapshot import Snapshot, SnapshotItem
from core.tasks.super_resolution.settings import make_settings
from core.tasks.task import TrainingRequest
from core.types import ImageInfo

SIDE = 48
SMALL: dict[str, Any] = {
    "architecture": "edsr",
    "scale": 2,
    "blocks": 2,
    "features": 16,
    "batch_size": 2,
    "patch": 12,
    "learning_rate": 2e-3,
    "ema_decay": 0.9,
    "workers": 0,
    "val_every": 1,
}


def texture(seed: int, shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    """Return bytes with steep but smooth edges: what a network restores better than bicubic."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (2.5,) * len(shape))
    return np.rint(125 + 65 * np.tanh(2.5 * smooth / smooth.std())).astype(np.uint8)


def store(folder: Path, number: int, array: np.ndarray, info: ImageInfo, split: str) -> SnapshotItem:
    """Store an image as a snapshot's item without a reading."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}.npy"
    write_array(array, path)
    return SnapshotItem(number, f"texture{number}", f"p{number}", split, path, hash_array(array), info)


def make_snapshot(folder: Path, train: int = 6, val: int = 2) -> Snapshot:
    """Store textures as a snapshot."""
    items = []
    for number in range(train + val):
        array = texture(number)
        info = ImageInfo("yx", array.shape, "uint8")
        items.append(store(folder, number, array, info, "train" if number < train else "val"))
    return Snapshot("super_resolution", (), tuple(items))


def make_request(snapshot: Snapshot, folder: Path, **settings: object) -> TrainingRequest:
    """Ask for a small training in a folder of its own."""
    work_dir = folder / "work"
    work_dir.mkdir(parents=True, exist_ok=True)
    return TrainingRequest(snapshot, make_settings({**SMALL, **settings}), work_dir, folder / "model")
