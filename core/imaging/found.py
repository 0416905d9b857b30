"""What looking through files brings: an image that was found, or a file that was passed over and why."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

from core.imaging.fingerprint import StoredFacts
from core.imaging.headers import Headers
from core.types import Image, Split


@dataclass(frozen=True)
class Original:
    """A file that is kept beside its pixels, less what may name a patient.

    Attributes:
        path: the file.
        blanked: (first byte, number of bytes) of the parts that become zeros in the kept copy.
        rewritten: (first byte, text) of the parts that become this text (ASCII).
    """

    path: Path
    blanked: tuple[tuple[int, int], ...] = ()
    rewritten: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Found:
    """One image read from one or many files.

    Attributes:
        image: the pixels with their geometry.
        name: file stem, or "CT series 1 (17 slices)"; never taken from fields that may name a person.
        source: relative path shown to the user.
        patient_key: salted hash of the DICOM PatientID, None where the file names no patient.
        group: what belongs together beyond the patient; empty when unknown.
        part: which image of its file, such as "volume 07" or "train_000012", and the end of ``name`` and
            ``source``; empty when the file holds one image.
        split: train, val or test, where the file says it.
        metadata: further facts of the case, such as its "label".
        original: the file to be kept because the image holds less than it (a whole slide).
        files: the DICOM files it was read from, in slice order; empty for other kinds.
        series_key: salted hash of the DICOM SeriesInstanceUID, by which segmentations name their images.
        stored: facts about the stored values, where the reader was asked for them.
        headers: the headers of ``files``, where the reader was asked for them.
        array_file: an ``.npy`` file that holds the pixels and may be moved away; there until the next image is
            asked for. None when they came by no file.
    """

    image: Image
    name: str
    source: str
    patient_key: str | None = None
    group: str = ""
    part: str = ""
    split: Split | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    original: Original | None = None
    files: tuple[Path, ...] = ()
    series_key: str | None = None
    stored: StoredFacts | None = None
    headers: Headers | None = None
    array_file: Path | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that gave no image, with the reason in one sentence.

    Attributes:
        marks: the file, when it is a DICOM segmentation: it marks other images and may become a reading of them.
        kind: a kind of file (see ``formats``); empty when it was recognised as nothing.
    """

    source: str
    reason: str
    marks: Path | None = None
    kind: str = ""


def series_key(uid: str, salt: str) -> str:
    """Hash a SeriesInstanceUID so that equal series match and none can be traced without the salt.

    Args:
        uid: as the file has it.
        salt: this workspace's secret.
    """
    return f"series-{hmac.new(salt.encode(), uid.strip().encode(), hashlib.sha256).hexdigest()[:32]}"
