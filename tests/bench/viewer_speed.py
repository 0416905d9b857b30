"""The viewer's speed in a real Chromium (software rendering), and the same volume through ``st.slider`` + ``st.image``.

A CT of 300 slices of 512 x 512 is opened, scrolled, windowed, zoomed and faded; brushes are drawn at 512 x 512 and at
4096 x 4096 with 50 labelled regions. Times run inside the browser from the event to the end of the frame that shows it
(waiting for the screen's next refresh, 16.7 ms apart, is part of them). None of it may ask the server for pixels.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.readings.reading import Mask
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from pages.shared.modules import module_digest
from tests.bench._slider_page import slider_server
from tests.browser.conftest import CHROMIUM, CHROMIUM_FLAGS, Server, start_server, stop_server

SHAPE = (300, 512, 512)
LARGE = 4096
REGIONS = 50
REPEATS = 60
MEDIAN_S, P95_S = 0.020, 0.040
FIRST_S, ALL_S = 1.0, 10.0
MEMORY_MIB, MEMORY_BASE_MIB = 381.0, 150.0  # 400 MB; a series weighs 150 MiB
SLIDER_GOAL = 8.0

# Runs code that may use viewer, pane, press(key), drag(type, x, y), many(act) -> ms each, frames(act) -> in 1 s.
PAGE = """async (host) => {
    const {viewerOf} = await import('/api/viewer/DIGEST/index.js');
    const viewer = viewerOf(host), pane = viewer.panes[0], root = viewer.root;
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const up = {bubbles: true, composed: true};
    const press = (key) => root.dispatchEvent(new KeyboardEvent('keydown', {...up, key, code: key}));
    const drag = (type, x, y) => {
        const box = pane.root.getBoundingClientRect();
        const at = {clientX: box.left + x * box.width, clientY: box.top + y * box.height};
        const mouse = {pointerId: 9, button: 0, buttons: 1, pointerType: 'mouse'};
        pane.root.dispatchEvent(new PointerEvent(type, {...up, ...at, ...mouse}));
    };
    const painted = (act) => new Promise((resolve) => {
        const begun = performance.now();
        act();
        requestAnimationFrame(() => {
            const after = new MessageChannel();
            after.port1.onmessage = () => resolve(performance.now() - begun);
            after.port2.postMessage(0);
        });
    });
    const many = async (act) => {
        const times = [];
        for (let i = 0; i < REPEATS + 5; i++) {
            times.push(await painted(() => act(i)));
            await sleep(10 + 7 * (i % 5));
        }
        return times.slice(5);
    };
    const frames = (act) => new Promise((resolve) => {
        const begun = performance.now();
        let drawn = 0, before = viewer.drawn;
        const next = (now) => {
            if (viewer.drawn !== before) drawn += 1;
            before = viewer.drawn;
            if (now - begun >= 1000) resolve(drawn);
            else { act(); requestAnimationFrame(next); }
        };
        requestAnimationFrame(next);
    });
    return await (async () => { CODE })();
}"""
OPEN = """
    const begun = performance.now();
    viewer.open(viewer.scene);
    const source = [...viewer.sources.values()][0];
    const now = () => viewer.panes[0].root.hasAttribute('data-ready');
    while (!now()) await new Promise(requestAnimationFrame);
    const first = performance.now() - begun;
    while (source.loaded < source.facts.slices) await sleep(20);
    const complete = performance.now() - begun;
    await Promise.all(viewer.panes[0].sides[0].layers.map((layer) => layer.reading.complete));
    return [first, complete];
"""
LOOKS = {
    "scroll": "return many((i) => press(i % 60 < 30 ? 'ArrowDown' : 'ArrowUp'));",
    "window": """viewer.setTool('window'); drag('pointerdown', 0.5, 0.5);
        const times = await many((i) => drag('pointermove', 0.5 + 0.002 * (i % 30), 0.5 + 0.003 * (i % 20)));
        drag('pointerup', 0.5, 0.5); return times;""",
    "zoom": "return many((i) => press(i % 10 < 5 ? '+' : '-'));",
    "opacity": "return many((i) => viewer.setLook({opacity: 0.2 + 0.01 * (i % 60)}));",
}
HELD = "return frames(() => press(pane.index < pane.count - 2 ? 'ArrowDown' : 'Home'));"
BRUSH = """
    viewer.setTool('brush'); viewer.bench.brush.size = SIZE;
    drag('pointerdown', 0.3, 0.3);
    const times = await many((i) => drag('pointermove', 0.5 + 0.2 * Math.sin(i / 9), 0.5 + 0.2 * Math.cos(i / 7)));
    drag('pointerup', 0.5, 0.5);
    return times;
