"""Splits: which cases a model learns from, is chosen by, and is tested on. Patients are never divided."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from core.types import SPLITS, Split
from core.workspace.cases import OWN_PATIENT, check_split
from core.workspace.projects import project_row
from core.workspace.results import audit
from core.workspace.store import Store
from core.workspace.tables import CaseRow


@dataclass(frozen=True)
class Shares:
    """Shares of patients for validation and test; the rest is for training."""

    val: float
    test: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise ValueError(
                f"val and test must be shares in [0, 1) that leave something to train on, "
                f"got {self.val} and {self.test}."
            )


def set_split(store: Store, split_of: Mapping[int, Split | None]) -> None:
    """Put cases into splits; see ``Workspace.set_split``."""
    with store.database.write() as session:
        write_splits(session, {case_id: check_split(split) for case_id, split in split_of.items()})


def write_splits(session: Session, split_of: Mapping[int, Split | None]) -> None:
    """Write many splits with one statement."""
    if not split_of:
        return
    table = CaseRow.__table__
    statement = update(table).where(table.c.id == bindparam("case")).values(split=bindparam("to"))  # type: ignore[arg-type]
    session.connection().execute(statement, [{"case": case, "to": split} for case, split in split_of.items()])
    audit(session, "", "splits set", f"{len(split_of)} cases")


def count_splits(store: Store, project_id: int) -> dict[str, int]:
    """Count cases by split; "none" for those without."""
    query = (
        select(CaseRow.split, func.count()).where(CaseRow.project_id == project_id).group_by(CaseRow.split)
    )
    with store.database.read() as session:
        counts = {split or "none": number for split, number in session.execute(query.group_by(CaseRow.split))}
    return {name: counts.get(name, 0) for name in (*SPLITS, "none")}


def assign_splits(store: Store, project_id: int, shares: Shares, only_missing: bool) -> dict[str, int]:
    """Deal cases by patient; see ``Workspace.assign_splits``."""
    columns = (CaseRow.id, CaseRow.name, CaseRow.patient_key, CaseRow.split)
    query = select(*columns).where(CaseRow.project_id == project_id).order_by(CaseRow.id)
    with store.database.write() as session:
        project_row(session, project_id)
        cases_of: dict[str, list[tuple[int, str | None]]] = {}
        for case_id, name, key, split in session.execute(query):
            # A case that is its own patient goes by its name: numbers differ from home to home.
            patient = f"{OWN_PATIENT}{name}" if key.startswith(OWN_PATIENT) else key
            cases_of.setdefault(patient, []).append((case_id, split))
        kept = {
            patient: next(check_split(split) for _, split in cases if split)
            for patient, cases in cases_of.items()
            if only_missing and any(split for _, split in cases)
        }
        dealt = deal(list(cases_of), shares, kept)
        write_splits(
            session,
            {
                case_id: dealt[patient]
                for patient, cases in cases_of.items()
                for case_id, split in cases
                if split != dealt[patient] and not (only_missing and split)
            },
        )
    counts = count_splits(store, project_id)
    return {name: counts[name] for name in SPLITS}


def deal(patients: list[str], shares: Shares, kept: Mapping[str, Split | None]) -> dict[str, Split | None]:
    """Give every patient a split, so that the whole comes as near to the shares as what is kept allows.

    Args:
        patients: all patients, in any order; only their keys and the seed decide.
        shares: wanted shares of patients.
        kept: patients whose split stays.
    """
    free = sorted(
        (patient for patient in patients if patient not in kept), key=lambda key: _draw(key, shares.seed)
    )
    dealt: dict[str, Split | None] = dict(kept)
    total = len(patients)
    already = list(kept.values())
    n_test = max(0, _share(shares.test, total) - already.count("test"))
    n_val = max(0, _share(shares.val, total) - already.count("val"))
    if "train" not in already:  # one patient at least to learn from
        n_test = min(n_test, max(0, len(free) - 1 - min(n_val, 1)))
        n_val = min(n_val, max(0, len(free) - 1 - n_test))
    for number, patient in enumerate(free):
        if number < n_test:
            dealt[patient] = "test"
        else:
            dealt[patient] = "val" if number < n_test + n_val else "train"
    return dealt


def _share(share: float, total: int) -> int:
    """Round a share of patients; one at least of a share above nothing."""
    return max(1, round(share * total)) if share > 0 and total else 0


def _draw(patient: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()
