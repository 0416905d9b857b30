"""NIfTI volumes (and Analyze pairs, FreeSurfer MGH): in the file's own voxel order, and exactly back.

An array ``zyx`` is the file's ``xyz`` transposed, so that the affine keeps its meaning: (x, y, z) to mm.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np

from core.errors import FileRefused, StorageError
from core.imaging.computed import computed_by, how_from_text, mark_text
from core.imaging.found import Found
from core.imaging.geometry import (
    Rows,
    affine_from_spacing,
    is_usable,
    lps_from_ras,
    ras_from_lps,
    to_rows,
)
from core.imaging.limits import (
    DEFLATE_MAX_RATIO,
    check_declared_size,
    check_ratio,
    declared_bytes,
    refusing,
)
from core.imaging.values import Rescale, narrow
from core.imaging.volume_file import NO_SIZE, SIDES_ASSUMED, VolumeFile, only_image_of
from core.settings import Settings
from core.types import Array, ImageInfo

NIFTI1_BYTES, NIFTI2_BYTES, MGH_BYTES = 348, 540, 284
MGH_PLACE_KNOWN = slice(28, 30)  # goodRASFlag
MAX_EXTENSION_BYTES = 2**26
GZIP_MAGIC = b"\x1f\x8b"
MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img", ".mgz", ".mgh.gz", ".mgh")
FORMAT_NAMES = {
    nibabel.Nifti1Image: "NIfTI", nibabel.Nifti1Pair: "NIfTI", nibabel.Nifti2Image: "NIfTI-2",
    nibabel.Nifti2Pair: "NIfTI-2", nibabel.MGHImage: "MGH", nibabel.Spm2AnalyzeImage: "Analyze",
}  # fmt: skip
RGB_FIELDS = ("R", "G", "B")
NO_VOXELS = (1008, 1009, *range(3000, 3016))  # intents: points, triangles, and CIFTI's grey matter nodes
DESCRIP_BYTES = 79  # of 80, so that a zero ends it


def is_nifti(path: Path) -> bool:
    """True when the (unpacked) content begins as NIfTI, Analyze or FreeSurfer MGH do."""
    try:
        return _image_type(_first_bytes(path), path) is not None
    except (OSError, EOFError, zlib.error):
        return False


def stem_of(path: Path) -> str:
    """Return the file name without its, perhaps double, ending."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def read_nifti(path: Path, settings: Settings) -> Found:
    """Read the one volume, or two-dimensional image, of a file, with its own voxel order and affine.

    Raises:
        FileRefused: when the file is damaged, lies about its size, or holds several images.
    """
    with refusing(path.name):
        return only_image_of(open_nifti(path, settings))


def open_nifti(path: Path, settings: Settings) -> VolumeFile:
    """Read a file's stored values and geometry.

    Raises:
        FileRefused: when the file is damaged, lies about its size, or holds no image.
    """
    with refusing(path.name), ExitStack() as stack:
        start = _first_bytes(path)
        kind = _image_type(start, path)
        if kind is None:
            raise FileRefused(f"{path.name} is not a NIfTI file, whatever its name says.")
        pixels = _pixel_path(path, kind)
        _check_header(_read_fields(kind, start), kind, pixels, path.name, settings)
        streams: dict[str, Any] = {"image": stack.enter_context(_opened(pixels))}
        if pixels != path:
            streams["header"] = stack.enter_context(_opened(path))
        elif "header" in dict(kind.files_types):
            streams["header"] = stack.enter_context(_opened(_partner(path, ".hdr")))
        if "mat" in dict(kind.files_types):
            streams["mat"] = BytesIO()  # MATLAB files beside SPM's are not opened
        image = kind.from_file_map(kind.make_file_map(streams))
        affine, said = _affine(image, start, path.name)
        return VolumeFile(
            path=path,
            stem=stem_of(path),
            file_format=FORMAT_NAMES[kind],
            stored=_five_axes(np.asarray(image.dataobj.get_unscaled())),
            rescale=Rescale(float(image.dataobj.slope), float(image.dataobj.inter)),
            affine_lps=affine,
            is_plane=len(image.shape) == 2,
            is_series=_is_series(image.header),
            warnings=said,
            computed=_how_computed(image.header),
        )


