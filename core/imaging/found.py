"""What looking through files brings: an image that was found, or a file that was passed over and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.imaging.headers import Headers
from core.types import Image


@dataclass(frozen=True)
class Found:
    """One image read from one or many files.

    Attributes:
        image: the pixels with their geometry.
        name: file stem, or "CT series 1 (17 slices)"; never taken from fields that may name a person.
        source: relative path shown to the user.
        patient_key: salted hash of the DICOM PatientID, None where the file names no patient.
        group: what belongs together beyond the patient; empty when unknown.
        files: the DICOM files it was read from, in slice order; empty for other kinds.
        headers: their headers, when the caller of ``scan`` asked for them.
    """

    image: Image
    name: str
    source: str
    patient_key: str | None = None
    group: str = ""
    files: tuple[Path, ...] = ()
    headers: Headers | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that gave no image, with the reason in one sentence.

    Attributes:
        kind: "dicom", "nifti" or "raster"; empty when it was recognised as nothing.
    """

    source: str
    reason: str
    kind: str = ""
