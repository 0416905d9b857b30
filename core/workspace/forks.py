"""A reading of one's own for who marked on an older state: nobody's work is overwritten, nobody's is lost."""

from __future__ import annotations

import dataclasses

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Conflict, NotFound
from core.readings.draft import Draft, start_draft
from core.readings.notes import notes_to_json
from core.readings.steps import Step, unpack_steps
from core.workspace.marking import (
    Head,
    NewSteps,
    add_steps,
    build_draft,
    case_row,
    ground_of,
    head_of,
    state_of,
    version_row,
)
from core.workspace.projects import clean_name
from core.workspace.readings import NewReading, reader_id_of
from core.workspace.readings import save_reading as save_version
from core.workspace.store import Store
from core.workspace.tables import ReaderRow, StepRow


def fork(store: Store, new: NewSteps) -> Head:
    """Keep steps made on an older state as a reading of their own; see ``Workspace.fork_marking``."""
    steps = unpack_steps(new.content)
    own = _fork_of(store, new, steps)
    if own is None:
        draft = _draft_at(store, new)
        own = _free_reader(store, new.case_id, clean_name(new.reader_name, "A reader"))
        if new.based_on != "v0":
            _save_copy(store, draft, new, own)
    based_on = head_of(store, new.case_id, own).names[0]
    return add_steps(store, dataclasses.replace(new, reader_name=own, based_on=based_on))


def _fork_of(store: Store, new: NewSteps, steps: list[Step]) -> str | None:
    """Return the reader that these steps were kept under when the answer was lost on its way."""
    if not steps:
        return None
    query = (
        select(ReaderRow.name)
        .join(StepRow, StepRow.reader_id == ReaderRow.id)
        .where(
            StepRow.case_id == new.case_id,
            StepRow.client == steps[0].client,
            StepRow.number == steps[0].number,
            ReaderRow.name != new.reader_name,
        )
    )
    with store.database.read() as session:
        return session.scalar(query.limit(1))


def _free_reader(store: Store, case_id: int, name: str) -> str:
    """Return "name (2)", "name (3)" ...: the first that has not read this case."""
    with store.database.read() as session:
        project_id = case_row(session, case_id).project_id
        for number in range(2, 1000):
            candidate = f"{name} ({number})"
            reader_id = reader_id_of(session, project_id, candidate)
            if reader_id is None:
                return candidate
            kind = session.get_one(ReaderRow, reader_id).kind
            state = state_of(session, case_id, reader_id)
            if kind == "person" and state.version == 0 and state.step_id is None:
                return candidate
    raise Conflict(f"{name} has too many readings of this case; delete some.")


def _save_copy(store: Store, draft: Draft, new: NewSteps, own: str) -> None:
    notes = notes_to_json(draft.notes, list(draft.boxes))
    words = f"copy of {new.reader_name}, made while it was changed elsewhere"
    save_version(store, NewReading(new.case_id, own, draft.reading(), note=words, notes=notes))


def _draft_at(store: Store, new: NewSteps) -> Draft:
    """Return the reading as it was in the state that steps were made on."""
    ground = ground_of(store, new.case_id)
    steps: list[Step] = []
    with store.database.read() as session:
        reader_id = reader_id_of(session, case_row(session, new.case_id).project_id, new.reader_name)
        number = _number_in(new.based_on)
        if reader_id is None:
            return start_draft(ground, None, {}, [])
        if new.based_on.startswith("s"):
            row = session.get(StepRow, number)
            if row is None or (row.case_id, row.reader_id) != (new.case_id, reader_id):
                raise NotFound("The state these marks were made on is not known any more.")
            number, steps = _group(session, row)
        base = version_row(session, new.case_id, reader_id, number) if number else None
        if number and base is None:
            raise NotFound("The version these marks were made on is not there any more.")
    draft = build_draft(store, ground, base)
    for step in steps:
        draft.apply(step)
    return draft


def _number_in(name: str) -> int:
    if name[:1] not in ("s", "v") or not name[1:].isdecimal() or len(name) > 20:
        raise Conflict("The marks do not say what they are based on; load the reading again.")
    return int(name[1:])


def _group(session: Session, row: StepRow) -> tuple[int, list[Step]]:
    """Return the version a step's group starts from, and the steps of the group up to this one."""
    same = StepRow.version.is_(None) if row.version is None else StepRow.version == row.version
    of_reading = (StepRow.case_id == row.case_id, StepRow.reader_id == row.reader_id, StepRow.id <= row.id)
    rows = list(session.scalars(select(StepRow).where(*of_reading, same).order_by(StepRow.id)))
    first = rows[0].based_on
    number = _number_in(first)
    if first.startswith("s"):
        before = session.get(StepRow, number)
        number = (before.version or 0) if before is not None else 0
    return number, [step for one in rows for step in unpack_steps(one.content)]
