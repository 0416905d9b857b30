"""Every knob of a detection training: one frozen record a page can build its form from. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from core.learning import knobs
from core.learning.encoders import ENCODERS, check_encoder, unknown_name_message
from core.learning.knobs import knob
from core.tasks.detection.presets import PRESETS
from core.tasks.detection.spec import DETECTORS, Architecture


class DetectionSettings(BaseModel):
    """How to train a detector. 0 or "auto" means: chosen from the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = knob(
        "fcos", "Model", "Family of the network; the mask_rcnn ones need objects with masks."
    )
    encoder: str = knob(
        "resnet18", "Model", "Backbone that gives the pyramid of features.", suggestions=ENCODERS
    )
    weights: Literal["scratch", "hub", "file", "model"] = knobs.WEIGHTS
    freeze_encoder_epochs: int = knobs.FREEZE_ENCODER_EPOCHS
    norm: Literal["auto", "group", "batch", "frozen"] = knob(
        "auto",
        "Model",
        "Normalisation; auto takes group from scratch and keeps pretrained batch norm frozen.",
    )
    features: int = knob(128, "Model", "Channels of the pyramid.", ge=32, le=1024, multiple_of=32)
    head_convs: int = knob(2, "Model", "Convolutions in the head of fcos and retinanet.", ge=1, le=8)
    head_features: int = knob(256, "Model", "Width of the box head of the R-CNNs.", ge=16, le=4096)
    first_stride: Literal["auto", "4", "8"] = knob(
        "auto", "Model", "Step of the finest features in pixels; 4 finds smaller objects and is slower."
    )

    input_size: int = knobs.INPUT_SIZE
    fit: Literal["auto", "whole", "tiles"] = knob(
        "auto", "Data", "Show the network whole images, resized, or windows of large ones."
    )
    channels: Literal["auto", "grey", "colour"] = knobs.CHANNELS
    normalisation: Literal["auto", "zscore", "window", "range"] = knobs.NORMALISATION
    batch_size: int = knobs.BATCH_SIZE
    hard_case_sampling: float = knobs.HARD_CASE_SAMPLING
    rare_label_sampling: float = knob(
        0.0, "Data", "Share of the samples drawn by how rare their labels are.", ge=0, le=1
    )
    progressive_size: bool = knobs.PROGRESSIVE_SIZE

    augmentation: Literal["none", "light", "medium", "strong"] = knobs.AUGMENTATION
    flips: bool | None = knobs.FLIPS
    rotate90: bool | None = knobs.ROTATE90
    rotation: float | None = knobs.ROTATION
    scale: float | None = knobs.SCALE
    brightness_contrast: float | None = knobs.BRIGHTNESS_CONTRAST
    gamma: float | None = knobs.GAMMA
    noise: float | None = knobs.NOISE
    blur: float | None = knobs.BLUR
    invert: float | None = knobs.INVERT
    color_jitter: float | None = knobs.COLOR_JITTER
    mosaic: float = knob(
        0.0, "Augmentation", "Share of the samples that are put together from four.", ge=0, le=1
    )
    calm_end: float = knob(
        0.0,
        "Augmentation",
        "Share of the training, at its end, without mosaic, rotation and scale: as images will be read.",
        ge=0,
        le=1,
    )

    optimiser: Literal["adamw", "adam", "sgd"] = knobs.OPTIMISER
    learning_rate: float = knobs.LEARNING_RATE
    momentum: float = knobs.MOMENTUM
    schedule: Literal["cosine", "polynomial", "constant"] = knobs.SCHEDULE
    warmup: float = knobs.WARMUP
    grad_clip: float = knob(5.0, "Optimisation", "Longest gradient; 0 leaves it as it is.", ge=0, le=1000)

    weight_decay: float = knobs.WEIGHT_DECAY
    ema_decay: float = knobs.EMA_DECAY
    early_stopping_patience: int = knobs.EARLY_STOPPING_PATIENCE

    epochs: int = knobs.EPOCHS
    minutes: float = knobs.MINUTES
    val_every: int = knobs.VAL_EVERY
    samples: int = knob(
        4, "Running", "Validation images that are drawn with what the model finds in them.", ge=0, le=16
    )
    mixed_precision: Literal["auto", "off", "bf16"] = knobs.MIXED_PRECISION
    workers: int = knobs.WORKERS
    seed: int = knobs.SEED

    @field_validator("architecture", mode="before")
    @classmethod
    def _check_architecture(cls, value: object) -> object:
        if isinstance(value, str) and value not in DETECTORS:
            raise ValueError(unknown_name_message("architecture", value, DETECTORS))
        return value

    @model_validator(mode="after")
    def _check_together(self) -> DetectionSettings:
        check_encoder(self.encoder)
        knobs.check_budget(self.epochs, self.minutes)
        return self


def settings_from_text(preset: str | None, pairs: Iterable[str]) -> DetectionSettings:
    """Build settings from ``key=value`` texts laid over a preset, see ``core.learning.knobs``."""
    return knobs.settings_from_text(DetectionSettings, PRESETS, preset, pairs)


def make_settings(values: dict[str, Any]) -> DetectionSettings:
    """Validate settings; the first problem becomes one sentence."""
    return knobs.make_settings(DetectionSettings, values)
