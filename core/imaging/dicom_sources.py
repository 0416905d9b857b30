"""What a DICOM object that is made from an image says of its source: patient, study, place of every plane.

The kept headers of the image tell it. Each plane becomes the header of a picture of its own, in slice order, whether
it came as a file of a series or as a frame of one file; which file and frame it stands for is kept beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from core.errors import LabelError
from core.imaging.dicom_clips import FrameGroup, frame_groups
from core.imaging.dicom_geometry import Plane, plane_of, single_affine
from core.imaging.geometry import Position
from core.imaging.headers import FRAME_OF_REFERENCE, SERIES_INSTANCE, STUDY_INSTANCE, Headers
from core.types import ImageInfo

# Groups and elements that are taken over as they were kept: patient, trial, study, and loss by compression.
KEPT_GROUPS = ("0010", "0012")
KEPT_TAGS = (
    "00080005", "00080020", "00080030", "00080050", "00080051", "00080060", "00080090", "0008009C", "00081030",
    "00081032", "00081048", "00081060", "00200010",
    "00200020", "00282110", "00282112", "00282114",
)  # fmt: skip
PLACE_TAGS = (
    "00180050", "00181164", "00182010", "00186011", "00200032", "00200037", "00280030", "52009229", "52009230",
)  # fmt: skip
SOP_CLASS, FRAMES, ROWS, COLUMNS = "00080016", "00280008", "00280010", "00280011"
EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# Dates and times: the mark that older files put between their parts, and how they must look.
WHEN = {
    "PatientBirthDate": (".", r"(\d{8})?"),
    "StudyDate": (".", r"(\d{8})?"),
    "StudyTime": (":", r"(\d{2}){0,3}|\d{6}\.\d{1,6}"),
}
SEXES = ("M", "F", "O")
SAME_MM = 0.01  # how far a stack may lie from the volume that was made of it
IN_TIME = "{case} is a clip of frames in time, which a DICOM segmentation cannot place; export it in another format."
NO_SIZE = "{case} has no known pixel size, which a DICOM segmentation needs; export it in another format."
SKEWED = "The axes of {case} are not perpendicular, which DICOM cannot say; export it as nifti."
OTHER_IMAGE = "The kept DICOM headers of {case} do not fit its pixels; import it again."


@dataclass(frozen=True)
class Reference:
    """The file, and the frame from 1 if it has several, that a plane came from."""

    sop_class: str
    instance: str
    frame: int | None = None


@dataclass(frozen=True)
class Sources:
    """The source of an image, plane by plane in slice order.

    Attributes:
        planes: headers of single pictures without pixels; the first also holds patient and study. Their SOP
            instance UIDs are stand-ins.
        references: stand-in -> what the plane came from; empty where no DICOM file is known.
        series: UID of the series it came from; "" where none is known.
    """

    planes: tuple[Dataset, ...]
    references: dict[str, Reference]
    series: str


def build_sources(info: ImageInfo, headers: Headers | None, case: str) -> Sources:
    """Describe the source of an image.

    What the headers say is used as it was kept at import: under a de-identifying profile these are its replaced
    identifiers. Without headers, patient and study are new and empty, and the place is the image's own; an image of
    known pixel size without a place lies at the origin of a frame of reference of its own.

    Args:
        info: the image.
        headers: its kept headers, in slice order, or one for a multi-frame file; None where there are none.
        case: what to call it in sentences.

    Raises:
        LabelError: when its place cannot be said in DICOM, or the headers do not fit.
    """
    if info.layout[0] == "t":
        raise LabelError(IN_TIME.format(case=case))
    found = None if headers is None else _places_in(headers, info, case)
    places = _image_places(info, case) if found is None or found.planes is None else found.planes
    first = _patient_and_study(headers)
    if not places:
        first.pop("FrameOfReferenceUID", None)  # without a place in it, it says nothing
    elif not (found and found.planes and first.get("FrameOfReferenceUID")):
        first.FrameOfReferenceUID = generate_uid()
    planes, references = [], {}
    for index in range(info.slices):
        plane = first if index == 0 else Dataset()
        plane.update(_identity(first))
        plane.Rows, plane.Columns = info.spatial_shape[-2:]
        if places:
            plane.FrameOfReferenceUID = first.FrameOfReferenceUID
            _put_place(plane, places[index])
        if found is not None:
            references[str(plane.SOPInstanceUID)] = found.references[index]
        planes.append(plane)
    series = headers.text(SERIES_INSTANCE) if headers is not None else ""
    known = series and all(reference.instance for reference in references.values())
    return Sources(tuple(planes), references if known else {}, series if known else "")


def slice_positions(info: ImageInfo, headers: Headers) -> tuple[Position, ...]:
    """Return where the first pixel of each slice truly lies, in LPS mm; nothing where the headers do not tell.

    The volume's own geometry spaces slices evenly; those of a series may not be.

    Args:
        info: the image.
        headers: its kept headers.
    """
    try:
        planes = _places_in(headers, info, "").planes or ()
    except LabelError:
        return ()
    return tuple(plane.position for plane in planes if plane.position is not None)


@dataclass(frozen=True)
class _Found:
    """What headers say of the planes: where each came from, and its place where all are known."""

    references: tuple[Reference, ...]
    planes: Sequence[Plane] | None


def _places_in(headers: Headers, info: ImageInfo, case: str) -> _Found:
    size = (headers.text(ROWS), headers.text(COLUMNS))
    if size != tuple(str(n) for n in info.spatial_shape[-2:]):
        raise LabelError(OTHER_IMAGE.format(case=case))
    if int(headers.text(FRAMES) or 1) > 1:
        return _frames_in(headers, info, case)
    if len(headers) != info.slices:
        raise LabelError(OTHER_IMAGE.format(case=case))
    planes = [plane_of(_part(headers, index, PLACE_TAGS)) for index in range(len(headers))]
    references = tuple(
        Reference(headers.text(SOP_CLASS, index), uid) for index, uid in enumerate(headers.instance_uids)
    )
    if not all(plane.is_placed and plane.in_patient for plane in planes):
        return _Found(references, None if info.slices > 1 else ())
    if not _is_in_order(planes, info):
        raise LabelError(OTHER_IMAGE.format(case=case))
    return _Found(references, planes)


def _frames_in(headers: Headers, info: ImageInfo, case: str) -> _Found:
    """Find the frames of a multi-frame file that the image was made of; repeats in one place stay unnamed."""
    dataset = Dataset.from_json(headers.dataset(0))
    fitting = [
        group
        for group in frame_groups(dataset, int(headers.text(FRAMES)))
        if len(group.order) == info.slices and _lies_at(group, info)
    ]
    if not fitting:
        raise LabelError(OTHER_IMAGE.format(case=case))
    frames = [frame + 1 if len(fitting) == 1 else None for frame in fitting[0].order]
    uid = headers.instance_uids[0]
    references = tuple(Reference(headers.text(SOP_CLASS), uid, frame) for frame in frames)
    planes = [plane_of(dataset, frame) for frame in fitting[0].order]
    placed = all(plane.is_placed and plane.in_patient for plane in planes) and _is_in_order(planes, info)
    return _Found(references, planes if placed else None)


def _lies_at(group: FrameGroup, info: ImageInfo) -> bool:
    affine = group.stack.affine_lps if group.stack is not None else single_affine(group.plane)
    if affine is None or info.affine_lps is None:
        return True
    return bool(np.allclose(affine, info.affine_lps, rtol=0, atol=SAME_MM))


def _is_in_order(planes: Sequence[Plane], info: ImageInfo) -> bool:
    """True when planes follow each other along the volume's third axis, none twice."""
    if info.affine_lps is None:
        return False
    step = np.asarray(info.affine_lps)[:3, 2]
    along = np.array([plane.position for plane in planes], float) @ step
    return bool((np.diff(along) > 0).all())


