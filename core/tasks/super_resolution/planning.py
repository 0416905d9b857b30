"""From the data and the settings to a plan: network, value scale, degradation, patch and batch. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from core.errors import TrainingError
from core.imaging.computed import computed_by
from core.imaging.resample import enlarge, reduce
from core.learning.intake import check_splits
from core.learning.plane_cache import read_training_image
from core.learning.snapshot import Snapshot, SnapshotItem
from core.tasks.super_resolution.degradation import crop_to_multiple
from core.tasks.super_resolution.scaling import middle_plane
from core.tasks.super_resolution.settings import SIZES, SuperResolutionSettings, degradation_of
from core.tasks.super_resolution.spec import Axes, Degradation, NetworkSpec, Scaling
from core.types import Array, ImageInfo

PATCHES = (48, 32, 24, 16, 12, 8)  # coarse pixels; the largest that most images hold
LARGEST_PATCH = {"cpu": 32, "cuda": 48}
SMALLEST_PATCH = 4
HELD_BY = 0.9  # share of the images that must hold a patch
PATCH_PIXELS = {"cpu": 2**15, "cuda": 2**16}  # coarse pixels of a batch
CT_RANGE = (-1024.0, 3071.0)
CHECKED_IMAGES = 24
FINE_SHARE = 0.01  # of an image's deviation and for each time: what bicubic must miss in an image with detail
MIXED_SPACING = 2.0


@dataclass(frozen=True)
class Plan:
    """All decisions of one training.

    Attributes:
        spec: the network.
        scaling: how values are fed.
        degradation: how pairs are made.
        axes: which planes of an image the network sees.
        patch: (y, x) of a training sample in coarse pixels.
        batch_size: samples in a step.
        notes: sentences about what was decided or left out.
    """

    spec: NetworkSpec
    scaling: Scaling
    degradation: Degradation
    axes: Axes
    patch: tuple[int, int]
    batch_size: int
    notes: tuple[str, ...] = ()


def check_start(snapshot: Snapshot, settings: SuperResolutionSettings) -> list[str]:
    """Check quickly that data and settings go together; return warnings.

    Raises:
        TrainingError: one sentence on what does not.
    """
    plan = make_plan(snapshot, settings, "cpu")
    return [*check_splits(snapshot), *plan.notes, *_detail_warnings(snapshot, settings)]


def make_plan(
    snapshot: Snapshot, settings: SuperResolutionSettings, device: str, split_bands: bool = True
) -> Plan:
    """Decide everything that settings leave open.

    Args:
        snapshot: the data.
        settings: what the user chose.
        device: where training runs.
        split_bands: how the network is shown planes; given by its first weights where there are any.

    Raises:
        TrainingError: when data and settings do not go together.
    """
    if not snapshot.items:
        raise TrainingError("The project has no cases in a split; import images and split them first.")
    check_splits(snapshot)
    items = usable_items(snapshot, settings)
    train = tuple(item for item in items if item.split == "train")
    _check_kinds(items, settings)
    sides = np.array([coarse_sides(item, settings) for item in train])
    kind = "cuda" if device.startswith("cuda") else "cpu"
    patch = _plan_patch(sides, settings, LARGEST_PATCH[kind])
    notes = [*_left_out(snapshot, items), *_small_notes(train, sides, patch), *_spacing_notes(train)]
    batch = settings.batch_size or int(np.clip(PATCH_PIXELS[kind] // prod(patch), 2, 64))
    return Plan(
        spec=plan_network(settings, train[0].info.channels, split_bands),
        scaling=plan_scaling([item.info for item in train]),
        degradation=degradation_of(settings),
        axes=settings.axes,
        patch=patch,
        batch_size=batch,
        notes=tuple(notes),
    )


def usable_items(snapshot: Snapshot, settings: SuperResolutionSettings) -> tuple[SnapshotItem, ...]:
    """Return the cases of train and val that can be a truth: acquired, and large enough to be made coarse.

    Raises:
        TrainingError: when none is left of train or of val.
    """
    items = tuple(
        item
        for item in snapshot.items
        if item.split in ("train", "val")
        and not computed_by(item.info)
        and min(coarse_sides(item, settings)) >= SMALLEST_PATCH
    )
    for split in ("train", "val"):
        if not any(item.split == split for item in items):
            raise TrainingError(
                f"No {split} image can be used: each was computed, or is smaller than {SMALLEST_PATCH} pixels a "
                f"side once it is reduced {settings.scale} times; add larger acquired images or lower the scale."
            )
    return items


def coarse_sides(item: SnapshotItem, settings: SuperResolutionSettings) -> tuple[int, int]:
    """Return the (y, x) size of the coarse planes that the network will be shown of a case."""
    height, width = plane_sides(item.info, settings.axes)
    if degradation_of(settings).real_pairs:  # the case's own image is the coarse one
        return height, width
    return height // settings.factors[0], width // settings.factors[1]


def plane_sides(info: ImageInfo, axes: Axes) -> tuple[int, int]:
    """Return the (y, x) size of the planes of an image that are looked at: (z, x) for through_plane."""
    height, width = info.spatial_shape[-2:]
    return (info.spatial_shape[0], width) if axes == "through_plane" else (height, width)


def plan_scaling(infos: Sequence[ImageInfo]) -> Scaling:
    """Choose the value scale: 0 to 255 for bytes, Hounsfield's for CT, else measured on each image."""
    if all(info.dtype == "uint8" for info in infos):
        return Scaling(rule="range", low=0.0, high=255.0)
    if all(info.modality == "CT" for info in infos):
        return Scaling(rule="range", low=CT_RANGE[0], high=CT_RANGE[1])
    return Scaling(rule="percentile")


