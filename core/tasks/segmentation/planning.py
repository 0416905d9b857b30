"""From the data and the settings to a plan: network, preprocessing, augmentation, batch. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.errors import TrainingError
from core.imaging.stored import read_image
from core.learning.intake import (
    ValueRange,
    check_cases,
    check_channels,
    plan_channels,
    plan_intensities,
    sample_pixels,
)
from core.learning.preprocessing import Preprocessing, round_up
from core.learning.snapshot import Snapshot, SnapshotItem, reading_path_of
from core.learning.variation import AugmentationPlan, plan_augmentation
from core.readings.stored import read_mask
from core.tasks.segmentation.settings import SegmentationSettings
from core.tasks.segmentation.spec import NetworkSpec, check_input_size
from core.types import Array, Label

SAMPLED_ITEMS = 150
PLANES_PER_ITEM = 5
MAP_SIZE = 8  # side of the coarse map of where each label lies
MIRROR_TOLERANCE = 0.3  # share by which the map may differ from its mirror image before mirroring is left out
MIXED_SHARE = 0.05  # share of either polarity from which data count as mixed
RESIZE_LONGEST = 1024  # longer planes are shown window by window
SMALLEST_INPUT = 64
DEFAULT_SIDE = {"cpu": 256, "cuda": 512}
DEFAULT_BATCH = {"cpu": 8, "cuda": 16}
NOTHING_MARKED = "No training case has a marked pixel, so there is nothing to learn; mark at least one label."
HALVED_DECODER = (128, 64, 48, 32, 16)
PROGRESSIVE_SIZES = ((0.0, 0.625), (0.45, 1.0))  # (from this progress on, share of the full side)


@dataclass(frozen=True)
class Fingerprint:
    """What the training images are like; measured on a regular sample of them.

    Attributes:
        items: number of training cases.
        patients: number of training patients.
        height: of a typical plane in pixels: the one with the median area and the median aspect.
        width: of the same.
        channels: most channels of any image.
        modalities: their DICOM codes, sorted.
        low: 0.5 percentile of the values.
        high: 99.5 percentile of the values.
        label_share: label value to its share of the pixels.
        dark_share: share of the sampled planes whose foreground is darker than their background.
        uneven_x: how much label positions differ from their left-right mirror image, 0 to 1.
        uneven_y: the same, up-down.
    """

    items: int
    patients: int
    height: int
    width: int
    channels: int
    modalities: tuple[str, ...]
    low: float
    high: float
    label_share: dict[int, float]
    dark_share: float
    uneven_x: float
    uneven_y: float


@dataclass(frozen=True)
class Plan:
    """All decisions of one training.

    Attributes:
        spec: the network.
        preprocessing: what it is fed.
        augmentation: how samples are varied.
        batch_size: images in a step.
        sizes: (progress, share) pairs: from this progress on, inputs have this share of the full side.
        fingerprint: what the decisions stand on.
    """

    spec: NetworkSpec
    preprocessing: Preprocessing
    augmentation: AugmentationPlan
    batch_size: int
    sizes: tuple[tuple[float, float], ...]
    fingerprint: Fingerprint

    def input_shape(self, progress: float) -> tuple[int, int]:
        """Return (height, width) of the inputs at this progress (0 to 1)."""
        share = [share for start, share in self.sizes if progress >= start][-1]
        full = (self.preprocessing.input_height, self.preprocessing.input_width)
        if share == 1:
            return full
        return (_rounded(full[0] * share, self.spec.stride), _rounded(full[1] * share, self.spec.stride))


def check_start(snapshot: Snapshot, settings: SegmentationSettings) -> None:
    """Check quickly that data and settings go together, without reading all images.

    Raises:
        TrainingError: one sentence on what does not.
    """
    check_cases(snapshot)
    train = snapshot.of_split("train")
    if not _any_marked(train):
        raise TrainingError(NOTHING_MARKED)
    check_channels(train, settings.channels)


def make_plan(snapshot: Snapshot, settings: SegmentationSettings, device: str = "cpu") -> Plan:
    """Decide everything that settings leave open, from the data and the machine.

    Raises:
        TrainingError: when data and settings do not go together.
    """
    check_cases(snapshot)
    return plan_from(measure(snapshot), snapshot.labels, settings, device)


def plan_from(
    fingerprint: Fingerprint, labels: tuple[Label, ...], settings: SegmentationSettings, device: str
) -> Plan:
    """Decide from a measured fingerprint."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    try:
        channels = plan_channels(fingerprint.channels, settings.channels, settings.weights)
        spec = NetworkSpec(
            architecture=settings.architecture,
            encoder=settings.encoder,
            in_channels=channels,
            classes=len(labels) + 1,
            dropout=settings.dropout,
            decoder_channels=HALVED_DECODER if _has_light_decoder(settings) else None,
            base_features=settings.base_features,
        )
        preprocessing = _plan_preprocessing(fingerprint, settings, spec, kind)
        check_input_size(spec, preprocessing)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    augmentation = plan_augmentation(
        settings,
        flip_x=fingerprint.uneven_x <= MIRROR_TOLERANCE,
        flip_y=fingerprint.uneven_y <= MIRROR_TOLERANCE,
        mixed_polarity=MIXED_SHARE <= fingerprint.dark_share <= 1 - MIXED_SHARE,
    )
    return Plan(
        spec=spec,
        preprocessing=preprocessing,
        augmentation=augmentation,
        batch_size=settings.batch_size or min(DEFAULT_BATCH[kind], max(2, fingerprint.items)),
        sizes=PROGRESSIVE_SIZES if settings.progressive_size else ((0.0, 1.0),),
        fingerprint=fingerprint,
    )


