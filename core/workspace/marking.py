"""Marks as they are made: steps are kept the moment they arrive, and become versions a little later.

A step is a row; that is when the browser says "saved". Rows that wait are turned into one version by ``settle``:
after some seconds of marking, and whenever anybody asks for the reading, so that nobody ever sees an older one.
Rows stay for a month: they are the undo history, and the ground on which a late comer's copy is made.

A state of a reading has names: "v<number>" of a version, "s<id>" of the step that led to it. Steps are taken only on
the newest state; a browser that marked on an older one gets a reading of its own (``core.workspace.forks``).
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, NotFound, SightlineError, StorageError
from core.readings.draft import Draft, Ground, check_step, start_draft
from core.readings.notes import notes_from_json, notes_to_json
from core.readings.steps import MaskPatch, Step, pack_steps, unpack_steps
from core.tasks import TASKS
from core.types import info_from_json
from core.workspace.cases import MAX_TRIES
from core.workspace.database import now
from core.workspace.projects import clean_name, project_row, to_project
from core.workspace.readings import (
    NewReading,
    StepsWait,
    add_version,
    load_version,
    put_content,
    reader_id_of,
    reader_row,
)
from core.workspace.readings import save_reading as save_version
from core.workspace.records import ReadingVersion
from core.workspace.store import Store
from core.workspace.tables import CaseRow, ImageRow, ReaderRow, StepRow, VersionRow
from core.workspace.work import Activity, add_work, settle_work

log = logging.getLogger(__name__)

SETTLE_SECONDS = 6.0  # marking goes on: a version every so often
SETTLE_STEPS = 60
SETTLE_BYTES = 16 * 2**20
JOURNAL_STEPS = 250  # 100 can be undone; undo and redo are steps, too
KEEP_DAYS = 30


@dataclass(frozen=True)
class NewSteps:
    """Steps as a browser sends them: on whose reading of which case, on which state, packed; and the work behind."""

    case_id: int
    reader_name: str
    based_on: str
    content: bytes
    activity: Activity = field(default_factory=Activity)


@dataclass(frozen=True)
class Head:
    """The newest state of a reading.

    Attributes:
        reader: whose reading.
        version: number of the newest version, 0 when there is none.
        names: all names of this state; the first one is the one to base steps on.
        received: number of the last step of the asking browser tab that is kept.
    """

    reader: str
    version: int
    names: tuple[str, ...]
    received: int = 0


class State(NamedTuple):
    """The newest version, the newest step, and the version that step went into."""

    version: int
    step_id: int | None
    step_version: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """All names of this state."""
        if self.step_id is None:
            return (f"v{self.version}",)
        if self.step_version is None:
            return (f"s{self.step_id}",)
        settled_last = self.step_version == self.version
        return (f"s{self.step_id}", f"v{self.version}") if settled_last else (f"v{self.version}",)


def state_of(session: Session, case_id: int, reader_id: int) -> State:
    """Return the newest state of a reading."""
    of_reading = (VersionRow.case_id == case_id, VersionRow.reader_id == reader_id)
    version = session.scalar(select(func.max(VersionRow.version)).where(*of_reading)) or 0
    newest = session.execute(
        select(StepRow.id, StepRow.version)
        .where(StepRow.case_id == case_id, StepRow.reader_id == reader_id)
        .order_by(StepRow.id.desc())
        .limit(1)
    ).first()
    return State(version, *(newest if newest is not None else (None, None)))


def head_of(store: Store, case_id: int, reader_name: str, client: str = "") -> Head:
    """Return the newest state of a reading; see ``Workspace.marking_head``."""
    reader_name = clean_name(reader_name, "A reader")
    with store.database.read() as session:
        case = case_row(session, case_id)
        reader_id = reader_id_of(session, case.project_id, reader_name)
        if reader_id is None:
            return Head(reader_name, 0, ("v0",))
        state = state_of(session, case_id, reader_id)
        return Head(reader_name, state.version, state.names, _received(session, case_id, reader_id, client))


def _received(session: Session, case_id: int, reader_id: int, client: str) -> int:
    last = select(func.max(StepRow.number)).where(
        StepRow.case_id == case_id, StepRow.reader_id == reader_id, StepRow.client == client
    )
    return session.scalar(last) or 0


def case_row(session: Session, case_id: int) -> CaseRow:
    """Return a case's row; raise NotFound when it is gone."""
    case = session.get(CaseRow, case_id)
    if case is None:
        raise NotFound(f"There is no case number {case_id} (any more).")
    return case