"""


def rows() -> list[dict[str, Any]]:
    """Return the rows of the table; none where there is no Chromium."""
    if not CHROMIUM.exists():
        return []
    with tempfile.TemporaryDirectory() as folder, _browser() as browser:
        server = start_server(Path(folder) / "home")
        try:
            series, flat, large = _fill(server)
            found, scroll = _series(browser, server, series)
            found.append(_memory(server, series, Path(folder)))
            for name, case, size in (("512", flat, 20), ("4096-50-regions", large, 80)):
                tab = _open(browser, server, "annotate", case)
                found += _both(f"viewer-brush-{name}", _run(tab, BRUSH.replace("SIZE", str(size))))
                tab.context.close()
        finally:
            stop_server(server)
        slider = _slider(browser, Path(folder))
    ratio = slider / scroll
    found.append(
        _row("viewer-scroll-against-slider", scroll, slider, "st.slider + st.image", ratio, SLIDER_GOAL)
    )
    return found


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def _volume() -> np.ndarray:
    """Return a body with organs, bones and noise, as a CT has it."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SHAPE[1:])
    body = ((y - 256) / 190) ** 2 + ((x - 256) / 230) ** 2 < 1
    noise = rng.normal(0, 12, (8, *SHAPE[1:])).astype(np.int16)
    volume = np.empty(SHAPE, np.int16)
    for k in range(SHAPE[0]):
        plane = np.where(body, 40, -1000)
        plane[((y - 256) / (60 + k % 50)) ** 2 + ((x - 180) / 80) ** 2 < 1] = 110
        plane[(y - 380) ** 2 + (x - 256) ** 2 < 900] = 700
        volume[k] = plane + noise[k % 8]
    return volume


def _fill(server: Server) -> tuple[Case, Case, Case]:
    """Add the series with a reading, a single slice of it, and a large image with 50 labelled regions."""
    volume = _volume()
    affine = ((0.7, 0, 0, 0), (0, 0.7, 0, 0), (0, 0, 1.5, 0), (0, 0, 0, 1))
    series = Image(volume, ImageInfo("zyx", SHAPE, "int16", (1.5, 0.7, 0.7), affine, "CT"))
    flat = Image(volume[0], ImageInfo("yx", SHAPE[1:], "int16", (0.7, 0.7), modality="CT"))
    pixels = np.random.default_rng(1).integers(0, 256, (LARGE, LARGE)).astype(np.uint8)
    large = Image(pixels, ImageInfo("yx", pixels.shape, "uint8"))
    marks = (volume > 90).astype(np.uint8)
    cells = np.indices((LARGE, LARGE)) // 512
    regions = ((cells[0] * 8 + cells[1]) % REGIONS + 1).astype(np.uint8)
    regions[np.indices((LARGE, LARGE)).max(axis=0) % 512 < 200] = 0
    with Workspace.open(server.home) as store:
        project = store.create_project("Speed", "segmentation", make_labels([f"r{k}" for k in range(1, 51)]))
        cases = [
            store.add_case(project.id, NewCase(name, image, name))
            for name, image in (("series", series), ("flat", flat), ("large", large))
        ]
        store.save_reading(cases[0].id, "Ann", Mask(marks))
        store.save_reading(cases[2].id, "annotator", Mask(regions))
    return cases[0], cases[1], cases[2]


def _open(browser: Any, server: Server, page: str, case: Case) -> Any:
    """Open a case in a tab of its own and wait until it is drawn and loaded."""
    tab = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    tab.set_default_timeout(120_000)
    tab.goto(f"{server.url}/{page}?project={case.project_id}&case={case.id}")
    tab.locator(".pane[data-ready]").first.wait_for()
    if page == "annotate":
        tab.locator('.state[data-state="saved"]').wait_for()
    tab.wait_for_timeout(1500)
    return tab


def _run(tab: Any, code: str) -> Any:
    program = PAGE.replace("DIGEST", module_digest()).replace("CODE", code).replace("REPEATS", str(REPEATS))
    return tab.locator(".viewer-host").evaluate(program)


