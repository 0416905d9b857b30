"""What the server does besides the screen: prepare the home, keep a job runner alive, say how it is."""

from __future__ import annotations

import contextlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from core.settings import load_settings
from pages.shared.state import queue, workspace

DEMO_MARKER = "demo-offered"


def prepare_home() -> None:
    """Open the workspace; on the very first start queue the demo project."""
    from core.jobs.payloads import DemoPayload
    from core.jobs.submit import submit

    marker = load_settings().home_path / DEMO_MARKER
    if not workspace().list_projects() and not marker.exists():
        submit(queue(), DemoPayload(), "Make the demo project (synthetic images)")
        marker.touch()


def start_runner() -> None:
    """Start the job runner of this home unless one is alive."""
    from core.jobs.runner import ensure_runner

    ensure_runner(load_settings().home_path)


def _version() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("sightline")
    return "unknown"


def health_report() -> dict[str, Any]:
    """Return what ``GET /api/health`` says."""
    from core.jobs.runner import runner_alive

    alive = bool(runner_alive(load_settings().home_path))
    try:
        workspace().list_projects()
        database = True
    except Exception:  # noqa: BLE001 - whatever is wrong with the database, the answer is "not ok"
        database = False
    status = "ok" if database else "failing"
    return {"status": status, "version": _version(), "database": database, "jobs": alive}
