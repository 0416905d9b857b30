"""A computed image as DICOM: derived, secondary, with new identifiers, so that nobody takes it for an acquisition."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import StorageError
from core.imaging.computed import STAMP, computed_by, mark_text
from core.types import Array, Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER = "Sightline"
WORDS = 65535  # largest stored value


def write_derived_dicom(image: Image, folder: Path, stem: str) -> list[Path]:
    """Write a computed image as Secondary Capture files, one a plane, all of one new series.

    Values stay physical through the rescale; whole numbers spanning at most 65,536 are stored exactly. Geometry is
    written where the image has it. Nothing names a patient: ``PatientID`` is empty.

    Args:
        image: grey, or colour of bytes; its facts must carry the mark of ``mark_computed``.
        folder: made when missing.
        stem: of the file names.

    Returns:
        The files, in order of planes.

    Raises:
        ValueError: when the image was not computed, or has 2 or 4 channels or colour of more than 8 bits.
        StorageError: when the folder cannot be written.
    """
    how = computed_by(image.info)
    if not how:
        raise ValueError("only a computed image is written as a derived one.")
    if image.info.channels not in (1, 3) or (image.info.channels == 3 and image.array.dtype != np.uint8):
        raise ValueError("DICOM holds grey images, and colour of 8 bits; write NIfTI or TIFF for this one.")
    writer = _Writer(image, how)
    count = image.info.slices
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            path = folder / (f"{stem}.dcm" if count == 1 else f"{stem}_{index + 1:04d}.dcm")
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            writer.dataset(index).save_as(part, enforce_file_format=True)
            os.replace(part, path)
            files.append(path)
    except OSError as error:
        raise StorageError(
            f"The DICOM files could not be written to {folder.name} ({error.strerror}). Free some disk space."
        ) from error
    return files


class _Writer:
    """What all planes of one image share."""

    def __init__(self, image: Image, how: str) -> None:
        from pydicom.uid import generate_uid

        self.image = image
        self.how = how
        self.now = datetime.now(UTC)
        self.study, self.series, self.frame = generate_uid(), generate_uid(), generate_uid()
        self.slope, self.intercept = _rescale(image.array)

    def dataset(self, index: int) -> Dataset:
        """Return one plane as a data set."""
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

        uid = generate_uid()
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        meta.MediaStorageSOPInstanceUID = uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = uid
        dataset.InstanceNumber = index + 1
        self._describe(dataset)
        self._place(dataset, index)
        self._fill_pixels(dataset, index)
        return dataset

    def _describe(self, dataset: Dataset) -> None:
        """Say what this is and how it came to be.

        Source: DICOM PS3.3 C.7.6.1.1.2 (Image Type), C.7.6.1.1.3 (Derivation Description), C.8.6.1 (SC Equipment).
        """
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.DerivationDescription = mark_text(self.how)[:1024]
        dataset.ImageComments = STAMP
        dataset.ContentQualification = "RESEARCH"
        dataset.SeriesDescription = f"{STAMP}: {self.how}"[:64]
        dataset.BurnedInAnnotation = "NO"
        dataset.LossyImageCompression = "00"
        dataset.ConversionType = "WSD"
        dataset.Modality = self.image.info.modality[:16]
        dataset.Manufacturer = MANUFACTURER
        dataset.PatientName = ""
        dataset.PatientID = ""
        dataset.PatientBirthDate = ""
        dataset.PatientSex = ""
        dataset.StudyInstanceUID = self.study
        dataset.StudyID = ""
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = self.now.strftime("%Y%m%d")
        dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = self.now.strftime("%H%M%S")
        dataset.ReferringPhysicianName = ""
        dataset.AccessionNumber = ""
        dataset.SeriesInstanceUID = self.series
        dataset.SeriesNumber = 1
        dataset.PatientOrientation = ""
        dataset.Laterality = ""

    def _place(self, dataset: Dataset, index: int) -> None:
        """Write spacing, and the place in the patient where it is known (PS3.3 C.7.6.2)."""
        info = self.image.info
        if info.in_plane_spacing_mm is not None:
            dataset.PixelSpacing = [_decimal(step) for step in info.in_plane_spacing_mm]
        if info.affine_lps is None:
            return
        affine = np.asarray(info.affine_lps, np.float64)
        directions = [affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1)]
        step = index if info.is_volume else 0
        dataset.FrameOfReferenceUID = self.frame
        dataset.PositionReferenceIndicator = ""
        dataset.ImageOrientationPatient = [_decimal(value) for direction in directions for value in direction]
        dataset.ImagePositionPatient = [_decimal(value) for value in (affine @ (0, 0, step, 1))[:3]]
        if info.is_volume and info.spacing_mm is not None:
            dataset.SliceThickness = _decimal(info.spacing_mm[0])

    def _fill_pixels(self, dataset: Dataset, index: int) -> None:
        plane = np.asarray(self.image.plane(index))
        dataset.Rows, dataset.Columns = plane.shape[:2]
        if plane.ndim == 3 and plane.shape[2] == 3:
            dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
            dataset.PhotometricInterpretation = "RGB"
            stored = np.ascontiguousarray(plane)
        else:
            grey = plane.reshape(plane.shape[:2])
            dataset.SamplesPerPixel = 1
            dataset.PhotometricInterpretation = "MONOCHROME1" if self.image.info.inverted else "MONOCHROME2"
            stored = self._stored(grey)
            dataset.RescaleIntercept = _decimal(self.intercept)
            dataset.RescaleSlope = _decimal(self.slope)
            dataset.RescaleType = "HU" if self.image.info.modality == "CT" else "US"
            if self.image.info.window is not None:
                dataset.WindowCenter = _decimal(self.image.info.window.center)
                dataset.WindowWidth = _decimal(self.image.info.window.width)
        bits = stored.dtype.itemsize * 8
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelRepresentation = 0
        dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"

    def _stored(self, grey: Array) -> Array:
        if grey.dtype == np.uint8:
            return np.ascontiguousarray(grey)
        counts = np.rint((grey.astype(np.float64) - self.intercept) / self.slope)
        return np.clip(counts, 0, WORDS).astype("<u2")


def _rescale(array: Array) -> tuple[float, float]:
    """Return (slope, intercept) with which 16 bits hold the values: exactly where they are whole and span no more."""
    if array.dtype == np.uint8:
        return 1.0, 0.0
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind in "iu" and high - low <= WORDS:
        return 1.0, low
    # Written as decimal text of at most 16 characters: what is divided by must be what is read back.
    slope = float(_decimal((high - low) / WORDS)) if high > low else 1.0
    return slope or 1.0, float(_decimal(low))


def _decimal(value: float) -> str:
    """Write a number as DICOM decimal string, at most 16 characters."""
    text = f"{float(value) + 0.0:.10g}"
    return text if len(text) <= 16 else f"{float(value):.8g}"
