"""What a detector is and at which scale it looks: two frozen records that go into the model card.

Torch-free, so that pages and cards can be read without loading a framework.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.learning.encoders import check_encoder, unknown_name_message
from core.learning.preprocessing import Preprocessing

Architecture = Literal[
    "fcos", "retinanet", "faster_rcnn", "faster_rcnn_v2", "mask_rcnn", "mask_rcnn_v2", "ssdlite"
]
Norm = Literal["group", "batch", "frozen"]
DETECTORS: tuple[str, ...] = get_args(Architecture)
WITH_MASKS: tuple[str, ...] = ("mask_rcnn", "mask_rcnn_v2")
WITH_ANCHORS: tuple[str, ...] = tuple(name for name in DETECTORS if name != "fcos")
STRIDE = 32  # of the encoder's last level; inputs are multiples of it
GROUP_WIDTH = 16  # channels come in multiples of it, for group normalisation


class DetectorSpec(BaseModel):
    """All that is needed to build the network again.

    Attributes:
        architecture: one of ``DETECTORS``.
        encoder: backbone with a pyramid of features, by its name in SMP or timm.
        in_channels: channels of the input, 1 to 4.
        classes: number of labels; the background is not among them.
        norm: normalisation in the encoder and the pyramid. "frozen" keeps pretrained batch norm as it is.
        first_stride: input pixels per step of the finest pyramid level; ssdlite begins at 16.
        levels: pyramid levels; each has half the resolution of the one before.
        features: channels of the pyramid.
        head_convs: convolutions in the head of fcos and retinanet.
        head_features: width of the box head of the R-CNNs.
        centre_weight: how much it counts in fcos's scores how central the place is that saw the object; 1 as published.
        anchor_sizes: per level, the sides of square anchors of the same area, in input pixels.
        anchor_ratios: heights by widths of the anchors, the same at every level.
        objects: most objects that are found in one input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = "fcos"
    encoder: str = "resnet18"
    in_channels: int = Field(default=3, ge=1, le=4)
    classes: int = Field(default=1, ge=1, le=65534)
    norm: Norm = "group"
    first_stride: Literal[4, 8, 16] = 8
    levels: int = Field(default=3, ge=1, le=7)
    features: int = Field(default=128, ge=32, le=1024, multiple_of=GROUP_WIDTH * 2)
    head_convs: int = Field(default=2, ge=1, le=8)
    head_features: int = Field(default=256, ge=16, le=4096)
    centre_weight: float = Field(default=1.0, ge=0, le=1)
    anchor_sizes: tuple[tuple[float, ...], ...] = ()
    anchor_ratios: tuple[float, ...] = (1.0,)
    objects: int = Field(default=100, ge=1, le=10_000)

    @field_validator("architecture", mode="before")
    @classmethod
    def _check_architecture(cls, value: object) -> object:
        if isinstance(value, str) and value not in DETECTORS:
            raise ValueError(unknown_name_message("architecture", value, DETECTORS))
        return value

    @model_validator(mode="after")
    def _check_together(self) -> DetectorSpec:
        check_encoder(self.encoder)
        if self.architecture in WITH_ANCHORS:
            if len(self.anchor_sizes) != self.levels:
                raise ValueError(
                    f"anchor_sizes must hold sizes for {self.levels} levels, got {len(self.anchor_sizes)}."
                )
            if len({len(sizes) for sizes in self.anchor_sizes}) != 1 or not self.anchor_sizes[0]:
                raise ValueError(f"every level needs the same number of sizes, got {self.anchor_sizes}.")
            numbers = [*self.anchor_ratios, *(size for sizes in self.anchor_sizes for size in sizes)]
            if not self.anchor_ratios or min(numbers) <= 0:
                raise ValueError("anchor sizes and ratios must be positive.")
        return self

    @property
    def has_masks(self) -> bool:
        """Whether objects get a mask of their own."""
        return self.architecture in WITH_MASKS

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per step of each level."""
        return tuple(self.first_stride * 2**level for level in range(self.levels))


class Framing(BaseModel):
    """At which scale images are looked at, so that objects appear in the sizes the network learned.

    Attributes:
        mode: "whole" shrinks or enlarges each image into the input; "tiles" looks at windows of one scale.
        scale: input pixels per image pixel of a typical training image; of every tile.
        lowest: least scale of a training image.
        highest: greatest scale of a training image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["whole", "tiles"] = "whole"
    scale: float = Field(default=1.0, gt=0)
    lowest: float = Field(default=1.0, gt=0)
    highest: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check_order(self) -> Framing:
        if not self.lowest <= self.scale <= self.highest:
            raise ValueError(
                f"the scale must lie between lowest and highest, got {self.lowest}, {self.scale}, {self.highest}."
            )
        return self


def check_input_size(spec: DetectorSpec, preprocessing: Preprocessing) -> None:
    """Check that network and preprocessing belong together.

    Raises:
        ValueError: when the channels differ or height or width is no multiple of the stride.
    """
    if spec.in_channels != preprocessing.channels:
        raise ValueError(
            f"The network takes {spec.in_channels} channels but preprocessing makes {preprocessing.channels}."
        )
    size = (preprocessing.input_height, preprocessing.input_width)
    if any(length % STRIDE for length in size):
        raise ValueError(f"Input height and width must be divisible by {STRIDE}, got {size[0]} x {size[1]}.")
