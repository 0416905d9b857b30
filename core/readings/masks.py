"""Label maps from DICOM segmentations, from and to PNG, TIFF and volume files, on the grid of their image."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import LabelError, StorageError
from core.imaging.formats import companions_of, is_volume_name
from core.imaging.geometry import Position
from core.imaging.sandbox import Call, ask
from core.readings.label_values import LabelMap, StoredValues, to_label_map
from core.readings.reading import Mask
from core.settings import Settings, load_settings
from core.types import Array, ImageInfo, Label

LINEAR_TOLERANCE = 1e-3  # per voxel step, relative to a voxel
CORNER_TOLERANCE = 0.1  # of a voxel, at the far corners


def read_mask(
    path: Path, info: ImageInfo, labels: tuple[Label, ...], label_map: LabelMap | None = None
) -> Mask:
    """Read a mask file onto the grid of an image.

    PNG, TIFF and the other picture files give their stored values (a palette's index, 16 bits, the first
    of grey + alpha; colour only where all three channels are equal). Volumes (NIfTI, NRRD, MetaImage, MGH) are
    turned to the image's axes by their geometry. DICOM segmentations are laid onto the image frame by frame
    (see ``dicom_seg``).

    Args:
        path: the mask file.
        info: the image it belongs to; size and geometry must fit.
        labels: the project's label set.
        label_map: stored value (or segment number) -> label name; "any" stands for every other value that is
            not 0. None means that the stored values are the labels' own numbers.

    Raises:
        LabelError: another size or place than the image, or a value that no label stands for.
        FileRefused: the file is damaged or no mask.
    """
    return read_mask_noting(path, info, labels, label_map)[0]


def read_mask_noting(
    path: Path,
    info: ImageInfo,
    labels: tuple[Label, ...],
    label_map: LabelMap | None = None,
    work_dir: Path | None = None,
    slices_at: tuple[Position, ...] = (),
) -> tuple[Mask, tuple[str, ...]]:
    """Read a mask as ``read_mask`` does; also return sentences about what had to be assumed.

    The file is opened in the decoder process, see ``core.imaging.sandbox``.

    Args:
        path: the mask file.
        info: the image it belongs to.
        labels: the project's label set.
        label_map: stored value -> label name.
        work_dir: where its values pass through on disk; the system's folder for that unless given.
        slices_at: where the image's slices lie, for DICOM segmentations; see ``dicom_seg.read_segmentation``.

    Raises:
        LabelError: another size or place than the image, or a value that no label stands for.
        FileRefused: the file is damaged or no mask.
    """
    settings = load_settings()
    told = None if label_map is None else [(str(value), name) for value, name in label_map.items()]
    wanted = Call(read_stored, (path, info, labels, told, settings, slices_at), (path, *companions_of(path)))
    stored = ask(wanted, settings, work_dir)
    _check_shape(path.name, stored.array.shape, info)
    if isinstance(stored, Marked):
        return Mask(stored.array), stored.notes
    array, notes = to_label_map(stored, labels, label_map, path.name)
    return Mask(np.ascontiguousarray(array)), notes


@dataclass(frozen=True)
class Marked:
    """A label map in the project's numbers, and sentences about what had to be assumed."""

    array: Array
    notes: tuple[str, ...]


def read_stored(
    path: Path,
    info: ImageInfo,
    labels: tuple[Label, ...],
    told: list[tuple[str, str]] | None,
    settings: Settings,
    slices_at: tuple[Position, ...],
) -> StoredValues | Marked:
    """Read what a mask file holds onto the grid of an image; called in the decoder.

    Args:
        path: the mask file.
        info: the image.
        labels: the project's label set.
        told: a label map, as pairs of text.
        settings: limits.
        slices_at: where the image's slices lie.
    """
    from core.readings.dicom_seg import is_segmentation, read_segmentation

    if is_segmentation(path):
        label_map: LabelMap | None = None
        if told is not None:
            label_map = {"any" if value == "any" else int(value): name for value, name in told}
        mask, notes = read_segmentation(path, info, labels, label_map, settings, slices_at)
        return Marked(mask.array, notes)
    return read_numbers(path, info, settings)


def read_values(path: Path, info: ImageInfo, work_dir: Path | None = None) -> StoredValues:
    """Read the numbers of a mask file onto the grid of an image, whatever they stand for.

    The file is opened in the decoder process, see ``core.imaging.sandbox``.

    Args:
        path: the mask file; no DICOM segmentation.
        info: the image it belongs to.
        work_dir: where its values pass through on disk; the system's folder for that unless given.

    Raises:
        LabelError: another size or place than the image.
        FileRefused: the file is damaged or no mask.
    """
    settings = load_settings()
    wanted = Call(read_numbers, (path, info, settings), (path, *companions_of(path)))
    stored: StoredValues = ask(wanted, settings, work_dir)
    _check_shape(path.name, stored.array.shape, info)
    return stored


