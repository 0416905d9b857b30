"""Pages through AppTest: a home of one's own, small images with known masks, caches cleared between tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.readings.reading import Mask
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase, Project
from core.workspace.workspace import Workspace

MAIN = Path(__file__).resolve().parents[2] / "pages" / "main.py"


@pytest.fixture
def store(home: Path) -> Iterator[Workspace]:
    """The workspace that the pages of this test see, too."""
    st.cache_resource.clear()
    st.cache_data.clear()
    with Workspace.open(home) as opened:
        yield opened
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def open_page(store: Workspace) -> Callable[..., AppTest]:
    """Open a page by its file, through the frame, as a deep link does."""

    def _open(path: str = "", **query: int | str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = str(value)
        app.run()
        if path:
            app.switch_page(path)
            for key, value in query.items():
                app.query_params[key] = str(value)
            app.run()
        assert not app.exception, app.exception
        return app

    return _open


@pytest.fixture
def project(store: Workspace) -> Project:
    """A project with two labels and no case."""
    return store.create_project("Nerves", "segmentation", make_labels(["nerve", "vessel"]))


def add_flat(store: Workspace, project: Project, name: str, patient: str | None = None) -> Case:
    """Add a 48 x 64 picture without spacing."""
    pixels = np.random.default_rng(len(name)).integers(0, 255, (48, 64), dtype=np.uint8)
    info = ImageInfo("yx", pixels.shape, "uint8")
    pixels[0, 0] = sum(map(ord, name)) % 256
    return store.add_case(project.id, NewCase(name, Image(pixels, info), f"{name}.png", patient))


def add_volume(store: Workspace, project: Project, name: str) -> Case:
    """Add a CT of 9 slices with 5 x 1 x 0.5 mm voxels."""
    pixels = np.random.default_rng(7).integers(-1000, 1000, (9, 20, 40), dtype=np.int16)
    affine = ((0.5, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 5.0, 0), (0, 0, 0, 1))
    info = ImageInfo("zyx", pixels.shape, "int16", (5.0, 1.0, 0.5), affine, "CT")
    return store.add_case(project.id, NewCase(name, Image(pixels, info), f"{name}.nii.gz"))


def scene_of(app: AppTest) -> dict[str, Any]:
    """Return what a page tells the viewer to show."""
    found = app.get("bidi_component")[0]
    content = json.loads(found.proto.json)
    scene: dict[str, Any] = content["scene"]
    return scene


def square(shape: tuple[int, ...], low: int, high: int, value: int = 1) -> Mask:
    """Return a mask with a square of one label, in all planes of a volume."""
    array = np.zeros(shape, np.uint8)
    array[..., low:high, low:high] = value
    return Mask(array)


def texts(app: AppTest) -> str:
    """All text of a page in one string."""
    groups = (
        app.title,
        app.header,
        app.subheader,
        app.markdown,
        app.caption,
        app.error,
        app.warning,
        app.success,
    )
    return "\n".join(element.value for group in groups for element in group)