def _image_places(info: ImageInfo, case: str) -> list[Plane]:
    """Return the places of an image's planes by its own geometry.

    Raises:
        LabelError: when they cannot be said in DICOM.
    """
    if info.affine_lps is None and info.spacing_mm is None:
        raise LabelError(NO_SIZE.format(case=case))
    if info.affine_lps is not None:
        affine = np.asarray(info.affine_lps)
    else:
        x, y, *z = (info.spacing_mm or ())[::-1]
        affine = np.diag([x, y, *(z or (1.0,)), 1.0])
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    row, column = affine[:3, 0] / lengths[0], affine[:3, 1] / lengths[1]
    if abs(row @ column) > 1e-4:
        raise LabelError(SKEWED.format(case=case))
    thickness = float(lengths[2]) if info.is_volume else None
    return [
        Plane(
            tuple((affine @ (0, 0, index, 1))[:3]), tuple(row), tuple(column), (lengths[1], lengths[0]), thickness
        )
        for index in range(info.slices)
    ]  # fmt: skip


def _patient_and_study(headers: Headers | None) -> Dataset:
    """Return what says whose image this is, with every element that must be there, if only empty."""
    dataset = Dataset()
    if headers is not None:
        tags = (tag for tag in headers.dataset(0) if tag[:4] in KEPT_GROUPS)
        dataset = _part(headers, 0, (*KEPT_TAGS, *tags))
    for keyword in EMPTY:
        if keyword not in dataset or dataset.get(keyword) is None:
            setattr(dataset, keyword, "")
    for keyword, (mark, form) in WHEN.items():
        text = str(dataset.get(keyword)).replace(mark, "")
        setattr(dataset, keyword, text if re.fullmatch(form, text) else "")
    if dataset.PatientSex not in SEXES:
        dataset.PatientSex = ""
    if dataset.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethodCodeSequence" not in dataset:
        dataset.DeidentificationMethod = dataset.get("DeidentificationMethod") or "not said"
    dataset.StudyInstanceUID = _text(headers, STUDY_INSTANCE) or generate_uid()
    dataset.SeriesInstanceUID = _text(headers, SERIES_INSTANCE) or generate_uid()
    if frame := _text(headers, FRAME_OF_REFERENCE):
        dataset.FrameOfReferenceUID = frame
    return dataset


def _text(headers: Headers | None, tag: str) -> str:
    return "" if headers is None else headers.text(tag)


def _part(headers: Headers, index: int, tags: Sequence[str]) -> Dataset:
    """Return some elements of one slice's header."""
    whole = headers.dataset(index)
    return Dataset.from_json({tag: whole[tag] for tag in tags if tag in whole})


def _identity(first: Dataset) -> Dataset:
    plane = Dataset()
    plane.SOPClassUID, plane.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    plane.StudyInstanceUID, plane.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
    return plane


def _put_place(dataset: Dataset, place: Plane) -> None:
    """Write position, directions and spacing (DICOM PS3.3 C.7.6.2, Image Plane)."""
    dataset.ImagePositionPatient = _decimals(place.position or ())
    dataset.ImageOrientationPatient = _decimals((*(place.row or ()), *(place.column or ())))
    dataset.PixelSpacing = _decimals(place.spacing_yx or ())
    dataset.SliceThickness = DSfloat(
        place.thickness or 1.0, auto_format=True
    )  # as ``single_affine`` takes it


def _decimals(values: Sequence[float]) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in values]
