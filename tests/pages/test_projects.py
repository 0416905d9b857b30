"""Projects page: create, labels, reference, splits by patient, delete with the name typed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from streamlit.testing.v1 import AppTest

from core.readings.steps import MaskPatch, Step, pack_steps
from core.workspace.marking import NewSteps
from core.workspace.records import Project
from core.workspace.work import Activity
from core.workspace.workspace import Workspace
from tests.pages.conftest import add_flat, scene_of, square, texts

OpenPage = Callable[..., AppTest]
PAGE = "data/projects.py"


def submit_button(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_create_a_project(open_page: OpenPage, store: Workspace) -> None:
    app = open_page(PAGE)
    app.text_input[0].set_value("Nuclei")
    app.text_input[1].set_value("nucleus, debris")
    app = submit_button(app, "Create")
    assert not app.exception
    made = store.get_project("Nuclei")
    assert [label.name for label in made.labels] == ["nucleus", "debris"]


def test_mistakes_get_one_sentence(open_page: OpenPage, store: Workspace, project: Project) -> None:
    app = open_page(PAGE)
    app = submit_button(app, "Create")
    assert [error.value for error in app.error] == ["A project needs a name\\."]
    app.text_input[0].set_value(project.name)
    app.text_input[1].set_value("x")
    app = submit_button(app, "Create")
    assert len(app.error) == 1
    assert len(store.list_projects()) == 1


def test_assign_splits_keeps_patients_together(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    for number in range(8):
        add_flat(store, project, f"c{number}", f"p{number // 2}")
    app = open_page(PAGE, project=project.id)
    app.number_input[0].set_value(0.25)
    app = submit_button(app, "Assign by patient")
    by_patient: dict[str, set[str | None]] = {}
    for case in store.list_cases(project.id):
        by_patient.setdefault(case.patient_key, set()).add(case.split)
    assert all(len(splits) == 1 and None not in splits for splits in by_patient.values())
    assert "val 2" in texts(app)


def test_reference_reader(open_page: OpenPage, store: Workspace, project: Project) -> None:
    case = add_flat(store, project, "a")
    for name in ("Ann", "Ben"):
        store.save_reading(case.id, name, square((48, 64), 5, 20 if name == "Ann" else 22), kind="person")
    app = open_page(PAGE, project=project.id)
    chosen = app.selectbox(key=f"reference_reader_{project.id}")
    assert chosen.value == "Ann"
    chosen.set_value("Ben").run()
    assert store.get_project(project.id).reference_reader == "Ben"


def test_delete_needs_the_name(open_page: OpenPage, store: Workspace, project: Project) -> None:
    app = open_page(PAGE, project=project.id)
    assert app.button(key=f"delete_{project.id}").disabled
    app.text_input(key=f"delete_name_{project.id}").set_value("Nerves").run()
    app.button(key=f"delete_{project.id}").click().run()
    assert not app.exception
    assert store.list_projects() == []


def test_time_to_a_reading_is_shown(open_page: OpenPage, store: Workspace, project: Project) -> None:
    for number, name in enumerate(("brush", "click", "brush"), start=1):
        case = add_flat(store, project, f"case {number}")
        runs = np.array([[0, 1]], np.uint32), np.array([[1, 1]], np.uint32)
        steps = pack_steps([Step("tab", 1, "do", name, (MaskPatch(0, 0, 0, 1, 1, *runs),))])
        store.add_marking_steps(NewSteps(case.id, "Ada", "v0", steps, Activity(10.0 * number, 1)))
    app = open_page(PAGE, project=project.id)
    table = app.dataframe[0].value.iloc[0]
    assert table["reader"] == "Ada"
    assert table["by hand"] == "20 s (15 to 25), n = 2" and table["with assistance"].startswith("20 s")
    assert table["proposals"] == "1 accepted, 3 rejected; 0 readings corrected"


def test_blind_readers_see_models_only(open_page: OpenPage, store: Workspace, project: Project) -> None:
    case = add_flat(store, project, "one")
    store.save_reading(case.id, "Bob", square((48, 64), 3, 9))
    store.save_reading(case.id, "net", square((48, 64), 4, 9), kind="model")

    def offered() -> list[str]:
        app = open_page("annotate/annotate.py", project=project.id, case=case.id)
        return [other["title"].split(" ")[0] for other in scene_of(app)["mark"]["others"]]

    assert sorted(offered()) == ["Bob", "net"]
    app = open_page(PAGE, project=project.id)
    next(one for one in app.toggle if one.label.startswith("Readers are blind")).set_value(True).run()
    assert store.get_project(project.id).blind
    assert offered() == ["net"]
    seen = open_page("data/cases.py", project=project.id, case=case.id)
    assert "blind to each other" in texts(seen) and "Bob" not in str(scene_of(seen)["panes"])
    store.save_reading(case.id, "annotator", square((48, 64), 5, 9))
    assert "Bob" in offered()
