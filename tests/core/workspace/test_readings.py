"""Readings in versions."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import Conflict, LabelError, NotFound, StorageError
from core.readings.reading import Mask
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def test_versions_are_added_never_overwritten(workspace: Workspace) -> None:
    case = samples.case(workspace, samples.project(workspace), 1)
    first = workspace.save_reading(case.id, "ada", samples.mask(1), note="start")
    second = workspace.save_reading(case.id, "ada", samples.mask(2), based_on=1)
    assert (first.version, second.version, second.based_on) == (1, 2, 1)
    same = workspace.save_reading(case.id, "ada", samples.mask(2), based_on=1, note="again")
    assert same == second
    back = workspace.save_reading(case.id, "ada", samples.mask(1), based_on=2)
    assert back.version == 3 and back.sha256 == first.sha256
    with pytest.raises(Conflict, match="version 3, you started from 2"):
        workspace.save_reading(case.id, "ada", samples.mask(9), based_on=2)
    assert [version.version for version in workspace.list_versions(case.id, "ada")] == [3, 2, 1]
    assert workspace.latest_reading(case.id, "ada") == back
    assert workspace.latest_reading(case.id, "bob") is None
    np.testing.assert_array_equal(workspace.load_reading(second).array, samples.mask(2).array)
    np.testing.assert_array_equal(workspace.load_reading(first).array, samples.mask(1).array)


def test_a_first_reading_may_say_that_nothing_was_there(workspace: Workspace) -> None:
    case = samples.case(workspace, samples.project(workspace), 1)
    assert workspace.save_reading(case.id, "ada", samples.mask(1), based_on=0).based_on is None
    with pytest.raises(Conflict):
        workspace.save_reading(case.id, "ada", samples.mask(2), based_on=0)


def test_probabilities_are_kept_and_left_out_on_request(workspace: Workspace) -> None:
    case = samples.case(workspace, samples.project(workspace), 1)
    reading = samples.probable_mask(1)
    version = workspace.save_reading(case.id, "net", reading, kind="model", actor="job 4")
    assert version.has_probabilities and version.kind == "model"
    loaded = workspace.load_reading(version)
    np.testing.assert_array_equal(loaded.probabilities, reading.probabilities)
    assert workspace.load_reading(version, with_probabilities=False).probabilities is None
    assert workspace.list_audit(1)[0].actor == "job 4"


def test_readers_and_readings_of(workspace: Workspace) -> None:
    project = samples.project(workspace)
    cases = [samples.case(workspace, project, seed) for seed in range(4)]
    for case in cases:
        workspace.save_reading(case.id, "net", samples.mask(case.id), kind="model")
    for case in cases[:2]:
        workspace.save_reading(case.id, "ada", samples.mask(case.id))
        workspace.save_reading(case.id, "ada", samples.mask(case.id + 50))
    readers = workspace.list_readers(project.id)
    assert [(reader.name, reader.kind, reader.n_cases) for reader in readers] == [
        ("ada", "person", 2),
        ("net", "model", 4),
    ]
    latest = workspace.readings_of(project.id, "ada")
    assert {case_id: version.version for case_id, version in latest.items()} == {
        cases[0].id: 2,
        cases[1].id: 2,
    }
    assert latest[cases[0].id] == workspace.latest_reading(cases[0].id, "ada")
    assert workspace.readings_of(project.id, "nobody") == {}
    assert len(workspace.list_versions(cases[0].id)) == 3


def test_what_does_not_fit_is_refused(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case = samples.case(workspace, project, 1)
    with pytest.raises(LabelError, match="case 1: The mask has 4 x 4 pixels, the image has 8 x 9"):
        workspace.save_reading(case.id, "ada", Mask(np.zeros((4, 4), np.uint8)))
    with pytest.raises(NotFound):
        workspace.save_reading(99, "ada", samples.mask(1))
    workspace.save_reading(case.id, "net", samples.mask(1), kind="model")
    with pytest.raises(Conflict, match="name of a model"):
        workspace.save_reading(case.id, "net", samples.mask(2))
    with pytest.raises(ValueError, match="person or model"):
        workspace.save_reading(case.id, "x", samples.mask(2), kind="robot")  # type: ignore[arg-type]
    assert [reader.name for reader in workspace.list_readers(project.id)] == ["net"]
    assert workspace.get_project(project.id).reference_reader is None


def test_a_damaged_file_is_told(workspace: Workspace) -> None:
    case = samples.case(workspace, samples.project(workspace), 1)
    version = workspace.save_reading(case.id, "ada", samples.mask(1))
    path = workspace.store.files.path_of(version.sha256, ".npz")
    content = path.read_bytes()
    for damaged in (
        b"",
        b"nonsense",
        content[: len(content) // 2],
        content[:60] + b"\xff" * 20 + content[80:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match="damaged"):
            workspace.load_reading(version)
