"""Settings of a training: how one is declared for a page, what all tasks share, and how texts become a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from core.errors import TrainingError

Group = Literal["Model", "Data", "Augmentation", "Optimisation", "Realism", "Regularisation", "Running"]
GROUPS: tuple[Group, ...] = get_args(Group)
Settings = TypeVar("Settings", bound=BaseModel)
BUDGET_KEYS = ("minutes", "epochs")


def knob(
    default: Any, group: Group, description: str, suggestions: tuple[str, ...] = (), **limits: Any
) -> Any:
    """Declare one setting; ``suggestions`` are names a page offers, ``limits`` are pydantic's ge, le, gt, lt."""
    extra: dict[str, Any] = {"group": group, "suggestions": list(suggestions)}
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


# Declared once for all tasks; pydantic copies a declaration for each model that uses it.
WEIGHTS = knob(
    "scratch", "Model", "Where training starts: nothing, a download, a weights file, or an earlier model."
)
FREEZE_ENCODER_EPOCHS = knob(0, "Model", "Epochs in which the encoder stays as loaded.", ge=0, le=1000)
INPUT_SIZE = knob(
    0, "Data", "Side of the network's input in pixels; 0 chooses from the images.", ge=0, le=2048
)
CHANNELS = knob("auto", "Data", "Train on grey or colour; auto looks at the images.")
NORMALISATION = knob(
    "auto", "Data", "Scale values per image (zscore), by the display window, or by the range of the data."
)
BATCH_SIZE = knob(0, "Data", "Images in a step; 0 chooses.", ge=0, le=512)
HARD_CASE_SAMPLING = knob(
    0.0, "Data", "Share of the samples drawn by how badly the network does on an image.", ge=0, le=1
)
PROGRESSIVE_SIZE = knob(False, "Data", "Begin on smaller inputs, which gives more steps in the same time.")

AUGMENTATION = knob(
    "light", "Augmentation", "How much images are varied; the switches below overrule it one by one."
)
FLIPS = knob(None, "Augmentation", "Mirror left-right and up-down.")
ROTATE90 = knob(None, "Augmentation", "Turn square inputs by quarter turns.")
ROTATION = knob(None, "Augmentation", "Turn by up to this many degrees.", ge=0, le=180)
SCALE = knob(None, "Augmentation", "Enlarge or shrink by up to this share.", ge=0, le=0.9)
BRIGHTNESS_CONTRAST = knob(
    None, "Augmentation", "Change brightness and contrast by up to this share.", ge=0, le=1
)
GAMMA = knob(None, "Augmentation", "Bend the grey curve by up to this share.", ge=0, le=0.9)
NOISE = knob(None, "Augmentation", "Add noise of up to this share of the image's deviation.", ge=0, le=1)
BLUR = knob(None, "Augmentation", "Blur by up to this many pixels.", ge=0, le=5)
INVERT = knob(None, "Augmentation", "Probability of turning an image into its negative.", ge=0, le=0.5)
COLOR_JITTER = knob(
    None,
    "Augmentation",
    "Change hue, saturation and greyness of colour images by this share.",
    ge=0,
    le=1,
)

OPTIMISER = knob("adamw", "Optimisation", "Rule that moves the weights.")
LEARNING_RATE = knob(1e-3, "Optimisation", "Largest step size.", gt=0, le=1)
MOMENTUM = knob(0.9, "Optimisation", "Momentum of sgd.", ge=0, lt=1)
SCHEDULE = knob("cosine", "Optimisation", "How the step size falls until the end.")
WARMUP = knob(0.05, "Optimisation", "Share of the training over which the step size rises.", ge=0, le=0.5)
GRAD_CLIP = knob(1.0, "Optimisation", "Longest gradient; 0 leaves it as it is.", ge=0, le=1000)

WEIGHT_DECAY = knob(1e-4, "Regularisation", "L2: pull of the weights to zero.", ge=0, le=1)
EMA_DECAY = knob(
    0.0,
    "Regularisation",
    "Average the weights over time with this decay, such as 0.999; 0 does not.",
    ge=0,
    lt=1,
)
EARLY_STOPPING_PATIENCE = knob(
    0, "Regularisation", "Validations without gain after which training ends; 0 never.", ge=0, le=10000
)

EPOCHS = knob(50, "Running", "Rounds through the images; 0 sets no limit.", ge=0, le=100_000)
MINUTES = knob(0.0, "Running", "Minutes after which training ends; 0 sets no limit.", ge=0, le=100_000)
VAL_EVERY = knob(
    0,
    "Running",
    "Epochs between validations; 0 spends about a twentieth of the time on them.",
    ge=0,
    le=1000,
)
MIXED_PRECISION = knob("auto", "Running", "Compute in bf16 where the device is faster with it.")
WORKERS = knob(
    -1,
    "Running",
    "Processes that prepare samples; 0 is a thread of this process, -1 chooses.",
    ge=-1,
    le=64,
)
SEED = knob(0, "Running", "Number all randomness follows from.", ge=0, le=2**31 - 1)


def check_budget(epochs: int, minutes: float) -> None:
    """Check that a training has an end.

    Raises:
        ValueError: when neither epochs nor minutes set a limit.
    """
    if epochs == 0 and minutes == 0:
        raise ValueError("Training needs an end: set epochs or minutes above 0.")


def settings_from_text(
    settings_type: type[Settings],
    presets: Mapping[str, Mapping[str, Any]],
    preset: str | None,
    pairs: Iterable[str],
) -> Settings:
    """Build settings from ``key=value`` texts laid over a preset.

    A budget among the pairs replaces the preset's: with ``epochs`` alone there is no limit of minutes, with
    ``minutes`` alone none of epochs; with both, training ends at whichever comes first.

    Args:
        settings_type: the task's settings model.
        presets: name to values laid over the model's defaults.
        preset: name in ``presets``, or None for the defaults.
        pairs: texts such as "learning_rate=0.002"; later ones win.

    Raises:
        TrainingError: one sentence for a misspelled key, a value out of range or an unknown preset.
    """
    if preset is not None and preset not in presets:
        raise TrainingError(f"preset must be one of {', '.join(presets)}, got {preset!r}.")
    given = dict(_split_pair(settings_type, pair) for pair in pairs)
    values = dict(presets[preset]) if preset is not None else {}
    if any(key in given for key in BUDGET_KEYS):
        values |= dict.fromkeys(BUDGET_KEYS, 0)
    return make_settings(settings_type, values | given)


def make_settings(settings_type: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Validate settings; the first problem becomes one sentence.

    Raises:
        TrainingError: when a value is not allowed.
    """
    try:
        return settings_type.model_validate(dict(values))
    except ValidationError as error:
        raise TrainingError(_sentence(settings_type, error)) from error


def _split_pair(settings_type: type[BaseModel], pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key or not text:
        raise TrainingError(f"A setting is written key=value, got {pair!r}.")
    field = settings_type.model_fields.get(key)
    if field is None:
        raise TrainingError(_unknown_key(settings_type, key))
    return key, None if _takes_none(field) and text.lower() in ("auto", "none") else text


def _takes_none(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def _unknown_key(settings_type: type[BaseModel], key: str) -> str:
    near = get_close_matches(key, settings_type.model_fields, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see the list of settings in the training page."
    return f"There is no setting {key!r}; {hint}"


def _sentence(settings_type: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return _unknown_key(settings_type, key)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    message = first["msg"].removeprefix("Input ").rstrip(".")
    return f"{key} {message}, got {first['input']!r}."
