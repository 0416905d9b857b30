"""The preview job: a handful of augmented samples as PNG files, so that no page imports albumentations."""

from __future__ import annotations

from typing import Any

from core.jobs.context import JobContext
from core.jobs.payloads import PreviewPayload
from core.readings.picture import draw_reading, write_png
from core.tasks import TASKS


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
    for number, (picture, drawn) in enumerate(samples):
        path = context.work_dir / f"sample-{number}.png"
        write_png(draw_reading(picture, drawn, project.labels), path)
        files.append(str(path))
        context.progress((number + 1) / len(samples), "drawing")
    return {"files": files}
