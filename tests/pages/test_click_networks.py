"""The click networks on the page Train: listed, trained as a job, removed; not where there is nothing to click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from core.assist.promptables import list_promptables
from core.assist.prompting import add_promptable
from core.jobs.queue import JobQueue
from core.workspace.records import Project
from core.workspace.workspace import Workspace
from tests.core.assist.test_promptables import foreign, two, zipped
from tests.pages.conftest import add_flat

OpenPage = Callable[..., AppTest]


def test_networks_are_listed_trained_and_removed(
    open_page: OpenPage, store: Workspace, project: Project, tmp_path: Path
) -> None:
    add_flat(store, project, "c0", "p0")
    add_promptable(zipped(tmp_path / "n.zip", two(*foreign())), store.home, "SAM of the site")
    app = open_page("models/train.py", project=project.id)
    next(field for field in app.text_input if field.label == "Name").set_value("a/b")
    next(button for button in app.button if button.label == "Train a click network").click().run()
    assert any("name must be" in error.value for error in app.error)
    next(field for field in app.text_input if field.label == "Name").set_value("Nerves clicks")
    next(button for button in app.button if button.label == "Train a click network").click().run()
    assert not app.exception
    (job,) = [job for job in JobQueue(store).list(project_id=project.id) if job.kind == "prompt"]
    assert job.payload["name"] == "Nerves clicks" and job.payload["minutes"] == 10
    next(button for button in app.button if button.label == "Remove the network").click().run()
    assert not app.exception and list_promptables(store.home) == []


def test_restored_images_have_nothing_to_click(open_page: OpenPage, store: Workspace) -> None:
    fine = store.create_project("Fine", "super_resolution", ())
    add_flat(store, fine, "c0", "p0")
    app = open_page("models/train.py", project=fine.id)
    assert all(button.label != "Train a click network" for button in app.button)
