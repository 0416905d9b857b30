"""Every knob of a segmentation training: one frozen record a page can build its form from. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from core.learning import knobs
from core.learning.encoders import ENCODERS, check_encoder, unknown_name_message
from core.learning.knobs import knob
from core.tasks.segmentation.presets import PRESETS
from core.tasks.segmentation.spec import ARCHITECTURES, Architecture

LossName = Literal["dice_ce", "dice", "ce", "focal", "dice_focal", "tversky", "lovasz", "jaccard"]
AugmentationLevel = Literal["none", "light", "medium", "strong"]


class SegmentationSettings(BaseModel):
    """How to train a segmentation network. 0 or "auto" means: chosen from the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = knob("Unet", "Model", "Family of the network.")
    encoder: str = knob(
        "resnet18", "Model", "Backbone inside the network; classic_unet has none.", suggestions=ENCODERS
    )
    weights: Literal["scratch", "hub", "file", "model"] = knobs.WEIGHTS
    freeze_encoder_epochs: int = knobs.FREEZE_ENCODER_EPOCHS
    decoder: Literal["standard", "light"] = knob(
        "standard", "Model", "Width of the decoder of Unet, UnetPlusPlus and MAnet; light halves it."
    )
    base_features: int = knob(64, "Model", "Width of the classic U-Net's first level.", ge=4, le=128)

    input_size: int = knobs.INPUT_SIZE
    fit: Literal["auto", "resize", "patch"] = knob(
        "auto", "Data", "Show the network whole planes, resized, or windows at full resolution."
    )
    channels: Literal["auto", "grey", "colour"] = knobs.CHANNELS
    normalisation: Literal["auto", "zscore", "window", "range"] = knobs.NORMALISATION
    batch_size: int = knobs.BATCH_SIZE
    hard_case_sampling: float = knobs.HARD_CASE_SAMPLING
    progressive_size: bool = knobs.PROGRESSIVE_SIZE

    augmentation: AugmentationLevel = knobs.AUGMENTATION
    flips: bool | None = knobs.FLIPS
    rotate90: bool | None = knobs.ROTATE90
    rotation: float | None = knobs.ROTATION
    scale: float | None = knobs.SCALE
    brightness_contrast: float | None = knobs.BRIGHTNESS_CONTRAST
    gamma: float | None = knobs.GAMMA
    noise: float | None = knobs.NOISE
    blur: float | None = knobs.BLUR
    elastic: bool | None = knob(None, "Augmentation", "Bend the image elastically (slow).")
    invert: float | None = knobs.INVERT
    color_jitter: float | None = knobs.COLOR_JITTER

    loss: LossName = knob("dice_ce", "Optimisation", "What training makes small.")
    optimiser: Literal["adamw", "adam", "sgd"] = knobs.OPTIMISER
    learning_rate: float = knobs.LEARNING_RATE
    momentum: float = knobs.MOMENTUM
    schedule: Literal["cosine", "polynomial", "constant"] = knobs.SCHEDULE
    warmup: float = knobs.WARMUP
    grad_clip: float = knobs.GRAD_CLIP

    dropout: float = knob(0.0, "Regularisation", "Share of features dropped in training.", ge=0, lt=1)
    weight_decay: float = knobs.WEIGHT_DECAY
    l1: float = knob(0.0, "Regularisation", "L1: penalty on the sum of absolute weights.", ge=0, le=1)
    ema_decay: float = knobs.EMA_DECAY
    early_stopping_patience: int = knobs.EARLY_STOPPING_PATIENCE

    epochs: int = knobs.EPOCHS
    minutes: float = knobs.MINUTES
    val_every: int = knobs.VAL_EVERY
    mixed_precision: Literal["auto", "off", "bf16"] = knobs.MIXED_PRECISION
    workers: int = knobs.WORKERS
    seed: int = knobs.SEED

    @field_validator("architecture", mode="before")
    @classmethod
    def _check_architecture(cls, value: object) -> object:
        if isinstance(value, str) and value not in ARCHITECTURES:
            raise ValueError(unknown_name_message("architecture", value, ARCHITECTURES))
        return value

    @model_validator(mode="after")
    def _check_together(self) -> SegmentationSettings:
        if self.architecture != "classic_unet":
            check_encoder(self.encoder)
        knobs.check_budget(self.epochs, self.minutes)
        return self


def settings_from_text(preset: str | None, pairs: Iterable[str]) -> SegmentationSettings:
    """Build settings from ``key=value`` texts laid over a preset, see ``core.learning.knobs``."""
    return knobs.settings_from_text(SegmentationSettings, PRESETS, preset, pairs)


def make_settings(values: dict[str, Any]) -> SegmentationSettings:
    """Validate settings; the first problem becomes one sentence."""
    return knobs.make_settings(SegmentationSettings, values)
