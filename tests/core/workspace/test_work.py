"""The work behind a reading is kept with its versions, summed by case and reader, and never counted twice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sqlalchemy import select

from core.assist import TOOLS as ASSIST_TOOLS
from core.readings.steps import MaskPatch, Step, StepKind, pack_steps
from core.workspace.marking import NewSteps
from core.workspace.tables import WorkRow
from core.workspace.work import TOOLS, Activity, Work, spread_of
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def step(number: int, name: str = "brush", kind: StepKind = "do") -> Step:
    value = number % 2  # a pixel that changes to and fro
    runs = np.array([[1 - value, 1]], np.uint32), np.array([[value, 1]], np.uint32)
    return Step("tab", number, kind, name, (MaskPatch(0, 0, 0, 1, 1, *runs),))


def send(store: Workspace, case_id: int, steps: list[Step], activity: Activity, reader: str = "Ada") -> None:
    based_on = store.marking_head(case_id, reader).names[0]
    store.add_marking_steps(NewSteps(case_id, reader, based_on, pack_steps(steps), activity))


def test_work_is_summed_and_kept_with_versions(workspace: Workspace) -> None:
    assert TOOLS == ASSIST_TOOLS
    project = samples.project(workspace)
    first, second = (samples.case(workspace, project, seed) for seed in (1, 2))
    send(workspace, first.id, [step(1), step(2, "click")], Activity(12.5, 1))
    version = workspace.latest_reading(first.id, "Ada")
    send(workspace, first.id, [step(3), step(5, "brush", "undo")], Activity(4.0, 0))
    send(workspace, first.id, [step(3), step(5, "brush", "undo")], Activity(99.0, 9))  # sent twice, kept once
    send(workspace, second.id, [step(1)], Activity(3.0), reader="Bob")
    assert workspace.list_work(project.id) == [
        Work(first.id, "Ada", 16.5, 3, 1, 1),
        Work(second.id, "Bob", 3.0, 1, 0, 0),
    ]
    ada = workspace.list_work(project.id)[0]
    assert ada.assisted and ada.corrected
    workspace.latest_reading(first.id, "Ada")  # settles
    with workspace.store.database.read() as session:
        query = select(WorkRow.version).where(WorkRow.case_id == first.id).order_by(WorkRow.id)
        versions = list(session.scalars(query))
    assert version is not None and versions == [version.version, version.version + 1]
    workspace.delete_cases([first.id])
    assert [work.reader for work in workspace.list_work(project.id)] == ["Bob"]


def test_spread() -> None:
    works = [Work(n, "Ada", float(n), 1, 0, 0) for n in (1, 2, 3, 4, 100)]
    spread = spread_of(works)
    seconds = np.array([work.seconds for work in works])
    assert (spread.n, spread.median) == (5, 3)
    np.testing.assert_allclose((spread.low, spread.high), np.percentile(seconds, (25, 75)))
    assert spread_of(works[:1]).median == 1 and spread_of([]).n == 0 and math.isnan(spread_of([]).median)


@pytest.mark.parametrize("bad", [(-1.0, 0), (math.nan, 0), (1e9, 0), (1.0, -1)])
def test_impossible_work_is_refused(bad: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="work"):
        Activity(*bad)


def test_blind_is_a_setting_of_the_project(workspace: Workspace) -> None:
    project = samples.project(workspace)
    assert not project.blind and workspace.set_blind(project.id, True).blind
    assert workspace.get_project(project.id).blind and not workspace.set_blind(project.id, False).blind
