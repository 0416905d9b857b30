"""Every knob of a super-resolution training: one frozen record a page can build its form from. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from core.learning import knobs
from core.learning.knobs import knob
from core.tasks.super_resolution.presets import PRESETS
from core.tasks.super_resolution.spec import DEGRADATIONS, Architecture, Axes, Degradation, Upsampling

DegradationName = Literal[
    "clean", "blurred", "mr", "ultrasound", "low_dose", "thick_slices", "camera", "pairs"
]
# Depth, width, growth and residual weight of each architecture where the settings say 0.
SIZES: dict[Architecture, tuple[int, int, int, float]] = {
    "rrdb": (23, 64, 32, 0.2),
    "rrdb_compact": (3, 48, 24, 0.2),
    "edsr": (8, 64, 4, 1.0),
    "srresnet": (16, 64, 4, 1.0),
    "bicubic": (1, 4, 4, 1.0),
}


class SuperResolutionSettings(BaseModel):
    """How to train a super-resolver. 0 or "auto" means: chosen by the architecture, the data or the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = knob(
        "rrdb_compact", "Model", "Network; bicubic learns nothing and is the baseline."
    )
    scale: int = knob(4, "Model", "How many times finer each side becomes.", ge=2, le=4)
    axes: Axes = knob("in_plane", "Model", "Finer pixels in every plane, or more slices through a volume.")
    blocks: int = knob(0, "Model", "Depth; 0 takes the architecture's own.", ge=0, le=64)
    features: int = knob(0, "Model", "Width; 0 takes the architecture's own.", ge=0, le=256)
    growth: int = knob(0, "Model", "Channels a dense block's layer adds; 0 takes its own.", ge=0, le=128)
    upsampling: Upsampling = knob(
        "pixel_shuffle", "Model", "How fine pixels arise; pixel_shuffle is fast, nearest_conv is ESRGAN's."
    )
    weights: Literal["scratch", "file", "model"] = knobs.WEIGHTS

    degradation: DegradationName = knob(
        "clean", "Data", "How fine images are made coarse; pairs takes the reference's fine images instead."
    )
    reduction: Literal["auto", "bicubic", "area", "nearest", "kspace"] = knob(
        "auto", "Data", "How fine pixels are brought together; auto takes the degradation's own."
    )
    blur: float | None = knob(None, "Data", "Most blur before it, in fine pixels.", ge=0, le=20)
    noise: Literal["auto", "none", "gaussian", "poisson", "speckle", "rician"] = knob(
        "auto", "Data", "Noise of the coarse image; auto takes the degradation's own."
    )
    noise_level: float | None = knob(None, "Data", "Most noise, as a share of the value scale.", ge=0, le=1)
    jpeg_quality: int | None = knob(None, "Data", "Lowest JPEG quality; 100 does none.", ge=1, le=100)
    patch: int = knob(0, "Data", "Side of a training sample in coarse pixels; 0 chooses.", ge=0, le=512)
    batch_size: int = knobs.BATCH_SIZE
    border: int = knob(4, "Data", "Fine pixels left out at each edge when scores are taken.", ge=0, le=64)
    data_range: float = knob(
        0.0, "Data", "Span of values that scores refer to; 0 takes 255 for bytes, else each image's.", ge=0
    )

    flips: bool = knob(True, "Augmentation", "Mirror left-right and up-down.")
    rotate90: bool = knob(True, "Augmentation", "Turn by quarter turns.")

    loss: Literal["charbonnier", "l1", "l2"] = knob("charbonnier", "Optimisation", "Distance of pixels.")
    ssim_weight: float = knob(0.0, "Optimisation", "Weight of lost structure (1 - SSIM).", ge=0, le=10)
    frequency_weight: float = knob(0.0, "Optimisation", "Weight of the spectrum's distance.", ge=0, le=10)
    optimiser: Literal["adamw", "adam", "sgd"] = knobs.OPTIMISER
    learning_rate: float = knobs.LEARNING_RATE
    momentum: float = knobs.MOMENTUM
    schedule: Literal["cosine", "polynomial", "constant"] = knobs.SCHEDULE
    warmup: float = knobs.WARMUP
    grad_clip: float = knobs.GRAD_CLIP

    adversarial: bool = knob(False, "Realism", "A second stage that learns to look real: sharper, less true.")
    adversarial_share: float = knob(
        0.5, "Realism", "Share of the training that the second stage takes.", gt=0, lt=1
    )
    discriminator: Literal["unet", "plain"] = knob(
        "unet", "Realism", "What judges: each pixel, or each patch."
    )
    discriminator_features: int = knob(32, "Realism", "Width of the judging network.", ge=4, le=256)
    adversarial_weight: float = knob(5e-3, "Realism", "Weight of looking real.", ge=0, le=10)
    perceptual: Literal["auto", "vgg19", "encoder", "none"] = knob(
        "auto",
        "Realism",
        "Whose features are compared: VGG19's where its weights are at hand, else an encoder's of this workspace.",
    )
    perceptual_weight: float = knob(1e-2, "Realism", "Weight of the features' distance.", ge=0, le=10)
    adversarial_rate: float = knob(1e-4, "Realism", "Step size of the second stage.", gt=0, le=1)

    weight_decay: float = knobs.WEIGHT_DECAY
    ema_decay: float = knobs.EMA_DECAY
    early_stopping_patience: int = knobs.EARLY_STOPPING_PATIENCE

    epochs: int = knobs.EPOCHS
    minutes: float = knobs.MINUTES
    val_every: int = knobs.VAL_EVERY
    mixed_precision: Literal["auto", "off", "bf16"] = knobs.MIXED_PRECISION
    workers: int = knobs.WORKERS
    seed: int = knobs.SEED

    @model_validator(mode="after")
    def _check_together(self) -> SuperResolutionSettings:
        knobs.check_budget(self.epochs, self.minutes)
        if self.adversarial and self.architecture == "bicubic":
            raise ValueError(
                "Bicubic enlargement learns nothing; choose another architecture or adversarial off."
            )
        if self.adversarial and self.epochs == 1:
            raise ValueError(
                "Two stages need at least 2 epochs; set epochs to 2 or more, or adversarial off."
            )
        degradation_of(self)
        return self

    @property
    def factors(self) -> tuple[int, int]:
        """How many times finer the network's planes become along (y, x)."""
        return (self.scale, 1) if self.axes == "through_plane" else (self.scale, self.scale)