def measure(snapshot: Snapshot) -> Fingerprint:
    """Measure the training images on a regular sample of cases and planes; deterministic.

    Raises:
        TrainingError: when no pixel of any label is marked, or a reading does not fit its image.
    """
    train = snapshot.of_split("train")
    sampled = train[:: max(1, math.ceil(len(train) / SAMPLED_ITEMS))]
    values = [label.value for label in snapshot.labels]
    gathered = [_measure_item(item, values) for item in sampled]
    pixels = np.concatenate([one.pixels for one in gathered])
    maps = np.sum([one.maps for one in gathered], axis=0)
    counts = np.sum([one.counts for one in gathered], axis=0)
    if counts.sum() == 0 and not _any_marked(train):
        raise TrainingError(NOTHING_MARKED)
    contrasts = np.concatenate([one.contrasts for one in gathered])
    low, high = (float(value) for value in np.percentile(pixels, (0.5, 99.5)))
    areas = sum(one.area for one in gathered)
    sizes = np.array([item.info.spatial_shape[-2:] for item in train], dtype=float)
    area, aspect = float(np.median(sizes.prod(axis=1))), float(np.median(sizes[:, 0] / sizes[:, 1]))
    return Fingerprint(
        items=len(train),
        patients=len({item.patient_key for item in train}),
        height=round(math.sqrt(area * aspect)),
        width=round(math.sqrt(area / aspect)),
        channels=max(item.info.channels for item in train),
        modalities=tuple(sorted({item.info.modality for item in train})),
        low=low,
        high=high,
        label_share={value: float(count) / areas for value, count in zip(values, counts, strict=True)},
        dark_share=float(np.mean(contrasts < 0)) if contrasts.size else 0.0,
        uneven_x=_unevenness(maps, maps[:, :, ::-1]),
        uneven_y=_unevenness(maps, maps[:, ::-1]),
    )


@dataclass(frozen=True)
class _Measured:
    """One case's share of the fingerprint."""

    pixels: Array
    maps: Array  # labels, MAP_SIZE, MAP_SIZE: share of each tile
    counts: Array  # pixels per label
    area: int
    contrasts: Array  # foreground mean minus background mean, per plane with both


