"""NRRD volumes, attached (.nrrd) and with data beside the header (.nhdr).

Source: Teem, "Definition of NRRD File Format", https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import FileRefused
from core.imaging.geometry import Rows, is_usable, to_rows
from core.imaging.limits import refusing
from core.imaging.raw_values import (
    FROM_END,
    MAX_HEADER_BYTES,
    Encoding,
    RawValues,
    find_all_beside,
    find_beside,
    numbered_names,
    read_raw,
)
from core.imaging.volume_file import NO_SIZE, VolumeFile
from core.settings import Settings
from core.types import Array

MAGIC = b"NRRD000"
MAX_AXES = 16
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
ENCODINGS: dict[str, Encoding] = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
    "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
# Which way the axes of a patient's space go, as factors to left, posterior, superior.
SPACES = {
    "right-anterior-superior": (-1.0, -1.0, 1.0), "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0), "las": (1.0, -1.0, 1.0),
    "left-posterior-superior": (1.0, 1.0, 1.0), "lps": (1.0, 1.0, 1.0),
}  # fmt: skip
SPACE_KINDS = ("space", "domain")
# Of axes that lie in no space; any other kind is of channels.
VOLUME_KINDS = ("time", "list", "", *SPACE_KINDS)
MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3,
               "microns": 1e-3, "nm": 1e-6}  # fmt: skip
NO_PLACE = "The file does not say how the patient lies; left and right are unknown."
VECTOR = re.compile(r"none|\(([^)]*)\)", re.IGNORECASE)


@dataclass(frozen=True)
class Axis:
    """One axis of the file; ``step`` is its vector in the file's space, or its length where there is none."""

    size: int
    kind: str = ""
    step: tuple[float, ...] | None = None


def is_nrrd(start: bytes) -> bool:
    """Tell by its first bytes whether a file is NRRD."""
    return start.startswith(MAGIC)


def open_nrrd(path: Path, settings: Settings) -> VolumeFile:
    """Read a file's stored values and geometry.

    Raises:
        FileRefused: when the file is damaged, lies about its size, or holds no image.
    """
    with refusing(path.name):
        fields, start = _read_header(path)
        axes = _axes(fields, path.name)
        order, shape, is_plane = _arrangement(axes, path.name)
        stored = read_raw(_raw_values(fields, tuple(axis.size for axis in axes), path, start), settings)
        affine, spacing, said = _geometry(fields, [axes[index] for index in order[: 2 if is_plane else 3]])
        return VolumeFile(
            path=path,
            stem=path.name[: -len(path.suffix)] or path.name,
            file_format="NRRD",
            stored=stored.transpose(order).reshape(shape),
            affine_lps=affine,
            spacing_mm=spacing,
            is_plane=is_plane,
            is_series=any(axis.kind == "time" for axis in axes),
            warnings=said,
        )


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields and the first byte behind the header; key/value pairs, which may name people, are left."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        if not is_nrrd(file.readline(64)):
            raise FileRefused(f"{path.name} is not a NRRD file, whatever its name says.")
        while (line := file.readline(MAX_HEADER_BYTES)) and file.tell() <= MAX_HEADER_BYTES:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if not text:
                return fields, 0 if "data file" in fields else file.tell()
            name, colon, value = text.partition(": ")
            if colon and not text.startswith("#"):
                fields[name.strip().lower().replace("datafile", "data file")] = value.strip()
            if fields.get("data file", "").upper().startswith("LIST"):
                names = file.read(MAX_HEADER_BYTES).decode("utf-8", "replace").splitlines()
                fields["listed"] = "\n".join(name.strip() for name in names if name.strip())
                return fields, 0
        if "data file" in fields and file.tell() <= MAX_HEADER_BYTES:
            return fields, 0
    raise FileRefused(f"{path.name} is cut short: its header has no end.")


def _axes(fields: dict[str, str], name: str) -> list[Axis]:
    sizes = [int(word) for word in fields.get("sizes", "").split()]
    if len(sizes) != int(fields.get("dimension", "0")) or not 1 < len(sizes) <= MAX_AXES:
        raise FileRefused(f"{name} needs two or more axes; its header gives {fields.get('sizes', 'none')}.")
    kinds = fields.get("kinds", "").lower().split()
    kinds = kinds if len(kinds) == len(sizes) else [""] * len(sizes)
    steps: list[tuple[float, ...] | None] = [None] * len(sizes)
    if "space directions" in fields:
        steps = [_vector(match.group(0)) for match in VECTOR.finditer(fields["space directions"])]
    elif "spacings" in fields:
        steps = [(value,) if value > 0 else None for value in map(float, fields["spacings"].split())]
    if len(steps) != len(sizes):
        raise FileRefused(
            f"{name} has {len(sizes)} axes and says of {len(steps)} how they lie; it is damaged."
        )
    return [Axis(*parts) for parts in zip(sizes, kinds, steps, strict=True)]


def _vector(text: str) -> tuple[float, ...] | None:
    if text.lower() == "none":
        return None
    return tuple(float(word) for word in text.strip("()").split(","))


