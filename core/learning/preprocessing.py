"""How a plane of physical values becomes a network's input: the record that goes into the model card. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Mean and standard deviation per channel that networks pretrained on ImageNet expect after scaling to 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(BaseModel):
    """How a plane of physical values becomes the network's input.

    Attributes:
        normalisation: "zscore" clips each image to its 0.5 and 99.5 percentile and scales it to mean 0 and
            deviation 1 (a volume as a whole); "window" scales a display window to 0..1; "range" scales fixed
            values to 0..1.
        window_center, window_width: the window, in the image's units (HU for CT).
        range_low, range_high: the fixed values, such as 0 and 255.
        mean, std: per channel, laid over the 0..1 of "window" and "range"; see ``IMAGENET_MEAN``.
        channels: 1 for grey, 3 for colour; grey images are repeated and colour ones turned to luminance.
            Other numbers must meet images of that number.
        input_height, input_width: size of the network's input in pixels.
        fit: "resize" stretches the whole plane to the input size; "patch" keeps pixels (or resamples to
            ``target_spacing_mm``) and looks at windows of the input size.
        target_spacing_mm: (y, x) for "patch"; images without spacing keep their pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    normalisation: Literal["zscore", "window", "range"] = "zscore"
    window_center: float = 40.0
    window_width: float = Field(default=400.0, gt=0)
    range_low: float = 0.0
    range_high: float = 255.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: int = Field(default=1, ge=1, le=4)
    input_height: int = Field(default=256, ge=16, le=8192)
    input_width: int = Field(default=256, ge=16, le=8192)
    fit: Literal["resize", "patch"] = "resize"
    target_spacing_mm: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Preprocessing:
        if not self.range_high > self.range_low:
            raise ValueError(f"range_high must exceed range_low, got {self.range_low} and {self.range_high}.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(
                    f"{name} must hold {self.channels} numbers, one per channel, got {len(values)}."
                )
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}.")
        if self.target_spacing_mm is not None and min(self.target_spacing_mm) <= 0:
            raise ValueError(f"target_spacing_mm must be positive, got {self.target_spacing_mm}.")
        return self


def round_up(length: int, multiple: int) -> int:
    """Return the next multiple at or above a length, at least one."""
    return max(1, -(-length // multiple)) * multiple
