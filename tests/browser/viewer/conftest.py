"""The viewer's modules one by one, in a real browser, beside what Python computes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import Server

# Typed arrays come as {"type", "values"}; they go back the same way.
HELPERS = """
const isObject = (value) => value !== null && typeof value === 'object';
const inside = (value, turn) => Object.fromEntries(Object.entries(value).map(([key, part]) => [key, turn(part)]));
const pack = (value) => ArrayBuffer.isView(value) ? {type: value.constructor.name, values: Array.from(value)}
    : Array.isArray(value) ? value.map(pack) : isObject(value) ? inside(value, pack) : value;
const unpack = (value) => value?.type && value?.values ? new globalThis[value.type](value.values)
    : Array.isArray(value) ? value.map(unpack) : isObject(value) ? inside(value, unpack) : value;
"""
TYPES = {
    "uint8": "Uint8Array", "int16": "Int16Array", "uint16": "Uint16Array", "int32": "Int32Array",
    "uint32": "Uint32Array", "float32": "Float32Array", "float64": "Float64Array",
}  # fmt: skip


def to_js(value: Any) -> Any:
    """Turn arrays into what the helpers understand."""
    if isinstance(value, np.ndarray):
        return {"type": TYPES[value.dtype.name], "values": value.ravel().tolist()}
    if isinstance(value, dict):
        return {key: to_js(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_js(item) for item in value]
    return value


def from_js(value: Any) -> Any:
    """Turn what came back into arrays."""
    if isinstance(value, dict) and set(value) == {"type", "values"}:
        return np.array(value["values"], next(name for name, js in TYPES.items() if js == value["type"]))
    if isinstance(value, dict):
        return {key: from_js(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_js(item) for item in value]
    return value


NO_VIEWER = "no viewer yet"
ASK_TRIES = 50
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(chromium: Any, server: Server) -> Iterator[Run]:
    """Run JavaScript with the modules named: ``run(["runs"], "runs.encodeRuns(a)", a=array)``."""
    from pages.shared.modules import module_digest

    context = chromium.new_context()
    tab = context.new_page()
    tab.goto(f"{server.url}/api/health")

    def _run(names: list[str], code: str, **values: Any) -> Any:
        imports = "".join(
            f"const {name} = await import('/api/viewer/{module_digest()}/{name}.js');\n" for name in names
        )
        arguments = ", ".join(values)
        body = f"async (given) => {{ {HELPERS} {imports} const {{{arguments}}} = unpack(given); return pack({code}); }}"
        return from_js(tab.evaluate(body, to_js(values)))

    yield _run
    context.close()


class Room:
    """A page with the viewer on it, driven as a person does, and looked into for what it holds."""

    def __init__(self, page: Any, server: Server) -> None:
        self.page = page
        self.server = server

    def open(self, path: str, project: int, case: int | None = None) -> Room:
        """Open a page and wait until the viewer has drawn."""
        where = "" if case is None else f"&case={case}"
        self.page.goto(f"{self.server.url}/{path}?project={project}{where}")
        self.ready()
        return self

    def ready(self) -> None:
        """Wait until a picture is drawn, and, where marks are made, until the reading is here."""
        self.page.locator(".pane[data-ready]").first.wait_for()
        if self.page.locator(".viewer[data-marking]").count():
            self.page.locator('.state[data-state="saved"]').wait_for()
        self.page.wait_for_timeout(60)

    def ask(self, code: str, **values: Any) -> Any:
        """Evaluate JavaScript with ``viewer``, ``bench`` and ``pane`` (the first one)."""
        from pages.shared.modules import module_digest

        arguments = ", ".join(values)
        body = f"""async (host, given) => {{
            {HELPERS}
            const {{viewerOf}} = await import('/api/viewer/{module_digest()}/index.js');
            const viewer = viewerOf(host);
            if (!viewer) return '{NO_VIEWER}';
            const {{bench}} = viewer;
            const [pane] = viewer.panes;
            const {{{arguments}}} = unpack(given);
            return pack({code});
        }}"""
        for _ in range(ASK_TRIES):  # a rerun that came late may just be putting a new viewer on the page
            found = self.page.locator(".viewer-host").evaluate(body, to_js(values))
            if found != NO_VIEWER:
                return from_js(found)
            self.page.wait_for_timeout(100)
        raise AssertionError("There is no viewer on the page.")

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def places(self, points: list[tuple[float, float]], number: int = 0) -> list[tuple[float, float]]:
        """Return where places (u, v) of the image lie on the page."""
        code = "points.map(([u, v]) => viewer.panes[number].camera.toCanvas(u, v).map((at) => at / viewer.density))"
        box = self.page.locator(".pane").nth(number).bounding_box()
        found = self.ask(code, points=[list(point) for point in points], number=number)
        return [(box["x"] + x, box["y"] + y) for x, y in found]

    def click(self, *points: tuple[float, float], number: int = 0) -> None:
        """Click places of the image."""
        for x, y in self.places(list(points), number):
            self.page.mouse.click(x, y)

    def drag(self, *points: tuple[float, float], number: int = 0, steps: int = 6) -> None:
        """Drag from place to place of the image."""
        (x, y), *others = self.places(list(points), number)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for x, y in others:
            self.page.mouse.move(x, y, steps=steps)
        self.page.mouse.up()

    def saved(self) -> None:
        """Wait until everything is at the server."""
        self.page.wait_for_timeout(40)  # lets the event of the stroke itself end
        self.page.locator('.state[data-state="saved"]').wait_for()

    def volume(self) -> np.ndarray:
        """Return the label map in the browser."""
        from core.readings.runs import decode_runs
        from pages.shared.modules import module_digest

        code = f"""await (async () => {{
            const {{encodeRuns}} = await import('/api/viewer/{module_digest()}/runs.js');
            const planes = bench.marks.volume.planes.map((plane) => (plane ? Array.from(encodeRuns(plane)) : null));
            return {{columns: bench.facts.columns, rows: bench.facts.rows, planes}};
        }})()"""
        found = self.ask(code)
        shape = (int(found["rows"]), int(found["columns"]))
        planes = [
            np.zeros(shape, np.uint16) if plane is None else decode_runs(np.array(plane), shape, np.uint16)
            for plane in found["planes"]
        ]
        return np.stack(planes)

    def canvas(self, number: int = 0, layer: int = 0) -> np.ndarray:
        """Return what a canvas of a pane shows, RGBA."""
        code = """(({width, height}) => {
            const data = viewer.panes[number].contexts[layer].getImageData(0, 0, width, height).data;
            return {width, height, text: btoa(Array.from(data, (value) => String.fromCharCode(value)).join(''))};
        })(viewer.panes[number].canvases[layer])"""
        found = self.ask(code, number=number, layer=layer)
        pixels = np.frombuffer(base64.b64decode(found["text"]), np.uint8)
        return pixels.reshape(int(found["height"]), int(found["width"]), 4)


@pytest.fixture
def room(page: Any, server: Server) -> Room:
    """A page with nothing opened yet."""
    return Room(page, server)
