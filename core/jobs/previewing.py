"""The preview job: a handful of augmented samples as PNG files, so that no page imports albumentations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from core.jobs.context import JobContext
from core.jobs.payloads import PreviewPayload
from core.tasks import TASKS
from core.types import Array, Label


def run_preview(context: JobContext) -> dict[str, Any]:
    """Draw augmented samples of one case, with the reference painted over them where there is one."""
    payload = PreviewPayload.model_validate(context.job.payload)
    workspace = context.workspace
    project = workspace.get_project(payload.project)
    task = TASKS[project.task]
    case = workspace.get_case(payload.case_id)
    version = workspace.reference_of(project.id).get(case.id)
    reading = workspace.load_reading(version, False) if version else None
    settings = task.settings_type.model_validate(payload.settings)
    samples = task.preview_augmentation(
        workspace.load_image(case), reading, settings, payload.count, payload.seed
    )
    files = []
    for number, (picture, labels) in enumerate(samples):
        path = context.work_dir / f"sample-{number}.png"
        _write_sample(picture, labels, project.labels, path)
        files.append(str(path))
        context.progress((number + 1) / len(samples), "drawing")
    return {"files": files}


def _write_sample(picture: Array, label_map: Array | None, labels: tuple[Label, ...], path: Path) -> None:
    rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture[..., :3]
    rgb = rgb.astype(np.float32)
    if label_map is not None:
        for label in labels:
            color = np.array([int(label.color[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
            where = label_map == label.value
            rgb[where] = 0.6 * rgb[where] + 0.4 * color
    PilImage.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path, format="PNG")