def ground_of(store: Store, case_id: int) -> Ground:
    """Return what marks on a case must fit.

    Raises:
        NotFound: when the case is gone.
    """
    with store.database.read() as session:
        case = case_row(session, case_id)
        project = to_project(project_row(session, case.project_id))
        image = session.get_one(ImageRow, case.image_id)
        return Ground(info_from_json(image.info), project.labels, TASKS[project.task].reading_kind)


# --- taking steps -------------------------------------------------------------------------------------------------


def add_steps(store: Store, new: NewSteps) -> Head:
    """Keep steps; see ``Workspace.add_marking_steps``."""
    steps = unpack_steps(new.content)
    ground = ground_of(store, new.case_id)
    for step in steps:
        check_step(step, ground)
    with store.database.write() as session:
        case = case_row(session, new.case_id)
        name = clean_name(new.reader_name, "A reader")
        reader = reader_row(session, case.project_id, name, "person")
        state = state_of(session, case.id, reader.id)
        fresh = _fresh(session, new, reader, state, steps)
        for step in fresh:
            row = StepRow(
                case_id=case.id,
                reader_id=reader.id,
                client=step.client,
                number=step.number,
                based_on=state.names[0],
                version=None,
                content=pack_steps([step]),
                created_at=now(),
            )
            session.add(row)
            session.flush()
            state = State(state.version, row.id, None)
        if fresh and state.step_id is not None:
            add_work(session, (case.id, reader.id, state.step_id), fresh, new.activity)
        client = steps[0].client if steps else ""
        head = Head(name, state.version, state.names, _received(session, case.id, reader.id, client))
        reader_id = reader.id
    if _is_ripe(store, new.case_id, reader_id):
        settle(store, new.case_id, reader_id)
    return head


def _fresh(session: Session, new: NewSteps, reader: ReaderRow, state: State, steps: list[Step]) -> list[Step]:
    """Return the steps that are not kept yet; those that are must be the newest ones.

    Raises:
        Conflict: when they were made on another state than the newest.
    """
    known: dict[int, int] = {}
    if steps:
        numbers = [step.number for step in steps]
        found = session.execute(
            select(StepRow.number, StepRow.id).where(
                StepRow.case_id == new.case_id,
                StepRow.reader_id == reader.id,
                StepRow.client == steps[0].client,
                StepRow.number.in_(numbers),
            )
        )
        known = {row.number: row.id for row in found}
    fresh = [step for step in steps if step.number not in known]
    on_top = new.based_on in state.names if not known else max(known.values()) == state.step_id
    if fresh and not on_top:
        raise Conflict(
            f"The reading of {reader.name} was changed elsewhere; what you mark here becomes a reading of your own."
        )
    return fresh


def _is_ripe(store: Store, case_id: int, reader_id: int) -> bool:
    waiting = select(
        func.count(), func.min(StepRow.created_at), func.sum(func.length(StepRow.content))
    ).where(StepRow.case_id == case_id, StepRow.reader_id == reader_id, StepRow.version.is_(None))
    with store.database.read() as session:
        count, oldest, n_bytes = session.execute(waiting).one()
    if not count:
        return False
    old = oldest is not None and now() - oldest > timedelta(seconds=SETTLE_SECONDS)
    return bool(old or count >= SETTLE_STEPS or (n_bytes or 0) >= SETTLE_BYTES)


# --- steps to versions --------------------------------------------------------------------------------------------


def settle_waiting(store: Store, case_id: int | None = None, project_id: int | None = None) -> None:
    """Turn waiting steps of a case, or of a project, into versions. What cannot be settled now waits on."""
    query = select(StepRow.case_id, StepRow.reader_id).where(StepRow.version.is_(None)).distinct()
    if case_id is not None:
        query = query.where(StepRow.case_id == case_id)
    if project_id is not None:
        query = query.join(CaseRow, CaseRow.id == StepRow.case_id).where(CaseRow.project_id == project_id)
    with store.database.read() as session:
        waiting = [(row[0], row[1]) for row in session.execute(query)]
    for case, reader in waiting:
        try:
            settle(store, case, reader)
        except SightlineError:
            log.exception("Marks on case %s could not be made a version yet.", case)


