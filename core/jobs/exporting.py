"""The export job: one reader's readings as files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import NotFound, StorageError
from core.jobs.context import JobContext
from core.jobs.payloads import ExportPayload
from core.jobs.predicting import exporter_of
from core.readings.export import ExportItem
from core.readings.notes import notes_from_json
from core.readings.reading import Boxes
from core.workspace.records import ReadingVersion


def run_export(context: JobContext) -> dict[str, Any]:
    """Write the readings of one reader (the reference unless named) to a folder."""
    payload = ExportPayload.model_validate(context.job.payload)
    workspace = context.workspace
    project = workspace.get_project(payload.project)
    if payload.reader:
        versions = workspace.readings_of(project.id, payload.reader)
    else:
        versions = workspace.reference_of(project.id)
    if payload.split is not None:
        chosen = {case.id for case in workspace.list_cases(project.id, split=payload.split)}
        versions = {case_id: version for case_id, version in versions.items() if case_id in chosen}
    if not versions:
        who = f"The reader {payload.reader}" if payload.reader else "The reference"
        where = project.name if payload.split is None else f"the split {payload.split} of {project.name}"
        raise NotFound(f"{who} has no readings in {where}; there is nothing to export.")
    write = exporter_of(project.task, payload.format)
    out = Path(payload.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot write to {out} ({error.strerror}); choose another folder.") from error
    files = write(_items(context, versions, payload.threshold), project.labels, out)
    return {"files": len(files), "readings": len(versions), "path": str(out)}


def _items(
    context: JobContext, versions: dict[int, ReadingVersion], threshold: float | None
) -> Iterator[ExportItem]:
    """Yield one reading after the other, so that one is in memory at a time; of boxes, those that count."""
    for number, (case_id, version) in enumerate(sorted(versions.items()), start=1):
        context.raise_if_stopped()
        case = context.workspace.get_case(case_id)
        reading = context.workspace.load_reading(version, False)
        if isinstance(reading, Boxes):
            reading = reading.decided(threshold)
        notes, _ = notes_from_json(version.notes)
        yield ExportItem(
            case.name,
            case.info,
            reading,
            version.reader_name,
            case.source,
            by_model=version.kind == "model",
            notes=notes,
            load_headers=partial(context.workspace.load_headers, case),
        )
        context.progress(number / len(versions), f"{number} of {len(versions)} cases")
