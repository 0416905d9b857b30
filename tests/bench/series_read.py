"""Speed of reading a CT series of 300 slices of 512 x 512 to a volume, from files in the disc cache.

Peers: a loop over pydicom's ``pixel_array`` with stacking (stored values, no geometry), and SimpleITK's
ImageSeriesReader. Ours starts from the paths as well: it checks every header against the limits, sorts by place,
rescales to HU and gives the geometry. All three results are compared before anything is timed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless, generate_uid
from scipy import ndimage

from core.imaging.dicom import read_dicom_series
from core.settings import Settings
from core.types import Array

SLICES, SIDE = 300, 512
INTERCEPT = -1024
REPEATS = 5
GOALS = {"uncompressed": 4.0, "jpeg-lossless": 2.0, "rle": 2.0}
FILLING_ELEMENTS = 80  # a CT header has about a hundred elements


def rows() -> list[dict[str, Any]]:
    """Return one row per encoding and peer: seconds for the whole series (best of 5), ratio = peer / ours."""
    found = []
    volume = _volume()
    with tempfile.TemporaryDirectory(prefix="series-read-") as folder:
        for name in GOALS:
            paths = _write_series(volume, Path(folder) / name, name)
            found += _measure(name, paths, volume)
            for path in paths:
                path.unlink()
    return found


def _measure(name: str, paths: list[Path], volume: Array) -> list[dict[str, Any]]:
    settings = Settings()

    def ours() -> Array:
        (image,) = read_dicom_series(paths, "salt", settings)
        return image.image.array

    def by_pydicom() -> Array:
        return np.stack([pydicom.dcmread(path).pixel_array for path in paths])

    def by_simpleitk() -> sitk.Image:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in paths])
        return reader.Execute()

    peers = {"pydicom pixel_array loop": by_pydicom, "SimpleITK ImageSeriesReader": by_simpleitk}
    expected = volume + np.int16(INTERCEPT)
    for values in (ours(), by_pydicom() + np.int16(INTERCEPT), sitk.GetArrayFromImage(by_simpleitk())):
        if not np.array_equal(values, expected):
            raise AssertionError(f"{name}: the readers do not agree.")
    times = _interleaved([ours, *peers.values()])
    return [
        {
            "name": f"series-read-{name}-{SLICES}x{SIDE}",
            "ours": times[0],
            "peer": seconds,
            "peer_name": peer,
            "ratio": seconds / times[0],
            "goal": GOALS[name],
            "unit": "s",
            "device": "cpu",
        }
        for peer, seconds in zip(peers, times[1:], strict=True)
    ]


def _interleaved(functions: list[Callable[[], Any]]) -> list[float]:
    """Return the shortest time of each function; they take turns, so that a busy moment hits all alike."""
    best = [float("inf")] * len(functions)
    for _ in range(REPEATS):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def _volume() -> Array:
    """Return smooth 12-bit values with some noise, as a scanner stores them."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 20)
    base = (field - field.min()) / (field.max() - field.min()) * 3000
    noise = rng.integers(0, 24, (SLICES, SIDE, SIDE), dtype=np.int16)
    return (base.astype(np.int16)[None] + noise + np.arange(SLICES, dtype=np.int16)[:, None, None]).astype(
        np.int16
    )


def _write_series(volume: Array, folder: Path, name: str) -> list[Path]:
    folder.mkdir()
    series, study = generate_uid(), generate_uid()
    paths = []
    for number, plane in enumerate(volume):
        dataset = _slice(plane, number, series, study)
        if name == "rle":
            _as_rle(dataset, plane)
        elif name == "jpeg-lossless":
            _as_lossless_jpeg(dataset, plane)
        paths.append(folder / f"{number:04}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _slice(plane: Array, number: int, series: str, study: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, study, study
    dataset.Modality, dataset.PatientID, dataset.SeriesNumber, dataset.InstanceNumber = (
        "CT",
        "bench",
        1,
        number + 1,
    )
    dataset.ImagePositionPatient = [-180, -180, round(1.25 * number, 2)]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.703125, 0.703125]
    dataset.SliceThickness, dataset.WindowCenter, dataset.WindowWidth = 1.25, 40, 400
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, INTERCEPT
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    for element in range(FILLING_ELEMENTS):
        dataset.add_new(0x00191000 + element, "LO", f"fact {element} of slice {number}")
    dataset.add_new(0x00190010, "LO", "BENCH")
    dataset.PixelData = plane.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _as_rle(dataset: Dataset, plane: Array) -> None:
    import imagecodecs
    from pydicom.encaps import encapsulate

    high, low = (
        imagecodecs.packbits_encode(part.astype(np.uint8).tobytes()) for part in (plane >> 8, plane & 255)
    )
    segments = [part + b"\0" * (len(part) % 2) for part in (high, low)]
    offsets = [64, 64 + len(segments[0]), *[0] * 13]
    header = np.array([2, *offsets], "<u4").tobytes()
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([header + b"".join(segments)])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True


def _as_lossless_jpeg(dataset: Dataset, plane: Array) -> None:
    import imagecodecs
    from pydicom.encaps import encapsulate

    stream = imagecodecs.jpeg8_encode(plane.view(np.uint16), lossless=True, predictor=1, bitspersample=16)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True


if __name__ == "__main__":
    for row in rows():
        print(row)
