"""Readings to write and read back, and the one call that reads any label file onto images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.jobs.label_import import LabelItem, LabelRequest, read_labels
from core.readings.export import Exporter, ExportItem
from core.readings.label_values import parse_label_map
from core.readings.reading import Boxes, Mask, Reading, crop_shape
from core.types import ImageInfo, make_labels

LABELS = make_labels(["red cell", "white cell", "=plate, é"])
FLAT = ImageInfo("yx", (60, 80), "uint8")
VOLUME = ImageInfo("zyx", (4, 60, 80), "int16", (3.0, 1.0, 1.0))


def random_boxes(
    seed: int, info: ImageInfo, whole: bool = False, crops: bool = False, more: bool = False
) -> Boxes:
    """Boxes inside an image: of whole or any float32 pixels, with masks, scores and crowds when asked for."""
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 9))
    low = random.uniform(0, (60, 40), (count, 2))
    table = np.hstack([low, low + random.uniform(1, 19, (count, 2))])
    table = np.floor(table) if whole else table
    table[:, 2:] = np.maximum(table[:, 2:], table[:, :2] + (1 if whole else 0.5))
    table = table.astype(np.float32)
    masks = None
    if crops:
        table = np.hstack([np.floor(table[:, :2]), np.ceil(table[:, 2:])]).astype(np.float32)
        masks = tuple(_blob(random, crop_shape(box)) for box in table)
    return Boxes(
        table,
        random.integers(1, 4, count).astype(np.uint16),
        np.sort(random.integers(0, info.slices, count)).astype(np.int32),
        random.random(count).astype(np.float32) if more and count else None,
        masks if count else None,
    )


def _blob(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Random pixels that touch all four sides of their box, with holes and loose parts."""
    mask = random.random(shape) < 0.6
    mask[0, random.integers(shape[1])] = mask[-1, random.integers(shape[1])] = True
    mask[random.integers(shape[0]), 0] = mask[random.integers(shape[0]), -1] = True
    return mask


def write(export: Exporter, readings: dict[str, tuple[ImageInfo, Reading]], out: Path) -> list[Path]:
    """Export readings by the names of their images."""
    items = [
        ExportItem(Path(name).stem, info, reading, "A", f"folder/{name}")
        for name, (info, reading) in readings.items()
    ]
    return export(items, LABELS, out)


def read(
    root: Path, images: dict[str, ImageInfo], kind: str = "boxes", form: str = "auto", label_map: str = ""
) -> tuple[dict[str, Reading], list[LabelItem]]:
    """Read labels onto images; returns the readings and everything that was said."""
    files = tuple(sorted(path for path in root.rglob("*") if path.is_file())) if root.is_dir() else (root,)
    base = root if root.is_dir() else root.parent
    request = LabelRequest(
        root, {file: str(file.relative_to(base)) for file in files}, images, LABELS, kind, form,
        parse_label_map(label_map) if label_map else None,
    )  # fmt: skip
    items = list(read_labels(request))
    return {item.image: item.reading for item in items if item.image and item.reading is not None}, items


def problems(items: list[LabelItem]) -> list[str]:
    """Everything that did not come in, as "where: reason"."""
    return [f"{one.where}: {one.reason}" for item in items for one in item.problems]


def notes(items: list[LabelItem]) -> str:
    """All remarks."""
    return "\n".join(note for item in items for note in item.notes)


def assert_same(one: Reading, other: Reading) -> None:
    """Every box and every pixel is the same, in the order of planes."""
    assert type(one) is type(other)
    if isinstance(one, Mask):
        np.testing.assert_array_equal(one.array, other.array)
        return
    for name in ("box_xyxy", "labels", "planes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    assert (one.crops is None) == (other.crops is None)
    for mine, his in zip(one.crops or (), other.crops or (), strict=True):
        np.testing.assert_array_equal(mine, his)
