"""What a segmentation network is: a frozen record that goes into the model card.

Torch-free, so that pages and cards can be read without loading a framework.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.learning.encoders import check_encoder, unknown_name_message
from core.learning.preprocessing import Preprocessing, round_up

Architecture = Literal[
    "classic_unet",
    "Unet",
    "UnetPlusPlus",
    "FPN",
    "DeepLabV3Plus",
    "DeepLabV3",
    "MAnet",
    "Linknet",
    "PSPNet",
    "PAN",
    "Segformer",
    "UPerNet",
]
# DPT is left out: it takes vision transformers of one fixed input size only.
ARCHITECTURES: tuple[str, ...] = get_args(Architecture)

ENCODER_STRIDE = 32
PAN_SMALLEST = 128  # its attention halves the encoder's 1/16 grid three times


class NetworkSpec(BaseModel):
    """All that is needed to build the network again.

    Attributes:
        architecture: one of ``ARCHITECTURES``.
        encoder: backbone of every architecture but ``classic_unet``, which has none and ignores it.
        in_channels: channels of the input, 1 to 4.
        classes: number of outputs with background, at least 2; softmax for two classes and for many.
        dropout: share of features dropped before the last convolution, 0 to below 1.
        decoder_channels: widths of the decoder, deepest first, for Unet, UnetPlusPlus and MAnet (5 numbers);
            None takes the library's.
        base_features: width of the classic U-Net's first level; doubled at each level.
        levels: resolutions of the classic U-Net, the bottom one included.
        norm: normalisation in the classic U-Net; "none" is the textbook's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = "Unet"
    encoder: str = "resnet18"
    in_channels: int = Field(default=1, ge=1, le=4)
    classes: int = Field(default=2, ge=2, le=65535)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    decoder_channels: tuple[int, ...] | None = None
    base_features: int = Field(default=64, ge=1, le=512)
    levels: int = Field(default=5, ge=2, le=7)
    norm: Literal["batch", "group", "none"] = "batch"

    @field_validator("architecture", mode="before")
    @classmethod
    def _check_architecture(cls, value: object) -> object:
        if isinstance(value, str) and value not in ARCHITECTURES:
            raise ValueError(unknown_name_message("architecture", value, ARCHITECTURES))
        return value

    @model_validator(mode="after")
    def _check_together(self) -> NetworkSpec:
        if self.architecture != "classic_unet":
            check_encoder(self.encoder)
        if self.decoder_channels is not None:
            if self.architecture not in ("Unet", "UnetPlusPlus", "MAnet"):
                raise ValueError(f"decoder_channels cannot be set for {self.architecture}; leave it out.")
            if len(self.decoder_channels) != 5 or min(self.decoder_channels) < 1:
                raise ValueError(f"decoder_channels must be 5 positive numbers, got {self.decoder_channels}.")
        return self

    @property
    def stride(self) -> int:
        """Number that height and width of the input must be divisible by."""
        return 2 ** (self.levels - 1) if self.architecture == "classic_unet" else ENCODER_STRIDE


def check_input_size(spec: NetworkSpec, preprocessing: Preprocessing) -> None:
    """Check that network and preprocessing belong together.

    Raises:
        ValueError: with the nearest size that would do, when height or width is not divisible by the stride,
            or when the channels differ or PAN's input is too small.
    """
    if spec.in_channels != preprocessing.channels:
        raise ValueError(
            f"The network takes {spec.in_channels} channels but preprocessing makes {preprocessing.channels}."
        )
    size = (preprocessing.input_height, preprocessing.input_width)
    if any(length % spec.stride for length in size):
        near = " x ".join(str(round_up(length, spec.stride)) for length in size)
        raise ValueError(
            f"Input height and width must be divisible by {spec.stride} for {spec.architecture}, "
            f"got {size[0]} x {size[1]}; {near} would do."
        )
    if spec.architecture == "PAN" and min(size) < PAN_SMALLEST:
        raise ValueError(
            f"PAN needs an input of at least {PAN_SMALLEST} x {PAN_SMALLEST}, got {size[0]} x {size[1]}."
        )
