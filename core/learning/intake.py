"""Whether training can start, and how the images' values and channels are fed to a network. No torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from core.errors import TrainingError
from core.learning.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from core.learning.snapshot import Snapshot, SnapshotItem
from core.types import Array

SAMPLED_PIXELS = 4096


class ValueRange(NamedTuple):
    """What the values of the training images are like.

    Attributes:
        low: 0.5 percentile.
        high: 99.5 percentile.
        modalities: DICOM codes, sorted.
    """

    low: float
    high: float
    modalities: tuple[str, ...]


def check_cases(snapshot: Snapshot) -> list[str]:
    """Check that training can start, and return warnings.

    Raises:
        TrainingError: one sentence on what is missing.
    """
    if not snapshot.items:
        raise TrainingError(
            "The project has no cases with a reference reading; import labels or annotate some images first."
        )
    if not snapshot.labels:
        raise TrainingError("The project has no labels; add at least one.")
    return check_splits(snapshot)


def check_splits(snapshot: Snapshot) -> list[str]:
    """Check that there are cases to learn from and others, of other patients, to validate on; return warnings.

    Raises:
        TrainingError: one sentence on what is missing.
    """
    train, val = snapshot.of_split("train"), snapshot.of_split("val")
    if not train:
        raise TrainingError("No case is in the training split; assign splits first.")
    if not val:
        raise TrainingError(
            "No case is in the validation split; assign splits so that some patients validate the model."
        )
    shared = {item.patient_key for item in train} & {
        item.patient_key for item in (*val, *snapshot.of_split("test"))
    }
    if shared:
        raise TrainingError(
            f"{len(shared)} patient(s) have cases in training and in another split; assign splits by patient."
        )
    return _count_warnings(train, val)


def _count_warnings(train: tuple[SnapshotItem, ...], val: tuple[SnapshotItem, ...]) -> list[str]:
    warnings = []
    if len({item.patient_key for item in train}) < 5:
        warnings.append(f"Only {len(train)} training case(s): expect a model that knows little but these.")
    if len({item.patient_key for item in val}) < 3:
        warnings.append("Fewer than 3 validation patients: the validation numbers say little.")
    channels = {item.info.channels for item in (*train, *val)}
    if len(channels) > 1:
        warnings.append("Grey and colour images are mixed; grey ones are repeated to colour.")
    return warnings


def check_channels(train: tuple[SnapshotItem, ...], channels: str) -> None:
    """Check that the images' channels can be fed.

    Raises:
        TrainingError: when they cannot and the setting leaves them as they are.
    """
    most = max(item.info.channels for item in train)
    if most > 4 and channels == "auto":
        raise TrainingError(f"Images may have 1 to 4 channels, these have {most}; choose other images.")


def plan_channels(given: int, channels: str, weights: str) -> int:
    """Return the network's channels for images of so many, by the settings of channels and weights.

    Raises:
        ValueError: for more than 4.
    """
    if channels == "grey":
        return 1
    if channels == "colour":
        return 3
    if given > 4:
        raise ValueError(f"Images may have 1 to 4 channels, these have {given}; set channels=grey.")
    return 3 if weights == "hub" and given < 3 else given


def plan_intensities(normalisation: str, weights: str, channels: int, values: ValueRange) -> dict[str, Any]:
    """Return the fields of ``Preprocessing`` that say how values and channels are fed."""
    if normalisation == "auto":
        # Hounsfield units mean the same in every scan; elsewhere each image is its own measure.
        normalisation = "range" if values.modalities == ("CT",) else "zscore"
    imagenet = weights == "hub" and channels == 3 and normalisation != "zscore"
    return {
        "normalisation": normalisation,
        "window_center": (values.low + values.high) / 2,
        "window_width": max(values.high - values.low, 1e-3),
        "range_low": values.low,
        "range_high": max(values.high, values.low + 1e-3),
        "mean": IMAGENET_MEAN if imagenet else _centre(normalisation, channels, 0.5),
        "std": IMAGENET_STD if imagenet else _centre(normalisation, channels, 0.25),
        "channels": channels,
    }


def sample_pixels(grey: Array) -> Array:
    """Return some thousand finite values of a grey plane, regularly chosen."""
    flat = grey[np.isfinite(grey)]
    return flat[:: max(1, flat.size // SAMPLED_PIXELS)]


def _centre(normalisation: str, channels: int, value: float) -> tuple[float, ...] | None:
    return None if normalisation == "zscore" else (value,) * channels
