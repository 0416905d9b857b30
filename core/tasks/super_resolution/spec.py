"""What a super-resolver is, what it is fed, and how its training pairs were made: records for the card. Torch-free."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.imaging.resample import Reduction

Architecture = Literal["rrdb", "rrdb_compact", "edsr", "srresnet", "bicubic"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
Upsampling = Literal["pixel_shuffle", "nearest_conv"]
Axes = Literal["in_plane", "through_plane"]
Noise = Literal["none", "gaussian", "poisson", "speckle", "rician"]
Rule = Literal["range", "percentile"]


class NetworkSpec(BaseModel):
    """All that is needed to build the network again.

    Attributes:
        architecture: one of ``ARCHITECTURES``; "bicubic" has no weights to learn.
        channels: of the image, 1 to 4.
        factors: how many times finer the output is along the plane's (y, x).
        blocks, features, growth: depth; width; channels that each layer of a dense block adds.
        upsampling: from coarse to fine features by one pixel shuffle, or by nearest pixel and convolution.
        residual_scale: weight of each dense block's and each group's residual.
        split_bands: planes are shown as amplified local detail beside a local mean, and the residual is made small
            again; else as they are, as published weights want it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = "rrdb_compact"
    channels: int = Field(default=1, ge=1, le=4)
    factors: tuple[int, int] = (4, 4)
    blocks: int = Field(default=3, ge=1, le=64)
    features: int = Field(default=48, ge=4, le=256)
    growth: int = Field(default=24, ge=4, le=128)
    upsampling: Upsampling = "pixel_shuffle"
    residual_scale: float = Field(default=0.2, gt=0, le=1)
    split_bands: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> NetworkSpec:
        if not all(1 <= factor <= 4 for factor in self.factors) or max(self.factors) == 1:
            raise ValueError(f"factors must be 1 to 4 and one of them above 1, got {self.factors}.")
        return self


class Scaling(BaseModel):
    """How values become the network's 0 to 1 and come back: linear, nothing is clipped.

    Attributes:
        rule: "range" takes ``low`` and ``high``; "percentile" measures them on each image: low is 0 where nothing
            is negative (else the lowest value), high is percentile 99.5.
        low, high: of "range", in the image's units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule = "range"
    low: float = 0.0
    high: float = 255.0

    @model_validator(mode="after")
    def _check_together(self) -> Scaling:
        if not self.high > self.low:
            raise ValueError(f"high must exceed low, got {self.high} and {self.low}.")
        return self


class Degradation(BaseModel):
    """How fine images were made coarse: blur, reduction, noise, JPEG, in this order; ranges are drawn from evenly.

    Attributes:
        blur: deviation of a Gaussian in fine pixels, (least, most).
        reduction: how pixels are brought together; see ``core.imaging.resample.reduce``.
        noise: kind of noise added to the coarse image.
        noise_level: its strength as a share of the value scale, (least, most).
        jpeg_quality: quality of a JPEG compression, (least, most); None does none.
        second_order: blur, resizing by 0.5 to 1.2, noise and JPEG are done once before, as a file's earlier life.
        real_pairs: coarse and fine images were both acquired; then nothing above happened, and ``reduction`` only
            says what agreement with the input is measured by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    blur: tuple[float, float] = (0.0, 0.0)
    reduction: Reduction = "bicubic"
    noise: Noise = "none"
    noise_level: tuple[float, float] = (0.0, 0.0)
    jpeg_quality: tuple[int, int] | None = None
    second_order: bool = False
    real_pairs: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> Degradation:
        for name, ends, most in (("blur", self.blur, 20.0), ("noise_level", self.noise_level, 1.0)):
            if not 0 <= ends[0] <= ends[1] <= most:
                raise ValueError(f"{name} must be two rising numbers from 0 to {most:g}, got {ends}.")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise ValueError(
                f"jpeg_quality must be two rising numbers from 1 to 100, got {self.jpeg_quality}."
            )
        if self.reduction == "kspace" and (self.blur[1] > 0 or self.second_order):
            raise ValueError(
                "Cropping k-space is a blur of its own; set blur to 0 and second_order off, or another reduction."
            )
        return self

    @property
    def is_noisy(self) -> bool:
        """True when the coarse image differs from the reduced one by chance, so that agreement is not wanted."""
        return self.noise != "none" or self.jpeg_quality is not None or self.second_order or self.real_pairs

    @property
    def is_fixed(self) -> bool:
        """True when blur and reduction are the same for every image, so that they need doing only once."""
        return self.blur[0] == self.blur[1] and not self.second_order

    @property
    def mean_blur(self) -> float:
        """The middle of the blur's range, by which agreement with the input is measured."""
        return (self.blur[0] + self.blur[1]) / 2

    def in_words(self) -> str:
        """Say it in a few words, for the card and the page."""
        if self.real_pairs:
            return "real pairs of coarse and fine images"
        words = [f"{self.reduction} reduction"]
        if self.blur[1] > 0:
            words.insert(0, f"Gaussian blur {_span(*self.blur)} px")
        if self.noise != "none":
            words.append(f"{self.noise} noise {_span(*self.noise_level)}")
        if self.jpeg_quality is not None:
            words.append(f"JPEG {_span(*self.jpeg_quality)}")
        return ("twice in a row: " if self.second_order else "") + ", ".join(words)


def _span(least: float, most: float) -> str:
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


DEGRADATIONS: dict[str, Degradation] = {
    "clean": Degradation(),
    "blurred": Degradation(blur=(0.2, 2.0), noise="gaussian", noise_level=(0.0, 0.02)),
    "mr": Degradation(reduction="kspace", noise="rician", noise_level=(0.0, 0.02)),
    "ultrasound": Degradation(blur=(0.5, 1.5), reduction="area", noise="speckle", noise_level=(0.02, 0.1)),
    "low_dose": Degradation(reduction="area", noise="poisson", noise_level=(0.01, 0.05)),
    "thick_slices": Degradation(reduction="area"),
    "camera": Degradation(
        blur=(0.2, 2.5), noise="gaussian", noise_level=(0.0, 0.05), jpeg_quality=(40, 95), second_order=True
    ),
    "pairs": Degradation(reduction="area", real_pairs=True),
}
