"""Marks from the browser: the newest state of a reading, its journal, and the steps that go on top of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.errors import AccessDenied
from core.workspace.access import REFUSED, Access, sign
from core.workspace.marking import Head, NewSteps
from core.workspace.work import Activity
from pages.api.gate import number_in
from pages.api.presence import PRESENCE
from pages.shared.state import workspace

FRESH = {"Cache-Control": "no-store"}


def _check_case(request: Request, access: Access, marking: bool = False) -> int:
    case_id = number_in(request, "case_id")
    if case_id != access.case_id or (marking and not access.can_mark):
        raise AccessDenied(REFUSED)
    return case_id


def _as_json(head: Head) -> dict[str, Any]:
    return {
        "reader": head.reader,
        "version": head.version,
        "names": list(head.names),
        "received": head.received,
    }


def head(request: Request, access: Access) -> Response:
    """Answer with the newest state of the token's reading, and how many other tabs have it open.

    ``?client=`` names the asking tab; ``&leave=1`` says that it closes. ``&open=1`` asks for the version to load:
    steps that wait become one.
    """
    case_id = _check_case(request, access)
    client = request.query_params.get("client", "")[:64]
    if request.query_params.get("leave") == "1":
        PRESENCE.leave(case_id, access.reader, client)
        return JSONResponse({}, headers=FRESH)
    opening = request.query_params.get("open") == "1"
    version = workspace().latest_reading(case_id, access.reader) if opening else None
    content = _as_json(workspace().marking_head(case_id, access.reader, client))
    content["others"] = PRESENCE.beat(case_id, access.reader, client)
    content["version_id"] = None if version is None else version.id
    return JSONResponse(content, headers=FRESH)


def journal(request: Request, access: Access) -> Response:
    """Answer with the packed steps that can be undone."""
    content = workspace().marking_journal(_check_case(request, access), access.reader)
    return Response(
        content, media_type="application/octet-stream", headers={**FRESH, "Content-Encoding": "identity"}
    )


def _activity(request: Request) -> Activity:
    """Return the work the browser counted (``&seconds=``, ``&rejected=``); what makes no sense counts as none."""
    try:
        return Activity(
            float(request.query_params.get("seconds", 0)), int(request.query_params.get("rejected", 0))
        )
    except ValueError:
        return Activity()


def put(request: Request, access: Access, body: bytes) -> Response:
    """Keep steps made on the state ``?based_on=``; 409 when the reading has moved on.

    ``&fork=1`` keeps them as a reading of their own; the answer then holds a token for it.
    """
    case_id = _check_case(request, access, marking=True)
    new = NewSteps(case_id, access.reader, request.query_params.get("based_on", ""), body, _activity(request))
    if request.query_params.get("fork") != "1":
        return JSONResponse(_as_json(workspace().add_marking_steps(new)), headers=FRESH)
    own = workspace().fork_marking(new)
    token = sign(workspace().token, replace(access, reader=own.reader))
    return JSONResponse({**_as_json(own), "token": token}, headers=FRESH)