def plan_network(settings: SuperResolutionSettings, channels: int, split_bands: bool = True) -> NetworkSpec:
    """Fill in what the settings leave to the architecture."""
    blocks, features, growth, residual_scale = SIZES[settings.architecture]
    return NetworkSpec(
        architecture=settings.architecture,
        channels=channels,
        factors=settings.factors,
        blocks=settings.blocks or blocks,
        features=max(4, settings.features or features),
        growth=max(4, settings.growth or growth),
        upsampling=settings.upsampling,
        residual_scale=residual_scale,
        split_bands=split_bands,
    )


def looks_enlarged(plane: Array, scale: int) -> bool:
    """Tell whether bicubic enlargement misses next to nothing: the plane was enlarged before, or is blurred."""
    plane = np.asarray(crop_to_multiple(plane, (scale, scale)), np.float32)
    if min(plane.shape[:2]) < scale * SMALLEST_PATCH or not plane.std() > 0:
        return False
    missed = plane - enlarge(reduce(plane, (scale, scale), "bicubic"), (scale, scale))
    return float(missed.std()) < FINE_SHARE * scale * float(plane.std())


def _check_kinds(items: tuple[SnapshotItem, ...], settings: SuperResolutionSettings) -> None:
    channels = sorted({item.info.channels for item in items})
    if len(channels) > 1:
        raise TrainingError(
            f"The images have {' and '.join(map(str, channels))} channels; a super-resolver learns grey or colour, "
            "so put them into projects of their own."
        )
    if channels[0] > 4:
        raise TrainingError(
            f"Images may have 1 to 4 channels, these have {channels[0]}; choose other images."
        )
    if settings.axes == "through_plane":
        flat = next((item for item in items if not item.info.is_volume), None)
        if flat is not None:
            raise TrainingError(f"More slices need volumes, {flat.case_name} is none; set axes=in_plane.")
        if channels[0] > 1:
            raise TrainingError("More slices are made of grey volumes only; set axes=in_plane.")


def _plan_patch(sides: Array, settings: SuperResolutionSettings, most: int) -> tuple[int, int]:
    """Choose the patch by the sizes of the training images, each axis by itself."""
    if settings.patch:
        held = (sides >= settings.patch).all(axis=1)
        if not held.any():
            largest = " x ".join(map(str, sides[sides.min(axis=1).argmax()]))
            raise TrainingError(
                f"Every image is smaller than a patch of {settings.patch} coarse pixels; the largest has {largest} "
                f"once it is reduced {settings.scale} times, so set patch to {int(sides.min(axis=1).max())} or less."
            )
        return settings.patch, settings.patch
    chosen = []
    for axis in range(2):
        fitting = [side for side in PATCHES if side <= most and (sides[:, axis] >= side).mean() >= HELD_BY]
        chosen.append(fitting[0] if fitting else SMALLEST_PATCH)
    if settings.axes == "in_plane":
        chosen = [min(chosen)] * 2
    return chosen[0], chosen[1]


def _left_out(snapshot: Snapshot, items: tuple[SnapshotItem, ...]) -> list[str]:
    kept = {item.case_id for item in items}
    out = [item for item in snapshot.items if item.split in ("train", "val") and item.case_id not in kept]
    if not out:
        return []
    names = ", ".join(item.case_name for item in out[:3]) + (" and others" if len(out) > 3 else "")
    return [f"{len(out)} case(s) are left out, being computed or too small: {names}."]


def _small_notes(train: tuple[SnapshotItem, ...], sides: Array, patch: tuple[int, int]) -> list[str]:
    small = [item for item, side in zip(train, sides, strict=True) if (side < patch).any()]
    if not small:
        return []
    return [
        f"{len(small)} of {len(train)} training images are smaller than a patch of {patch[0]} x {patch[1]} coarse "
        "pixels; they are mirrored outwards."
    ]


def _spacing_notes(train: tuple[SnapshotItem, ...]) -> list[str]:
    steps = [min(item.info.in_plane_spacing_mm) for item in train if item.info.in_plane_spacing_mm]
    if not steps or max(steps) < MIXED_SPACING * min(steps):
        return []
    return [
        f"Pixel sizes range from {min(steps):.3g} to {max(steps):.3g} mm: detail of several sizes is learned as one."
    ]


def _detail_warnings(snapshot: Snapshot, settings: SuperResolutionSettings) -> list[str]:
    """Look at some training images for detail that there would be to learn."""
    if degradation_of(settings).real_pairs:
        return []
    train = [item for item in usable_items(snapshot, settings) if item.split == "train"]
    some = train[:: max(1, len(train) // CHECKED_IMAGES)]
    blurred = [
        item
        for item in some
        if looks_enlarged(middle_plane(read_training_image(item), "in_plane"), settings.scale)
    ]
    if not blurred:
        return []
    return [
        f"{len(blurred)} of {len(some)} images looked at, such as {blurred[0].case_name}, hold no fine detail: they "
        "seem to have been reduced or blurred and enlarged before, and teach blur."
    ]
