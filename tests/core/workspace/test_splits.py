"""Splits by patient."""

from __future__ import annotations

import pytest

from core.workspace.splits import Shares, deal
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def test_patients_are_never_divided(workspace: Workspace) -> None:
    project = samples.project(workspace)
    for seed in range(30):
        samples.case(workspace, project, seed, patient=f"p{seed // 3}")
    counts = workspace.assign_splits(project.id, val=0.2, test=0.1, seed=3)
    assert counts == {"train": 21, "val": 6, "test": 3}
    cases = workspace.list_cases(project.id)
    for patient in {case.patient_key for case in cases}:
        assert len({case.split for case in cases if case.patient_key == patient}) == 1
    before = {case.id: case.split for case in cases}
    assert workspace.assign_splits(project.id, 0.2, 0.1, seed=3, only_missing=False) == counts
    assert {case.id: case.split for case in workspace.list_cases(project.id)} == before
    workspace.assign_splits(project.id, 0.2, 0.1, seed=4, only_missing=False)
    assert {case.id: case.split for case in workspace.list_cases(project.id)} != before


def test_only_missing_keeps_what_is_set(workspace: Workspace) -> None:
    project = samples.project(workspace)
    first = [samples.case(workspace, project, seed, patient=f"p{seed}") for seed in range(10)]
    workspace.assign_splits(project.id, 0.2, 0.0, seed=0)
    before = {case.id: workspace.get_case(case.id).split for case in first}
    later = [samples.case(workspace, project, 100 + seed, patient=f"p{seed}") for seed in range(5)]
    new = [samples.case(workspace, project, 200 + seed, patient=f"q{seed}") for seed in range(10)]
    workspace.assign_splits(project.id, 0.2, 0.0, seed=0)
    assert {case.id: workspace.get_case(case.id).split for case in first} == before
    for case, follows in zip(later, first, strict=False):
        assert workspace.get_case(case.id).split == before[follows.id]
    assert [workspace.get_case(case.id).split for case in new].count("val") == 2  # 4 of 20 in all


def test_the_same_names_give_the_same_split_in_any_home(workspace: Workspace) -> None:
    splits = []
    for name, seeds in (("a", range(12)), ("b", range(11, -1, -1))):
        project = samples.project(workspace, name)
        for seed in seeds:
            samples.case(workspace, project, seed)
        workspace.assign_splits(project.id, 0.25, 0.25, seed=7)
        splits.append({case.name: case.split for case in workspace.list_cases(project.id)})
    assert splits[0] == splits[1]


@pytest.mark.parametrize(
    ("patients", "val", "test", "expected"),
    [
        (1, 0.2, 0.2, (1, 0, 0)),
        (2, 0.2, 0.2, (1, 1, 0)),
        (3, 0.2, 0.2, (1, 1, 1)),
        (3, 0.01, 0.0, (2, 1, 0)),
        (10, 0.0, 0.0, (10, 0, 0)),
        (10, 0.5, 0.4, (1, 5, 4)),
        (0, 0.2, 0.1, (0, 0, 0)),
    ],
)
def test_small_numbers_leave_somebody_to_learn_from(
    patients: int, val: float, test: float, expected: tuple[int, int, int]
) -> None:
    dealt = list(deal([f"p{n}" for n in range(patients)], Shares(val, test), {}).values())
    assert tuple(dealt.count(split) for split in ("train", "val", "test")) == expected


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0), (1, 0), (0.5, 0.5), (0, float("nan"))])
def test_impossible_shares(workspace: Workspace, val: float, test: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        workspace.assign_splits(samples.project(workspace).id, val, test, seed=0)


def test_set_split(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case = samples.case(workspace, project, 1)
    workspace.set_split({case.id: "test"})
    assert workspace.get_case(case.id).split == "test"
    with pytest.raises(ValueError, match="split must be"):
        workspace.set_split({case.id: "holdout"})  # type: ignore[dict-item]
    workspace.set_split({case.id: None})
    workspace.set_split({})
    assert workspace.count_splits(project.id) == {"train": 0, "val": 0, "test": 0, "none": 1}
