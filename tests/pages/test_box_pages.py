"""Pages of a detection project: Annotate, Infer, Compare, Cases and Start show boxes, not masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.jobs.evaluating import evaluate
from core.jobs.payloads import EvaluatePayload
from core.readings.reading import Boxes
from core.types import make_labels
from core.workspace.records import Project
from core.workspace.workspace import Workspace
from tests.pages.conftest import add_flat, add_volume, texts

OpenPage = Callable[..., AppTest]


def boxes(shift: float = 0.0, scores: bool = False) -> Boxes:
    table = np.array([[5, 5, 20, 20], [30, 10, 50, 40], [40, 2, 46, 8]], np.float32) + np.float32(shift)
    return Boxes(
        table, np.array([1, 2, 1], np.uint16), np.zeros(3, np.int32),
        np.array([0.9, 0.7, 0.2], np.float32) if scores else None, threshold=0.5 if scores else None,
    )  # fmt: skip


@pytest.fixture
def cells(store: Workspace) -> Project:
    project = store.create_project("Cells", "detection", make_labels(["red", "white"]))
    for number in range(3):
        case = add_flat(store, project, f"c{number}", f"p{number}")
        store.save_reading(case.id, "Ann", boxes(), kind="person")
        store.save_reading(case.id, "net", boxes(number, scores=True), kind="model")
    return project


def test_annotate_lists_the_objects(open_page: OpenPage, cells: Project) -> None:
    app = open_page("annotate/annotate.py", project=cells.id)
    app.toggle(key="annotate_quick").set_value(True).run()
    assert not app.exception
    assert any(button.key == "annotate_tool_move" for button in app.button)
    assert not any(button.key == "annotate_tool_brush" for button in app.button)
    chosen = next(box for box in app.selectbox if (box.label or "").startswith("Objects ("))
    assert chosen.label == "Objects (0)"


def test_compare_shows_curves_and_the_worst_case(
    open_page: OpenPage, store: Workspace, cells: Project
) -> None:
    payload = EvaluatePayload(project=cells.id, reader="net")
    result = evaluate(store, payload, lambda fraction, message: None, lambda: None)
    app = open_page("review/compare.py", project=cells.id)
    assert not app.exception, app.exception
    shown = next(metric for metric in app.metric if metric.label == "mAP@0.5")
    assert shown.value == f"{result['metrics']['map50']['value']:.3f}"
    assert "All objects of 3 cases" in texts(app)
    table = next(frame.value for frame in app.dataframe if "missed" in frame.value)
    assert set(table["missed"]) == {1}
    confusion = next(frame.value for frame in app.dataframe if "reference is" in frame.value)
    assert list(confusion["reference is"]) == ["red", "white", "nothing"]
    assert "Where they differ" in texts(app)


def test_cases_and_start_show_boxes(open_page: OpenPage, cells: Project) -> None:
    app = open_page("data/cases.py", project=cells.id)
    assert not app.exception
    table = next(frame.value for frame in app.dataframe if "size" in frame.value and "label" in frame.value)
    assert list(table["label"]) == ["red", "white", "red"]
    assert not open_page("", project=cells.id).exception


def test_infer_counts_at_the_models_threshold(open_page: OpenPage, store: Workspace, cells: Project) -> None:
    card = {"name": "fcos", "metrics": {}, "labels": [{"value": 1, "name": "red", "color": "#111111"}]}
    folder = store.new_model_dir("net")
    (folder / "card.json").write_text("{}")
    store.register_model(cells.id, "net", folder, {**card, "task": "detection"}, None)
    app = open_page("models/infer.py", project=cells.id)
    assert not app.exception, app.exception
    assert {metric.label: metric.value for metric in app.metric} == {"red": "1", "white": "1"}
    slider = next(one for one in app.slider if one.label == "Score from which boxes count")
    assert slider.value == 0.5
    slider.set_value(0.1).run()
    assert {metric.label: metric.value for metric in app.metric} == {"red": "2", "white": "1"}
    assert any(button.key == "infer_keep_boxes" for button in app.button)


def test_volumes_compare_in_space(open_page: OpenPage, store: Workspace) -> None:
    project = store.create_project("Nodules", "detection", make_labels(["nodule"]))
    case = add_volume(store, project, "ct")
    row = np.array([[5, 5, 12, 12]], np.float32)
    for name, planes in (("Ann", (2, 3, 4)), ("Ben", (3, 4))):
        one = Boxes(
            row.repeat(len(planes), 0), np.ones(len(planes), np.uint16), np.array(planes, np.int32)
        )  # fmt: skip
        store.save_reading(case.id, name, one, kind="person")
    evaluate(
        store, EvaluatePayload(project=project.id, reader="Ben"), lambda fraction, message: None, lambda: None
    )
    app = open_page("review/compare.py", project=project.id)
    assert not app.exception, app.exception
    sensitivity = next(metric for metric in app.metric if metric.label == "Sensitivity")
    assert sensitivity.value == "1.000"
    assert "findings in space" in texts(app)
