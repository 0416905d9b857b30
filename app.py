"""The server: screen, HTTP routes, security headers, and what starts and ends with it. No logic.

Run it with ``streamlit run app.py`` (or ``sightline serve``).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pages.api.routes import ROUTES  # noqa: E402 - found only once the checkout is on the path

log = logging.getLogger("sightline.app")

WATCH_SECONDS = 3.0
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def content_security_policy() -> str:
    """Return the policy: nothing from outside this server, and only the inline script that Streamlit ships.

    ``blob:`` is for components given as strings and for plotly.
    """
    shell = Path(st.__file__).parent / "static" / "index.html"
    scripts = INLINE_SCRIPT.findall(shell.read_bytes()) if shell.is_file() else []
    hashes = "".join(
        f" 'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in scripts
    )
    return "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "style-src 'self' 'unsafe-inline'",
            f"script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval' blob:{hashes}",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "frame-ancestors 'none'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    )


SECURITY_HEADERS = {
    "Content-Security-Policy": content_security_policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class SecurityHeaders:
    """Put the security headers on every HTTP response; websockets pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def health(request: Request) -> JSONResponse:
    """Say whether the server, its workspace and the job runner are alive."""
    from pages.shared.service import health_report

    report = await asyncio.to_thread(health_report)
    return JSONResponse(report, status_code=200 if report["status"] == "ok" else 503)


async def server_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a failure of the server itself without a trace; it stands in the log."""
    content = {"error": "The server ran into a problem; its log says more."}
    return JSONResponse(content, status_code=500, headers=SECURITY_HEADERS)


async def _watch_runner() -> None:
    """Look every few seconds whether the job runner lives and start another one when it does not."""
    from pages.shared.service import start_runner

    while True:
        try:
            await asyncio.to_thread(start_runner)
        except Exception:  # the watch must go on whatever one look ran into
            log.exception("The job runner could not be started; trying again.")
        await asyncio.sleep(WATCH_SECONDS)


@contextlib.asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[dict[str, Any]]:
    """Open the workspace, queue the demo of a first start, keep a job runner alive while the server lives."""
    from pages.shared.service import prepare_home

    await asyncio.to_thread(prepare_home)
    watch = asyncio.create_task(_watch_runner())
    try:
        yield {}
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


app = st.App(
    ROOT / "pages" / "main.py",
    routes=[Route("/api/health", health), *ROUTES],
    middleware=[Middleware(SecurityHeaders)],
    lifespan=lifespan,
    exception_handlers={Exception: server_error},
)
