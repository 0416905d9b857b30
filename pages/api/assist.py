"""Help with marking: the browser sends where somebody clicked, a mask comes back as a preview to accept or reject."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from core.errors import AccessDenied
from core.imaging.frames import Frame, pack_frame
from core.readings.runs import encode_runs
from core.types import Array
from core.workspace.access import REFUSED, Access
from pages.api.gate import number_in
from pages.shared.assistants import ASSISTANTS
from pages.shared.state import workspace


def assist(request: Request, access: Access, body: bytes) -> Response:
    """Answer with a mask of 0 and 1 as frames of runs, one for each plane that is not empty."""
    if number_in(request, "case_id") != access.case_id or not access.can_mark:
        raise AccessDenied(REFUSED)
    asked = _asked(body)
    image = workspace().load_image(workspace().get_case(access.case_id))
    try:
        frames = [_packed(index, plane) for index, plane in ASSISTANTS[asked["tool"]](image, asked)]
    except (KeyError, TypeError) as error:
        raise ValueError("The request does not say all that the tool needs.") from error
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
    return Response(b"".join(frames), media_type="application/octet-stream", headers=headers)


def _packed(index: int, plane: Array) -> bytes:
    shape = (plane.shape[0], plane.shape[1])
    return pack_frame(Frame(index, shape, encode_runs(plane), is_runs=True), deflate=True)


def _asked(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("The request could not be read.") from error
    if not isinstance(asked, dict) or asked.get("tool") not in ASSISTANTS:
        raise ValueError(f"tool must be one of {', '.join(ASSISTANTS)}.")
    return asked
