"""Small images, masks and projects for tests of the store."""

from __future__ import annotations

import numpy as np

from core.readings.reading import Mask
from core.types import Image, ImageInfo, Split, make_labels
from core.workspace.records import Case, NewCase, Project
from core.workspace.workspace import Workspace

SIZE = (8, 9)


def image(seed: int, spacing: tuple[float, float] | None = None) -> Image:
    array = np.random.default_rng(seed).integers(0, 255, SIZE).astype(np.uint8)
    return Image(array, ImageInfo("yx", SIZE, "uint8", spacing_mm=spacing))


def mask(seed: int) -> Mask:
    return Mask(np.random.default_rng(seed).integers(0, 2, SIZE).astype(np.uint8))


def probable_mask(seed: int) -> Mask:
    probabilities = np.random.default_rng(seed).integers(0, 255, (2, *SIZE)).astype(np.uint8)
    return Mask(probabilities.argmax(axis=0).astype(np.uint8), probabilities)


def project(workspace: Workspace, name: str = "nuclei") -> Project:
    return workspace.create_project(name, "segmentation", make_labels(["nucleus"]))


def case(
    workspace: Workspace, to: Project, seed: int, patient: str | None = None, split: Split | None = None
) -> Case:
    new = NewCase(f"case {seed}", image(seed), f"folder/case {seed}.png", patient, split)
    return workspace.add_case(to.id, new)
