"""What a reading cost: seconds of active work, strokes, proposals taken and turned down; kept with each version.

The browser counts the seconds in which something was done (pauses of more than 30 s do not count) and the proposals
turned down; strokes and accepted proposals are counted here, from the steps themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.readings.steps import Step
from core.workspace.database import now
from core.workspace.store import Store
from core.workspace.tables import CaseRow, ReaderRow, WorkRow

TOOLS = (
    "region",
    "scribble",
    "click",
    "grow",
    "model",
)  # names of steps that a proposal made, see core.assist
MOST_SECONDS = 12 * 3600.0  # between two savings; more is a mistake of a clock
TAKEN_OVER = "started from"


@dataclass(frozen=True)
class Activity:
    """What the browser counted since it last saved."""

    seconds: float = 0.0
    rejected: int = 0

    def __post_init__(self) -> None:
        if not (
            math.isfinite(self.seconds) and 0 <= self.seconds <= MOST_SECONDS and 0 <= self.rejected <= 10**6
        ):
            raise ValueError(f"the work done must be 0 to {MOST_SECONDS:.0f} seconds, got {self.seconds}.")


@dataclass(frozen=True)
class Work:
    """All work of one reader on one case.

    Attributes:
        case_id: the case.
        reader: who.
        seconds: of active work.
        strokes: steps done by hand or by a tool; undoing is none.
        accepted: proposals of a tool or model, and readings of others, that became part of the reading.
        rejected: proposals turned down.
    """

    case_id: int
    reader: str
    seconds: float
    strokes: int
    accepted: int
    rejected: int

    @property
    def assisted(self) -> bool:
        """True when anything proposed is part of the reading."""
        return self.accepted > 0

    @property
    def corrected(self) -> bool:
        """True when there is more to the reading than what was proposed."""
        return self.assisted and self.strokes > self.accepted


@dataclass(frozen=True)
class Spread:
    """Seconds to a reading over n readings: median and the middle half; NaN for none."""

    n: int
    median: float
    low: float
    high: float


def is_proposal(step: Step) -> bool:
    """Tell whether a step took over what a tool, a model or another reader proposed."""
    return step.name in TOOLS or step.name.startswith(TAKEN_OVER)


def add_work(session: Session, at: tuple[int, int, int], steps: Sequence[Step], activity: Activity) -> None:
    """Keep the work behind steps, within their transaction; ``at``: case, reader and the row of the last step."""
    done = [step for step in steps if step.kind == "do"]
    row = WorkRow(
        case_id=at[0],
        reader_id=at[1],
        last_step=at[2],
        version=None,
        seconds=activity.seconds,
        strokes=len(done),
        accepted=sum(is_proposal(step) for step in done),
        rejected=activity.rejected,
        created_at=now(),
    )
    session.add(row)


def settle_work(session: Session, step_ids: Sequence[int], version: int) -> None:
    """Say into which version the work behind steps went."""
    session.execute(update(WorkRow).where(WorkRow.last_step.in_(step_ids)).values(version=version))


def list_work(store: Store, project_id: int) -> list[Work]:
    """Return the work on every reading of a project; see ``Workspace.list_work``."""
    query = (
        select(
            WorkRow.case_id,
            ReaderRow.name,
            func.sum(WorkRow.seconds),
            func.sum(WorkRow.strokes),
            func.sum(WorkRow.accepted),
            func.sum(WorkRow.rejected),
        )
        .join(ReaderRow, ReaderRow.id == WorkRow.reader_id)
        .join(CaseRow, CaseRow.id == WorkRow.case_id)
        .where(CaseRow.project_id == project_id)
        .group_by(WorkRow.case_id, ReaderRow.id, ReaderRow.name)
        .order_by(ReaderRow.id, WorkRow.case_id)
    )
    with store.database.read() as session:
        return [
            Work(case_id, reader, float(seconds), int(strokes), int(accepted), int(rejected))
            for case_id, reader, seconds, strokes, accepted, rejected in session.execute(query)
        ]


def spread_of(works: Iterable[Work]) -> Spread:
    """Return median and quartiles of the seconds."""
    seconds = sorted(work.seconds for work in works)
    if not seconds:
        return Spread(0, math.nan, math.nan, math.nan)
    if len(seconds) == 1:
        return Spread(1, seconds[0], seconds[0], seconds[0])
    low, middle, high = quantiles(seconds, n=4, method="inclusive")
    return Spread(len(seconds), middle, low, high)
