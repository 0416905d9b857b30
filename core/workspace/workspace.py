"""The one door to everything stored under a home: projects, cases, readings, models, runs.

Each method is one transaction; none leaves one open. The work is in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy.orm import Session

from core.imaging.headers import Headers
from core.learning.snapshot import Snapshot
from core.readings.reading import Reading
from core.types import Image, Label, Split
from core.workspace import (
    cases,
    forks,
    marking,
    models,
    projects,
    readings,
    results,
    runs,
    snapshots,
    splits,
    sweep,
    work,
)  # fmt: skip
from core.workspace.cases import CaseFilter
from core.workspace.marking import Head, NewSteps
from core.workspace.projects import Key
from core.workspace.readings import NewReading
from core.workspace.records import (
    AuditEntry,
    Case,
    Event,
    Model,
    NewCase,
    Project,
    Reader,
    ReaderKind,
    ReadingVersion,
    Run,
)
from core.workspace.store import Store, open_store
from core.workspace.work import Work


class Workspace:
    """An open home. Safe to share between threads; close it, or use it as a context manager."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(cls, home: Path) -> Workspace:
        """Open a home; make its folders and bring its database up to date where needed.

        Raises:
            StorageError: when the home cannot be written, or was made by a newer version.
        """
        return cls(open_store(Path(home)))

    def close(self) -> None:
        """Close all database connections."""
        self.store.database.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def home(self) -> Path:
        """The folder all of this lies in."""
        return self.store.home

    @property
    def salt(self) -> str:
        """The secret that patient ids are hashed with; made once per home, readable by its owner only."""
        return self.store.secret("salt")

    @property
    def token(self) -> str:
        """The secret that addresses of images are signed with; made once per home."""
        return self.store.secret("token")

    def fence_writes(self, check: Callable[[Session], None]) -> None:
        """Run ``check`` inside every later write transaction; what it raises undoes the write."""
        self.store.database.fence = check

    # projects

    def create_project(self, name: str, task: str, labels: tuple[Label, ...]) -> Project:
        """Create a project.

        Raises:
            Conflict: when the name is taken.
        """
        return projects.create_project(self.store, name, task, labels)

    def list_projects(self) -> list[Project]:
        """Return all projects, oldest first."""
        return projects.list_projects(self.store)

    def get_project(self, name_or_id: Key) -> Project:
        """Return a project by number or name (an exact name wins over a number).

        Raises:
            NotFound: when there is none.
        """
        return projects.get_project(self.store, name_or_id)

    def add_label(self, project_id: int, name: str) -> Project:
        """Add a label with the next free number and colour.

        Raises:
            Conflict: when the project has a label of that name.
        """
        return projects.add_label(self.store, project_id, name)

    def set_reference_reader(self, project_id: int, reader_name: str) -> Project:
        """Say whose readings count as truth.

        Raises:
            NotFound: when nobody of that name has read a case of the project.
        """
        return projects.set_reference_reader(self.store, project_id, reader_name)

    def set_blind(self, project_id: int, blind: bool) -> Project:
        """Say whether people see what others read in a case only after they have read it themselves."""
        return projects.set_blind(self.store, project_id, blind)

    def delete_project(self, project_id: int) -> None:
        """Delete a project with its cases, readings and runs; its models stay and can still be used.

        Raises:
            Conflict: while a job works on it.
        """
        projects.delete_project(self.store, project_id)

    # cases

    def add_case(self, project_id: int, found: NewCase) -> Case:
        """Store an image as a case.

        The same name with the same pixels is already there: returned with ``existing`` set, nothing is added.
        A taken name gets " (2)"; known pixels under another name come in with ``duplicate_of`` set.
        """
        return cases.add_case(self.store, project_id, found)

    def list_cases(
        self,
        project_id: int,
        split: Split | str | None = None,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Case]:
        """Return cases in the order they came in.

        Args:
            project_id: whose cases.
            split: "train", "val", "test", "none" (not assigned), or None for all.
            search: part of the name or source, in any case.
            limit: most cases to return; None for all.
            offset: how many to pass over first.
        """
        return cases.list_cases(self.store, CaseFilter(project_id, split, search), limit, offset)

    def count_cases(
        self, project_id: int, split: Split | str | None = None, search: str | None = None
    ) -> int:
        """Count the cases that ``list_cases`` would return without a limit."""
        return cases.count_cases(self.store, CaseFilter(project_id, split, search))

    def get_case(self, case_id: int) -> Case:
        """Return one case.

        Raises:
            NotFound: when it is not there (any more).
        """
        return cases.get_case(self.store, case_id)

    def set_split(self, split_of: Mapping[int, Split | None]) -> None:
        """Put cases into splits, many in one transaction; None takes a case out of its split."""
        splits.set_split(self.store, split_of)

    def count_splits(self, project_id: int) -> dict[str, int]:
        """Count the cases in train, val, test and none (not assigned)."""
        return splits.count_splits(self.store, project_id)

    def assign_splits(
        self, project_id: int, val: float, test: float, seed: int, only_missing: bool = True
    ) -> dict[str, int]:
        """Deal cases into train, val and test by patient; same seed, same split.

        Args:
            project_id: whose cases.
            val: share of patients for validation, in [0, 1).
            test: share of patients kept for the test, in [0, 1); val + test < 1.
            seed: any number.
            only_missing: keep splits that are set; a patient's further cases follow its first ones.

        Returns:
            Number of cases in train, val and test afterwards.
        """
        return splits.assign_splits(self.store, project_id, splits.Shares(val, test, seed), only_missing)

    def set_case_metadata(self, case_id: int, metadata: dict[str, str]) -> Case:
        """Replace a case's metadata."""
        return cases.set_case_metadata(self.store, case_id, metadata)

    def delete_cases(self, case_ids: Iterable[int]) -> int:
        """Delete cases with all their readings; returns how many there were.

        Raises:
            Conflict: while a training of their project reads them.
        """
        return cases.delete_cases(self.store, list(case_ids))

    def load_image(self, case: Case) -> Image:
        """Open a case's image; pixels stay on disk until they are touched."""
        return cases.load_image(self.store, case)

    def original_path(self, image_id: int) -> Path | None:
        """Return the kept file of a whole slide whose image shows a smaller level; None for other images.

        Its regions are read by ``core.imaging.slides.open_slide``, in a worker: the file came from outside.

        Raises:
            NotFound: when there is no such image (any more).
        """
        return cases.original_path(self.store, image_id)

    def load_headers(self, case: Case) -> Headers | None:
        """Open the DICOM headers kept beside a case's pixels, in slice order; None for other images.

        Raises:
            StorageError: when they are missing or damaged.
        """
        return cases.load_headers(self.store, case)

    def load_image_by_id(self, image_id: int) -> Image:
        """Open a stored image by its number."""
        return cases.load_image_by_id(self.store, image_id)

    def image_path(self, case: Case) -> Path:
        """Return where a case's stored array lies."""
        return self.store.files.path_of(case.image_sha256, ".npy")

    def pyramid_folder(self, case: Case, plane: int) -> Path:
        """Return where the smaller copies of a large plane lie, whether they are made yet or not."""
        return self.home / "cache" / f"{case.image_sha256}-{plane}"

    # readings

    def save_reading(  # noqa: PLR0913 - the one place where all facts about a reading come together
        self,
        case_id: int,
        reader_name: str,
        reading: Reading,
        *,
        kind: ReaderKind = "person",
        note: str = "",
        based_on: int | None = None,
        model_id: int | None = None,
        actor: str = "",
        notes: dict[str, Any] | None = None,
    ) -> ReadingVersion:
        """Store a reading as the reader's next version; what equals the latest version adds nothing.

        The first person who saves a reading in a project becomes its reference reader, unless one is set.

        Args:
            case_id: the case that was read.
            reader_name: who read it.
            reading: what was seen, on the image's grid.
            kind: "person" or "model".
            note: a word about this version.
            based_on: the version this one was made from; older than the latest means somebody was faster.
            model_id: the model behind a model's reading.
            actor: who did it, for the audit; the reader unless named.
            notes: what was noted beside it (``notes_to_json``); None keeps the latest version's.

        Raises:
            Conflict: when ``based_on`` is not the latest version, or a person and a model would share a name.
            LabelError: when the mask's size is not the image's.
        """
        new = NewReading(case_id, reader_name, reading, kind, note, based_on, model_id, actor, notes)
        return marking.save_reading(self.store, new)

    def marking_head(self, case_id: int, reader_name: str, client: str = "") -> Head:
        """Return the newest state of a reading that is being marked, and what was received of a browser tab.

        Raises:
            NotFound: when the case is gone.
        """
        return marking.head_of(self.store, case_id, reader_name, client)

    def add_marking_steps(self, new: NewSteps) -> Head:
        """Keep steps of marking (``core.readings.steps``); they are safe when this returns. Sent twice, kept once.

        Raises:
            Conflict: when they were made on another state than the newest; see ``fork_marking``.
            LabelError: when they do not fit the image, the labels or the kind of reading.
            NotFound: when the case is gone.
        """
        return marking.add_steps(self.store, new)

    def fork_marking(self, new: NewSteps) -> Head:
        """Keep steps made on an older state as a reading of their own, under "name (2)", "name (3)" ...

        Raises:
            NotFound: when the case, or the state they were made on, is not there any more.
        """
        return forks.fork(self.store, new)

    def marking_journal(self, case_id: int, reader_name: str) -> bytes:
        """Return the last steps that led to the newest state of a reading, packed, oldest first: what can be undone."""
        return marking.journal_of(self.store, case_id, reader_name)

    def list_readers(self, project_id: int) -> list[Reader]:
        """Return everybody who has read a case of the project, people first."""
        marking.settle_waiting(self.store, project_id=project_id)
        return readings.list_readers(self.store, project_id)

    def latest_reading(self, case_id: int, reader_name: str) -> ReadingVersion | None:
        """Return a reader's latest version for a case, or None."""
        marking.settle_waiting(self.store, case_id=case_id)
        found = readings.list_versions(self.store, case_id, reader_name, limit=1)
        return found[0] if found else None

    def list_versions(self, case_id: int, reader_name: str | None = None) -> list[ReadingVersion]:
        """Return all versions for a case (of one reader, or of all), newest first."""
        marking.settle_waiting(self.store, case_id=case_id)
        return readings.list_versions(self.store, case_id, reader_name)

    def get_version(self, version_id: int) -> ReadingVersion:
        """Return a version by its number in the database.

        Raises:
            NotFound: when it is not there (any more).
        """
        return readings.get_version(self.store, version_id)

    def load_reading(self, version: ReadingVersion, with_probabilities: bool = True) -> Reading:
        """Read a version's content."""
        return readings.load_reading(self.store, version, with_probabilities)

    def readings_of(self, project_id: int, reader_name: str) -> dict[int, ReadingVersion]:
        """Return case id -> the reader's latest version, for all cases read."""
        marking.settle_waiting(self.store, project_id=project_id)
        return readings.readings_of(self.store, project_id, reader_name)

    def reference_of(self, project_id: int) -> dict[int, ReadingVersion]:
        """Return case id -> latest version of the reference reader; empty when there is none yet."""
        reader = self.get_project(project_id).reference_reader
        return {} if reader is None else self.readings_of(project_id, reader)

    def list_work(self, project_id: int) -> list[Work]:
        """Return what each person's reading of each case cost: time, strokes, proposals taken and turned down."""
        return work.list_work(self.store, project_id)

    # snapshots, runs, models

    def make_snapshot(
        self, project_id: int, reader_name: str | None = None, needs_readings: bool = True
    ) -> Snapshot:
        """Freeze the cases that have a split and a reading of the reference reader (or of ``reader_name``).

        Where no readings are needed, because the images themselves are the truth, all cases that have a split.

        Raises:
            TrainingError: when there is no such reading, or no such case is in a split.
        """
        marking.settle_waiting(self.store, project_id=project_id)
        return snapshots.make_snapshot(self.store, project_id, reader_name, needs_readings)

    def load_snapshot(self, sha256: str) -> Snapshot:
        """Return a stored snapshot by its hash."""
        return snapshots.load_snapshot(self.store, sha256)

    def start_run(
        self, project_id: int, job_id: int | None, settings: dict[str, Any], snapshot: Snapshot
    ) -> Run:
        """Note that a training starts."""
        return runs.start_run(self.store, project_id, job_id, settings, snapshot)

    def finish_run(self, run_id: int, status: str, metrics: dict[str, Any], model_id: int | None) -> Run:
        """Note how a training ended: "done", "failed", "cancelled" or "interrupted"."""
        return runs.finish_run(self.store, run_id, status, metrics, model_id)

    def get_run(self, run_id: int) -> Run:
        """Return one run."""
        return runs.get_run(self.store, run_id)

    def list_runs(self, project_id: int | None = None) -> list[Run]:
        """Return the runs of a project (or all), newest first."""
        return runs.list_runs(self.store, project_id)

    def add_run_events(self, run_id: int, events: list[dict[str, Any]]) -> None:
        """Add events to a run that belongs to no job."""
        runs.add_run_events(self.store, run_id, events)

    def list_run_events(self, run_id: int, after_id: int = 0) -> list[Event]:
        """Return a run's events (its job's, too), oldest first."""
        return runs.list_run_events(self.store, run_id, after_id)

    def new_model_dir(self, name: str) -> Path:
        """Make an empty folder for a model package; ``register_model`` takes it over as it is."""
        return models.new_model_dir(self.store, name)

    def register_model(
        self, project_id: int | None, name: str, package_dir: Path, card: dict[str, Any], run_id: int | None
    ) -> Model:
        """Take a copy of a model package into the home; a taken name gets " (2)".

        A run that has a model already gets that model back, so that a resumed job registers none twice.
        """
        return models.register_model(self.store, models.NewModel(project_id, name, package_dir, card, run_id))

    def free_model_name(self, wanted: str) -> str:
        """Return ``wanted``, or it with the first free " (2)", " (3)" ... when a model has that name."""
        return models.free_model_name(self.store, wanted)

    def list_models(self, project_id: int | None = None, task: str | None = None) -> list[Model]:
        """Return models, newest first."""
        return models.list_models(self.store, project_id, task)

    def get_model(self, name_or_id: Key) -> Model:
        """Return a model by number or name (an exact name wins over a number).

        Raises:
            NotFound: when there is none.
        """
        return models.get_model(self.store, name_or_id)

    def model_dir(self, model: Model) -> Path:
        """Return the folder of a model's package."""
        return self.store.home / model.folder

    def rename_model(self, model_id: int, name: str) -> Model:
        """Give a model another name; its readings follow.

        Raises:
            Conflict: when a model, or another reader of a project it has read in, has that name.
        """
        return models.rename_model(self.store, model_id, name)

    def delete_model(self, model_id: int) -> None:
        """Delete a model and its package; readings it made stay."""
        models.delete_model(self.store, model_id)

    # evaluations, audit, cleaning

    def save_evaluation(self, project_id: int, key: str, result: dict[str, Any]) -> None:
        """Keep an evaluation's result under a key; a known key is overwritten."""
        results.save_evaluation(self.store, project_id, key, result)

    def load_evaluation(self, project_id: int, key: str) -> dict[str, Any] | None:
        """Return a kept evaluation, or None."""
        return results.load_evaluation(self.store, project_id, key)

    def log(self, actor: str, action: str, target: str, detail: str = "") -> None:
        """Write one line of the audit."""
        results.log(self.store, actor, action, target, detail)

    def list_audit(self, limit: int = 200) -> list[AuditEntry]:
        """Return the newest lines of the audit, newest first."""
        return results.list_audit(self.store, limit)

    def sweep(self, min_age_seconds: float = 3600.0) -> int:
        """Remove files nothing refers to, half-written ones and old steps of marking; returns how many files went."""
        marking.prune(self.store)
        return sweep.sweep(self.store, min_age_seconds)
