"""What a volume file holds, whatever its format, and the images that come of it.

Formats differ in their headers only: each reader fills in a ``VolumeFile``, and one set of rules makes images of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import FileRefused
from core.imaging.computed import mark_computed
from core.imaging.found import Found
from core.imaging.geometry import Rows, spacing_from_affine
from core.imaging.values import Rescale, narrow, rescale_into, working_type
from core.types import Array, Image, ImageInfo, Layout

MAX_CHANNELS = 4
MAX_PARTS = 40  # images made of one file; a beating heart has up to 35 phases, an fMRI hundreds of volumes
AS_STORED = Rescale()
NO_SIZE = "The file gives no size for its voxels; distances are in pixels."
SIDES_ASSUMED = "The file does not say how the patient lies; left and right were assumed."


@dataclass(frozen=True)
class VolumeFile:
    """Stored values and geometry of one volume file.

    Attributes:
        path: the file, whose name the images get.
        stem: its name without its ending.
        file_format: what to call the format, such as "NRRD".
        stored: axes x, y, z, t, c in the file's own voxel order; axes that it has not are of length 1.
        rescale: from stored to physical values.
        affine_lps: voxel index (x, y, z, 1) to LPS mm; None when the file does not say.
        spacing_mm: (z, y, x), for files that know sizes but no place in the patient.
        is_plane: True when the file has no third axis in space at all.
        is_series: True when the header says that the volumes follow each other (in time), so are no channels.
        modality: DICOM's code, where the file tells it.
        warnings: sentences about what was assumed.
        computed: what computed the image, where the file says so (see ``computed``).
    """

    path: Path
    stem: str
    file_format: str
    stored: Array
    rescale: Rescale = AS_STORED
    affine_lps: Rows | None = None
    spacing_mm: tuple[float, float, float] | None = None
    is_plane: bool = False
    is_series: bool = False
    modality: str = "OT"
    warnings: tuple[str, ...] = ()
    computed: str = ""

    def __post_init__(self) -> None:
        if self.stored.ndim != 5:
            raise ValueError(f"stored must have the axes x, y, z, t, c, got shape {self.stored.shape}.")


def images_of(file: VolumeFile) -> Iterator[Found]:
    """Yield the images of a file.

    Up to 4 values per voxel are channels of one image, whether they stand in the file as a vector or as a fourth
    axis that is not said to be time. Other volumes of one slice are frames in time; of several slices they become an
    image each. Of more than 40 only the first comes in, and a warning says so: nobody marks an fMRI volume by volume.

    Raises:
        FileRefused: for many volumes with many values per voxel each.
    """
    file = _vectors_as_volumes(file)
    volumes, channels = file.stored.shape[3:]
    if volumes == 1:
        yield _found(file, _volume(file, 0))
    elif volumes * channels <= MAX_CHANNELS and not file.is_series:
        array = np.concatenate([_with_channel_axis(file, index) for index in range(volumes)], axis=-1)
        said = f"The {volumes} volumes of the file were taken as channels of one image."
        yield _found(file, array, (said,))
    elif file.stored.shape[2] == 1:
        flat = replace(file, is_plane=True)
        frames = np.stack([_volume(flat, index) for index in range(volumes)])
        yield _found(
            file, frames, (f"The {volumes} volumes of one slice were taken as frames in time.",), "t"
        )
    elif volumes <= MAX_PARTS:
        for index in range(volumes):
            said = f"The file holds {volumes} volumes; this is number {index + 1}."
            yield _found(file, _volume(file, index), (said,), part=f"volume {index + 1:0{len(str(volumes))}}")
    else:
        said = (
            f"The file holds {volumes} volumes and only the first came in; to mark others, "
            f"save them as files of their own (up to {MAX_PARTS} volumes in a file come in one by one)."
        )
        yield _found(file, _volume(file, 0), (said,))


def only_image_of(file: VolumeFile) -> Found:
    """Return the image of a file that holds one, such as a mask.

    Raises:
        FileRefused: when it holds several volumes that are no channels.
    """
    first = next(images_of(file))
    values = int(np.prod(file.stored.shape[3:]))
    if values not in (1, first.image.info.channels):
        raise FileRefused(
            f"{file.path.name} holds {values} volumes where one is needed; save it as one file per volume."
        )
    return first


def _vectors_as_volumes(file: VolumeFile) -> VolumeFile:
    """More values per voxel than an image has channels (tensors, atlases) are looked at one by one."""
    volumes, channels = file.stored.shape[3:]
    if channels <= MAX_CHANNELS:
        return file
    if volumes > 1:
        raise FileRefused(
            f"{file.path.name} holds {volumes} volumes with {channels} values per voxel; "
            "save it as one file per volume."
        )
    return replace(file, stored=file.stored.swapaxes(3, 4))


def _volume(file: VolumeFile, index: int) -> Array:
    """Return the physical values of one volume, ``zyx`` or ``zyxc``; ``yx`` or ``yxc`` of a plane."""
    stored = file.stored[:, :, :, index, :]
    stored = stored[..., 0].transpose(2, 1, 0) if stored.shape[3] == 1 else stored.transpose(2, 1, 0, 3)
    stored = np.ascontiguousarray(stored)
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return _physical(stored[0] if file.is_plane else stored, file.rescale)


def _physical(stored: Array, rescale: Rescale) -> Array:
    if rescale.is_identity:
        return narrow(stored)
    out = np.empty(stored.shape, working_type(stored.dtype, [rescale]))
    for plane, source in zip(out, stored, strict=True):
        rescale_into(plane, source, rescale)
    return narrow(out)


def _with_channel_axis(file: VolumeFile, index: int) -> Array:
    array = _volume(file, index)
    return array[..., np.newaxis] if file.stored.shape[4] == 1 else array


def _found(
    file: VolumeFile, array: Array, said: tuple[str, ...] = (), first_axis: str = "", part: str = ""
) -> Found:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
        said = (*said, "Some values were not numbers and were set to 0.")
    array.flags.writeable = False
    layout = _layout(file, array, first_axis)
    spacing = file.spacing_mm if file.affine_lps is None else spacing_from_affine(file.affine_lps)
    info = ImageInfo(
        layout=layout,
        shape=tuple(array.shape),
        dtype=array.dtype.name,
        spacing_mm=None if spacing is None else spacing[-3 if layout[0] == "z" else -2 :],
        affine_lps=file.affine_lps,
        modality=file.modality,
        metadata={"file_format": file.file_format},
        warnings=(*file.warnings, *said),
    )
    info = mark_computed(info, file.computed) if file.computed else info
    name = f"{file.stem} {part}" if part else file.stem
    return Found(Image(array, info), name, file.path.name, part=part)


def _layout(file: VolumeFile, array: Array, first_axis: str) -> Layout:
    layouts: dict[tuple[str, int], Layout] = {
        ("z", 3): "zyx", ("z", 4): "zyxc", ("", 2): "yx", ("", 3): "yxc", ("t", 3): "tyx", ("t", 4): "tyxc",
    }  # fmt: skip
    return layouts[first_axis or ("" if file.is_plane else "z"), array.ndim]
