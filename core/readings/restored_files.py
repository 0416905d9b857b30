"""Restored images from and to files; every file written says in itself and in its name that it was computed."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.errors import LabelError
from core.imaging.computed import mark_text
from core.imaging.derived_dicom import write_derived_dicom
from core.imaging.found import Found
from core.imaging.scan import scan
from core.readings.export import Exporter, ExportItem, safe_cell, with_file_names, write_text
from core.readings.masks import write_whole
from core.readings.reading import RestoredImage
from core.settings import load_settings
from core.types import Array, Image, ImageInfo, Label

TABLE_FILE = "restored.csv"
TABLE_COLUMNS = ("case", "reader", "computed_by", "columns", "rows", "slices", "fact", "value")


def read_restored(path: Path, info: ImageInfo) -> RestoredImage:
    """Read the finer image of a case from a picture, TIFF, NIfTI or DICOM file.

    Args:
        path: the file.
        info: the case's image; the finer one's sides must be whole multiples of its.

    Raises:
        LabelError: when the file holds no single image, or one that does not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = list(scan([path], Path(folder), "", load_settings()))
    images = [item.image for item in found if isinstance(item, Found)]
    if len(images) != 1:
        reason = next((item.reason for item in found if not isinstance(item, Found)), "")
        raise LabelError(
            reason or f"{path.name} holds {len(images)} images; one finer image a case is needed."
        )
    reading = RestoredImage(np.asarray(images[0].array), images[0].info)
    misfit = reading.misfit(info)
    if misfit is not None:
        raise LabelError(f"{path.name}: {misfit}")
    return reading


def export_images(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one file a case: PNG (8 or 16 bit) where values allow, else TIFF; volumes as NIfTI.

    Returns:
        The files written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    files = []
    for name, item in with_file_names(items):
        reading = _restored(item)
        stem = f"{name}{_suffix(reading, item.info)}"
        if reading.info.is_volume:
            files.append(_write_nifti(reading, out / f"{stem}.nii.gz"))
        elif reading.info.layout[0] == "y" and (words := _png_values(reading.array)) is not None:
            files.append(out / f"{stem}.png")
            write_png(words, _description(reading), files[-1])
        else:
            files.append(out / f"{stem}.tif")
            _write_tiff(reading, files[-1])
    return files


def export_nifti(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one ``.nii.gz`` a case with the finer grid's geometry; the mark stands in ``descrip``.

    Returns:
        The files written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    return [
        _write_nifti(reading := _restored(item), out / f"{name}{_suffix(reading, item.info)}.nii.gz")
        for name, item in with_file_names(items)
    ]


def export_dicom(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write derived DICOM images, one file a plane, a folder for each case of several planes.

    Returns:
        The files written.

    Raises:
        LabelError: when an image was not computed, or DICOM cannot hold it.
        StorageError: when the folder cannot be written.
    """
    files: list[Path] = []
    for name, item in with_file_names(items):
        reading = _restored(item)
        stem = f"{name}{_suffix(reading, item.info)}"
        folder = out if reading.info.slices == 1 else out / stem
        try:
            files += write_derived_dicom(Image(reading.array, reading.info), folder, stem)
        except ValueError as error:
            raise LabelError(f"{item.case}: {error}") from error
    return files


def export_table(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write ``restored.csv``: what computed each image, its size, and the numbers about it, one a row.

    Returns:
        The file written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(TABLE_COLUMNS)
    for item in items:
        reading = _restored(item)
        rows, columns = reading.info.spatial_shape[-2:]
        start = (item.case, item.reader, reading.computed, columns, rows, reading.info.slices)
        facts: list[tuple[str, str | float]] = [*reading.facts.items()] or [("", "")]
        for fact in facts:
            writer.writerow([safe_cell(cell) for cell in (*start, *fact)])
    path = out / TABLE_FILE
    write_text(path, text.getvalue())
    return [path]


RESTORED_EXPORTERS: dict[str, Exporter] = {
    "images": export_images,
    "png": export_images,  # the same under the name that the terminal uses for files
    "nifti": export_nifti,
    "dicom": export_dicom,
    "csv": export_table,
}


def write_png(array: Array, description: str, path: Path) -> None:
    """Write grey or colour of 8 or 16 bits as PNG with a description in it.

    Raises:
        StorageError: when the disk cannot take it.
    """
    from PIL import Image as PILImage
    from PIL.PngImagePlugin import PngInfo

    words = PngInfo()
    if description:
        words.add_itxt("Description", description)
    picture = PILImage.fromarray(np.ascontiguousarray(array))
    write_whole(path, lambda part: picture.save(part, format="PNG", pnginfo=words))


def _write_nifti(reading: RestoredImage, path: Path) -> Path:
    from core.imaging.nifti import write_nifti

    write_whole(path, lambda part: write_nifti(reading.array, reading.info, part))
    return path


def _write_tiff(reading: RestoredImage, path: Path) -> None:
    import tifffile

    colour = reading.info.channels in (3, 4)
    write_whole(
        path,
        lambda part: tifffile.imwrite(
            part,
            reading.array,
            photometric="rgb" if colour else "minisblack",
            planarconfig="contig" if reading.info.channels > 1 else None,
            compression="zlib",
            description=_description(reading),
            metadata=None,
        ),
    )


def _png_values(array: Array) -> Array | None:
    """Return the array as PNG can hold it exactly: bytes, or grey words; None when it cannot."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    if array.dtype == np.uint8 and channels in (1, 3):
        return array.reshape(array.shape[:2]) if channels == 1 else array
    if array.dtype.kind in "iu" and channels == 1 and int(array.min()) >= 0 and int(array.max()) <= 65535:
        return array.reshape(array.shape[:2]).astype(np.uint16)
    return None


def _suffix(reading: RestoredImage, info: ImageInfo) -> str:
    """Return what a computed image's file name ends in, such as "_computed_x4"."""
    factors = reading.factors(info)
    times = f"_x{max(factors)}" if factors else ""
    return f"_computed{times}" if reading.computed else times


def _description(reading: RestoredImage) -> str:
    return mark_text(reading.computed) if reading.computed else ""


def _restored(item: ExportItem) -> RestoredImage:
    if not isinstance(item.reading, RestoredImage):
        raise ValueError(f"{item.case} holds {item.reading.kind}, a restored image is needed.")
    return item.reading
