"""What looking through files brings: an image that was found, or a file that was passed over and why."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

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
        array_file: an ``.npy`` file that holds the pixels and may be moved away; there until the next image is
            asked for. None when they came by no file.
    """

    image: Image
    name: str
    source: str
    patient_key: str | None = None
    group: str = ""
    array_file: Path | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that gave no image, with the reason in one sentence."""

    source: str
    reason: str


def patient_key(raw: str, salt: str) -> str:
    """Hash a patient identifier so that equal patients match and nobody can be named without the salt.

    Args:
        raw: the identifier as the file has it; surrounding blanks do not count.
        salt: this workspace's secret.
    """
    digest = hmac.new(salt.encode(), raw.strip().encode(), hashlib.sha256)
    return f"patient-{digest.hexdigest()[:16]}"
