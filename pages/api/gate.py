"""The gate before every route: a signed token in a header, from this very site; problems as one sentence in JSON.

A header of our own cannot be set from another site without its asking first, and nobody here answers that question,
so a foreign page can neither read nor write. No cookie is involved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.errors import AccessDenied, Conflict, LabelError, NotFound, SightlineError
from core.workspace.access import REFUSED, Access, check
from pages.shared.state import workspace

TOKEN_HEADER = "x-sightline-token"  # noqa: S105 - the name of a header
MAX_BODY_BYTES = 96 * 2**20
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (AccessDenied, 403),
    (NotFound, 404),
    (Conflict, 409),
    (LabelError, 422),
    (ValueError, 422),
    (SightlineError, 503),
)

Handler = Callable[[Request, Access], Response]
BodyHandler = Callable[[Request, Access, bytes], Response]


def reading(handler: Handler) -> Callable[[Request], Response]:
    """Make a route of a handler that answers GET; Starlette runs it in a thread."""

    def endpoint(request: Request) -> Response:
        try:
            return handler(request, permit(request))
        except (SightlineError, ValueError) as error:
            return refusal(error)

    return endpoint


def writing(handler: BodyHandler) -> Callable[[Request], Awaitable[Response]]:
    """Make a route of a handler that takes a body; it runs in a thread, after the body is there."""

    async def endpoint(request: Request) -> Response:
        try:
            access = permit(request)
            body = await _body(request)
            return await run_in_threadpool(handler, request, access, body)
        except (SightlineError, ValueError) as error:
            return refusal(error)

    return endpoint


def permit(request: Request) -> Access:
    """Return what the request's token permits.

    Raises:
        AccessDenied: without a valid token, or from another site.
    """
    origin = request.headers.get("origin")
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if foreign or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
        raise AccessDenied(REFUSED)
    return check(workspace().token, request.headers.get(TOKEN_HEADER, ""))


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ValueError("What was sent is too large; mark in smaller parts.")
        parts.append(part)
    return b"".join(parts)


def refusal(error: Exception) -> JSONResponse:
    """Answer with one sentence and the status that fits."""
    status = next(number for kind, number in STATUS if isinstance(error, kind))
    return JSONResponse({"error": str(error)}, status_code=status, headers={"Cache-Control": "no-store"})


def number_in(request: Request, name: str) -> int:
    """Return a whole number of the address.

    Raises:
        ValueError: when it is none.
    """
    text = str(request.path_params[name])
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(f"{name} must be a whole number, got {text[:20]!r}.")
    return int(text)
