"""Projects page: create, labels, reference, splits by patient, delete with the name typed."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from core.workspace.records import Project
from core.workspace.workspace import Workspace
from tests.pages.conftest import add_flat, square, texts

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
