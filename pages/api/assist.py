"""Help with marking: the browser sends where somebody clicked, a mask comes back as a preview to accept or reject."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from core.assist import TOOLS
from core.errors import AccessDenied
from core.imaging.frames import Frame, pack_frame
from core.jobs.warm import Message, warm_process
from core.readings.runs import encode_runs
from core.types import Array
from core.workspace.access import REFUSED, Access
from pages.api.gate import number_in
from pages.shared.state import workspace

TIMEOUT_SECONDS = 60.0
ALL_SLICES_TIMEOUT_SECONDS = 600.0


def assist(request: Request, access: Access, body: bytes) -> Response:
    """Answer with label maps as frames of runs, one for each plane with a proposal; planes of values say how unsure."""
    if number_in(request, "case_id") != access.case_id or not access.can_mark:
        raise AccessDenied(REFUSED)
    asked = _asked(body)
    message = Message({"case": access.case_id, "asked": asked})
    timeout = ALL_SLICES_TIMEOUT_SECONDS if asked.get("all") else TIMEOUT_SECONDS
    answer = warm_process(workspace().home).call("assist", message, timeout)
    frames = [_packed(name, plane) for name, plane in answer.arrays.items()]
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
    return Response(b"".join(frames), media_type="application/octet-stream", headers=headers)


def _packed(name: str, plane: Array) -> bytes:
    kind, _, index = name.partition(" ")
    shape = (plane.shape[0], plane.shape[1])
    is_runs = kind == "plane"
    values = encode_runs(plane) if is_runs else plane.astype(np.uint8)
    return pack_frame(Frame(int(index), shape, values, is_runs), deflate=True)


def _asked(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("The request could not be read.") from error
    if not isinstance(asked, dict) or asked.get("tool") not in TOOLS:
        raise ValueError(f"tool must be one of {', '.join(TOOLS)}.")
    return asked
