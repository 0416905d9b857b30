"""Pages of a super-resolution project: no labels, no reference; finer images beside bicubic, marked as computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.imaging.computed import mark_computed
from core.imaging.geometry import finer_info
from core.readings.reading import RestoredImage
from core.workspace.records import Case, Project
from core.workspace.workspace import Workspace
from tests.pages.conftest import add_flat, add_volume, texts

OpenPage = Callable[..., AppTest]


def finer(store: Workspace, case: Case, factors: tuple[int, ...], computed: bool = True) -> RestoredImage:
    """Return the case's image with repeated pixels."""
    array = np.array(store.load_image(case).array)
    for axis, factor in enumerate(factors):
        array = array.repeat(factor, axis=axis)
    info = finer_info(case.info, factors)
    if computed:
        info = mark_computed(info, "super-resolution x2 by net (12345678)")
    spread = np.full(info.spatial_shape, 3, np.float16) if computed else None
    return RestoredImage(array, info, spread, {"consistency_db": 51.2} if computed else {})


@pytest.fixture
def chests(store: Workspace) -> Project:
    project = store.create_project("Chests", "super_resolution", ())
    case = add_flat(store, project, "c0", "p0")
    store.save_reading(case.id, "net", finer(store, case, (2, 2)), kind="model")
    case = add_volume(store, project, "v1")
    store.save_reading(case.id, "net", finer(store, case, (2, 1, 1)), kind="model")
    return project


def test_train_needs_no_reference(open_page: OpenPage, chests: Project) -> None:
    app = open_page("models/train.py", project=chests.id)
    assert not app.exception
    assert next(metric for metric in app.metric if metric.label == "Images").value == "2"
    assert {"Model", "Data", "Realism", "Running"} <= {one.label for one in app.expander}
    assert any(button.label == "Start training" for button in app.button)


def test_cases_show_what_was_computed(open_page: OpenPage, store: Workspace, chests: Project) -> None:
    for case in store.list_cases(chests.id):
        app = open_page("data/cases.py", project=chests.id, case=case.id)
        assert not app.exception
        assert any("Computed, not acquired" in warning.value for warning in app.warning)
        assert any(metric.value == "51.2 dB" for metric in app.metric)


def test_annotate_and_compare_say_what_to_do(open_page: OpenPage, chests: Project) -> None:
    app = open_page("annotate/annotate.py", project=chests.id)
    assert "the images are the truth" in texts(app)
    app = open_page("review/compare.py", project=chests.id)
    assert "There is no model to try yet" in texts(app)


def test_a_project_without_labels_can_be_made(open_page: OpenPage, store: Workspace) -> None:
    app = open_page("data/projects.py")
    app.text_input[0].input("Fine")
    next(box for box in app.selectbox if box.label == "Task").select("super_resolution")
    next(button for button in app.button if button.label == "Create").click().run()
    assert not app.exception
    assert store.get_project("Fine").labels == ()
