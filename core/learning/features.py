"""Networks whose features tell how alike two images look: VGG19 where its weights are at hand, else an encoder.

Nothing is downloaded unless that is asked for: weights are at hand when torch's cache holds them or when a file lies
in the ``weights`` folder of the home.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import WeightsError
from core.learning.package import load_weights, read_card
from core.learning.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from core.learning.weights import read_weights_file
from core.settings import load_settings

VGG19_FILES = ("vgg19.safetensors", "vgg19.pth", "vgg19-dcbb9e9d.pth")
VGG19_LAYERS = (
    2,
    7,
    16,
    25,
    34,
)  # convolutions 1_2, 2_2, 3_4, 4_4, 5_4 before their activation, as ESRGAN takes them
ENCODER_LEVELS = 3  # finest levels of an encoder that are compared


@dataclass(frozen=True)
class Features:
    """A network that gives feature maps of images on a scale of 0 to 1.

    Attributes:
        network: (N, channels, H, W) to a list of maps.
        channels: it takes.
        source: where it is from, in words for the log and the card.
    """

    network: nn.Module
    channels: int
    source: str


def find_features(wanted: str, packages: Sequence[Path]) -> Features | None:
    """Return the features to compare images by, or None when there are none at hand.

    Args:
        wanted: "vgg19" (downloaded if need be), "encoder", "none", or "auto": VGG19 at hand, else an encoder, else
            none.
        packages: model packages of this workspace, the likeliest first.

    Raises:
        WeightsError: when what is asked for by name is not there.
    """
    if wanted == "none":
        return None
    if wanted in ("auto", "vgg19"):
        found = _vgg19(download=wanted == "vgg19")
        if found is not None:
            return found
        if wanted == "vgg19":
            raise WeightsError(
                "VGG19's weights are not at hand and cannot be fetched; put vgg19.safetensors into the home's weights "
                "folder, or set perceptual to encoder or none."
            )
    for package in packages:
        found = _encoder(package)
        if found is not None:
            return found
    if wanted == "encoder":
        raise WeightsError(
            "No model of this workspace has an encoder whose features could be compared; train one, or set perceptual "
            "to none."
        )
    return None


class _Vgg19(nn.Module):
    """VGG19's convolutions up to 5_4, giving the maps of ``VGG19_LAYERS``."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers[: VGG19_LAYERS[-1] + 1]
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # or it would change the maps that are kept
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps."""
        seen = (images - self.mean) / self.std
        maps = []
        for number, layer in enumerate(self.layers):
            seen = layer(seen)
            if number in VGG19_LAYERS:
                maps.append(seen)
        return maps


class _Levels(nn.Module):
    """The finest levels of a library encoder; images are centred as z-scored ones would be."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps, without the image itself that encoders give first."""
        levels: list[Tensor] = self.encoder((images - 0.5) / 0.25)
        return levels[1 : 1 + ENCODER_LEVELS]


def _vgg19(download: bool) -> Features | None:
    """Return VGG19 from a file of the home, torch's cache or, when asked for, the hub."""
    from torchvision.models import VGG19_Weights, vgg19

    folders = (load_settings().home_path / "weights", Path(torch.hub.get_dir()) / "checkpoints")
    path = next(
        (folder / name for folder in folders for name in VGG19_FILES if (folder / name).is_file()), None
    )
    network = vgg19()
    if path is not None:
        state = {
            name: value for name, value in read_weights_file(path).items() if name.startswith("features.")
        }
        try:
            network.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise WeightsError(
                f"{path.name} does not hold VGG19's weights; put the right file there."
            ) from error
        if len(state) < len(network.features.state_dict()):
            raise WeightsError(f"{path.name} does not hold VGG19's weights; put the right file there.")
    elif download:
        try:
            network = vgg19(weights=VGG19_Weights.IMAGENET1K_V1)
        except OSError:
            return None
    else:
        return None
    return Features(_Vgg19(network.features), 3, "VGG19 trained on ImageNet")


def _encoder(package: Path) -> Features | None:
    """Return the encoder of a model package; None when it has none that can be built alone."""
    try:
        card = read_card(package)
        name, channels = str(card["spec"]["encoder"]), int(card["spec"]["in_channels"])
        if card["spec"].get("architecture") == "classic_unet":
            return None
        state = {
            key.removeprefix("encoder."): value
            for key, value in load_weights(package).items()
            if key.startswith("encoder.")
        }
        from segmentation_models_pytorch.encoders import get_encoder

        encoder = get_encoder(name, in_channels=channels, weights=None)
        encoder.load_state_dict(state)
    except (WeightsError, KeyError, ValueError, TypeError, RuntimeError):
        return None
    return Features(
        _Levels(encoder), channels, f"the encoder {name} of the model {card['name']} of this workspace"
    )
