"""A phantom volume as a DICOM CT series, so that the demo and the tests go the way a hospital's files go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import StorageError
from core.types import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

RESCALE_INTERCEPT = -1024
STORED_MAX = 4095  # 12 bits, as CT scanners store
SYNTHETIC = "SYNTHETIC phantom, not a patient"


def write_dicom_series(image: Image, folder: Path, series_number: int, patient_id: str) -> list[Path]:
    """Write a volume in HU as a series of CT Image Storage files, one per slice, marked as synthetic.

    All identifiers follow from the arguments, so that writing twice gives the same files.

    Args:
        image: int16 HU ``zyx`` with spacing and affine; values are cut to -1024..3071.
        folder: made when missing.
        series_number: number of the series within the study.
        patient_id: any text; also part of the invented patient's name.

    Returns:
        The files, by slice.

    Raises:
        ValueError: when the image is no volume with geometry.
        StorageError: when the folder cannot be written.
    """
    info = image.info
    if info.layout != "zyx" or info.affine_lps is None or info.spacing_mm is None:
        raise ValueError(
            f"a DICOM series needs a zyx volume with spacing and affine, got layout {info.layout!r}."
        )
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(info.slices):
            dataset = _slice_dataset(image, index, series_number, patient_id)
            files.append(folder / f"slice_{index + 1:04d}.dcm")
            dataset.save_as(files[-1], enforce_file_format=True)
    except OSError as error:
        raise StorageError(
            f"The series could not be written to {folder.name} ({error.strerror}). Free some disk space."
        ) from error
    return files


def _slice_dataset(image: Image, index: int, series_number: int, patient_id: str) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    uids = _uids(patient_id, series_number, index)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uids["instance"]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uids["instance"]
    _fill_patient_and_study(dataset, uids, series_number, patient_id)
    _fill_acquisition(dataset)
    _fill_geometry(dataset, image, index, uids)
    _fill_pixels(dataset, image, index)
    return dataset


def _uids(patient_id: str, series_number: int, index: int) -> dict[str, UID]:
    from pydicom.uid import generate_uid

    def uid(*parts: object) -> UID:
        return generate_uid(entropy_srcs=["sightline-phantom", *map(str, parts)])

    return {
        "study": uid("study", patient_id),
        "series": uid("series", patient_id, series_number),
        "frame": uid("frame of reference", patient_id),
        "instance": uid("instance", patient_id, series_number, index),
    }


def _fill_patient_and_study(
    dataset: Dataset, uids: dict[str, UID], series_number: int, patient_id: str
) -> None:
    dataset.PatientName = f"SYNTHETIC^{patient_id}"
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientComments = SYNTHETIC
    dataset.StudyInstanceUID = uids["study"]
    dataset.StudyID = "1"
    dataset.StudyDate = "20000101"
    dataset.StudyTime = "120000"
    dataset.StudyDescription = "SYNTHETIC study"
    dataset.ReferringPhysicianName = ""
    dataset.AccessionNumber = ""
    dataset.SeriesInstanceUID = uids["series"]
    dataset.SeriesNumber = series_number
    dataset.SeriesDescription = "SYNTHETIC chest phantom"
    dataset.Modality = "CT"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.Manufacturer = "Sightline phantom generator"
    dataset.ManufacturerModelName = "SYNTHETIC"
    dataset.PositionReferenceIndicator = ""


def _fill_acquisition(dataset: Dataset) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.ImageComments = SYNTHETIC
    dataset.DerivationDescription = "Computed from a mathematical phantom"
    dataset.BurnedInAnnotation = "NO"
    dataset.ContentDate = "20000101"
    dataset.ContentTime = "120000"
    dataset.AcquisitionNumber = 1
    dataset.KVP = "120"


def _fill_geometry(dataset: Dataset, image: Image, index: int, uids: dict[str, UID]) -> None:
    """Write position, orientation and spacing.

    Source: DICOM PS3.3 C.7.6.2 (Image Plane Module).
    """
    affine = np.asarray(image.info.affine_lps, dtype=np.float64)
    spacing = image.info.spacing_mm
    if spacing is None or len(spacing) != 3:
        raise ValueError("a DICOM series needs z, y, x spacing.")
    directions = [affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1)]
    position = affine @ (0, 0, index, 1)
    dataset.FrameOfReferenceUID = uids["frame"]
    dataset.ImageOrientationPatient = [_decimal(value) for direction in directions for value in direction]
    dataset.ImagePositionPatient = [_decimal(value) for value in position[:3]]
    dataset.SliceLocation = _decimal(float(position[:3] @ np.cross(directions[0], directions[1])))
    dataset.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    dataset.SliceThickness = _decimal(spacing[0])
    dataset.SpacingBetweenSlices = _decimal(spacing[0])
    dataset.InstanceNumber = index + 1


def _fill_pixels(dataset: Dataset, image: Image, index: int) -> None:
    plane = np.asarray(image.array[index]).astype(np.int32) - RESCALE_INTERCEPT
    stored = np.clip(plane, 0, STORED_MAX).astype("<u2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = str(RESCALE_INTERCEPT)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter = ["-600", "40"]
    dataset.WindowWidth = ["1500", "400"]
    dataset.WindowCenterWidthExplanation = ["LUNG", "SOFT TISSUE"]
    dataset.PixelData = stored.tobytes()


def _decimal(value: float) -> str:
    """Write a number as DICOM decimal string, at most 16 characters."""
    text = f"{float(value) + 0.0:.10g}"
    return text if len(text) <= 16 else f"{float(value):.8g}"
