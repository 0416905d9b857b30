"""MetaImage volumes (.mha, and .mhd with its data beside it), as ITK writes them.

Source: ITK, "MetaIO/Documentation", https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.errors import FileRefused
from core.imaging.geometry import Rows, is_usable, to_rows
from core.imaging.limits import refusing
from core.imaging.raw_values import (
    FROM_END,
    RawValues,
    find_all_beside,
    find_beside,
    numbered_names,
    read_raw,
)
from core.imaging.volume_file import NO_SIZE, VolumeFile
from core.settings import Settings
from core.types import Array

MAX_HEADER_BYTES = 2**16
STARTS = (b"ObjectType", b"NDims", b"Comment", b"FormTypeName")
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_NM": "NM", "MET_MOD_US": "US"}
MM_PER_UNIT = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}
ORIGIN = ("Offset", "Position", "Origin")
DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
SPACING = ("ElementSpacing", "ElementSize")
BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def is_metaimage(start: bytes) -> bool:
    """Tell by its first bytes whether a file is a MetaImage header."""
    return start.startswith(STARTS) and b"=" in start


def open_metaimage(path: Path, settings: Settings) -> VolumeFile:
    """Read a file's stored values and geometry.

    Raises:
        FileRefused: when the file is damaged, lies about its size, or holds no image.
    """
    with refusing(path.name):
        fields, listed, start = _read_header(path)
        raw, sizes, channels = _raw_values(fields, listed, path, start)
        stored = read_raw(raw, settings)
        if channels > 1:  # the values of one voxel stand together
            stored = np.moveaxis(stored, 0, -1)
        affine, said = _geometry(fields, len(sizes), path.name)
        x_y_z_t = (*sizes[:2], sizes[2] if len(sizes) > 2 else 1, sizes[3] if len(sizes) > 3 else 1)
        return VolumeFile(
            path=path,
            stem=path.name[: -len(path.suffix)] or path.name,
            file_format="MetaImage",
            stored=stored.reshape(*x_y_z_t, channels),
            affine_lps=affine,
            is_plane=len(sizes) == 2,
            modality=MODALITIES.get(fields.get("Modality", ""), "OT"),
            warnings=said,
        )


def _read_header(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Return the fields, the data files that are listed, and the first byte behind the header."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        while (line := file.readline(MAX_HEADER_BYTES)) and file.tell() <= MAX_HEADER_BYTES:
            name, equals, value = line.decode("utf-8", "replace").partition("=")
            if not equals:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                if not value.strip().upper().startswith("LIST"):
                    return fields, [], file.tell()
                names = file.read(MAX_HEADER_BYTES * 16).decode("utf-8", "replace").splitlines()
                return fields, [entry.strip() for entry in names if entry.strip()], file.tell()
    raise FileRefused(
        f"{path.name} is no MetaImage, or cut short: its header does not say where the values lie."
    )


def _raw_values(
    fields: dict[str, str], listed: list[str], path: Path, start: int
) -> tuple[RawValues, list[int], int]:
    """Return (where the values lie, the sizes along x, y, z, t, values per voxel)."""
    sizes = [int(word) for word in fields.get("DimSize", "").split()]
    if len(sizes) != int(fields.get("NDims", "0")) or not 2 <= len(sizes) <= 4:
        raise FileRefused(
            f"{path.name} needs two to four axes; its header gives {fields.get('NDims', 'none')}."
        )
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    element = fields.get("ElementType", "").removesuffix("_ARRAY")
    if element not in TYPES:
        raise FileRefused(f"{path.name} holds values of type {element or 'unknown'}, which are no image.")
    is_big = next((fields[name].lower().startswith("t") for name in BIG_ENDIAN if name in fields), False)
    encoding: str = "text" if fields.get("BinaryData", "True").lower().startswith("f") else "raw"
    if fields.get("CompressedData", "False").lower().startswith("t"):
        encoding = "zlib"
    files = _data_files(fields["ElementDataFile"], listed, path)
    header_bytes = int(fields.get("HeaderSize", "0"))
    is_own = files == (path,)
    raw = RawValues(
        name=path.name,
        files=files,
        shape=(channels, *sizes) if channels > 1 else tuple(sizes),
        dtype=np.dtype(f"{'>' if is_big else '<'}{TYPES[element]}"),
        encoding=encoding,  # type: ignore[arg-type]
        start=start if is_own else FROM_END if header_bytes == -1 else max(header_bytes, 0),
    )
    return raw, sizes, channels


def _data_files(named: str, listed: list[str], path: Path) -> tuple[Path, ...]:
    if named.upper() == "LOCAL":
        return (path,)
    if named.upper().startswith("LIST"):
        return find_all_beside(path, listed)
    pattern, *numbers = named.rsplit(None, 3) if "%" in named else [named]
    if len(numbers) == 3:
        return find_all_beside(path, numbered_names(path, pattern, *map(int, numbers)))
    return (find_beside(path, named),)


def _geometry(fields: dict[str, str], axes: int, name: str) -> tuple[Rows | None, tuple[str, ...]]:
    """Return the LPS affine, None when the file gives no size for its voxels, and what to say about it."""
    spacing = _numbers(fields, SPACING, axes, name)
    if spacing is None:
        return None, (NO_SIZE,)
    space = min(axes, 3)
    directions = _numbers(fields, DIRECTION, axes * axes, name)
    columns = np.eye(axes) if directions is None else directions.reshape(axes, axes).T
    origin = _numbers(fields, ORIGIN, axes, name)
    affine = np.eye(4)
    affine[:space, :space] = columns[:space, :space] * spacing[:space]
    if origin is not None:
        affine[:space, 3] = origin[:space]
    affine[:3] *= MM_PER_UNIT.get(fields.get("DistanceUnits", "mm").lower(), 1.0)
    return (to_rows(affine), ()) if is_usable(affine) else (None, (NO_SIZE,))


def _numbers(fields: dict[str, str], names: tuple[str, ...], count: int, name: str) -> Array | None:
    text = next((fields[key] for key in names if key in fields), None)
    if text is None:
        return None
    numbers = np.array([float(word) for word in text.split()])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise FileRefused(f"{name} gives its place in space as {text[:80]!r}, which is not {count} numbers.")
    return numbers
