"""Pixels of an image: its facts, its slices as stored, planes across them, tiles of large ones."""

from __future__ import annotations

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.errors import AccessDenied
from core.imaging.frames import Frame
from core.imaging.pyramid import cut_tile, open_level
from core.types import Array
from core.workspace.access import REFUSED, Access
from core.workspace.records import Case
from pages.api.answers import answer_frames, planes_asked
from pages.api.gate import number_in
from pages.shared.facts import image_facts
from pages.shared.state import workspace

ACROSS = {"y": 1, "x": 2}  # axis of the array that such a plane cuts


def _case(request: Request, access: Access) -> Case:
    if number_in(request, "image_id") != access.image_id:
        raise AccessDenied(REFUSED)
    return workspace().get_case(access.case_id)


def info(request: Request, access: Access) -> Response:
    """Answer with what is known about the image."""
    facts = image_facts(workspace(), _case(request, access))
    return JSONResponse(facts, headers={"Cache-Control": "private, no-cache"})


def slices(request: Request, access: Access) -> Response:
    """Answer with one slice, or several that follow one another, as stored."""
    case = _case(request, access)
    image = workspace().load_image(case)

    def frame_of(index: int) -> Frame:
        return _frame(index, image.plane(index))

    return answer_frames(request, case.image_sha256, planes_asked(request, case.info.slices), frame_of)


def planes(request: Request, access: Access) -> Response:
    """Answer with planes across the slices of a volume: axis y gives (slice, column), axis x (slice, row)."""
    case = _case(request, access)
    axis = str(request.path_params["axis"])
    if axis not in ACROSS or not case.info.is_volume:
        raise ValueError("Planes across the slices are those of axis y or x of a volume.")
    array = workspace().load_image(case).array
    along = ACROSS[axis]

    def frame_of(index: int) -> Frame:
        return _frame(index, np.take(array, index, axis=along))

    tag = f"{case.image_sha256}-{axis}"
    return answer_frames(request, tag, planes_asked(request, array.shape[along]), frame_of)


def tiles(request: Request, access: Access) -> Response:
    """Answer with one tile of one level of one plane (``?plane=``, 0 unless given)."""
    case = _case(request, access)
    level, row, column = (number_in(request, name) for name in ("level", "row", "column"))
    text = request.query_params.get("plane", "0")
    plane = int(text) if text.isdecimal() and len(text) < 9 else -1
    if not 0 <= plane < case.info.slices:
        raise ValueError(f"plane must lie between 0 and {case.info.slices - 1}.")
    store = workspace()

    def frame_of(index: int) -> Frame:
        whole = store.load_image(case).plane(plane)
        opened = open_level(whole, store.pyramid_folder(case, plane), level)
        return _frame(plane, cut_tile(opened, row, column))

    tag = f"{case.image_sha256}-{level}-{row}-{column}"
    return answer_frames(request, tag, range(plane, plane + 1), frame_of)


def _frame(index: int, plane: Array) -> Frame:
    return Frame(index, (plane.shape[0], plane.shape[1]), plane)