def _series(browser: Any, server: Server, case: Case) -> tuple[list[dict[str, Any]], float]:
    """Measure opening and looking at the series; returns the rows and the median of a scroll step."""
    tab = _open(browser, server, "cases", case)
    tab.context.new_cdp_session(tab).send("Network.setCacheDisabled", {"cacheDisabled": True})
    first, complete = _run(tab, OPEN)
    rows = [
        _limit("viewer-first-slice", first / 1000, FIRST_S),
        _limit("viewer-300-slices", complete / 1000, ALL_S),
    ]
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    times = {name: _run(tab, code) for name, code in LOOKS.items()}
    for name, found in times.items():
        rows += _both(f"viewer-{name}", found)
    frames = float(_run(tab, HELD))
    rows.append(
        _row("viewer-key-held", frames, 60.0, "every frame of the screen", frames / 60, 0.98, "frames/s")
    )
    if asked:
        raise AssertionError(
            f"looking at a loaded series must not ask the server, but it asked for {asked[:3]}."
        )
    tab.context.close()
    return rows, statistics.median(times["scroll"]) / 1000


def _memory(server: Server, case: Case, folder: Path) -> dict[str, Any]:
    """Measure what the tab's process holds for itself once the series is here.

    In a Chromium that nobody watches: a driven one keeps a copy of every answer for its developer tools.
    """
    url = f"{server.url}/cases?project={case.project_id}&case={case.id}"
    command = [str(CHROMIUM), "--headless=new", *CHROMIUM_FLAGS, f"--user-data-dir={folder / 'profile'}", url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        held, steady = 0.0, 0
        until = time.monotonic() + 90
        while steady < 5 and time.monotonic() < until:
            time.sleep(2)
            found = max((_own_mib(pid) for pid in _renderers(process.pid)), default=0.0)
            steady = steady + 1 if found > MEMORY_BASE_MIB and abs(found - held) < 5 else 0
            held = found
    finally:
        process.terminate()
        process.wait(10)
    return _row("viewer-tab-memory", held, MEMORY_MIB, "limit of the issue", MEMORY_MIB / held, 1.0, "MiB")


def _renderers(pid: int) -> list[int]:
    family = psutil.Process(pid).children(recursive=True)
    return [one.pid for one in family if "--type=renderer" in " ".join(one.cmdline())]


def _own_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().uss) / 2**20


def _slider(browser: Any, folder: Path) -> float:
    """Return the median seconds of a step of ``st.slider`` until ``st.image`` shows the slice."""
    with slider_server(_volume(), folder) as url:
        tab = browser.new_page(viewport={"width": 1440, "height": 1000})
        tab.goto(url)
        tab.locator("img").first.wait_for(timeout=60_000)
        tab.wait_for_timeout(1500)
        tab.get_by_role("slider").focus()
        times = [_slider_step(tab) for _ in range(REPEATS // 2)]
        tab.close()
    return statistics.median(times[3:]) / 1000


def _slider_step(tab: Any) -> float:
    watch = """() => {
        const image = document.querySelector('[data-testid="stImage"] img'), before = image.src;
        window.step = new Promise((resolve) => addEventListener('keydown', ({timeStamp}) => {
            const look = () => {
                const now = document.querySelector('[data-testid="stImage"] img');
                if (now && now.src !== before && now.complete) resolve(performance.now() - timeStamp);
                else requestAnimationFrame(look);
            };
            look();
        }, {capture: true, once: true}));
    }"""
    tab.evaluate(watch)
    tab.keyboard.press("ArrowRight")
    elapsed = float(tab.evaluate("() => window.step"))
    tab.wait_for_timeout(100)
    return elapsed


def _both(name: str, times_ms: list[float]) -> list[dict[str, Any]]:
    p95 = float(np.percentile(times_ms, 95)) / 1000
    return [
        _limit(f"{name}-median", statistics.median(times_ms) / 1000, MEDIAN_S),
        _limit(f"{name}-p95", p95, P95_S),
    ]


def _limit(name: str, seconds: float, limit: float) -> dict[str, Any]:
    return _row(name, seconds, limit, "limit of the issue", limit / seconds, 1.0)


def _row(
    name: str, ours: float, peer: float, peer_name: str, ratio: float, goal: float, unit: str = "s"
) -> dict[str, Any]:
    return {
        "name": name, "ours": round(ours, 4), "peer": round(peer, 4), "peer_name": peer_name,
        "ratio": round(ratio, 2), "goal": goal, "unit": unit, "device": "cpu",
    }  # fmt: skip
