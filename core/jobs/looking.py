"""The look job: a part of one case restored with every blend of a model, beside bicubic, as PNG files for a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.errors import WeightsError
from core.imaging.windows import default_window, to_display
from core.jobs.context import JobContext
from core.jobs.payloads import LookPayload
from core.learning.devices import pick_device
from core.readings.picture import draw_difference, draw_error, write_png
from core.settings import load_settings
from core.tasks import TASKS
from core.tasks.task import PredictOptions, Shown, View
from core.types import Array, Window

SCALE_PERCENTILE = 99.5  # of bicubic's errors: the brightest colour of every map


def run_look(context: JobContext) -> dict[str, Any]:
    """Restore the part and write its pictures; the result says what each file shows."""
    payload = LookPayload.model_validate(context.job.payload)
    workspace = context.workspace
    model = workspace.get_model(payload.model)
    truth = TASKS[model.task].image_truth
    if truth is None:
        raise WeightsError(f"The model {model.name} does not make images finer; choose one that does.")
    image = workspace.load_image(workspace.get_case(payload.case_id))
    window = Window(*payload.window) if payload.window else default_window(image.array, image.info)
    view = View(payload.plane, payload.top, payload.left, payload.side)
    options = PredictOptions(flips=payload.flips, device=pick_device(load_settings().device))
    parts = truth.look(workspace.model_dir(model), image, view, options, payload.degrade)
    known = {part.name: part.plane for part in parts}
    against = known.get("truth", known["bicubic"])
    baseline = known["bicubic"] if "truth" in known else parts[-1].plane
    scale = float(np.percentile(np.abs(_grey(baseline) - _grey(against)), SCALE_PERCENTILE)) or 1.0
    rows = []
    for number, part in enumerate(parts):
        row: dict[str, Any] = {"name": part.name, "blend": part.blend, "facts": part.facts}
        row["file"] = _write(
            to_display(part.plane, window, image.info.inverted), context.work_dir / f"{number}.png"
        )
        row["map"] = _map(part, against, "truth" in known, scale, context.work_dir / f"{number}-map.png")
        rows.append(row)
        context.progress((number + 1) / len(parts), "drawing")
    return {"parts": rows, "scale": scale, "has_truth": "truth" in known, "model": model.name}


def _map(part: Shown, against: Array, is_error: bool, scale: float, path: Path) -> str | None:
    """Draw how far a part is from the truth, or, where that is unknown, from bicubic; None for these themselves."""
    if part.name == ("truth" if is_error else "bicubic"):
        return None
    difference = _grey(part.plane) - _grey(against)
    return _write(draw_error(difference, scale) if is_error else draw_difference(difference, scale), path)


def _grey(plane: Array) -> Array:
    values = np.asarray(plane, np.float32)
    return values if values.ndim == 2 else values.mean(axis=2)


def _write(picture: Array, path: Path) -> str:
    write_png(picture, path)
    return str(path)
