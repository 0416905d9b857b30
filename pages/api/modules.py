"""The viewer's own program: ES modules and its style sheet under ``assets/viewer``, served under a name by content.

They hold no patient data, so no token is asked for; a new version has a new address.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from pages.shared.modules import module_digest, module_files

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def module(request: Request) -> Response:
    """Answer with one file."""
    name = str(request.path_params["name"])
    content = module_files().get(name)
    if content is None:
        return Response(status_code=404)
    current = request.path_params["digest"] == module_digest()
    cache = "public, max-age=31536000, immutable" if current else "no-store"
    media_type = TYPES[name[name.rindex(".") :]]
    return Response(content, media_type=media_type, headers={"Cache-Control": cache})
