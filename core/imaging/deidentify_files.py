"""Copies of files without identity: DICOM by a profile, PNG, JPEG and TIFF without their metadata."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from core.errors import FileRefused, StorageError
from core.imaging.burned_in import face_warning, pixel_warnings, text_warning
from core.imaging.deidentify import Rules, deidentify
from core.imaging.dicom import read_dicom_series
from core.imaging.dicom_header import read_object
from core.imaging.formats import recognise
from core.imaging.found import Skipped
from core.imaging.limits import refusing
from core.imaging.raster import read_raster
from core.imaging.scan import Entry, iter_files
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


@dataclass
class Copied:
    """What was written, passed over, and is to be looked at. Written files are named relative to the new folder."""

    written: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)

    def warn(self, path: str, *sentences: str) -> None:
        """Name a written file that should be looked at."""
        self.warnings.extend({"path": path, "warning": sentence} for sentence in sentences if sentence)


@dataclass
class Series:
    """The copies of one series: where they go, how many there are, and what the first says of faces."""

    folder: str
    facts: dict[str, Any]
    count: int = 0


@dataclass
class Places:
    """Names for the copies: patient key, number of the series, number of the file; nothing of the old names."""

    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    patients: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    pictures: int = 0

    def next_instance(self, cleaned: Dataset, name: str) -> str:
        """Return where a de-identified object goes.

        Raises:
            FileRefused: when the same object was written before.
        """
        uid = str(cleaned.get("SOPInstanceUID") or "")
        if uid and uid in self.seen:
            raise FileRefused(f"{name} is the same object as another file, which was copied.")
        self.seen.add(uid)
        patient = str(cleaned.get("PatientID") or "") or "patient-unknown"
        key = (patient, str(cleaned.get("SeriesInstanceUID") or ""))
        if key not in self.series:
            self.patients[patient] += 1
            facts = {keyword: cleaned.get(keyword) for keyword in FACE_FACTS}
            self.series[key] = Series(f"{patient}/series-{self.patients[patient]:03d}", facts)
        series = self.series[key]
        series.count += 1
        return f"{series.folder}/{series.count:06d}.dcm"

    def next_picture(self, ending: str) -> str:
        """Return where a picture goes."""
        self.pictures += 1
        return f"pictures/{self.pictures:06d}{ending}"


def deidentify_files(
    paths: Sequence[Path],
    out: Path,
    rules: Rules,
    settings: Settings,
    work_dir: Path,
    on_file: Callable[[str], None],
) -> Copied:
    """Write copies without identity into a new folder; one bad file does not stop the rest.

    Args:
        paths: files, folders, archives.
        out: a new or empty folder.
        rules: the profile and the installation's secret.
        settings: limits.
        work_dir: archives are unpacked below it; the caller removes it.
        on_file: called with each written file's name.

    Raises:
        StorageError: when the folder is in use or cannot be written.
    """
    _prepare(out)
    copied, places = Copied(), Places()
    for item in list(iter_files(paths, work_dir, settings)):  # first, as the new folder may lie among them
        if isinstance(item, Skipped):
            copied.skipped.append({"path": item.source, "reason": item.reason})
            continue
        try:
            with refusing(item.path.name):
                name = _copy(item, out, rules, settings, places)
        except FileRefused as error:
            copied.skipped.append({"path": item.shown, "reason": str(error)})
            continue
        copied.written.append(name)
        copied.warn(name, *_warnings(out / name, settings))
        on_file(name)
    for series in places.series.values():
        copied.warn(series.folder, face_warning(series.facts, series.count))
    return copied


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise StorageError(
                f"{out} is not empty; name a new folder, so that copies do not mix with other files."
            )
    except OSError as error:
        raise StorageError(f"Cannot write to {out} ({error.strerror}); choose another folder.") from error


def _copy(item: Entry, out: Path, rules: Rules, settings: Settings, places: Places) -> str:
    kind = recognise(item.path)
    if kind == "dicom":
        return _copy_dicom(item.path, out, rules, places)
    if kind == "raster":
        return _copy_picture(item.path, out, settings, places)
    raise FileRefused(ONLY_THESE)


def _copy_dicom(path: Path, out: Path, rules: Rules, places: Places) -> str:
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
    cleaned = deidentify(dataset, rules)
    name = places.next_instance(cleaned, path.name)
    with _new_file(out / name) as temporary:
        cleaned.save_as(temporary, enforce_file_format=True)
    return name


def _copy_picture(path: Path, out: Path, settings: Settings, places: Places) -> str:
    read_raster(path, settings)  # a file that is not readable is not worth a copy, and its size was checked
    with open(path, "rb") as file:
        data = file.read()
    if is_tiff(path):
        content, ending = strip_tiff(data, path.name), ".tif"
    elif data.startswith(PNG_START):
        content, ending = strip_png(data, path.name), ".png"
    elif data.startswith(b"\xff\xd8"):
        content, ending = strip_jpeg(data, path.name), ".jpg"
    else:
        raise FileRefused(ONLY_THESE)
    name = places.next_picture(ending)
    with _new_file(out / name) as temporary:
        temporary.write_bytes(content)
    return name


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Give a temporary path, and put the file in its place when the block ends well.

    Raises:
        StorageError: when the disk cannot take it.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"A copy could not be written ({error.strerror}); free some disk space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _warnings(path: Path, settings: Settings) -> tuple[str, ...]:
    """Say what the pixels of a written copy may still tell."""
    if path.suffix != ".dcm":
        return pixel_warnings(read_raster(path, settings).image)
    header = read_object(path, with_pixels=False)
    said = text_warning(header)
    if header.get("Modality") in NOT_SEARCHED or "Rows" not in header:
        return (said,)
    with suppress(FileRefused):  # pixels that no codec here reads are copied all the same
        return (said, *pixel_warnings(read_dicom_series([path], "", settings)[0].image))
    return (said,)
