"""What the store hands out: frozen records, never rows bound to a database session. Times are UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from core.imaging.found import Original
from core.imaging.headers import Headers
from core.types import Image, ImageInfo, Label, Split

ReaderKind = Literal["person", "model"]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ACTIVE_STATES: tuple[JobState, ...] = ("queued", "running")
RESUMABLE_STATES: tuple[JobState, ...] = ("interrupted", "failed", "cancelled")


@dataclass(frozen=True)
class Project:
    """One question asked of many cases. ``reference_reader`` is whose readings count as truth."""

    id: int
    name: str
    task: str
    labels: tuple[Label, ...]
    reference_reader: str | None
    created_at: datetime
    blind: bool = False  # readers see nothing of each other's on a case before they have read it


@dataclass(frozen=True)
class NewCase:
    """What ``Workspace.add_case`` takes in. Without a patient key the case is its own patient.

    Attributes:
        original: a file to be kept beside the image, because it holds more (a whole slide).
        series_key: salted hash of the DICOM series it came from.
        array_file: an ``.npy`` file that holds exactly the image's pixels; the store moves it to its place
            instead of writing them again. It must lie on the store's disk to be moved.
        source_key: salted hash of the file's own name, where that name itself is not kept.
        headers: DICOM headers to keep beside the pixels.
    """

    name: str
    image: Image
    source: str
    patient_key: str | None = None
    split: Split | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    original: Original | None = None
    series_key: str | None = None
    array_file: Path | None = None
    source_key: str | None = None
    headers: Headers | None = None


@dataclass(frozen=True)
class Case:
    """One image (or volume) a reading can be about.

    Attributes:
        source: path shown to the user where it came from.
        patient_key: salted hash of a patient id, or "case:<name>-<id>" where no patient is known.
        metadata: columns of an imported table.
        duplicate_of: id of another case of the project with the very same pixels.
        existing: True when ``add_case`` found this case already there and added nothing.
        series_key: salted hash of the DICOM series it came from, None for other images.
        source_key: salted hash of the file's own name, where the name is not kept (see ``core.jobs.import_names``).
        headers_sha256: which kept DICOM headers belong to it; None for other images.
    """

    id: int
    project_id: int
    name: str
    image_id: int
    image_sha256: str
    info: ImageInfo
    source: str
    patient_key: str
    split: Split | None
    metadata: dict[str, str]
    created_at: datetime
    duplicate_of: int | None = None
    existing: bool = False
    series_key: str | None = None
    source_key: str | None = None
    headers_sha256: str | None = None


@dataclass(frozen=True)
class Reader:
    """A person or a model that has read ``n_cases`` cases of a project."""

    id: int
    name: str
    kind: ReaderKind
    n_cases: int


@dataclass(frozen=True)
class ReadingVersion:
    """One version of one reader's reading of one case; ``version`` counts from 1.

    ``notes`` are what was noted beside the mask or boxes, as ``core.readings.notes.notes_from_json`` reads it.
    """

    id: int
    case_id: int
    reader_id: int
    reader_name: str
    kind: ReaderKind
    version: int
    sha256: str
    note: str
    based_on: int | None
    model_id: int | None
    has_probabilities: bool
    created_at: datetime
    notes: dict[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Model:
    """Weights and card of a trained network. ``folder`` is relative, see ``Workspace.model_dir``."""

    id: int
    project_id: int | None
    name: str
    task: str
    card: dict[str, Any]
    run_id: int | None
    folder: str
    created_at: datetime


@dataclass(frozen=True)
class Run:
    """One training. ``status`` is running, done, failed, cancelled or interrupted (its job died)."""

    id: int
    project_id: int
    job_id: int | None
    settings: dict[str, Any]
    snapshot_sha256: str
    status: str
    metrics: dict[str, Any]
    model_id: int | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Job:
    """One piece of long work. ``attempt`` counts from 1; a resumed job has the next number."""

    id: int
    kind: str
    title: str
    state: JobState
    attempt: int
    progress: float
    message: str
    eta_seconds: float | None
    payload: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    pid: int | None
    pid_created: float | None
    queue: str
    project_id: int | None
    cancel_requested: bool = False

    @property
    def active(self) -> bool:
        """True while the job waits or runs."""
        return self.state in ACTIVE_STATES

    @property
    def resumable(self) -> bool:
        """True when ``JobQueue.resume`` can put it back in the queue."""
        return self.state in RESUMABLE_STATES


@dataclass(frozen=True)
class Event:
    """Something a job or run told: ``data`` has a "kind" (plan, step, epoch, note). Ids only grow."""

    id: int
    attempt: int
    data: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class AuditEntry:
    """Who did what to which thing, and when."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: str
