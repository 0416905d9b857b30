"""Readings of a case: what they hold in short, label maps as runs, probabilities, boxes, a slice as PNG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image as PilImage
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.errors import AccessDenied, LabelError, NotFound
from core.imaging.frames import Frame
from core.readings.draft import items_from_boxes
from core.readings.notes import notes_from_json
from core.readings.reading import Boxes, Mask
from core.readings.runs import encode_runs
from core.types import Array
from core.workspace.access import REFUSED, Access
from core.workspace.blind import sees_reading
from core.workspace.records import ReadingVersion
from pages.api.answers import answer_frames, planes_asked
from pages.api.gate import number_in
from pages.api.shelf import SHELF
from pages.shared.state import workspace

BLIND = "Readers of this project are blind to each other; read the case to see what others saw."
KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}


def _version(request: Request, access: Access) -> ReadingVersion:
    version = workspace().get_version(number_in(request, "version_id"))
    if version.case_id != access.case_id:
        raise AccessDenied(REFUSED)
    if not sees_reading(workspace(), version, access.person or access.reader):
        raise AccessDenied(BLIND)
    return version


def _mask(version: ReadingVersion, with_probabilities: bool = False) -> Mask:
    reading = SHELF.load(workspace(), version, with_probabilities)
    if not isinstance(reading, Mask):
        raise LabelError(f"This reading holds {reading.kind}, not a mask.")
    return reading


def summary(request: Request, access: Access) -> Response:
    """Answer with the kind of reading, marked pixels (or boxes) on every plane, and the notes."""
    version = _version(request, access)
    reading = SHELF.load(workspace(), version)
    slices = workspace().get_case(access.case_id).info.slices
    content: dict[str, Any] = {
        "kind": reading.kind,
        "version": version.version,
        "probabilities": version.has_probabilities,
        "notes": (version.notes or {}).get("notes", {}),
    }
    if isinstance(reading, Mask):
        stack = reading.array.reshape(slices, -1)
        content["planes"] = np.count_nonzero(stack, axis=1).tolist()
    elif isinstance(reading, Boxes):
        content["planes"] = np.bincount(reading.decided().planes, minlength=slices).tolist()
    return JSONResponse(content, headers=KEPT)


def slices(request: Request, access: Access) -> Response:
    """Answer with label maps of planes as deflated runs."""
    version = _version(request, access)
    mask = _mask(version)
    count = 1 if mask.array.ndim == 2 else mask.array.shape[0]

    def frame_of(index: int) -> Frame:
        plane = mask.array.reshape(count, *mask.array.shape[-2:])[index]
        return Frame(index, (plane.shape[0], plane.shape[1]), encode_runs(plane), is_runs=True)

    return answer_frames(request, version.sha256, planes_asked(request, count), frame_of, deflate=True)


def probabilities(request: Request, access: Access) -> Response:
    """Answer with two channels for each plane: foreground (1 - P(background)), and the likeliest label.

    ``?label=`` gives one channel instead: the probability of that label. Both in steps of 1/255.
    """
    version = _version(request, access)
    mask = _mask(version, with_probabilities=True)
    if mask.probabilities is None:
        raise NotFound("This reading was stored without probabilities.")
    stack: Array = mask.probabilities if mask.array.ndim == 3 else mask.probabilities[:, None]
    text = request.query_params.get("label", "")
    label = int(text) if text.isdecimal() and len(text) < 6 else None
    if label is not None and label >= stack.shape[0]:
        raise ValueError(f"label must lie between 0 and {stack.shape[0] - 1}.")

    def frame_of(index: int) -> Frame:
        plane = stack[:, index]
        shape = (plane.shape[1], plane.shape[2])
        if label is not None:
            return Frame(index, shape, plane[label])
        likeliest = plane[1:].argmax(axis=0).astype(np.uint16) + 1
        return Frame(index, shape, np.stack([255 - plane[0].astype(np.uint16), likeliest], axis=-1))

    tag = f"{version.sha256}-p{'' if label is None else label}"
    return answer_frames(request, tag, planes_asked(request, stack.shape[1]), frame_of, deflate=True)


def boxes(request: Request, access: Access) -> Response:
    """Answer with boxes by name, and the score from which they count (null: all do)."""
    version = _version(request, access)
    reading = SHELF.load(workspace(), version)
    if not isinstance(reading, Boxes):
        raise LabelError(f"This reading holds a {reading.kind}, not boxes.")
    _, names = notes_from_json(version.notes)
    content = {"items": items_from_boxes(reading, names), "threshold": reading.threshold}
    return JSONResponse(content, headers=KEPT)


def slice_png(request: Request, access: Access) -> Response:
    """Answer with the label map of one plane as a grey PNG holding the label numbers."""
    mask = _mask(_version(request, access))
    planes = mask.array.reshape(-1, *mask.array.shape[-2:])
    index = number_in(request, "plane")
    if index >= len(planes):
        raise ValueError(f"plane must lie between 0 and {len(planes) - 1}.")
    target = io.BytesIO()
    PilImage.fromarray(np.ascontiguousarray(planes[index])).save(target, "PNG")
    return Response(target.getvalue(), media_type="image/png", headers=KEPT)