def _measure_item(item: SnapshotItem, values: list[int]) -> _Measured:
    labels = read_labels(item)
    image = read_image(item.image_path, item.info)
    label_planes = labels.reshape(item.info.slices, *labels.shape[-2:])
    pixels, contrasts = [], []
    maps = np.zeros((len(values), MAP_SIZE, MAP_SIZE))
    counts = np.zeros(len(values), dtype=np.int64)
    chosen = _choose_planes(label_planes)
    for index in chosen:
        plane, marked = np.asarray(image.plane(index), dtype=np.float32), label_planes[index]
        grey = plane.mean(axis=-1) if plane.ndim == 3 else plane
        pixels.append(sample_pixels(grey))
        foreground = marked > 0
        if foreground.any() and not foreground.all():
            contrasts.append(float(np.nanmean(grey[foreground]) - np.nanmean(grey[~foreground])))
        for number, value in enumerate(values):
            is_label = marked == value
            counts[number] += int(is_label.sum())
            maps[number] += _coarse(is_label)
    return _Measured(
        np.concatenate(pixels), maps, counts, len(chosen) * label_planes[0].size, np.array(contrasts)
    )


def read_labels(item: SnapshotItem) -> Array:
    """Read a case's reference label map.

    Raises:
        TrainingError: when it does not fit the image or cannot be read.
    """
    try:
        array = read_mask(reading_path_of(item), with_probabilities=False).array
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"The reference of case {item.case_name} cannot be read; import it again."
        ) from error
    if array.shape != item.info.spatial_shape:
        raise TrainingError(
            f"The reference of case {item.case_name} has shape {array.shape}, its image {item.info.spatial_shape}."
        )
    return array


def _choose_planes(label_planes: Array) -> list[int]:
    """Choose up to ``PLANES_PER_ITEM`` planes regularly, marked ones where there are any."""
    marked = np.flatnonzero(label_planes.reshape(len(label_planes), -1).any(axis=1))
    pool = marked if marked.size else np.arange(len(label_planes))
    places = np.linspace(0, len(pool) - 1, min(len(pool), PLANES_PER_ITEM)).round().astype(int)
    return [int(pool[place]) for place in places]


def _coarse(is_label: Array) -> Array:
    """Return the share of each of MAP_SIZE x MAP_SIZE tiles that a label covers."""
    rows = np.array_split(np.arange(is_label.shape[0]), MAP_SIZE)
    columns = np.array_split(np.arange(is_label.shape[1]), MAP_SIZE)
    return np.array(
        [[is_label[np.ix_(row, column)].mean() if row.size and column.size else 0.0 for column in columns]
         for row in rows]
    )  # fmt: skip


def _unevenness(maps: Array, mirrored: Array) -> float:
    total = float((maps + mirrored).sum())
    return float(np.abs(maps - mirrored).sum()) / total if total else 0.0


def _any_marked(items: tuple[SnapshotItem, ...]) -> bool:
    return any(read_labels(item).any() for item in items)


def _has_light_decoder(settings: SegmentationSettings) -> bool:
    return settings.decoder == "light" and settings.architecture in ("Unet", "UnetPlusPlus", "MAnet")


def _plan_preprocessing(
    fingerprint: Fingerprint, settings: SegmentationSettings, spec: NetworkSpec, kind: str
) -> Preprocessing:
    fit = settings.fit
    if fit == "auto":
        fit = "patch" if max(fingerprint.height, fingerprint.width) > RESIZE_LONGEST else "resize"
    height, width = _input_shape(fingerprint, settings, fit, spec.stride, kind)
    values = ValueRange(fingerprint.low, fingerprint.high, fingerprint.modalities)
    intensities = plan_intensities(settings.normalisation, settings.weights, spec.in_channels, values)
    return Preprocessing(**intensities, input_height=height, input_width=width, fit=fit)


def _input_shape(
    fingerprint: Fingerprint, settings: SegmentationSettings, fit: str, stride: int, kind: str
) -> tuple[int, int]:
    """Choose the input's (height, width): the planes' aspect, at most about side x side pixels in area."""
    side = settings.input_size or DEFAULT_SIDE[kind]
    if fit == "patch":
        return _rounded(side, stride), _rounded(side, stride)
    height, width = fingerprint.height, fingerprint.width
    shrink = side / math.sqrt(height * width)
    if settings.input_size == 0:
        shrink = min(shrink, max(1.0, SMALLEST_INPUT / min(height, width)))
    return _rounded(height * shrink, stride), _rounded(width * shrink, stride)


def _rounded(length: float, stride: int) -> int:
    """Round to the nearest multiple of the network's stride, at least the smallest input."""
    return max(round_up(SMALLEST_INPUT, stride), round(length / stride) * stride)
