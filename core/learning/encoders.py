"""Encoders that networks are built on, by the names of segmentation-models-pytorch and timm. Torch-free."""

from __future__ import annotations

from difflib import get_close_matches

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
