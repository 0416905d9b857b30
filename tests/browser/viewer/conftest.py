"""The viewer's modules one by one, in a real browser, beside what Python computes."""

from __future__ import annotations

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
