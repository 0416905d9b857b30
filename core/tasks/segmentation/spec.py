"""What a segmentation network is and what it is fed: two frozen records that go into the model card.

Torch-free, so that pages and cards can be read without loading a framework.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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

# Offered in the page. Any other name SMP knows, and "tu-<timm name>", is accepted too.
ENCODERS: tuple[str, ...] = (
    "resnet18", "resnet34", "resnet50", "resnet101",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "efficientnet-b0", "efficientnet-b1", "efficientnet-b2", "efficientnet-b3", "efficientnet-b4",
    "mobilenet_v2", "tu-mobilenetv3_small_100", "tu-mobilenetv3_large_100",
    "densenet121", "mit_b0", "mit_b1", "tu-convnext_atto", "tu-regnety_004",
)  # fmt: skip

_OTHER_ENCODERS: tuple[str, ...] = (
    "densenet161", "densenet169", "densenet201", "dpn68", "dpn68b", "dpn92", "dpn98", "dpn107", "dpn131",
    "efficientnet-b5", "efficientnet-b6", "efficientnet-b7", "inceptionresnetv2", "inceptionv4",
    "mit_b2", "mit_b3", "mit_b4", "mit_b5",
    "mobileone_s0", "mobileone_s1", "mobileone_s2", "mobileone_s3", "mobileone_s4",
    "resnet152", "resnext101_32x4d", "resnext101_32x8d", "resnext50_32x4d",
    "se_resnet101", "se_resnet152", "se_resnet50", "se_resnext101_32x4d", "se_resnext50_32x4d", "senet154",
    "timm-efficientnet-b0", "timm-efficientnet-b1", "timm-efficientnet-b2", "timm-efficientnet-b3",
    "timm-efficientnet-b4", "timm-skresnet18", "timm-skresnet34", "timm-skresnext50_32x4d",
    "timm-tf_efficientnet_lite0", "timm-tf_efficientnet_lite1", "timm-tf_efficientnet_lite2",
    "timm-tf_efficientnet_lite3", "timm-tf_efficientnet_lite4", "xception",
)  # fmt: skip

# Mean and standard deviation per channel that networks pretrained on ImageNet expect after scaling to 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ENCODER_STRIDE = 32
PAN_SMALLEST = 128  # its attention halves the encoder's 1/16 grid three times


def check_encoder(name: str) -> str:
    """Return the encoder's name when it may exist; ``tu-`` names are looked up when the network is built.

    Raises:
        ValueError: for an unknown name, with near matches.
    """
    known = ENCODERS + _OTHER_ENCODERS
    if name in known or (name.startswith("tu-") and len(name) > 3):
        return name
    raise ValueError(unknown_name_message("encoder", name, known))


def unknown_name_message(what: str, name: str, known: tuple[str, ...]) -> str:
    """Say that a name is unknown and which names come near."""
    near = get_close_matches(name, known, n=3, cutoff=0.4) or list(known[:3])
    return f"There is no {what} {name!r}; near names are {', '.join(near)}."


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


def round_up(length: int, multiple: int) -> int:
    """Return the next multiple at or above a length, at least one."""
    return max(1, -(-length // multiple)) * multiple
