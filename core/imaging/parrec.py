"""Philips PAR/REC volumes: a text header (.PAR) and its numbers (.REC), read through nibabel."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import FileRefused
from core.imaging.geometry import is_usable, lps_from_ras, to_rows
from core.imaging.limits import check_declared_size, declared_bytes, refusing
from core.imaging.volume_file import NO_SIZE, VolumeFile
from core.settings import Settings
from core.types import Array

MAGIC = b"# === DATA DESCRIPTION FILE"
MAX_HEADER_BYTES = 2**26
SCALED_BYTES = 8  # nibabel computes displayed values as float64


def is_parrec(start: bytes) -> bool:
    """Tell by its first bytes whether a file is the header of a PAR/REC pair."""
    return start.startswith(MAGIC)


def open_parrec(path: Path, settings: Settings) -> VolumeFile:
    """Read the values as the scanner shows them (stored x rescale slope + intercept) and the geometry.

    Raises:
        FileRefused: when a file of the pair is missing, damaged or cut short.
    """
    from nibabel.parrec import PARRECImage

    with refusing(path.name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel warns of every version that it knows but in part
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise FileRefused(f"{path.name} is too large for a header; it is damaged.")
        pixels = _pixels_of(path)
        header, said = _read_header(path)
        shape = tuple(int(size) for size in header.get_data_shape())
        check_declared_size(shape, SCALED_BYTES, path.name, settings)
        declared = declared_bytes(shape, header.get_data_dtype().itemsize)
        if declared > pixels.stat().st_size:
            raise FileRefused(f"{pixels.name} is cut short: {path.name} declares {declared} bytes.")
        with open(pixels, "rb") as stream:
            values: Array = np.asarray(PARRECImage.ImageArrayProxy(stream, header, mmap=False, scaling="dv"))
        affine = np.asarray(header.get_affine(), dtype=np.float64)
        has_size = is_usable(affine)
        return VolumeFile(
            path=path,
            stem=path.name[: -len(path.suffix)] or path.name,
            file_format="PAR/REC",
            stored=values.reshape(*values.shape[:3], -1, 1),
            affine_lps=to_rows(lps_from_ras(affine)) if has_size else None,
            is_series=True,
            modality="MR",
            warnings=said if has_size else (*said, NO_SIZE),
        )


def _read_header(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the header and what to say about it; of a scan that broke off, the whole volumes are used."""
    from nibabel.parrec import PARRECError, PARRECHeader

    with open(path, encoding="utf-8", errors="replace") as text:
        try:
            return PARRECHeader.from_fileobj(text), ()
        except PARRECError:
            text.seek(0)
            header = PARRECHeader.from_fileobj(text, permit_truncated=True)
            return header, ("The scan broke off; only its whole volumes came in.",)


def _pixels_of(path: Path) -> Path:
    """Return the .REC beside a .PAR, in capitals or not."""
    for ending in (".REC", ".rec", ".Rec"):
        if path.with_suffix(ending).is_file():
            return path.with_suffix(ending)
    raise FileRefused(f"{path.name} needs {path.stem}.REC beside it; add both files.")
