"""Readings to files for other programs: mask pictures, NIfTI volumes, and tables of sizes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import StorageError
from core.imaging.headers import Headers
from core.readings.masks import write_mask_nifti, write_mask_tiff, write_masks_png
from core.readings.notes import Notes
from core.readings.reading import Mask, Reading
from core.types import ImageInfo, Label

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
MEASUREMENTS_FILE = "measurements.csv"
LABELS_FILE = "labels.json"
CSV_COLUMNS = (
    "case", "reader", "label_value", "label", "pixels", "slices_with_label", "area_mm2", "volume_mm3",
)  # fmt: skip


def _no_headers() -> None:
    return None


@dataclass(frozen=True)
class ExportItem:
    """One reading to write: what was read, of which image, by whom.

    Attributes:
        source: where the image came from; formats that name files take the file's name from it.
        by_model: True when the reader is a model.
        notes: what the reader noted beside the mask or the boxes.
        load_headers: opens the DICOM headers kept with the image, for formats that refer to it.
    """

    case: str
    info: ImageInfo
    reading: Reading
    reader: str = ""
    source: str = ""
    by_model: bool = False
    notes: Notes = field(default_factory=dict)
    load_headers: Callable[[], Headers | None] = _no_headers

    @property
    def mask(self) -> Mask:
        """The reading, which must be a mask.

        Raises:
            ValueError: when it is another kind.
        """
        if not isinstance(self.reading, Mask):
            raise ValueError(f"{self.case} holds {self.reading.kind}, a mask is needed.")
        return self.reading


def export_masks(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one mask file per case: PNG for single images, NIfTI for volumes, TIFF stacks for frames in time.

    Values are label numbers; ``labels.json`` beside them names them.

    Returns:
        The files written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    files = []
    for name, item in with_file_names(items):
        if item.info.layout[0] == "z":
            files.append(out / f"{name}.nii.gz")
            write_mask_nifti(item.mask, item.info, files[-1])
        elif item.info.layout[0] == "t":
            files.append(out / f"{name}.tif")
            write_mask_tiff(item.mask, files[-1])
        else:
            files.append(out / f"{name}.png")
            write_masks_png(item.mask, files[-1])
    return [*files, _write_labels(labels, out)]


def export_nifti(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one ``.nii.gz`` label map per case, with the geometry of its image, and ``labels.json``.

    Returns:
        The files written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    files = []
    for name, item in with_file_names(items):
        files.append(out / f"{name}.nii.gz")
        write_mask_nifti(item.mask, item.info, files[-1])
    return [*files, _write_labels(labels, out)]


def export_csv(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write ``measurements.csv``: one row per case and label with pixels, area in mm2 or volume in mm3.

    The area or volume is empty where the spacing is unknown, and for frames in time, whose areas do
    not add up.

    Returns:
        The file written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for item in items:
        for row in measure(item, labels):
            writer.writerow([safe_cell(value) for value in row])
    path = out / MEASUREMENTS_FILE
    write_text(path, text.getvalue())
    return [path]


Exporter = Callable[[Iterable[ExportItem], tuple[Label, ...], Path], list[Path]]


def measure(item: ExportItem, labels: tuple[Label, ...]) -> Iterator[tuple[str | int | float, ...]]:
    """Yield one row per label in the order of ``CSV_COLUMNS``."""
    array, spacing = item.mask.array, item.info.spacing_mm
    counts = np.bincount(array.ravel(), minlength=max((label.value for label in labels), default=0) + 1)
    planes = array if array.ndim == 3 else array[None]
    pixel = None if spacing is None else float(np.prod(spacing))
    for label in labels:
        count = int(counts[label.value])
        present = sum(bool((plane == label.value).any()) for plane in planes) if count else 0
        size: str | float = "" if pixel is None or item.info.layout[0] == "t" else round(count * pixel, 6)
        area, volume = ("", size) if item.info.is_volume else (size, "")
        yield item.case, item.reader, label.value, label.name, count, present, area, volume


def safe_cell(value: str | int | float) -> str | int | float:
    """Put an apostrophe before text that a spreadsheet would run as a formula.

    Source: OWASP, CSV Injection.
    """
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def file_name(name: str) -> str:
    """Turn a case's name into one that every file system takes and that leaves no folder."""
    cleaned = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]+', "_", name).strip(" .")[:150]
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)", cleaned.split(".")[0], re.IGNORECASE):
        cleaned = f"_{cleaned}"
    return cleaned or "case"


def with_file_names(items: Iterable[ExportItem]) -> Iterator[tuple[str, ExportItem]]:
    """Give each item a file name of its own, also on file systems that ignore case."""
    taken: set[str] = set()
    for item in items:
        base = name = file_name(item.case)
        number = 2
        while name.lower() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.lower())
        yield name, item


def _write_labels(labels: tuple[Label, ...], out: Path) -> Path:
    path = out / LABELS_FILE
    rows = [{"value": label.value, "name": label.name, "color": label.color} for label in labels]
    write_text(path, json.dumps({"labels": rows}, indent=2, ensure_ascii=False) + "\n")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text under a temporary name and rename it, so that a name never stands for half a file.

    Raises:
        StorageError: when the disk cannot take it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise StorageError(
            f"{path.name} could not be written ({error.strerror or error}). "
            "Check the folder and the free space on the disk."
        ) from error
