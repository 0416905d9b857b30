"""The frame: menu, deep links, names as plain text, no heavy import, work that was cut off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.types import make_labels
from core.workspace.records import Project
from core.workspace.workspace import Workspace
from pages.shared.menu import MENU
from pages.shared.messages import escape
from tests.pages.conftest import add_flat, texts

ROOT = Path(__file__).resolve().parents[2]
OpenPage = Callable[..., AppTest]


def test_an_empty_home_shows_the_loop_and_the_way_in(open_page: OpenPage) -> None:
    app = open_page()
    shown = texts(app)
    for step in ("Import", "Annotate", "Train", "Infer", "Compare"):
        assert step in shown
    assert any(link.label == "Create a project" for link in app.page_link)


def test_the_start_page_names_the_next_step(open_page: OpenPage, store: Workspace, project: Project) -> None:
    assert "next: import" in texts(open_page()).replace("\\", "")
    add_flat(store, project, "a")
    assert "0 of 1 cases have a reference; next: annotate" in texts(open_page()).replace("\\", "")


@pytest.mark.parametrize("entry", [entry for group in MENU.values() for entry in group], ids=lambda e: e.url)
def test_every_page_opens_without_projects(open_page: OpenPage, entry: object) -> None:
    app = open_page(entry.path)  # type: ignore[attr-defined]
    assert not app.error
    assert app.title


def test_a_deep_link_chooses_the_project(open_page: OpenPage, store: Workspace, project: Project) -> None:
    store.create_project("Second", "segmentation", make_labels(["x"]))
    assert open_page(project=project.id).selectbox(key="sidebar_project").value == project.id
    assert open_page(project="99999").selectbox(key="sidebar_project").value != project.id


def test_names_are_text_not_markdown(open_page: OpenPage, store: Workspace, project: Project) -> None:
    hostile = "![x](https://example.org/a.png) [l](javascript:1) :material/home: $x$ <b>"
    case = add_flat(store, project, hostile)
    app = open_page("data/cases.py", project=project.id, case=case.id)
    header = app.subheader[0].value
    assert "![" not in header
    assert "](" not in header
    assert header == escape(case.name)


def test_escape_leaves_no_markdown_character_alone() -> None:
    assert escape("a![x](y) **b** `c` :red[d] $e$ <f> #g ~h~ |i|\nj") == (
        "a\\!\\[x\\]\\(y\\) \\*\\*b\\*\\* \\`c\\` \\:red\\[d\\] \\$e\\$ \\<f\\> \\#g \\~h\\~ \\|i\\| j"
    )


def test_escape_keeps_addresses_from_becoming_links() -> None:
    for address in ("http://e.org/a", "www.e.org", "a@e.org"):
        assert "\u2060" in escape(address)


def test_pages_load_no_heavy_library() -> None:
    code = (
        "import sys, pkgutil, importlib\n"
        "import pages.shared.state, pages.shared.pickers, pages.shared.render, pages.shared.jobs_panel\n"
        "import pages.shared.case_view, pages.shared.staging, pages.shared.service, core.jobs.submit\n"
        "import core.jobs.evaluating\n"
        "heavy = {'torch', 'monai', 'albumentations', 'pydicom', 'nibabel', 'segmentation_models_pytorch'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr


def test_cut_off_work_is_offered_on_every_page(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    from core.jobs.payloads import DemoPayload
    from core.jobs.queue import JobQueue
    from core.jobs.submit import submit

    queue = JobQueue(store)
    job = submit(queue, DemoPayload(), "Make the demo *project*")
    queue.cancel(job.id)
    assert "Cut off" not in texts(open_page())
    interrupt(store, job.id)
    app = open_page("data/projects.py")
    assert "Cut off" in texts(app)
    app.button(key=f"banner_resume_{job.id}").click().run()
    assert queue.get(job.id).state == "queued"
    assert "Cut off" not in texts(app)


def interrupt(store: Workspace, job_id: int) -> None:
    """Mark a job as the runner does when its worker is gone."""
    from sqlalchemy import update

    from core.workspace.tables import JobRow

    with store.store.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(state="interrupted"))
