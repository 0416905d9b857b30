"""Binary answers: frames, one or many, that a browser may keep for good because their content never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from core.imaging.frames import Frame, pack_frame

MAX_FRAMES = 64
BINARY = "application/octet-stream"


def planes_asked(request: Request, count: int) -> range:
    """Return the planes of an address such as ``7`` or ``8-15``.

    Raises:
        ValueError: when they are not planes of the image, or too many at once.
    """
    first, dash, last = str(request.path_params["planes"]).partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or len(first) + len(last) > 18:
        raise ValueError("planes must be a number or a range such as 8-15.")
    asked = range(int(first), int(last or first) + 1)
    if not asked or asked[-1] >= count:
        raise ValueError(f"planes must lie between 0 and {count - 1}.")
    if len(asked) > MAX_FRAMES:
        raise ValueError(f"at most {MAX_FRAMES} planes at once.")
    return asked


def answer_frames(
    request: Request, tag: str, planes: range, frame_of: Callable[[int], Frame], deflate: bool = False
) -> Response:
    """Answer with frames, made one by one while they are sent.

    Args:
        request: asked for them; ``?packed=1`` asks for deflated ones.
        tag: names the content for good, such as a hash.
        planes: which.
        frame_of: makes one.
        deflate: True deflates whatever is asked for.
    """
    packed = deflate or request.query_params.get("packed") == "1"
    etag = f'"{tag}-{planes[0]}-{planes[-1]}{"-z" if packed else ""}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, max-age=31536000, immutable",
        # What is packed was packed by us; Streamlit's middleware would squeeze the rest at 9 times the cost.
        "Content-Encoding": "identity",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if len(planes) == 1:
        return Response(pack_frame(frame_of(planes[0]), packed), media_type=BINARY, headers=headers)

    def parts() -> Iterator[bytes]:
        for index in planes:
            yield pack_frame(frame_of(index), packed)

    return StreamingResponse(parts(), media_type=BINARY, headers=headers)
