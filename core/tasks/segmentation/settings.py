"""Every knob of a segmentation training: one frozen record a page can build its form from. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from core.errors import TrainingError
from core.tasks.segmentation.presets import PRESETS
from core.tasks.segmentation.spec import (
    ARCHITECTURES,
    ENCODERS,
    Architecture,
    check_encoder,
    unknown_name_message,
)

Group = Literal["Model", "Data", "Augmentation", "Optimisation", "Regularisation", "Running"]
GROUPS: tuple[Group, ...] = get_args(Group)
LossName = Literal["dice_ce", "dice", "ce", "focal", "dice_focal", "tversky", "lovasz", "jaccard"]
AugmentationLevel = Literal["none", "light", "medium", "strong"]
BUDGET_KEYS = ("minutes", "epochs")


def _knob(
    default: Any, group: Group, description: str, suggestions: tuple[str, ...] = (), **limits: Any
) -> Any:
    """Declare one setting; ``suggestions`` are names a page offers, ``limits`` are pydantic's ge, le, gt, lt."""
    extra: dict[str, Any] = {"group": group, "suggestions": list(suggestions)}
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


class SegmentationSettings(BaseModel):
    """How to train a segmentation network. 0 or "auto" means: chosen from the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = _knob("Unet", "Model", "Family of the network.")
    encoder: str = _knob(
        "resnet18", "Model", "Backbone inside the network; classic_unet has none.", suggestions=ENCODERS
    )
    weights: Literal["scratch", "hub", "file", "model"] = _knob(
        "scratch", "Model", "Where training starts: nothing, a download, a weights file, or an earlier model."
    )
    freeze_encoder_epochs: int = _knob(
        0, "Model", "Epochs in which the encoder stays as loaded.", ge=0, le=1000
    )
    decoder: Literal["standard", "light"] = _knob(
        "standard", "Model", "Width of the decoder of Unet, UnetPlusPlus and MAnet; light halves it."
    )
    base_features: int = _knob(64, "Model", "Width of the classic U-Net's first level.", ge=4, le=128)

    input_size: int = _knob(
        0, "Data", "Side of the network's input in pixels; 0 chooses from the images.", ge=0, le=2048
    )
    fit: Literal["auto", "resize", "patch"] = _knob(
        "auto", "Data", "Show the network whole planes, resized, or windows at full resolution."
    )
    channels: Literal["auto", "grey", "colour"] = _knob(
        "auto", "Data", "Train on grey or colour; auto looks at the images."
    )
    normalisation: Literal["auto", "zscore", "window", "range"] = _knob(
        "auto", "Data", "Scale values per image (zscore), by the display window, or by the range of the data."
    )
    batch_size: int = _knob(0, "Data", "Images in a step; 0 chooses.", ge=0, le=512)
    hard_case_sampling: float = _knob(
        0.0, "Data", "Share of the samples drawn by how badly the network does on an image.", ge=0, le=1
    )
    progressive_size: bool = _knob(
        False, "Data", "Begin on smaller inputs, which gives more steps in the same time."
    )

    augmentation: AugmentationLevel = _knob(
        "light", "Augmentation", "How much images are varied; the switches below overrule it one by one."
    )
    flips: bool | None = _knob(None, "Augmentation", "Mirror left-right and up-down.")
    rotate90: bool | None = _knob(None, "Augmentation", "Turn by quarter turns.")
    rotation: float | None = _knob(None, "Augmentation", "Turn by up to this many degrees.", ge=0, le=180)
    scale: float | None = _knob(None, "Augmentation", "Enlarge or shrink by up to this share.", ge=0, le=0.9)
    brightness_contrast: float | None = _knob(
        None, "Augmentation", "Change brightness and contrast by up to this share.", ge=0, le=1
    )
    gamma: float | None = _knob(
        None, "Augmentation", "Bend the grey curve by up to this share.", ge=0, le=0.9
    )
    noise: float | None = _knob(
        None, "Augmentation", "Add noise of up to this share of the image's deviation.", ge=0, le=1
    )
    blur: float | None = _knob(None, "Augmentation", "Blur by up to this many pixels.", ge=0, le=5)
    elastic: bool | None = _knob(None, "Augmentation", "Bend the image elastically (slow).")
    invert: float | None = _knob(
        None, "Augmentation", "Probability of turning an image into its negative.", ge=0, le=0.5
    )
    color_jitter: float | None = _knob(
        None,
        "Augmentation",
        "Change hue, saturation and greyness of colour images by this share.",
        ge=0,
        le=1,
    )

    loss: LossName = _knob("dice_ce", "Optimisation", "What training makes small.")
    optimiser: Literal["adamw", "adam", "sgd"] = _knob(
        "adamw", "Optimisation", "Rule that moves the weights."
    )
    learning_rate: float = _knob(1e-3, "Optimisation", "Largest step size.", gt=0, le=1)
    momentum: float = _knob(0.9, "Optimisation", "Momentum of sgd.", ge=0, lt=1)
    schedule: Literal["cosine", "polynomial", "constant"] = _knob(
        "cosine", "Optimisation", "How the step size falls until the end."
    )
    warmup: float = _knob(
        0.05, "Optimisation", "Share of the training over which the step size rises.", ge=0, le=0.5
    )
    grad_clip: float = _knob(1.0, "Optimisation", "Longest gradient; 0 leaves it as it is.", ge=0, le=1000)

    dropout: float = _knob(0.0, "Regularisation", "Share of features dropped in training.", ge=0, lt=1)
    weight_decay: float = _knob(1e-4, "Regularisation", "L2: pull of the weights to zero.", ge=0, le=1)
    l1: float = _knob(0.0, "Regularisation", "L1: penalty on the sum of absolute weights.", ge=0, le=1)
    ema_decay: float = _knob(
        0.0,
        "Regularisation",
        "Average the weights over time with this decay, such as 0.999; 0 does not.",
        ge=0,
        lt=1,
    )
    early_stopping_patience: int = _knob(
        0, "Regularisation", "Validations without gain after which training ends; 0 never.", ge=0, le=10000
    )

    epochs: int = _knob(50, "Running", "Rounds through the images; 0 sets no limit.", ge=0, le=100_000)
    minutes: float = _knob(
        0.0, "Running", "Minutes after which training ends; 0 sets no limit.", ge=0, le=100_000
    )
    val_every: int = _knob(
        0,
        "Running",
        "Epochs between validations; 0 spends about a twentieth of the time on them.",
        ge=0,
        le=1000,
    )
    mixed_precision: Literal["auto", "off", "bf16"] = _knob(
        "auto", "Running", "Compute in bf16 where the device is faster with it."
    )
    workers: int = _knob(
        -1,
        "Running",
        "Processes that prepare samples; 0 is a thread of this process, -1 chooses.",
        ge=-1,
        le=64,
    )
    seed: int = _knob(0, "Running", "Number all randomness follows from.", ge=0, le=2**31 - 1)

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
        if self.epochs == 0 and self.minutes == 0:
            raise ValueError("Training needs an end: set epochs or minutes above 0.")
        return self


def settings_from_text(preset: str | None, pairs: Iterable[str]) -> SegmentationSettings:
    """Build settings from ``key=value`` texts laid over a preset.

    A budget among the pairs replaces the preset's: with ``epochs`` alone there is no limit of minutes, with
    ``minutes`` alone none of epochs; with both, training ends at whichever comes first.

    Args:
        preset: name in ``PRESETS``, or None for the defaults.
        pairs: texts such as "learning_rate=0.002"; later ones win.

    Raises:
        TrainingError: one sentence for a misspelled key, a value out of range or an unknown preset.
    """
    if preset is not None and preset not in PRESETS:
        raise TrainingError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}.")
    given = dict(_split_pair(pair) for pair in pairs)
    values = dict(PRESETS[preset]) if preset is not None else {}
    if any(key in given for key in BUDGET_KEYS):
        values |= dict.fromkeys(BUDGET_KEYS, 0)
    return make_settings(values | given)


def make_settings(values: dict[str, Any]) -> SegmentationSettings:
    """Validate settings; the first problem becomes one sentence.

    Raises:
        TrainingError: when a value is not allowed.
    """
    try:
        return SegmentationSettings.model_validate(values)
    except ValidationError as error:
        raise TrainingError(_sentence(error)) from error


def _split_pair(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key or not text:
        raise TrainingError(f"A setting is written key=value, got {pair!r}.")
    field = SegmentationSettings.model_fields.get(key)
    if field is None:
        raise TrainingError(_unknown_key(key))
    return key, None if _takes_none(field) and text.lower() in ("auto", "none") else text


def _takes_none(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def _unknown_key(key: str) -> str:
    near = get_close_matches(key, SegmentationSettings.model_fields, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see the list of settings in the training page."
    return f"There is no setting {key!r}; {hint}"


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return _unknown_key(key)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    message = first["msg"].removeprefix("Input ").rstrip(".")
    return f"{key} {message}, got {first['input']!r}."
