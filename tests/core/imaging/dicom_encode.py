"""Compressed DICOM files for tests: encoded by libraries that the reader under test does not decode with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

Encode = Callable[[np.ndarray, int], bytes]


def write_gdcm(dataset: Dataset, path: Path, syntax: str) -> Path:
    """Write an object and let GDCM change its transfer syntax."""
    plain = path.with_suffix(".plain")
    dataset.save_as(plain, enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


def write_frames(dataset: Dataset, path: Path, syntax: str, frames: list[bytes]) -> Path:
    """Write an object whose frames are encoded already."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def lossless_jpeg(array: np.ndarray, bits: int, predictor: int = 1) -> bytes:
    """Encode unsigned values as lossless JPEG (process 14)."""
    return imagecodecs.jpeg8_encode(array, lossless=True, predictor=predictor, bitspersample=bits)


def htj2k(array: np.ndarray, bits: int) -> bytes:
    """Encode as High-Throughput JPEG 2000, reversible."""
    return imagecodecs.htj2k_encode(array, reversible=True)


BY_GDCM = (JPEGLossless, JPEGLosslessSV1)  # its other encoders end the process on some depths
BY_PYDICOM = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
HTJ2K = HTJ2KLossless
