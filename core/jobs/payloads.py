"""What each kind of job is asked to do. Pages and the terminal build these; handlers read them back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.imaging.profiles import DEFAULT_PROFILE, Profile
from core.types import Split

DEFAULT_READER = "annotator"


class Payload(BaseModel):
    """A frozen request that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImportPayload(Payload):
    """Bring images, and labels that belong to them, into a project.

    Attributes:
        paths: files, folders or archives with images.
        labels: file, folder or archive with labels, matched to images by file name.
        format: one of ``core.readings.label_formats.LABEL_FORMATS``.
        label_map: mask value (as text, or "any") to label name; None when values are the project's own.
        table: CSV with one row an image; ``columns`` says which column is file, patient, split.
        staging: folder of uploaded files, deleted when the job is done.
        display_names: stored path to the name shown to the user (uploads lie under generated names).
        request: JSON file with ``paths``, ``labels``, ``table`` and ``display_names`` in place of the fields
            here, because names of files may name patients and a payload stays in the database.
        deidentify: what is kept of the identity in DICOM files (see ``core.imaging.profiles``).
        hide_names: True when names of other files (PNG, NIfTI ...) are not to be kept either.
    """

    project: int
    paths: list[str] = Field(default_factory=list)
    labels: str | None = None
    format: str = "auto"
    label_map: dict[str, str] | None = None
    table: str | None = None
    columns: dict[str, str] | None = None
    reader: str = DEFAULT_READER
    split: Split | None = None
    staging: str | None = None
    display_names: dict[str, str] = Field(default_factory=dict)
    request: str | None = None
    deidentify: Profile = DEFAULT_PROFILE
    hide_names: bool = False


class TrainPayload(Payload):
    """Train a model on the project's reference readings (or another reader's)."""

    project: int
    settings: dict[str, Any]
    name: str
    reader: str | None = None
    initial_model: int | None = None
    initial_file: str | None = None


class PredictPayload(Payload):
    """Run a model on cases of a project; the readings are stored under the model's name."""

    model: int
    project: int
    case_ids: list[int]
    flips: bool = True
    threshold: float | None = Field(default=None, ge=0, le=1)
    blend: float | None = Field(default=None, ge=0, le=1)
    consistent: bool | None = None


class EvaluatePayload(Payload):
    """Score one reader against another (or against the reference) on the cases both have read.

    Where the images themselves are the truth (``against`` is "images"), the model is tried on images made coarse.

    Attributes:
        blend: share of the second stage's weights of a model that is tried.
        judge: a model of another task, whose readings of the restored images are held against those of the true ones.
    """

    project: int
    reader: str
    against: str = "reference"
    split: Split | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    blend: float | None = Field(default=None, ge=0, le=1)
    judge: str | None = None


class PromptPayload(Payload):
    """Train a small promptable network on the objects of a project's reference (or another reader's).

    Attributes:
        name: of the new network; the home holds none of that name.
        minutes: how long to train.
    """

    project: int
    name: str
    minutes: float = Field(default=10.0, gt=0, le=1440)
    reader: str | None = None


class LookPayload(Payload):
    """Restore a part of one case with every blend of a model, as pictures; see ``ImageTruth.look``.

    Attributes:
        plane, top, left, side: the part, in pixels of the image.
        degrade: make the image coarse first, so that the truth is known.
        window: (center, width) of the pictures.
    """

    project: int
    model: int
    case_id: int
    plane: int = Field(default=0, ge=0)
    top: int = Field(default=0, ge=0)
    left: int = Field(default=0, ge=0)
    side: int = Field(default=64, ge=4, le=1024)
    degrade: bool = False
    flips: bool = True
    window: tuple[float, float] | None = None


class ExportPayload(Payload):
    """Write one reader's readings to files.

    Attributes:
        format: one of the task's.
        reader: whose; the reference's unless named.
        out: folder to write to.
        split: only cases of this split.
        threshold: score from which a model's boxes are written; None takes the model's own rule.
    """

    project: int
    format: str
    reader: str | None = None
    out: str
    split: Split | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)


class PreviewPayload(Payload):
    """Draw augmented samples of one case as PNG files."""

    project: int
    settings: dict[str, Any]
    case_id: int
    count: int = Field(default=6, ge=1, le=24)
    seed: int = 0


class DemoPayload(Payload):
    """Make the demo project from synthetic images."""
