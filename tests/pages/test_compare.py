"""Compare page: who against whom, the job, the numbers, the worst case first, paired difference, hostile names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from streamlit.testing.v1 import AppTest

from core.jobs.evaluating import evaluate
from core.jobs.payloads import EvaluatePayload
from core.jobs.queue import JobQueue
from core.workspace.records import Project
from core.workspace.workspace import Workspace
from pages.review.case_pair import worst_plane
from tests.pages.conftest import add_flat, square, texts

OpenPage = Callable[..., AppTest]
PAGE = "review/compare.py"


def fill(store: Workspace, project: Project, readers: tuple[str, ...] = ("Ann", "Ben")) -> None:
    """Four cases; the first reader is the truth, the others miss more and more of it."""
    for number in range(4):
        case = add_flat(store, project, f"c{number}", f"p{number}")
        for rank, name in enumerate(readers):
            missed = rank * number * 2
            store.save_reading(case.id, name, square((48, 64), 5, 25 - missed), kind="person")


def score(store: Workspace, payload: EvaluatePayload) -> dict[str, object]:
    return evaluate(store, payload, lambda fraction, message: None, lambda: None)


def test_one_reader_is_not_enough(open_page: OpenPage, store: Workspace, project: Project) -> None:
    fill(store, project, ("Ann",))
    assert "needs a second reader" in texts(open_page(PAGE, project=project.id))


def test_the_button_queues_the_comparison(open_page: OpenPage, store: Workspace, project: Project) -> None:
    fill(store, project)
    app = open_page(PAGE, project=project.id)
    app.selectbox(key=f"compare_first_{project.id}").set_value("Ben").run()
    app.button(key="compare_go").click().run()
    assert not app.exception
    [job] = JobQueue(store).list(project_id=project.id)
    assert job.kind == "evaluate"
    assert job.payload["reader"] == "Ben"
    assert "waiting" in texts(app)


def test_scores_are_shown_worst_first(open_page: OpenPage, store: Workspace, project: Project) -> None:
    fill(store, project)
    result = score(store, EvaluatePayload(project=project.id, reader="Ben"))
    app = open_page(PAGE, project=project.id)
    app.selectbox(key=f"compare_first_{project.id}").set_value("Ben").run()
    assert not app.exception
    dice = next(metric for metric in app.metric if metric.label.startswith("Dice"))
    assert dice.value == f"{result['metrics']['dice']['value']:.3f}"  # type: ignore[index]
    table = next(frame.value for frame in app.dataframe if "case" in frame.value)
    assert list(table["case"]) == ["c3", "c2", "c1", "c0"]
    assert "4 cases of 4 patients" in texts(app)
    assert any(heading.value.startswith("c3") for heading in app.subheader)


def test_a_third_reader_gives_a_paired_difference(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    fill(store, project, ("Ann", "Ben", "Cem"))
    for name in ("Ben", "Cem"):
        score(store, EvaluatePayload(project=project.id, reader=name))
    app = open_page(PAGE, project=project.id)
    app.selectbox(key=f"compare_first_{project.id}").set_value("Ben").run()
    app.selectbox(key=f"compare_third_{project.id}").set_value("Cem").run()
    assert not app.exception
    lines = next(frame.value for frame in app.dataframe if "difference" in frame.value)
    assert lines["difference"][0].startswith("+")


def test_a_reader_against_themselves_is_refused(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    fill(store, project)
    app = open_page(PAGE, project=project.id)
    app.selectbox(key=f"compare_first_{project.id}").set_value("Ben").run()
    app.selectbox(key=f"compare_other_{project.id}").set_value("Ben").run()
    assert len(app.error) == 1


def test_worst_plane() -> None:
    first, other = np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4, 4), np.uint8)
    other[3, :2] = 1
    other[1, 0, 0] = 1
    assert worst_plane(first, other) == 3


def test_blind_readers_see_the_numbers_but_not_the_picture(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    fill(store, project)
    store.set_blind(project.id, True)
    score(store, EvaluatePayload(project=project.id, reader="Ben"))
    app = open_page(PAGE, project=project.id)
    app.selectbox(key=f"compare_first_{project.id}").set_value("Ben").run()
    assert not app.exception and "blind to each other" in texts(app)