def read_numbers(path: Path, info: ImageInfo, settings: Settings) -> StoredValues:
    """Read the numbers that a picture or a volume holds; called in the decoder."""
    read = _read_volume_values if is_volume_name(path.name) else _read_picture_values
    return read(path, info, settings)


def write_masks_png(mask: Mask, path: Path) -> None:
    """Write a single-image mask as grey PNG holding the label numbers (16 bits where they pass 255).

    Raises:
        ValueError: for a volume or a stack.
        StorageError: when the disk cannot take it.
    """
    from PIL import Image as PILImage

    if mask.array.ndim != 2:
        raise ValueError(f"PNG holds one plane, the mask has shape {mask.array.shape}; write NIfTI or TIFF.")
    array = _narrow(mask.array)
    write_whole(path, lambda part: PILImage.fromarray(array).save(part, format="PNG"))


def write_mask_tiff(mask: Mask, path: Path) -> None:
    """Write a mask as TIFF, one page per frame.

    Raises:
        StorageError: when the disk cannot take it.
    """
    import tifffile

    array = _narrow(mask.array)
    write_whole(
        path,
        lambda part: tifffile.imwrite(
            part, array, photometric="minisblack", compression="zlib", metadata=None
        ),
    )


def write_mask_nifti(mask: Mask, info: ImageInfo, path: Path) -> None:
    """Write a mask as NIfTI with the image's own affine, so that any viewer lays it over the image.

    Where the image's place in the patient is unknown, its spacing is written, with the origin at zero. Frames
    in time are written as slices.

    Raises:
        LabelError: when the mask does not have the image's size.
        StorageError: when the disk cannot take it.
    """
    from core.imaging.nifti import write_nifti

    if mask.array.shape != info.spatial_shape:
        raise LabelError(_size_sentence("The mask", mask.array.shape, info))
    if info.layout[0] == "t":  # frames are written as slices: one label per voxel is three axes
        spacing = None if info.spacing_mm is None else (1.0, *info.spacing_mm)
        info = replace(
            info, layout="zyx", shape=mask.array.shape, spacing_mm=spacing, affine_lps=None, dtype="uint8"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {path.parent} cannot be made ({error.strerror}).") from error
    write_nifti(_narrow(mask.array), info, path)


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write under a temporary name and rename, so that a name never stands for half a file."""
    part = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise StorageError(
            f"{path.name} could not be written ({error.strerror or error}). "
            "Check the folder and the free space on the disk."
        ) from error


def _narrow(array: Array) -> Array:
    return array.astype(np.uint8) if array.max(initial=0) < 256 else array


def _size_sentence(name: str, shape: tuple[int, ...], info: ImageInfo) -> str:
    def words(sizes: tuple[int, ...]) -> str:
        return " x ".join(str(n) for n in sizes)

    axes = {2: "rows x columns", 3: "slices x rows x columns"}.get(len(shape), "")
    return (
        f"{name} has {words(shape)} pixels ({axes}), its image has {words(info.spatial_shape)}; "
        "a mask must have the size of its image."
    )


def _check_shape(name: str, shape: tuple[int, ...], info: ImageInfo) -> None:
    if shape != info.spatial_shape:
        raise LabelError(_size_sentence(name, shape, info))


def _read_picture_values(path: Path, info: ImageInfo, settings: Settings) -> StoredValues:
    from core.imaging.tiff import is_tiff

    read = _read_tiff_values if is_tiff(path) else _read_pil_values
    return read(path, info, settings)


def _read_pil_values(path: Path, info: ImageInfo, settings: Settings) -> StoredValues:
    from core.imaging.raster import open_picture, png_bits

    with open_picture(path, settings) as picture:
        _check_shape(path.name, (*_leading_ones(info), picture.height, picture.width), info)
        if picture.mode in ("RGBA", "RGB") and png_bits(path)[0] == 16:
            raise LabelError(f"{path.name} is 16-bit colour; save masks as grey or palette images.")
        picture.load()
        lossy = picture.format in ("JPEG", "MPO", "WEBP")
        bits, color_type = png_bits(path)
        scale = 255 // (2**bits - 1) if bits in (1, 2, 4) and color_type == 0 else 1
        array = np.asarray(picture)
        if picture.mode == "1":
            array, scale = array.astype(np.uint8) * np.uint8(255), 255
        elif array.ndim == 3:
            array = _one_channel(array, picture.mode, path.name)
    return StoredValues(array.reshape(info.spatial_shape), lossy, scale)


def _leading_ones(info: ImageInfo) -> tuple[int, ...]:
    """A single picture fits a volume of one slice."""
    return (1,) if len(info.spatial_shape) == 3 and info.spatial_shape[0] == 1 else ()


def _one_channel(array: Array, mode: str, name: str) -> Array:
    if mode in ("LA", "La", "PA"):
        return array[..., 0]
    first = array[..., 0]
    if mode in ("RGB", "RGBA", "RGBX") and all((array[..., c] == first).all() for c in (1, 2)):
        return first
    raise LabelError(
        f"{name} is a colour picture, which leaves its labels open; save masks as grey or palette images."
    )


def _read_tiff_values(path: Path, info: ImageInfo, settings: Settings) -> StoredValues:
    from core.imaging.tiff import read_pages

    array, axes, page, _ = read_pages(path, settings)
    if "S" in axes:
        array = np.moveaxis(array, axes.index("S"), -1)
        array = _one_channel(array, {1: "LA", 2: "LA", 3: "RGB"}.get(array.shape[-1], "RGBA"), path.name)
    shape = tuple(n for n in array.shape if n > 1)
    if shape != tuple(n for n in info.spatial_shape if n > 1):
        raise LabelError(_size_sentence(path.name, array.shape, info))
    scale = 1
    if array.dtype == np.bool_:
        if getattr(page.photometric, "name", "") == "MINISWHITE":
            array = ~array
        array, scale = array.astype(np.uint8) * np.uint8(255), 255
    lossy = "JPEG" in getattr(page.compression, "name", "")
    return StoredValues(array.reshape(info.spatial_shape), lossy, scale)


def _read_volume_values(path: Path, info: ImageInfo, settings: Settings) -> StoredValues:
    from core.imaging.volumes import read_volume

    image = read_volume(path, settings).image
    if image.info.layout[-1] == "c":
        raise LabelError(f"{path.name} holds several values per voxel; a mask holds one label per voxel.")
    array_xyz = (image.array if image.array.ndim == 3 else image.array[None]).T
    target = info.spatial_shape if len(info.spatial_shape) == 3 else (1, *info.spatial_shape)
    if sorted(array_xyz.shape) != sorted(target):
        raise LabelError(_size_sentence(path.name, array_xyz.shape[::-1], info))
    known = info.affine_lps is not None and image.info.affine_lps is not None
    if known and info.layout[0] != "t":
        affine, image_affine = np.asarray(image.info.affine_lps), np.asarray(info.affine_lps)
        array_xyz = _reorient(array_xyz, affine, image_affine, target[::-1], path.name)
    array = array_xyz.T
    if array.shape != target:
        raise LabelError(_size_sentence(path.name, array.shape, info))
    return StoredValues(array.reshape(info.spatial_shape))


def _reorient(
    array: Array, affine: Array, image_affine: Array, image_shape: tuple[int, ...], name: str
) -> Array:
    """Flip and swap the axes (x, y, z) of a mask so that they run as the image's.

    Args:
        array: mask, x y z as stored.
        affine: 4x4, mask index to LPS mm.
        image_affine: 4x4, image index to LPS mm.
        image_shape: x y z size of the image.
        name: for the message.

    Raises:
        LabelError: when the two grids differ by more than the order and direction of axes.
    """
    other_place = LabelError(
        f"{name} lies on another grid than its image (other voxel size, angle or position); "
        "resample the mask to the image and import it again."
    )
    if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0):
        raise other_place
    to_mask = np.linalg.inv(affine) @ image_affine  # image index -> mask index
    long = [i for i, n in enumerate(image_shape) if n > 1]
    steps = np.zeros((3, 3))
    steps[:, long] = np.rint(to_mask[:3, long])
    for i in set(range(3)) - set(
        long
    ):  # an axis of one voxel has no step: it runs along a mask axis still free
        free = [axis for axis in range(3) if not steps[axis].any() and array.shape[axis] == 1]
        if free:
            steps[free[0], i] = 1
    if (np.abs(steps).sum(0) != 1).any() or (np.abs(steps).sum(1) != 1).any():
        raise other_place
    axes = [int(np.abs(steps[:, i]).argmax()) for i in range(3)]  # mask axis that image axis i runs along
    if tuple(array.shape[axis] for axis in axes) != tuple(image_shape):
        raise other_place
    exact = np.eye(4)
    exact[:3, :3] = steps
    for i, axis in enumerate(axes):
        if steps[axis, i] < 0:
            exact[axis, 3] = array.shape[axis] - 1
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image_shape], [1])).reshape(4, -1)
    step_error = np.abs(to_mask[:3, :3] - steps)[:, long].max(initial=0)
    if step_error > LINEAR_TOLERANCE or np.abs((to_mask - exact) @ corners).max() > CORNER_TOLERANCE:
        raise other_place
    turned = np.transpose(array, axes)
    return turned[
        tuple(slice(None, None, -1) if steps[axis, i] < 0 else slice(None) for i, axis in enumerate(axes))
    ]
