"""Mask readings as DICOM segmentations, one file a case, laid over the series that the case came from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import LabelError, StorageError
from core.readings.export import ExportItem, with_file_names
from core.types import Array, ImageInfo, Label

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.dataset import Dataset

    from core.imaging.dicom_sources import Reference, Sources

MAKER = "Sightline"
SERIES_NUMBER = 1000  # behind the numbers that a scanner gives
UNKNOWN = "unknown"
ODD_HEADERS = "The DICOM headers of {case} do not hold what a segmentation needs; export it as nifti."
MAX_TEXT = 64  # of a DICOM short line (LO, PS3.5 6.2)


def export_dicom_seg(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one DICOM segmentation per case: bits, one segment per label, with the pixels of the mask as they are.

    Patient, study, place and references come from the headers that were kept at import, as they were kept: under a
    de-identifying profile these name nobody, and the references are to the replaced identifiers. Images that came
    without DICOM headers get new identifiers and no reference.

    Returns:
        The files written.

    Raises:
        LabelError: naming a case that cannot be written; the others are there.
        StorageError: when the folder cannot be written.
    """
    files, refused, count = [], [], 0
    for name, item in with_file_names(items):
        count += 1
        try:
            with warnings.catch_warnings():  # these quote names of patients, and a job's log is kept
                warnings.simplefilter("ignore")
                _write(build_segmentation(item, labels), out / f"{name}.dcm", item.case)
            files.append(out / f"{name}.dcm")
        except LabelError as error:
            refused.append(str(error))
    if refused and files:
        raise LabelError(
            f"{len(refused)} of {count} readings could not be written, the others are there: {refused[0]}"
        )
    if refused:
        raise LabelError(refused[0])
    return files


def can_be_dicom_seg(info: ImageInfo, has_headers: bool) -> bool:
    """True when a mask of an image can be asked for as a DICOM segmentation; looks at no header."""
    known = has_headers or info.affine_lps is not None or info.spacing_mm is not None
    return known and info.layout[0] != "t"


def build_segmentation(item: ExportItem, labels: tuple[Label, ...]) -> Segmentation:
    """Make the segmentation of one case.

    Raises:
        LabelError: when there are no labels, or the image's place cannot be said in DICOM.

    Source: DICOM PS3.3 A.51 (Segmentation IOD), C.8.20 (its modules).
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    from core.imaging.dicom_sources import build_sources

    if not labels:
        raise LabelError("A DICOM segmentation needs at least one label; add one to the project.")
    sources = build_sources(item.info, item.load_headers(), item.case)
    pixels = _segment_numbers(
        item.mask.array.reshape(item.info.slices, *item.info.spatial_shape[-2:]), labels
    )
    planes = list(sources.planes)
    if not pixels.any():  # a frame without a mark says that there is none; one is enough
        pixels, planes = pixels[:1], planes[:1]
    try:
        segmentation = Segmentation(
            planes, pixels, "BINARY", _descriptions(item, labels), generate_uid(), SERIES_NUMBER, generate_uid(),
            1, MAKER, MAKER, _version(), UNKNOWN,
            content_label="SEGMENTATION",
            content_creator_name=None if item.by_model else _person(item.reader),
            omit_empty_frames=bool(pixels.any()),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            specific_character_set="ISO_IR 192",
            series_description=_line(f"Segmentation by {item.reader}" if item.reader else "Segmentation"),
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError):
        raise LabelError(ODD_HEADERS.format(case=item.case)) from None  # what was wrong may quote the patient
    if "FrameOfReferenceUID" not in segmentation:
        segmentation.PatientOrientation = planes[0].get("PatientOrientation", "")
    _refer(segmentation, sources)
    return segmentation


def _segment_numbers(array: Array, labels: tuple[Label, ...]) -> Array:
    """Number the labels in their order from 1, as segments must be."""
    numbers = np.zeros(max(int(array.max()), *(label.value for label in labels)) + 1, np.uint16)
    for number, label in enumerate(labels, start=1):
        numbers[label.value] = number
    return numbers.astype(np.uint8 if len(labels) < 256 else np.uint16)[array]


def _descriptions(item: ExportItem, labels: tuple[Label, ...]) -> list[SegmentDescription]:
    """Describe one segment per label, also for those without a pixel."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = None
    if item.by_model:
        name = _line(item.reader or UNKNOWN)
        algorithm = AlgorithmIdentificationSequence(
            name, codes.DCM.ArtificialIntelligence, UNKNOWN, source=MAKER
        )
    return [
        SegmentDescription(
            number, _line(label.name), codes.SCT.Tissue, codes.SCT.Tissue,
            "AUTOMATIC" if item.by_model else "MANUAL", algorithm,
            display_color=CIELabColor.from_string(label.color),
        )
        for number, label in enumerate(labels, start=1)
    ]  # fmt: skip


def _refer(segmentation: Segmentation, sources: Sources) -> None:
    """Put the files that the planes came from in place of the stand-ins, or nothing where there are none."""
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        for derivation in group.get("DerivationImageSequence") or []:
            for source in derivation.SourceImageSequence:
                _point(source, sources.references.get(str(source.ReferencedSOPInstanceUID)))
        if not sources.references:
            group.DerivationImageSequence = []
    files = {one.instance: _file_item(one) for one in sources.references.values()}
    if files:
        segmentation.SourceImageSequence = list(files.values())
        segmentation.ReferencedSeriesSequence = [_series_item(sources.series, list(files.values()))]
    else:
        del segmentation.SourceImageSequence, segmentation.ReferencedSeriesSequence


def _point(source: Dataset, reference: Reference | None) -> None:
    if reference is None:
        return
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = reference.sop_class, reference.instance
    if reference.frame is not None:
        source.ReferencedFrameNumber = reference.frame


def _file_item(reference: Reference) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.sop_class, reference.instance
    return item


def _series_item(series: str, files: Sequence[Dataset]) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.SeriesInstanceUID, item.ReferencedInstanceSequence = series, list(files)
    return item


def _write(segmentation: Segmentation, path: Path, case: str) -> None:
    """Write under a temporary name, then rename.

    Raises:
        LabelError: when a value from the headers cannot be written.
        StorageError: when the disk cannot take it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        segmentation.save_as(part, enforce_file_format=True)
        os.replace(part, path)
    except OSError as error:
        raise StorageError(
            f"{path.name} could not be written ({error.strerror or error}). "
            "Check the folder and the free space on the disk."
        ) from error
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        raise LabelError(ODD_HEADERS.format(case=case)) from None
    finally:
        with suppress(OSError):
            part.unlink()


def _line(text: str) -> str:
    return text.replace("\\", "/")[:MAX_TEXT]


def _person(name: str) -> str | None:
    """Return a reader's name as a DICOM person name: all in one part."""
    return _line(name).translate(str.maketrans("^=", "  ")) or None


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sightline")
    except PackageNotFoundError:
        return UNKNOWN
