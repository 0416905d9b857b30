"""The demo job: small projects of synthetic images with exact truth, so that nobody faces an empty page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.imaging.found import Found
from core.imaging.phantom_dicom import write_dicom_series
from core.imaging.phantoms import Phantom, blood_smear, ct_chest, dermoscopy, ultrasound
from core.imaging.scan import scan
from core.jobs.context import JobContext
from core.readings.reading import Boxes, Mask, Reading, ReadingKind
from core.settings import load_settings
from core.tasks import TASKS
from core.types import Image
from core.workspace.records import NewCase, Project

READER = "exact truth (synthetic)"
VAL_SHARE = 0.25


@dataclass(frozen=True)
class Demo:
    """One demo project: what it is called, how its images are made, how many patients and images a patient."""

    name: str
    noun: str
    make: Callable[[int], Phantom]
    patients: int
    per_patient: int
    as_dicom: bool = False
    task: str = "segmentation"


DEMOS = (
    Demo(
        "Demo: lung nodules on CT (synthetic)", "chest CT", ct_chest, patients=4, per_patient=1, as_dicom=True
    ),
    Demo("Demo: cysts on ultrasound (synthetic)", "ultrasound", ultrasound, patients=8, per_patient=2),
    Demo("Demo: skin lesions (synthetic)", "dermoscopy", dermoscopy, patients=12, per_patient=1),
    Demo("Demo: blood cells (synthetic)", "blood smear", blood_smear, patients=6, per_patient=2),
    Demo(
        "Demo: counting blood cells (synthetic)", "blood smear", blood_smear, patients=8, per_patient=2,
        task="detection",
    ),
    Demo(
        "Demo: finer ultrasound (synthetic)", "ultrasound", ultrasound, patients=8, per_patient=2,
        task="super_resolution",
    ),
)  # fmt: skip


def run_demo(context: JobContext) -> dict[str, Any]:
    """Make the demo projects; those that are there already are left as they are."""
    taken = {project.name for project in context.workspace.list_projects()}
    made: list[str] = []
    cases = 0
    for number, demo in enumerate(DEMOS):
        if demo.name not in taken:
            cases += _make(context, demo, number)
            made.append(demo.name)
        context.progress((number + 1) / len(DEMOS), f"{demo.name} is ready")
    return {"projects": made, "cases": cases}


def _make(context: JobContext, demo: Demo, demo_number: int) -> int:
    workspace = context.workspace
    phantoms = [demo.make(1000 * demo_number + seed) for seed in range(demo.patients * demo.per_patient)]
    images_are_truth = TASKS[demo.task].image_truth is not None
    project = workspace.create_project(demo.name, demo.task, () if images_are_truth else phantoms[0].labels)
    for number, phantom in enumerate(phantoms):
        context.raise_if_stopped()
        patient = f"synthetic-{demo_number}-{number // demo.per_patient + 1}"
        name = f"synthetic {demo.noun} {number + 1:02d}"
        image = _through_dicom(context, phantom, patient) if demo.as_dicom else phantom.image
        _add(context, project, NewCase(name, image, f"{name} (made by Sightline)", patient), phantom)
    workspace.assign_splits(project.id, val=VAL_SHARE, test=0.0, seed=0)
    return len(phantoms)


def _add(context: JobContext, project: Project, new: NewCase, phantom: Phantom) -> None:
    case = context.workspace.add_case(project.id, new)
    kind = TASKS[project.task].reading_kind
    if kind not in TRUTHS:
        return  # the images themselves are the truth
    truth = TRUTHS[kind](phantom)
    context.workspace.save_reading(case.id, READER, truth, note="exact truth", actor="demo")


def _boxes(phantom: Phantom) -> Boxes:
    """Return the boxes of what was drawn, cut at the picture's edges."""
    height, width = phantom.image.info.spatial_shape[-2:]
    table = np.array([one.box_xyxy for one in phantom.boxes], np.float32).reshape(-1, 4)
    table = table.clip(0, np.array([width, height, width, height], np.float32))
    labels = np.array([one.label for one in phantom.boxes], np.uint16)
    return Boxes(table, labels, np.zeros(len(table), np.int32))


TRUTHS: dict[ReadingKind, Callable[[Phantom], Reading]] = {
    "mask": lambda phantom: Mask(phantom.truth),
    "boxes": _boxes,
}


def _through_dicom(context: JobContext, phantom: Phantom, patient: str) -> Image:
    """Write the volume as a DICOM series and read it back as any other series would be."""
    folder = context.work_dir / patient
    write_dicom_series(phantom.image, folder, series_number=1, patient_id=patient)
    series = scan([folder], context.work_dir / "unpacked", context.workspace.salt, load_settings())
    (image,) = [found.image for found in series if isinstance(found, Found)]
    return image
