"""Scribbles of three annotators on four pictures (MedScribble), as hints for the tools under test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from core.assist.marks import Clicks, Scribbles, scribbles_of
from tests.conftest import SHARED_DATA

DATA = SHARED_DATA / "scribble_medscribble"
LEAST_PIXELS = 5
CLICKS_PER_PART = 4


@dataclass(frozen=True)
class Task:
    """One annotator's scribbles on one picture: sheet is -1, 0 (background) or 1 (the thing)."""

    source: str
    annotator: int
    image: np.ndarray
    truth: np.ndarray
    sheet: np.ndarray

    @property
    def scribbles(self) -> Scribbles:
        """The scribbled pixels."""
        return scribbles_of(self.sheet)

    def clicks(self, per_part: int = 1) -> Clicks:
        """Clicks at the middle of each scribble, or spread along it."""
        places = [(value, _spread(self.sheet == value, per_part)) for value in (1, 0)]
        signs = np.concatenate([np.full(len(found), value == 1) for value, found in places])
        return Clicks(np.concatenate([found for _, found in places]), signs)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box around the scribbles of the thing, a tenth larger."""
        rows, columns = np.nonzero(self.sheet == 1)
        margin = max(2, int(0.1 * max(np.ptp(rows), np.ptp(columns))))
        height, width = self.sheet.shape
        return (
            int(max(0, rows.min() - margin)), int(max(0, columns.min() - margin)),
            int(min(height, rows.max() + 1 + margin)), int(min(width, columns.max() + 1 + margin)),
        )  # fmt: skip


def _spread(mask: np.ndarray, per_part: int) -> np.ndarray:
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    chosen = []
    for number in range(1, count + 1):
        pixels = np.argwhere(parts == number)
        if len(pixels) < LEAST_PIXELS:
            continue
        middle = pixels[((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        picked = [middle]
        while len(picked) < per_part:  # farthest first, along the scribble
            distance = np.min([((pixels - one) ** 2).sum(axis=1) for one in picked], axis=0)
            picked.append(pixels[distance.argmax()])
        chosen += picked
    return np.array(chosen, np.int32).reshape(-1, 2)


def tasks() -> Iterator[Task]:
    """Yield every annotator's scribbles on every picture."""
    for file in sorted(DATA.glob("*/*/img.npy")):
        image, truth = (np.load(file.parent / f"{name}.npy").squeeze() for name in ("img", "seg"))
        for annotator in range(3):
            inside, outside = np.load(file.parent / f"scribble_{annotator}.npy") > 0.5
            sheet = np.where(inside, 1, np.where(outside, 0, -1)).astype(np.int32)
            yield Task(file.parent.parent.name, annotator, image.astype(np.float32), truth > 0.5, sheet)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks."""
    return 2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum()))