def _arrangement(axes: list[Axis], name: str) -> tuple[list[int], tuple[int, ...], bool]:
    """Return the order of axes that makes x, y, z, t, c of them, the shape so, and whether there is no z."""
    space = [number for number, axis in enumerate(axes) if _is_space(axis, axes)]
    others = [number for number in range(len(axes)) if number not in space]
    volumes = [number for number in others if axes[number].kind in VOLUME_KINDS]
    channels = [number for number in others if number not in volumes]
    if len(space) > 3 and not volumes:  # nothing is said: the axes behind x, y, z are volumes
        space, volumes = space[:3], space[3:]
    if len(space) not in (2, 3):
        raise FileRefused(f"{name} has {len(space)} axes in space; an image has two or three.")
    order = space + volumes + channels
    sizes = [axes[number].size for number in order]
    x_y_z = (*sizes[: len(space)], *(1,) * (3 - len(space)))
    rest = [
        int(np.prod([axes[number].size for number in part], dtype=object)) for part in (volumes, channels)
    ]
    return order, (*x_y_z, *rest), len(space) == 2


def _is_space(axis: Axis, axes: list[Axis]) -> bool:
    """An axis lies in space when it has a direction there; where none has, when it is not said to be another."""
    steps = [other.step for other in axes if other.step is not None]
    if any(len(step) > 1 for step in steps):
        return axis.step is not None and any(axis.step[:3])
    if steps and axis.step is None:
        return False
    return axis.kind in ("", "???", "none", *SPACE_KINDS)


def _raw_values(fields: dict[str, str], shape: tuple[int, ...], path: Path, start: int) -> RawValues:
    wanted = fields.get("type", "").lower()
    code = next((code for code, names in TYPES.items() if wanted in names), None)
    if code is None:
        raise FileRefused(f"{path.name} holds values of type {wanted or 'unknown'}, which are no image.")
    encoding = ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise FileRefused(f"{path.name} is packed as {fields.get('encoding')!r}; save it as raw or gzip.")
    endian = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower(), "=")
    if endian == "=" and code[1] != "1" and encoding != "text":
        raise FileRefused(f"{path.name} does not say the order of its bytes (endian); save it again.")
    skip_bytes = int(fields.get("byte skip", fields.get("byteskip", "0")))
    from_end = skip_bytes == -1 and encoding == "raw"
    return RawValues(
        name=path.name,
        files=_data_files(fields, path),
        shape=shape,
        dtype=np.dtype(f"{endian}{code}"),
        encoding=encoding,
        start=FROM_END if from_end else start,
        skip_lines=max(0, int(fields.get("line skip", fields.get("lineskip", "0")))),
        skip_bytes=max(0, skip_bytes),
    )


def _data_files(fields: dict[str, str], path: Path) -> tuple[Path, ...]:
    named = fields.get("data file", "")
    if not named:
        return (path,)
    if named.upper().startswith("LIST"):
        return find_all_beside(path, fields.get("listed", "").splitlines())
    pattern, *numbers = named.rsplit(None, 3) if "%" in named else [named]
    if len(numbers) == 3:
        return find_all_beside(path, numbered_names(path, pattern, *map(int, numbers)))
    return (find_beside(path, named),)


def _geometry(
    fields: dict[str, str], axes: list[Axis]
) -> tuple[Rows | None, tuple[float, float, float] | None, tuple[str, ...]]:
    """Return (affine, spacing, what to say) of the axes in space."""
    steps = [axis.step for axis in axes]
    if any(step is None for step in steps):
        return None, None, (NO_SIZE,)
    scale = _mm_per_unit(fields)
    to_lps = SPACES.get(fields.get("space", "").lower().removesuffix("-time").removesuffix("t"))
    if to_lps is not None and all(step is not None and len(step) >= 3 for step in steps):
        affine = _affine(steps, fields.get("space origin", ""), np.array(to_lps) * scale)
        return (affine, None, ()) if is_usable(affine) else (None, None, (NO_SIZE,))
    lengths = [float(np.linalg.norm(step or ())) * scale for step in steps]
    if not all(0 < length < 1e6 for length in lengths):
        return None, None, (NO_SIZE,)
    lengths += [1.0] * (3 - len(lengths))
    return None, (lengths[2], lengths[1], lengths[0]), (NO_PLACE,)


def _affine(steps: list[tuple[float, ...] | None], origin: str, factors: Array) -> Rows:
    columns = [np.array(step or (), dtype=np.float64)[:3] for step in steps]
    if len(columns) == 2:
        normal = np.cross(columns[0], columns[1])
        columns.append(normal / (np.linalg.norm(normal) or 1.0))
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T
    place = _vector(origin) if origin else None
    affine[:3, 3] = place[:3] if place else 0.0
    affine[:3] *= factors[:, np.newaxis]
    return to_rows(affine)


def _mm_per_unit(fields: dict[str, str]) -> float:
    """Return millimetres per unit of the space; a file that names none speaks of millimetres."""
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    return MM_PER_UNIT.get(units[0].strip().lower(), 1.0) if units else 1.0
