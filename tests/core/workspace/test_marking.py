"""Marks arrive as steps and become versions: none lost, none twice, nobody's overwritten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

from core.errors import Conflict, LabelError, NotFound
from core.readings.notes import notes_from_json
from core.readings.reading import Mask
from core.readings.runs import encode_runs
from core.readings.steps import ItemPatch, MaskPatch, Step, pack_steps, unpack_steps
from core.workspace import marking
from core.workspace.marking import Head, NewSteps
from core.workspace.records import Case
from core.workspace.workspace import Workspace
from tests.core.workspace import samples

NOTE = {
    "kind": "length",
    "points": [[1, 2, 0.5], [3, 4, 0.5]],
    "axis": "z",
    "plane": 0,
    "label": 0,
    "text": "",
}


@pytest.fixture
def case(workspace: Workspace) -> Case:
    return samples.case(workspace, samples.project(workspace), 1)


def pixel(number: int, x: int, value: int = 1, client: str = "tab", before: int = 0) -> Step:
    """Paint one pixel of the first row."""
    patch = MaskPatch(0, 0, x, 1, 1, np.array([[before, 1]], np.uint32), np.array([[value, 1]], np.uint32))
    return Step(client, number, "do", "brush", (patch,))


def send(workspace: Workspace, case: Case, based_on: str, *steps: Step, reader: str = "ada") -> Head:
    return workspace.add_marking_steps(NewSteps(case.id, reader, based_on, pack_steps(list(steps))))


def row_of(workspace: Workspace, case: Case, reader: str = "ada") -> list[int]:
    version = workspace.latest_reading(case.id, reader)
    assert version is not None
    return workspace.load_reading(version).array[0].tolist()


def test_steps_become_one_version_when_somebody_looks(workspace: Workspace, case: Case) -> None:
    assert workspace.marking_head(case.id, "ada").names == ("v0",)
    head = send(workspace, case, "v0", pixel(1, 0))
    head = send(workspace, case, head.names[0], pixel(2, 1), pixel(3, 2))
    assert head.received == 3 and head.version == 0
    assert row_of(workspace, case) == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    [version] = workspace.list_versions(case.id, "ada")
    assert version.version == 1 and version.note == "brush x3"
    settled = workspace.marking_head(case.id, "ada")
    assert settled.names == (head.names[0], "v1")
    assert workspace.get_project(case.project_id).reference_reader == "ada"


def test_every_way_to_a_reading_sees_the_newest_marks(workspace: Workspace, case: Case) -> None:
    workspace.set_split({case.id: "train"})
    send(workspace, case, "v0", pixel(1, 4))
    assert [reader.n_cases for reader in workspace.list_readers(case.project_id)] == [1]
    head = workspace.marking_head(case.id, "ada")
    send(workspace, case, head.names[0], pixel(2, 5))
    assert workspace.readings_of(case.project_id, "ada")[case.id].version == 2
    head = workspace.marking_head(case.id, "ada")
    send(workspace, case, head.names[0], pixel(3, 6))
    snapshot = workspace.make_snapshot(case.project_id)
    assert snapshot.items[0].reading_sha256 == workspace.latest_reading(case.id, "ada").sha256
    assert row_of(workspace, case)[4:7] == [1, 1, 1]


def test_a_step_sent_twice_is_kept_once(workspace: Workspace, case: Case) -> None:
    first = send(workspace, case, "v0", pixel(1, 0))
    again = send(workspace, case, "v0", pixel(1, 0))
    assert again == first
    more = send(workspace, case, "v0", pixel(1, 0), pixel(2, 1))  # the answer to the first was lost
    assert more.received == 2
    assert row_of(workspace, case)[:2] == [1, 1]
    assert len(unpack_steps(workspace.marking_journal(case.id, "ada"))) == 2


def test_an_older_state_is_refused_and_becomes_a_reading_of_its_own(workspace: Workspace, case: Case) -> None:
    base = send(workspace, case, "v0", pixel(1, 0, client="one"))
    send(workspace, case, base.names[0], pixel(2, 1, client="one"))
    late = NewSteps(case.id, "ada", base.names[0], pack_steps([pixel(1, 8, client="two")]))
    with pytest.raises(Conflict, match="changed elsewhere"):
        workspace.add_marking_steps(late)
    own = workspace.fork_marking(late)
    assert own.reader == "ada (2)" and own.received == 1
    assert workspace.fork_marking(late).reader == "ada (2)"  # asked twice
    assert row_of(workspace, case) == [1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert row_of(workspace, case, "ada (2)") == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    third = NewSteps(case.id, "ada", "v0", pack_steps([pixel(1, 7, client="three")]))
    assert workspace.fork_marking(third).reader == "ada (3)"
    assert row_of(workspace, case, "ada (3)") == [0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_a_copy_starts_from_any_state_settled_or_not(workspace: Workspace, case: Case) -> None:
    names = ["v0"]
    for number in range(1, 7):
        names.append(send(workspace, case, names[-1], pixel(number, number - 1)).names[0])
        if number in (2, 5):
            workspace.latest_reading(case.id, "ada")
    for number, name in enumerate(names[:-1]):
        late = NewSteps(case.id, "ada", name, pack_steps([pixel(1, 8, client=f"late {number}")]))
        own = workspace.fork_marking(late).reader
        assert row_of(workspace, case, own) == [1] * number + [0] * (8 - number) + [1]


def test_a_version_stored_in_between_is_a_new_ground(workspace: Workspace, case: Case) -> None:
    head = send(workspace, case, "v0", pixel(1, 0))
    other = Mask(np.full(samples.SIZE, 1, np.uint8))
    with pytest.raises(Conflict):
        workspace.save_reading(case.id, "ada", other, based_on=0)  # the waiting step is version 1 by now
    saved = workspace.save_reading(case.id, "ada", other, based_on=1)
    assert saved.version == 2
    assert workspace.marking_head(case.id, "ada").names == ("v2",)
    with pytest.raises(Conflict):
        send(workspace, case, head.names[0], pixel(2, 1))
    send(workspace, case, "v2", pixel(2, 1, value=0, before=1))
    assert row_of(workspace, case) == [1, 0, 1, 1, 1, 1, 1, 1, 1]
    assert [step.number for step in unpack_steps(workspace.marking_journal(case.id, "ada"))] == [2]


def test_undone_work_adds_no_version_but_stays_in_the_journal(workspace: Workspace, case: Case) -> None:
    head = send(workspace, case, "v0", pixel(1, 0))
    workspace.latest_reading(case.id, "ada")
    undone = Step("tab", 3, "undo", "brush", pixel(0, 1, value=0, before=1).patches)
    head = send(workspace, case, head.names[0], pixel(2, 1), undone)
    assert workspace.latest_reading(case.id, "ada").version == 1
    assert workspace.marking_head(case.id, "ada").names == (head.names[0], "v1")
    kinds = [step.kind for step in unpack_steps(workspace.marking_journal(case.id, "ada"))]
    assert kinds == ["do", "do", "undo"]
    late = NewSteps(case.id, "ada", "s2", pack_steps([pixel(1, 8, client="late")]))
    assert row_of(workspace, case, workspace.fork_marking(late).reader)[:2] == [1, 1]


def test_notes_are_versions_too(workspace: Workspace, case: Case) -> None:
    head = send(workspace, case, "v0", Step("t", 1, "do", "length", (ItemPatch("m1", None, NOTE),)))
    version = workspace.latest_reading(case.id, "ada")
    assert notes_from_json(version.notes)[0]["m1"].kind == "length"
    assert not workspace.load_reading(version).array.any()
    workspace.save_reading(case.id, "ada", samples.mask(3), based_on=1)  # the notes come along
    assert workspace.latest_reading(case.id, "ada").notes == version.notes
    send(workspace, case, "v2", Step("t", 2, "do", "delete", (ItemPatch("m1", NOTE, None),)))
    latest = workspace.latest_reading(case.id, "ada")
    assert latest.version == 3 and latest.notes is None
    assert latest.sha256 == workspace.list_versions(case.id, "ada")[1].sha256
    assert head.reader == "ada"


def test_what_does_not_fit_is_refused_as_a_whole(workspace: Workspace, case: Case) -> None:
    with pytest.raises(LabelError, match="label 9"):
        send(workspace, case, "v0", pixel(1, 0), pixel(2, 1, value=9))
    with pytest.raises(LabelError, match="out of the image"):
        send(workspace, case, "v0", pixel(1, 99))
    assert workspace.marking_head(case.id, "ada").names == ("v0",)
    workspace.save_reading(case.id, "net", samples.mask(1), kind="model")
    with pytest.raises(Conflict, match="name of a model"):
        send(workspace, case, "v0", pixel(1, 0), reader="net")
    workspace.delete_cases([case.id])
    with pytest.raises(NotFound):
        send(workspace, case, "v0", pixel(1, 0))


def test_a_case_goes_with_its_steps(workspace: Workspace, case: Case) -> None:
    send(workspace, case, "v0", pixel(1, 0))
    workspace.delete_cases([case.id])
    other = samples.case(workspace, workspace.get_project(case.project_id), 2)
    send(workspace, other, "v0", pixel(1, 0))
    workspace.delete_project(case.project_id)
    with workspace.store.database.read() as session:
        assert session.query(marking.StepRow).count() == 0


def test_marking_on_and_on_makes_versions_now_and_then(
    workspace: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "SETTLE_STEPS", 4)
    name = "v0"
    for number in range(1, 10):
        name = send(workspace, case, name, pixel(number, (number - 1) % 9)).names[0]
    with workspace.store.database.read() as session:
        waiting = session.query(marking.StepRow).filter(marking.StepRow.version.is_(None)).count()
    assert waiting == 1
    assert [version.note for version in workspace.list_versions(case.id)] == ["brush", "brush x4", "brush x4"]


def test_old_steps_are_forgotten_waiting_ones_never(
    workspace: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = send(workspace, case, "v0", pixel(1, 0))
    workspace.latest_reading(case.id, "ada")
    send(workspace, case, head.names[0], pixel(2, 1))
    later = marking.now() + timedelta(days=31)
    monkeypatch.setattr(marking, "now", lambda: later)
    assert marking.prune(workspace.store) == 1
    assert row_of(workspace, case)[:2] == [1, 1]


def test_many_tabs_at_once_lose_nothing(workspace: Workspace, case: Case) -> None:
    """Each tab retries on a conflict with the newest state, while others look and settle."""

    def mark(client: int) -> None:
        for number in range(1, 6):
            while True:
                based_on = workspace.marking_head(case.id, "ada").names[0]
                try:
                    send(workspace, case, based_on, row_pixel(client, number))
                    break
                except Conflict:
                    continue
            workspace.latest_reading(case.id, "ada")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(mark, range(6)))
    array = workspace.load_reading(workspace.latest_reading(case.id, "ada")).array
    assert array[:6, :5].all() and array.sum() == 30
    numbers = [version.version for version in workspace.list_versions(case.id)]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == len(numbers)


def row_pixel(client: int, number: int) -> Step:
    runs = encode_runs(np.ones((1, 1), np.uint8))
    patch = MaskPatch(0, client, number - 1, 1, 1, encode_runs(np.zeros((1, 1), np.uint8)), runs)
    return Step(f"tab {client}", number, "do", "brush", (patch,))
