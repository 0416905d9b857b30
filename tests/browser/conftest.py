"""A real server in a home of its own, and a real Chromium; errors and outside requests are collected."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path(os.environ.get("SIGHTLINE_CHROMIUM", "/usr/bin/chromium"))
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCREENSHOTS = Path(__file__).parent / "screenshots"
START_SECONDS = 60.0


@dataclass
class Server:
    """A running Sightline."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path
    started_seconds: float


@dataclass
class Seen:
    """What the browser complained about and which addresses outside the server it asked for."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_server(home: Path, demo: bool = False, port: int | None = None) -> Server:
    """Start ``streamlit run app.py`` on a port (a free one unless given) and wait until it answers."""
    home.mkdir(parents=True, exist_ok=True)
    if not demo:
        (home / "demo-offered").touch()
    port = port or free_port()
    log = home.parent / f"server-{port}.log"
    begun = time.monotonic()
    environment = {**os.environ, "SIGHTLINE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    while time.monotonic() - begun < START_SECONDS:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):  # noqa: S310
            return Server(url, home, process, log, time.monotonic() - begun)
        time.sleep(0.1)
    kill_group(process)
    raise RuntimeError(f"The server did not start: {log.read_text()[-2000:]}")


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the server's process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


def end_jobs_of(home: Path) -> None:
    """End the runner and the workers that this home's server started; they live in sessions of their own."""
    ours = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if str(home) in line and any(part.startswith("core.jobs.") for part in line):
            ours.append(process)
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(ours, timeout=3)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def stop_server(server: Server) -> None:
    """End the server and everything it started."""
    kill_group(server.process)
    end_jobs_of(server.home)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in an empty home without the demo; one per test module."""
    running = start_server(tmp_path_factory.mktemp("served") / "home")
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium through Playwright; tests are skipped where it is absent."""
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    playwright_api = pytest.importorskip("playwright.sync_api")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def seen() -> Seen:
    """What went wrong in the browser during one test."""
    return Seen()


@pytest.fixture
def page(chromium: Any, server: Server, seen: Seen) -> Iterator[Any]:
    """A fresh browser page in a dark reading room; nothing is opened yet."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    watch(tab, server.url, seen)
    yield tab
    context.close()


def watch(tab: Any, url: str, seen: Seen) -> None:
    """Collect console errors, uncaught exceptions and requests that leave the server."""
    tab.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: seen.errors.append(str(error)))
    inside = (url, url.replace("http", "ws", 1), "data:", "blob:")

    def _request(request: Any) -> None:
        if not request.url.startswith(inside):
            seen.outside.append(request.url)

    tab.on("request", _request)


def settle(tab: Any, seconds: float = 30.0) -> None:
    """Wait until the script has finished and the page stands still."""
    tab.wait_for_selector('[data-testid="stApp"]', timeout=seconds * 1000)
    tab.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=seconds * 1000
    )
    tab.wait_for_timeout(250)


def picture(tab: Any, name: str) -> Path:
    """Keep a screenshot of the whole page for people to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    tab.screenshot(path=str(path), full_page=True)
    return path
