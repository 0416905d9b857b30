"""Projects."""

from __future__ import annotations

import pytest

from core.errors import Conflict, LabelError, NotFound
from core.jobs.queue import JobQueue
from core.types import Label, make_labels
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def test_create_find_and_list(workspace: Workspace) -> None:
    first = workspace.create_project("  Lung \n nodules ", "segmentation", make_labels(["nodule", "vessel"]))
    second = workspace.create_project("1", "segmentation", ())
    assert first.name == "Lung nodules" and first.reference_reader is None
    assert [label.value for label in first.labels] == [1, 2]
    assert workspace.list_projects() == [first, second]
    assert workspace.get_project(first.id) == first == workspace.get_project("Lung nodules")
    assert workspace.get_project("1") == second  # a name wins over a number
    assert workspace.get_project(1) == first and workspace.get_project("2") == second
    with pytest.raises(NotFound, match="Lung nodules, 1"):
        workspace.get_project("heart")
    with pytest.raises(Conflict, match="already"):
        workspace.create_project("Lung nodules", "segmentation", ())
    with pytest.raises(ValueError, match="1 to 200"):
        workspace.create_project("   ", "segmentation", ())


@pytest.mark.parametrize(
    "labels",
    [
        (Label(1, "a", "#000000"), Label(1, "b", "#000000")),
        (Label(0, "a", "#000000"),),
        (Label(1, "a", "red"),),
        (Label(1, "a", "#000000"), Label(2, "a", "#000000")),
    ],
)
def test_wrong_labels_are_refused(workspace: Workspace, labels: tuple[Label, ...]) -> None:
    with pytest.raises(LabelError):
        workspace.create_project("p", "segmentation", labels)
    assert workspace.list_projects() == []


def test_add_label(workspace: Workspace) -> None:
    project = workspace.create_project("p", "segmentation", (Label(3, "a", "#112233"),))
    changed = workspace.add_label(project.id, "b")
    assert [(label.value, label.name) for label in changed.labels] == [(3, "a"), (4, "b")]
    assert workspace.get_project(project.id) == changed
    with pytest.raises(Conflict):
        workspace.add_label(project.id, "b")


def test_the_first_person_is_the_reference_unless_set(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case = samples.case(workspace, project, 1)
    assert workspace.reference_of(project.id) == {}
    workspace.save_reading(case.id, "net", samples.mask(1), kind="model")
    assert workspace.get_project(project.id).reference_reader is None
    first = workspace.save_reading(case.id, "ada", samples.mask(2))
    workspace.save_reading(case.id, "bob", samples.mask(3))
    assert workspace.get_project(project.id).reference_reader == "ada"
    assert workspace.reference_of(project.id) == {case.id: first}
    workspace.set_reference_reader(project.id, "bob")
    workspace.save_reading(case.id, "ada", samples.mask(4))
    assert workspace.reference_of(project.id)[case.id].reader_name == "bob"
    with pytest.raises(NotFound, match="ada, bob, net"):
        workspace.set_reference_reader(project.id, "eve")


def test_delete_removes_everything_but_models_and_others_files(workspace: Workspace) -> None:
    project, other = samples.project(workspace), samples.project(workspace, "other")
    shared = [samples.case(workspace, to, 1) for to in (project, other)]
    own = samples.case(workspace, project, 2)
    workspace.save_reading(own.id, "ada", samples.mask(1))
    workspace.save_reading(shared[1].id, "ada", samples.mask(2))
    workspace.assign_splits(project.id, 0.0, 0.0, seed=0)
    snapshot = workspace.make_snapshot(project.id)
    workspace.start_run(project.id, None, {}, snapshot)
    workspace.save_evaluation(project.id, "k", {"a": 1})
    queue = JobQueue(workspace)
    job = queue.enqueue("train", {}, project_id=project.id)
    with pytest.raises(Conflict, match=f"Job {job.id}"):
        workspace.delete_project(project.id)
    queue.cancel(job.id)
    workspace.delete_project(project.id)
    with pytest.raises(NotFound):
        workspace.get_project(project.id)
    assert queue.get(job.id).project_id is None
    assert {path.name for path in workspace.store.files.walk()} == {
        f"{shared[1].image_sha256}.npy",
        f"{workspace.reference_of(other.id)[shared[1].id].sha256}.npz",
    }
    assert workspace.load_image(shared[1]).array.shape == samples.SIZE
    assert workspace.list_runs() == [] and workspace.load_evaluation(project.id, "k") is None
    assert workspace.list_audit(1)[0].action == "project deleted"
