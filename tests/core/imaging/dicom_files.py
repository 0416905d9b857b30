"""Small DICOM files for tests, written with pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
SERIES = generate_uid(entropy_srcs=["series"])


def build(array: np.ndarray, **fields: Any) -> Dataset:
    """Build an image object around stored values (yx, yxc or, with NumberOfFrames, tyx)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CT
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SeriesInstanceUID = SERIES
    dataset.SeriesNumber = 4
    dataset.Modality = "CT"
    dataset.PatientID = "SECRET-ID"
    dataset.PatientName = "Secret^Name"
    dataset.SeriesDescription = "Secret^Name abdomen"
    color = array.shape[-1] == 3 and fields.get("PhotometricInterpretation") in ("RGB", "YBR_FULL")
    dataset.Rows, dataset.Columns = array.shape[-3:-1] if color else array.shape[-2:]
    dataset.SamplesPerPixel = 3 if color else 1
    if color:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = array.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dataset["PixelData"].VR = "OW" if array.dtype.itemsize > 1 else "OB"
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write an object to a file."""
    dataset.save_as(path, enforce_file_format=True)
    return path


def place(
    dataset: Dataset, position: Any, orientation: Any = (1, 0, 0, 0, 1, 0), spacing: Any = (0.5, 0.8)
) -> Dataset:
    """Give a single-frame object its place in the patient."""
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.6g}" for value in orientation]
    dataset.PixelSpacing = list(spacing)
    return dataset