def degradation_of(settings: SuperResolutionSettings) -> Degradation:
    """Lay the single knobs over the named degradation.

    Raises:
        ValueError: when they do not go together.
    """
    named = DEGRADATIONS[settings.degradation]
    values: dict[str, Any] = named.model_dump()
    if settings.reduction != "auto":
        values["reduction"] = settings.reduction
    if settings.blur is not None:
        values["blur"] = (min(named.blur[0], settings.blur), settings.blur)
    if settings.noise != "auto":
        values["noise"] = settings.noise
    if settings.noise_level is not None:
        values["noise_level"] = (min(named.noise_level[0], settings.noise_level), settings.noise_level)
    if values["noise"] == "none":
        values["noise_level"] = (0.0, 0.0)
    elif values["noise_level"][1] == 0:
        raise ValueError(f"Noise of kind {values['noise']} needs a noise_level above 0.")
    if settings.jpeg_quality is not None:
        lowest = settings.jpeg_quality
        values["jpeg_quality"] = None if lowest == 100 else (lowest, max(lowest, 95))
    return Degradation.model_validate(values)


def settings_from_text(preset: str | None, pairs: Iterable[str]) -> SuperResolutionSettings:
    """Build settings from ``key=value`` texts laid over a preset, see ``core.learning.knobs``."""
    return knobs.settings_from_text(SuperResolutionSettings, PRESETS, preset, pairs)


def make_settings(values: dict[str, Any]) -> SuperResolutionSettings:
    """Validate settings; the first problem becomes one sentence."""
    return knobs.make_settings(SuperResolutionSettings, values)