def settle(store: Store, case_id: int, reader_id: int) -> None:
    """Turn the waiting steps of one reading into a version.

    Raises:
        StorageError: when the version they are based on is damaged, or the disk is full; the steps wait on.
    """
    ground = ground_of(store, case_id)
    for _ in range(MAX_TRIES):
        with store.database.read() as session:
            rows = _waiting_rows(session, case_id, reader_id)
            if not rows:
                return
            ids = [row.id for row in rows]
            steps = [step for row in rows for step in unpack_steps(row.content)]
            base = version_row(session, case_id, reader_id)
            base_number = base.version if base is not None else 0
            reader = session.get_one(ReaderRow, reader_id).name
        draft = build_draft(store, ground, base)
        for step in steps:
            draft.apply(step)
        notes = notes_to_json(draft.notes, list(draft.boxes))
        new = NewReading(
            case_id, reader, draft.reading(), note=_words(steps), based_on=base_number, notes=notes
        )
        sha256, path = put_content(store, new.reading)
        with store.database.write() as session:
            unchanged = state_of(session, case_id, reader_id).version == base_number
            still = [row.id for row in _waiting_rows(session, case_id, reader_id)][: len(ids)] == ids
            if path.exists() and unchanged and still:
                saved = add_version(session, new, reader, sha256)
                session.execute(update(StepRow).where(StepRow.id.in_(ids)).values(version=saved.version))
                settle_work(session, ids, saved.version)
                return
    raise StorageError("The marks are kept, but something keeps changing the reading; try again in a moment.")


def save_reading(store: Store, new: NewReading) -> ReadingVersion:
    """Store a reading as the next version, after all marks that wait; see ``Workspace.save_reading``."""
    for _ in range(MAX_TRIES):
        settle_waiting(store, case_id=new.case_id)
        try:
            return save_version(store, new)
        except StepsWait:
            continue
    raise StorageError("This reading is being marked elsewhere; try again in a moment.")


def _waiting_rows(session: Session, case_id: int, reader_id: int) -> list[StepRow]:
    of_reading = (StepRow.case_id == case_id, StepRow.reader_id == reader_id, StepRow.version.is_(None))
    return list(session.scalars(select(StepRow).where(*of_reading).order_by(StepRow.id)))


def version_row(
    session: Session, case_id: int, reader_id: int, number: int | None = None
) -> VersionRow | None:
    """Return a version of a reading, the newest unless numbered."""
    query = select(VersionRow).where(VersionRow.case_id == case_id, VersionRow.reader_id == reader_id)
    if number is not None:
        query = query.where(VersionRow.version == number)
    row = session.scalar(query.order_by(VersionRow.version.desc()).limit(1))
    if row is not None:
        session.expunge(row)  # read after the session has ended
    return row


def build_draft(store: Store, ground: Ground, base: VersionRow | None) -> Draft:
    """Return a draft that starts from a version, or from nothing."""
    if base is None:
        return start_draft(ground, None, {}, [])
    notes, box_ids = notes_from_json(base.notes)
    return start_draft(ground, load_version(store, base.sha256, f"version {base.version}"), notes, box_ids)


def _words(steps: list[Step]) -> str:
    """Say what was done: "brush x3, eraser on slices 4-6"."""
    counts = Counter(step.name for step in steps)
    words = ", ".join(name if count == 1 else f"{name} x{count}" for name, count in counts.most_common(5))
    planes = sorted({patch.z + 1 for step in steps for patch in step.patches if isinstance(patch, MaskPatch)})
    if planes and planes[-1] > 1:
        words += f" on slice {planes[0]}" if len(planes) == 1 else f" on slices {planes[0]}-{planes[-1]}"
    return words[:300]


def journal_of(store: Store, case_id: int, reader_name: str) -> bytes:
    """Return the last steps that led to the newest state; see ``Workspace.marking_journal``."""
    with store.database.read() as session:
        case = case_row(session, case_id)
        reader_id = reader_id_of(session, case.project_id, reader_name)
        if reader_id is None:
            return pack_steps([])
        names = state_of(session, case_id, reader_id).names
        rows = session.scalars(
            select(StepRow)
            .where(StepRow.case_id == case_id, StepRow.reader_id == reader_id)
            .order_by(StepRow.id.desc())
            .limit(JOURNAL_STEPS)
        )
        steps: list[Step] = []
        for row in rows:
            if f"s{row.id}" not in names:
                break  # between this step and the next one somebody stored another reading
            steps.extend(reversed(unpack_steps(row.content)))
            names = (row.based_on,)
    return pack_steps(steps[::-1])


def prune(store: Store) -> int:
    """Forget steps that became versions long ago; returns how many went."""
    old = now() - timedelta(days=KEEP_DAYS)
    with store.database.write() as session:
        gone = delete(StepRow).where(StepRow.version.is_not(None), StepRow.created_at < old)
        return int(session.execute(gone).rowcount)  # type: ignore[attr-defined]
