"""MINC volumes of both kinds (.mnc), read through nibabel; MINC 2 is HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.errors import FileRefused
from core.imaging.geometry import Rows, is_usable, lps_from_ras, to_rows
from core.imaging.limits import DEFLATE_MAX_RATIO, check_declared_size, check_ratio, declared_bytes, refusing
from core.imaging.volume_file import NO_SIZE, VolumeFile
from core.settings import Settings
from core.types import Array

CLASSIC = (b"CDF\1", b"CDF\2")
HDF5 = b"\x89HDF\r\n\x1a\n"
SUFFIX = ".mnc"
SCALED_BYTES = 8  # nibabel computes physical values as float64


def is_minc(start: bytes, name: str) -> bool:
    """Tell by its first bytes, and its name where these are shared with others, whether a file is MINC."""
    return start.startswith(CLASSIC) or (start.startswith(HDF5) and name.lower().endswith(SUFFIX))


def open_minc(path: Path, settings: Settings) -> VolumeFile:
    """Read a file's physical values and geometry; the file's own order of axes stays.

    Raises:
        FileRefused: when the file is damaged, lies about its size, or holds no image.
    """
    with refusing(path.name), open(path, "rb") as stream:
        start = stream.read(len(HDF5))
        stream.seek(0)
        file, image = _open_hdf5(path) if start == HDF5 else _open_classic(path, stream, settings)
        shape = tuple(int(size) for size in image.shape)
        check_declared_size(shape, SCALED_BYTES, path.name, settings)
        declared = declared_bytes(shape, file.get_data_dtype().itemsize)
        check_ratio(declared, path.stat().st_size, DEFLATE_MAX_RATIO, path.name)
        stored, affine = _arranged(file, _names_of_axes(image), path.name)
        return VolumeFile(
            path=path,
            stem=path.name[: -len(path.suffix)] or path.name,
            file_format="MINC",
            stored=stored,
            affine_lps=affine,
            is_series=True,
            warnings=() if affine else (NO_SIZE,),
        )


def _open_hdf5(path: Path) -> tuple[Any, Any]:
    import h5py
    from nibabel.minc2 import Minc2File

    file = h5py.File(path, "r")
    return Minc2File(file), file["minc-2.0/image/0/image"]


def _open_classic(path: Path, stream: Any, settings: Settings) -> tuple[Any, Any]:
    from nibabel.externals.netcdf import netcdf_file
    from nibabel.minc1 import Minc1File

    check_declared_size((1, path.stat().st_size), 1, path.name, settings)  # all of it is read at once
    file = netcdf_file(stream, mmap=False)
    return Minc1File(file), file.variables["image"]


def _names_of_axes(image: Any) -> list[str]:
    if hasattr(image, "attrs"):
        return str(image.attrs["dimorder"].decode("ascii")).split(",")
    return list(image.dimensions)


def _arranged(file: Any, names: list[str], name: str) -> tuple[Array, Rows | None]:
    """Return the values with axes x, y, z, t, c, where x is the file's fastest axis in space, and their affine."""
    space = [number for number, axis in enumerate(names) if axis.endswith("space")]
    others = [number for number in range(len(names)) if number not in space]
    if len(space) != 3 or len(others) > 1:
        raise FileRefused(
            f"{name} has the axes {', '.join(names)}; an image has three in space and one in time."
        )
    values: Array = np.asarray(file.get_scaled_data())
    stored = values.transpose(*reversed(space), *others)
    affine = np.asarray(file.get_affine(), dtype=np.float64)
    if not np.isfinite(affine).all():
        raise FileRefused(f"{name} gives a spacing or position that is not a number.")
    affine = lps_from_ras(affine[:, [2, 1, 0, 3]])  # its columns follow the file's axes, the slowest first
    stored = stored.reshape(*stored.shape[:3], -1, 1)
    return stored, to_rows(affine) if is_usable(affine) else None
