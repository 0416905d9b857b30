"""Build a segmentation network from its spec, and freeze or unfreeze its encoder.

Segmentation-models-pytorch takes seconds to import, so it is only imported for the networks that are from it.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core.learning.encoders import unknown_name_message
from core.tasks.segmentation.classic_unet import ClassicUnet
from core.tasks.segmentation.spec import NetworkSpec

_FROZEN = "_is_encoder_frozen"  # what ClassicUnet.train and SMP's train ask


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build the network, without pretrained weights: (N, C, H, W) images to (N, classes, H, W) logits.

    Every network has an ``encoder`` and a ``segmentation_head``.

    Raises:
        ValueError: when the encoder is unknown or does not fit the architecture.
    """
    network = ClassicUnet(spec) if spec.architecture == "classic_unet" else _build_library_network(spec)
    if spec.dropout > 0:
        # A hook, not a layer: the names of the weights stay the same with and without dropout.
        network.get_submodule("segmentation_head").register_forward_pre_hook(
            partial(_drop_features, spec.dropout)
        )
    return network


def freeze_encoder(network: nn.Module) -> None:
    """Stop training of the encoder; its norms stay as in prediction, also after ``network.train()``."""
    encoder = _encoder_of(network)
    encoder.requires_grad_(False)
    encoder.eval()
    setattr(network, _FROZEN, True)


def unfreeze_encoder(network: nn.Module) -> None:
    """Let the encoder train again, its batch norm statistics included."""
    encoder = _encoder_of(network)
    encoder.requires_grad_(True)
    encoder.train(network.training)
    setattr(network, _FROZEN, False)


def _encoder_of(network: nn.Module) -> nn.Module:
    encoder = network.encoder
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"{type(network).__name__} has no encoder to freeze.")
    return encoder


def _build_library_network(spec: NetworkSpec) -> nn.Module:
    import segmentation_models_pytorch as smp

    _check_timm_name(spec.encoder)
    builder = getattr(smp, spec.architecture)
    widths: dict[str, Any] = (
        {} if spec.decoder_channels is None else {"decoder_channels": spec.decoder_channels}
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # timm- names still work and are still named so
            network: nn.Module = builder(
                encoder_name=spec.encoder,
                encoder_weights=None,
                in_channels=spec.in_channels,
                classes=spec.classes,
                **widths,
            )
    except (ValueError, KeyError, RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The encoder {spec.encoder!r} does not work with {spec.architecture}; "
            "choose another encoder, such as resnet18, or another architecture."
        ) from error
    return network


def _check_timm_name(encoder: str) -> None:
    """Refuse a ``tu-`` name timm does not know, with near matches."""
    if not encoder.startswith("tu-"):
        return
    import timm

    if not timm.is_model(encoder.removeprefix("tu-")):
        known = tuple(f"tu-{name}" for name in timm.list_models())
        raise ValueError(unknown_name_message("encoder", encoder, known))


def _drop_features(
    share: float, head: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...] | None:
    """Drop whole feature maps before the head while training; nothing else, so prediction is untouched."""
    if not head.training:
        return None
    return (functional.dropout2d(inputs[0], share), *inputs[1:])
