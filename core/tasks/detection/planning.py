"""From the data and the settings to a plan: network, scale, anchors, augmentation, batch. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from core.errors import TrainingError
from core.learning.intake import (
    ValueRange,
    check_cases,
    check_channels,
    plan_channels,
    plan_intensities,
    sample_pixels,
)
from core.learning.plane_cache import plane_shape, read_training_image
from core.learning.preprocessing import Preprocessing
from core.learning.snapshot import Snapshot, SnapshotItem, reading_path_of
from core.learning.variation import AugmentationPlan, plan_augmentation
from core.readings.reading import Boxes
from core.readings.stored import read_reading
from core.tasks.detection.anchors import Anchors, best_overlaps, plan_anchors
from core.tasks.detection.frames import fit_scale
from core.tasks.detection.settings import DetectionSettings
from core.tasks.detection.spec import (
    STRIDE,
    WITH_MASKS,
    DetectorSpec,
    Framing,
    Norm,
    check_input_size,
)
from core.types import Array, Label

SAMPLED_ITEMS = 150
WANTED_SIDE = 20.0  # input pixels that small objects should have
FINE_SIDE = 14.0  # when they have fewer, the pyramid begins at stride 4
# When whole images leave more than this share of a label's objects fewer pixels than this, and tiles would show them
# notably larger, tiles are looked at.
LEAST_SIDE, LOST_SHARE, NOTABLY = 8.0, 0.1, 1.4
SMALLEST_INPUT = 64
DEFAULT_SIDE = {"cpu": (224, 384), "cuda": (320, 800)}  # least and most, unless set
DEFAULT_BATCH = {"cpu": 8, "cuda": 16}
MASK_BATCH = {"cpu": 4, "cuda": 8}
PROGRESSIVE_SIZES = ((0.0, 0.625), (0.45, 1.0))  # (from this progress on, share of the full side)
LEAST_OBJECTS, MOST_OBJECTS = 100, 4000
SPARE_OBJECTS = 1.5  # times the most that any training image has
COARSEST = 12.0  # sides of large objects, in steps of the last level, from which another level is added
# At the full weight sure places lose to central ones: on det_bccd mAP50 0.914 against 0.916, mAP 0.629 against 0.632.
CENTRE_WEIGHT = 0.25
SSDLITE_LEVELS = 4
NO_OBJECTS = "No training case has an object, so there is nothing to learn; draw at least one box."


@dataclass(frozen=True)
class Fingerprint:
    """What the training images and boxes are like.

    Attributes:
        items: number of training cases.
        patients: number of training patients.
        height: of a typical plane in pixels: the one with the median area and the median aspect.
        width: of the same.
        channels: most channels of any image.
        modalities: their DICOM codes, sorted.
        low: 0.5 percentile of the values.
        high: 99.5 percentile of the values.
        objects: label value to number of boxes.
        most_objects: of any plane.
        small_side: side of a small object in pixels, as the root of its area: the lower quartile of the label whose
            objects are smallest.
        large_side: the same for a large one (95th percentile).
    """

    items: int
    patients: int
    height: int
    width: int
    channels: int
    modalities: tuple[str, ...]
    low: float
    high: float
    objects: dict[int, int]
    most_objects: int
    small_side: float
    large_side: float


@dataclass(frozen=True)
class Plan:
    """All decisions of one training.

    Attributes:
        spec: the network.
        preprocessing: what it is fed.
        framing: at which scale.
        augmentation: how samples are varied.
        mosaic: share of samples put together from four.
        calm_from: progress from which samples are neither put together nor turned and scaled: edges of images
            then cut objects as they do where the model will be used (after Ge et al., YOLOX, 2021).
        batch_size: images in a step.
        sizes: (progress, share) pairs: from this progress on, inputs have this share of the full side.
        fingerprint: what the decisions stand on.
        anchor_overlap: mean IoU of the training boxes with their best anchor; 0 without anchors.
    """

    spec: DetectorSpec
    preprocessing: Preprocessing
    framing: Framing
    augmentation: AugmentationPlan
    mosaic: float
    calm_from: float
    batch_size: int
    sizes: tuple[tuple[float, float], ...]
    fingerprint: Fingerprint
    anchor_overlap: float

    @property
    def input_size(self) -> tuple[int, int]:
        """Full (height, width) of the inputs."""
        return self.preprocessing.input_height, self.preprocessing.input_width

    def input_shape(self, progress: float) -> tuple[int, int]:
        """Return (height, width) of the inputs at this progress (0 to 1)."""
        share = [share for start, share in self.sizes if progress >= start][-1]
        full = self.input_size
        return full if share == 1 else (_rounded(full[0] * share), _rounded(full[1] * share))


def check_start(snapshot: Snapshot, settings: DetectionSettings) -> list[str]:
    """Check quickly that data and settings go together, without reading images; return warnings.

    Raises:
        TrainingError: one sentence on what does not.
    """
    warnings = check_cases(snapshot)
    train = snapshot.of_split("train")
    boxes = [read_boxes(item, snapshot.labels) for item in train]
    if not any(len(one) for one in boxes):
        raise TrainingError(NO_OBJECTS)
    check_channels(train, settings.channels)
    if settings.architecture in WITH_MASKS:
        _check_masks(train, boxes, settings)
    seen = np.concatenate([one.labels for one in boxes])
    missing = [label.name for label in snapshot.labels if label.value not in seen]
    if missing:
        warnings.append(f"No training case has an object of {', '.join(missing)}: the model cannot learn it.")
    empty = sum(not len(one) for one in boxes)
    if empty:
        warnings.append(f"{empty} of {len(train)} training cases have no object; they teach what is none.")
    return warnings


def read_boxes(item: SnapshotItem, labels: tuple[Label, ...]) -> Boxes:
    """Read a case's reference boxes, without boxes around crowds.

    Raises:
        TrainingError: when they are no boxes, do not fit the image, or have labels of another project.
    """
    try:
        reading = read_reading(reading_path_of(item))
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"The reference of case {item.case_name} cannot be read; import it again."
        ) from error
    if not isinstance(reading, Boxes):
        raise TrainingError(f"The reference of case {item.case_name} has no boxes; draw or import some.")
    misfit = reading.misfit(item.info)
    if misfit is not None:
        raise TrainingError(f"The reference of case {item.case_name} is of another image: {misfit}")
    unknown = sorted(set(reading.labels.tolist()) - {label.value for label in labels})
    if unknown:
        raise TrainingError(
            f"The reference of case {item.case_name} has a label numbered {unknown[0]}, "
            "which the project's label set lacks; add the label or correct the box."
        )
    return reading.counted


def make_plan(
    snapshot: Snapshot, settings: DetectionSettings, device: str = "cpu", norm: Norm | None = None
) -> Plan:
    """Decide everything that settings leave open, from the data and the machine.

    Args:
        snapshot: the data.
        settings: what the user chose.
        device: where training runs.
        norm: what the initial weights were trained with; None when there are none.

    Raises:
        TrainingError: when data and settings do not go together.
    """
    check_start(snapshot, settings)
    train = snapshot.of_split("train")
    boxes = [read_boxes(item, snapshot.labels) for item in train]
    fingerprint = _measure(train, boxes, snapshot.labels)
    try:
        return _plan(fingerprint, train, boxes, settings, (device, len(snapshot.labels), norm))
    except ValueError as error:
        raise TrainingError(str(error)) from error


def unbent(plan: AugmentationPlan) -> AugmentationPlan:
    """Leave out elastic bending, after which boxes no longer fit."""
    return replace(plan, elastic=False)


def _measure(train: tuple[SnapshotItem, ...], boxes: list[Boxes], labels: tuple[Label, ...]) -> Fingerprint:
    """Measure boxes in all cases and values in a regular sample of them; deterministic."""
    sizes = np.array([plane_shape(item) for item in train], dtype=float)
    area, aspect = float(np.median(sizes.prod(axis=1))), float(np.median(sizes[:, 0] / sizes[:, 1]))
    pixels = np.concatenate(
        [_sample(item) for item in train[:: max(1, math.ceil(len(train) / SAMPLED_ITEMS))]]
    )
    low, high = (float(value) for value in np.percentile(pixels, (0.5, 99.5)))
    sides = np.sqrt(np.concatenate([_sides(one).prod(axis=1) for one in boxes]))
    values = np.concatenate([one.labels for one in boxes])
    return Fingerprint(
        items=len(train),
        patients=len({item.patient_key for item in train}),
        height=round(math.sqrt(area * aspect)),
        width=round(math.sqrt(area / aspect)),
        channels=max(item.info.channels for item in train),
        modalities=tuple(sorted({item.info.modality for item in train})),
        low=low,
        high=high,
        objects={label.value: int((values == label.value).sum()) for label in labels},
        most_objects=max(int(np.bincount(one.planes).max()) for one in boxes if len(one)),
        small_side=_small_side(sides, values),
        large_side=float(np.percentile(sides, 95)),
    )


def _sample(item: SnapshotItem) -> Array:
    image = read_training_image(item)
    plane = np.asarray(image.plane(item.info.slices // 2), dtype=np.float32)
    return sample_pixels(plane.mean(axis=-1) if plane.ndim == 3 else plane)


def _sides(boxes: Boxes) -> Array:
    """Return (n, 2) widths and heights."""
    return np.asarray(boxes.box_xyxy[:, 2:] - boxes.box_xyxy[:, :2], dtype=np.float64)


def _small_side(sides: Array, labels: Array) -> float:
    """Return the lower quartile of the sides of the label whose objects are smallest."""
    return min(float(np.percentile(sides[labels == label], 25)) for label in np.unique(labels))


def _plan(
    seen: Fingerprint,
    train: tuple[SnapshotItem, ...],
    boxes: list[Boxes],
    settings: DetectionSettings,
    place: tuple[str, int, Norm | None],
) -> Plan:
    device, classes, norm = place
    kind = "cuda" if device.startswith("cuda") else "cpu"
    channels = plan_channels(seen.channels, settings.channels, settings.weights)
    preprocessing, framing = _plan_framing(seen, train, boxes, settings, (kind, channels))
    sides = np.concatenate(
        [
            _sides(one) * _scale_of(item, preprocessing, framing)
            for item, one in zip(train, boxes, strict=True)
        ]
    )
    spec = _plan_spec(seen, settings, classes, channels, norm or "group", framing.scale)
    anchors = Anchors((), (1.0,))
    if spec.architecture != "fcos":
        anchors = plan_anchors(sides, spec.strides)
        spec = DetectorSpec.model_validate(
            spec.model_dump() | {"anchor_sizes": anchors.sizes, "anchor_ratios": anchors.ratios}
        )
    check_input_size(spec, preprocessing)
    return Plan(
        spec=spec,
        preprocessing=preprocessing,
        framing=framing,
        augmentation=unbent(plan_augmentation(settings)),
        mosaic=settings.mosaic,
        calm_from=1 - settings.calm_end,
        batch_size=settings.batch_size or (MASK_BATCH if spec.has_masks else DEFAULT_BATCH)[kind],
        sizes=PROGRESSIVE_SIZES if settings.progressive_size else ((0.0, 1.0),),
        fingerprint=seen,
        anchor_overlap=float(best_overlaps(sides, anchors).mean()) if anchors.sizes else 0.0,
    )


def _plan_framing(
    seen: Fingerprint,
    train: tuple[SnapshotItem, ...],
    boxes: list[Boxes],
    settings: DetectionSettings,
    place: tuple[str, int],
) -> tuple[Preprocessing, Framing]:
    """Choose the input's size and the scale: small objects large enough, the input no larger than it must be.

    Where whole images would leave the small objects too small, as where a few images are much larger than the others
    and hold many of the objects, tiles of one scale are looked at.
    """
    kind, channels = place
    typical = math.sqrt(seen.height * seen.width)
    least, most = DEFAULT_SIDE[kind]
    side = settings.input_size or float(np.clip(typical * WANTED_SIDE / seen.small_side, least, most))
    if not settings.input_size:
        side = min(side, max(typical, least))
    shrink = side / typical
    height, width = _fitting(seen.height * shrink, seen.width * shrink)
    values = ValueRange(seen.low, seen.high, seen.modalities)
    whole = Preprocessing(
        **plan_intensities(settings.normalisation, settings.weights, channels, values),
        input_height=height,
        input_width=width,
        fit="resize",
    )
    scales = [fit_scale(plane_shape(item), whole) for item in train]
    scale = min(1.0, WANTED_SIDE / seen.small_side)
    if settings.fit == "whole" or (settings.fit == "auto" and not _loses_objects(boxes, scales, scale)):
        return whole, Framing(
            mode="whole", scale=float(np.median(scales)), lowest=min(scales), highest=max(scales)
        )
    square = {"input_height": _rounded(side), "input_width": _rounded(side), "fit": "patch"}
    return whole.model_copy(update=square), Framing(mode="tiles", scale=scale, lowest=scale, highest=scale)


def _loses_objects(boxes: list[Boxes], scales: list[float], tiles_scale: float) -> bool:
    """Tell whether many objects of a label become too small when each image is brought to the input by its scale."""
    lost = [
        (np.sqrt(_sides(one).prod(axis=1)) * scale < LEAST_SIDE) & (scale * NOTABLY < tiles_scale)
        for one, scale in zip(boxes, scales, strict=True)
    ]
    labels, is_lost = np.concatenate([one.labels for one in boxes]), np.concatenate(lost)
    return max(float(is_lost[labels == label].mean()) for label in np.unique(labels)) > LOST_SHARE


def _scale_of(item: SnapshotItem, preprocessing: Preprocessing, framing: Framing) -> float:
    return framing.scale if framing.mode == "tiles" else fit_scale(plane_shape(item), preprocessing)


def _plan_spec(
    seen: Fingerprint,
    settings: DetectionSettings,
    classes: int,
    channels: int,
    norm: Norm,
    scale: float,
) -> DetectorSpec:
    small, large = seen.small_side * scale, seen.large_side * scale
    first = int(settings.first_stride) if settings.first_stride != "auto" else 4 if small < FINE_SIDE else 8
    levels = int(math.log2(STRIDE / first)) + 1
    if large > COARSEST * STRIDE:
        levels += 1
    if settings.architecture == "ssdlite":
        first, levels = 16, SSDLITE_LEVELS
    objects = int(np.clip(math.ceil(SPARE_OBJECTS * seen.most_objects), LEAST_OBJECTS, MOST_OBJECTS))
    values = {
        "architecture": settings.architecture,
        "encoder": settings.encoder,
        "in_channels": channels,
        "classes": classes,
        "norm": norm if settings.norm == "auto" else settings.norm,
        "first_stride": first,
        "levels": levels,
        "features": settings.features,
        "head_convs": settings.head_convs,
        "head_features": settings.head_features,
        "centre_weight": CENTRE_WEIGHT,
        "objects": objects,
    }
    if settings.architecture != "fcos":  # planned from the boxes once the strides are known
        values["anchor_sizes"] = tuple((float(first * 2**level),) for level in range(levels))
    return DetectorSpec.model_validate(values)


def _check_masks(train: tuple[SnapshotItem, ...], boxes: list[Boxes], settings: DetectionSettings) -> None:
    for item, one in zip(train, boxes, strict=True):
        if len(one) and one.crops is None:
            raise TrainingError(
                f"{settings.architecture} learns from objects with masks, those of case {item.case_name} have "
                "boxes only; choose faster_rcnn, or import masks of the objects."
            )


def _rounded(length: float) -> int:
    """Round to the nearest multiple of the network's stride, at least the smallest input."""
    return max(SMALLEST_INPUT, round(length / STRIDE) * STRIDE)


def _fitting(height: float, width: float) -> tuple[int, int]:
    """Return multiples of the stride near a size, of those the ones that an image of its aspect fills best."""
    options = [
        (max(SMALLEST_INPUT, rows * STRIDE), max(SMALLEST_INPUT, columns * STRIDE))
        for rows in (math.floor(height / STRIDE), math.ceil(height / STRIDE))
        for columns in (math.floor(width / STRIDE), math.ceil(width / STRIDE))
    ]

    def filled(size: tuple[int, int]) -> tuple[float, float]:
        scale = min(size[0] / height, size[1] / width)
        share = scale**2 * height * width / (size[0] * size[1])
        return round(share, 3), -abs(math.log(size[0] * size[1] / (height * width)))

    return max(options, key=filled)