def write_nifti(array_zyx: Array, info: ImageInfo, path: Path) -> None:
    """Write an image or its mask with the image's affine; read_nifti and other programs read the same back.

    A computed image says so in ``descrip`` and, at full length, in a comment.

    Args:
        array_zyx: of the image's shape, or of its spatial shape (a mask). Frames become the fourth axis.
        info: the image's description.
        path: ends in .nii or .nii.gz; replaced in one step.

    Raises:
        StorageError: when the disk cannot take it.
    """
    if tuple(array_zyx.shape) not in (info.shape, info.spatial_shape):
        raise ValueError(
            f"array must have shape {info.shape} or {info.spatial_shape}, got {array_zyx.shape}."
        )
    rows = info.affine_lps or affine_from_spacing(info.spacing_mm or (1.0,) * (3 if info.is_volume else 2))
    affine = ras_from_lps(rows)
    data = _to_file_order(_storable(array_zyx), info)
    kind = nibabel.Nifti1Image if max(data.shape) < 2**15 else nibabel.Nifti2Image
    image = kind(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner", strip_shears=True)
    if how := computed_by(info):
        words = mark_text(how)
        image.header["descrip"] = words.encode("ascii", "replace")[:DESCRIP_BYTES]
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", words.encode()))
    ending = ".nii.gz" if path.name.endswith(".gz") else ".nii"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part{ending}")
    try:
        nibabel.save(image, temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path.name} could not be written ({error.strerror}); check the disk.") from error


def _first_bytes(path: Path) -> bytes:
    """Return the first bytes after unpacking; no more than a header is ever unpacked."""
    with _opened(path) as stream:
        return stream.read(1024)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, through gzip where its content says so."""
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]


def _image_type(start: bytes, path: Path) -> Any | None:
    """Recognise the format by its magic number; Analyze and MGH, whose own is weak, by their name as well."""
    name = path.name.lower()
    if start[4:7] in (b"n+2", b"ni2") and len(start) >= NIFTI2_BYTES:
        return nibabel.Nifti2Image if start[5:6] == b"+" else nibabel.Nifti2Pair
    if start[344:347] in (b"n+1", b"ni1"):
        return nibabel.Nifti1Image if start[345:346] == b"+" else nibabel.Nifti1Pair
    if name.endswith((".mgz", ".mgh", ".mgh.gz")) and start[:4] == b"\0\0\0\1" and len(start) >= MGH_BYTES:
        return nibabel.MGHImage
    is_header = start[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c") and len(start) >= NIFTI1_BYTES
    if name.endswith((".hdr", ".hdr.gz")) and is_header:
        return nibabel.Spm2AnalyzeImage
    return None


def _read_fields(kind: Any, start: bytes) -> Any:
    """Read the fixed part of a header; extensions behind it may be of any length and are left alone."""
    if kind is nibabel.MGHImage:
        return kind.header_class.from_fileobj(BytesIO(start))
    return kind.header_class(start[: kind.header_class.template_dtype.itemsize], check=False)


def _pixel_path(path: Path, kind: Any) -> Path:
    """Return the file that holds the pixels: the same, or the .img beside a .hdr."""
    if "header" not in dict(kind.files_types):
        return path
    return _partner(path, ".img")


def _partner(path: Path, ending: str) -> Path:
    for candidate in (path.with_name(stem_of(path) + ending), path.with_name(f"{stem_of(path)}{ending}.gz")):
        if candidate.is_file():
            return candidate
    raise FileRefused(f"{path.name} needs {stem_of(path)}{ending} beside it; add both files.")


def _check_header(header: Any, kind: Any, pixels: Path, name: str, settings: Settings) -> None:
    """Refuse sizes past the limits, or past what the file can hold, before anything is decoded."""
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) < 2:
        raise FileRefused(f"{name} holds no image: it gives its size as {shape}.")
    intent = int(header["intent_code"]) if "intent_code" in header.template_dtype.names else 0
    if intent in NO_VOXELS:
        raise FileRefused(f"{name} holds values of a surface (such as CIFTI), which are no image.")
    stored = header.get_data_dtype()
    if stored.kind == "c" or (stored.kind == "V" and stored.names[:3] != RGB_FIELDS):
        raise FileRefused(f"{name} holds values of type {stored}, which are no grey or colour image.")
    check_declared_size(shape, max(stored.itemsize, 2), name, settings)
    offset = MGH_BYTES if kind is nibabel.MGHImage else int(header.get_data_offset())
    if not 0 <= offset <= MAX_EXTENSION_BYTES:
        raise FileRefused(f"{name} says that its pixels begin at byte {offset}; it is damaged.")
    declared = declared_bytes(shape, stored.itemsize) + offset
    size = pixels.stat().st_size
    with open(pixels, "rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    if packed:
        check_ratio(declared, size, DEFLATE_MAX_RATIO, name, harmless=2**20)
    elif declared > size:
        raise FileRefused(f"{name} is cut short: its header declares {declared} bytes, the file has {size}.")


def _five_axes(stored: Array) -> Array:
    """Give stored values the axes x, y, z, t, c; the channels of colour voxels stand last."""
    if stored.dtype.kind == "V":
        stored = np.stack([stored[field] for field in RGB_FIELDS], axis=-1)
        spatial, channels = stored.shape[:-1], stored.shape[-1:]
        return stored.reshape(*spatial[:4], *(1,) * (4 - len(spatial)), *channels)
    head, tail = stored.shape[:4], stored.shape[4:]
    return stored.reshape(*head, *(1,) * (4 - len(head)), int(np.prod(tail)), order="F")


def _is_series(header: Any) -> bool:
    """True when the fourth axis is time: it has a unit of time and a step that no program writes by default."""
    if not hasattr(header, "get_xyzt_units") or len(header.get_zooms()) < 4:
        return False
    return header.get_xyzt_units()[1] in ("sec", "msec", "usec") and header.get_zooms()[3] not in (0, 1)


def _how_computed(header: Any) -> str:
    """Return what computed the image, where the file says so; "" else."""
    texts = [extension.get_content() for extension in getattr(header, "extensions", [])]
    if "descrip" in header:
        texts.append(bytes(header["descrip"].item()))
    words = (text.decode("utf-8", "replace") for text in texts if isinstance(text, bytes))
    return next((how for text in words if (how := how_from_text(text.rstrip("\0")))), "")


def _affine(image: Any, start: bytes, name: str) -> tuple[Rows | None, tuple[str, ...]]:
    """Return the LPS affine in mm, None where voxels have no size, and what to say about it."""
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise FileRefused(f"{name} gives a spacing or position that is not a number.")
    header = image.header
    is_mgh = isinstance(image, nibabel.MGHImage)
    if hasattr(header, "get_xyzt_units"):
        affine[:3] *= MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    if not is_usable(affine) or (is_mgh and start[MGH_PLACE_KNOWN] == b"\0\0"):
        return None, (NO_SIZE,)
    said: tuple[str, ...] = ()
    if not hasattr(header, "get_sform") and not is_mgh:
        said = ("Analyze files do not say which side is left; check it before use.",)
    elif hasattr(header, "get_sform") and int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        said = (SIDES_ASSUMED,)
    return to_rows(lps_from_ras(affine)), said


def _storable(array: Array) -> Array:
    """Return the array in a type that every NIfTI reader knows."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype in (np.int64, np.uint64):
        return narrow(array)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _to_file_order(array: Array, info: ImageInfo) -> Array:
    """Turn zyx into the file's xyz; time and channels go behind."""
    if array.ndim == 2:
        return array.T
    if info.layout[0] == "z":
        return array.transpose((2, 1, 0, 3)[: array.ndim])
    if info.layout[0] == "y":  # yxc: channels stand where volumes of a four-dimensional file do
        return array.transpose(1, 0, 2)[:, :, np.newaxis, :]
    frames_last = array.transpose((2, 1, 0, 3)[: array.ndim])
    return frames_last[:, :, np.newaxis, ...]
