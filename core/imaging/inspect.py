"""What image files hold, told without importing them: one JSON-ready record per image, one per refused file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import FileRefused
from core.imaging.fingerprint import StoredFacts, facts_of
from core.imaging.found import Found, Skipped
from core.imaging.geometry import orientation_letters
from core.imaging.limits import refusing
from core.imaging.sandbox import Call, Decoding, printable
from core.imaging.scan import Work, decode, plan_scan
from core.settings import Settings
from core.types import Array

Record = dict[str, Any]


def inspect_paths(paths: Sequence[Path], work_dir: Path, settings: Settings) -> Iterator[Record]:
    """Describe every image in files, folders and archives, in sorted order.

    An image has path, kind, modality, layout, shape, dtype, spacing_mm, orientation, min, max, sha256, frames,
    files, photometric, window and warnings. Shape, dtype, min, max and sha256 are of the values as the file stores
    them, decoded but not rescaled, in C order and the file's own byte order; a series is stacked in volume order,
    luminance and colour differences are turned to RGB, palettes are not looked up. Orientation names where the
    voxel axes x, y, z lead in the patient (see ``orientation_letters``). A refused file has path and reason.

    Args:
        paths: what to look into.
        work_dir: archives are unpacked below it; the caller removes it.
        settings: limits.
    """
    roots = {path.resolve().name: path for path in paths}
    resolved = [path.resolve() for path in paths]
    names_differ = len({path.name for path in resolved}) == len(resolved)
    plan = plan_scan(resolved, work_dir, settings)
    works = [item for item in plan if isinstance(item, Work)]
    calls = (Call(inspect_work, (work, settings), work.paths) for work in works)
    with Decoding(calls, work_dir, settings) as decoding:
        for item in plan:
            records = [_skipped(item)] if isinstance(item, Skipped) else _answered(item, decoding)
            for record in records:
                if names_differ:
                    record["path"] = _as_given(record["path"], roots)
                yield record


def _answered(work: Work, decoding: Decoding) -> Iterator[Record]:
    """Yield what the decoder says of a file or series; nothing more when it ended over it."""
    try:
        for record in decoding.answers():
            yield {
                key: printable(value) if isinstance(value, str) else value for key, value in record.items()
            }
    except FileRefused as error:
        yield {"path": work.entries[0].shown, "reason": str(error)}


def inspect_work(work: Work, settings: Settings) -> Iterator[Record]:
    """Describe the images of one file or series; called in the decoder."""
    for item in _with_facts(work, settings):
        yield _skipped(item) if isinstance(item, Skipped) else _image(item, work)


def _with_facts(work: Work, settings: Settings) -> Iterator[Found | Skipped]:
    if work.kind == "dicom":
        from core.imaging.dicom import iter_dicom_images

        shown = {entry.path: entry.shown for entry in work.entries}
        yield from iter_dicom_images(list(shown), "", settings, shown.__getitem__, with_facts=True)
    else:
        yield from decode(work, "", settings)


def _image(found: Found, work: Work) -> Record:
    try:
        with refusing(work.entries[0].path.name):
            stored = found.stored or _stored_facts(found, work)
    except FileRefused as error:
        return {"path": found.source, "reason": str(error)}
    info = found.image.info
    files = len(found.files) or 1
    return {
        "path": found.source if files == 1 else _folder_of(found, work),
        "kind": work.kind,
        "modality": info.modality,
        "layout": info.layout,
        "shape": list(stored.shape),
        "dtype": stored.dtype,
        "spacing_mm": None if info.spacing_mm is None else list(info.spacing_mm),
        "orientation": None if info.affine_lps is None else orientation_letters(info.affine_lps),
        "min": stored.low,
        "max": stored.high,
        "sha256": stored.sha256,
        "frames": stored.frames,
        "files": files,
        "photometric": stored.photometric,
        "window": None
        if info.window is None
        else {"center": info.window.center, "width": info.window.width, "function": info.window.function},
        "warnings": list(info.warnings),
    }


def _folder_of(found: Found, work: Work) -> str:
    """Return the folder that the files of a series share."""
    shown = {entry.path: entry.shown for entry in work.entries}
    return os.path.commonpath([os.path.dirname(shown[path]) or "." for path in found.files])  # noqa: PTH120 - names, not files


def _skipped(item: Skipped) -> Record:
    return {"path": item.source, "reason": item.reason}


def _as_given(shown: str, roots: dict[str, Path]) -> str:
    """Turn a name as the scan shows it, which begins at the name of what was given, into a path as it was given."""
    first, _, rest = shown.partition("/")
    root = roots.get(first)
    return shown if root is None else str(root / rest) if rest else str(root)


def _stored_facts(found: Found, work: Work) -> StoredFacts:
    """Read the values of another kind of file as a common library reads them; else as they were decoded."""
    info = found.image.info
    photometric = "RGB" if info.channels == 3 else "MONOCHROME1" if info.inverted else "MONOCHROME2"
    read = STORED_READERS.get(work.kind)
    array = found.image.array if read is None else read(work.entries[0].path, found)
    facts = facts_of([array], photometric, single=True)
    return StoredFacts(**{**vars(facts), "frames": info.slices})


def _nifti_values(path: Path, found: Found) -> Array:
    """Return the values of a volume as stored, unscaled, in the file's axes (x, y, z, ...)."""
    import nibabel

    stored = np.asarray(nibabel.load(path).dataobj.get_unscaled())  # type: ignore[attr-defined]
    number = found.part.rpartition(" ")[2]  # "volume 07"
    return stored[..., int(number) - 1] if number else stored


def _raster_values(path: Path, found: Found) -> Array:
    """Return the values of a picture as stored: palette indices, no camera rotation, all channels."""
    if found.part:  # one of several pictures is told by its own values
        return found.image.array
    import tifffile
    from PIL import Image as PILImage

    from core.imaging.raster import png_bits
    from core.imaging.tiff import is_tiff

    if is_tiff(path):
        return tifffile.imread(path)
    if png_bits(path)[0] == 16:
        import imagecodecs

        return imagecodecs.png_decode(path.read_bytes())
    try:
        with PILImage.open(path) as picture:
            return np.asarray(picture)
    except PILImage.UnidentifiedImageError:  # what Pillow does not know was decoded as it is stored
        return found.image.array


STORED_READERS: dict[str, Callable[[Path, Found], Array]] = {"nifti": _nifti_values, "raster": _raster_values}


def images_of(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Split records into (images, refused files)."""
    images: list[Record] = []
    refused: list[Record] = []
    for record in records:
        (refused if "reason" in record else images).append(record)
    return images, refused
