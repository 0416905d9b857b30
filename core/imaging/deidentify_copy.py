"""One file copied without identity; called in the decoder, because what the file holds is not trusted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from core.errors import FileRefused
from core.imaging.burned_in import pixel_warnings, text_warning
from core.imaging.deidentify import Rules, deidentify
from core.imaging.dicom import read_dicom_series
from core.imaging.dicom_header import read_object
from core.imaging.formats import recognise
from core.imaging.limits import announce
from core.imaging.profiles import Profile, Retained
from core.imaging.raster import read_raster
from core.imaging.strip_picture import PNG_START, strip_jpeg, strip_png
from core.imaging.strip_tiff import strip_tiff
from core.imaging.tiff import is_tiff
from core.settings import Settings

DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
DIRECTORY = "1.2.840.10008.1.3.10"
# Slices of volumes hold no print but for dose sheets, and there are thousands of them.
NOT_SEARCHED = ("CT", "MR", "PT", "NM", "RTDOSE", "SEG", "SR", "PR", "RTSTRUCT", "RTPLAN", "REG", "ECG")
FACE_FACTS = ("Modality", "BodyPartExamined", "RecognizableVisualFeatures")
ONLY_THESE = "Only DICOM, PNG, JPEG and TIFF files can be copied without identity; convert it to one of them."


@dataclass(frozen=True)
class Wish:
    """What is to be left of an identity (see ``deidentify.Rules``), as it is sent to the decoder."""

    salt: str
    profile: Profile
    retained: tuple[Retained, ...]


@dataclass(frozen=True)
class Cleaned:
    """A copy that was written.

    Attributes:
        ending: what its name should end in.
        warnings: what its pixels may still tell.
        uid, patient, series: of a DICOM object, after cleaning; empty for pictures.
        facts: what its header says of faces.
    """

    ending: str
    warnings: tuple[str, ...]
    uid: str = ""
    patient: str = ""
    series: str = ""
    facts: dict[str, str] = field(default_factory=dict)


def clean_copy(path: Path, target: Path, wish: Wish, settings: Settings) -> Cleaned:
    """Write a copy of a file without identity.

    Args:
        path: the file.
        target: where the copy goes.
        wish: what is left.
        settings: limits.

    Raises:
        FileRefused: when it is damaged, or of a kind that cannot be cleaned.
    """
    announce(min(path.stat().st_size, settings.max_image_bytes))
    kind = recognise(path)
    if kind == "dicom":
        return _clean_dicom(path, target, wish, settings)
    if kind == "raster":
        return _clean_picture(path, target, settings)
    raise FileRefused(ONLY_THESE)


def _clean_dicom(path: Path, target: Path, wish: Wish, settings: Settings) -> Cleaned:
    dataset = read_object(path, with_pixels=True)
    meta = getattr(dataset, "file_meta", None) or Dataset()
    sop_class = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    if sop_class == DIRECTORY:
        raise FileRefused(
            f"{path.name} is the index of a disc (DICOMDIR), which would name files that are not there."
        )
    if sop_class.startswith(DOCUMENTS):
        raise FileRefused(f"{path.name} is a document inside DICOM; its pages cannot be cleaned.")
    if not sop_class or not dataset.get("SOPInstanceUID"):
        raise FileRefused(
            f"{path.name} does not say what it is (SOP class and instance); it cannot be written."
        )
    cleaned = deidentify(dataset, Rules(wish.salt, wish.profile, frozenset(wish.retained)))
    cleaned.save_as(target, enforce_file_format=True)
    return Cleaned(
        ".dcm",
        _dicom_warnings(target, cleaned, settings),
        str(cleaned.get("SOPInstanceUID") or ""),
        str(cleaned.get("PatientID") or ""),
        str(cleaned.get("SeriesInstanceUID") or ""),
        {keyword: str(cleaned.get(keyword) or "") for keyword in FACE_FACTS},
    )


def _dicom_warnings(path: Path, cleaned: Dataset, settings: Settings) -> tuple[str, ...]:
    said = text_warning(cleaned)
    if cleaned.get("Modality") not in NOT_SEARCHED and "Rows" in cleaned:
        with suppress(FileRefused):  # pixels that no codec here reads are copied all the same
            return (said, *pixel_warnings(read_dicom_series([path], "", settings)[0].image))
    return (said,)


def _clean_picture(path: Path, target: Path, settings: Settings) -> Cleaned:
    # A file that is not readable is not worth a copy, and its size is checked by reading it.
    image = read_raster(path, settings).image
    data = path.read_bytes()
    if is_tiff(path):
        content, ending = strip_tiff(data, path.name), ".tif"
    elif data.startswith(PNG_START):
        content, ending = strip_png(data, path.name), ".png"
    elif data.startswith(b"\xff\xd8"):
        content, ending = strip_jpeg(data, path.name), ".jpg"
    else:
        raise FileRefused(ONLY_THESE)
    target.write_bytes(content)
    return Cleaned(ending, pixel_warnings(image))
