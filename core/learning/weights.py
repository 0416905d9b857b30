"""Where a network's first weights come from: ``hub``, ``file``, ``model`` or ``scratch``.

What fits is taken, what does not is named. Weights files are never unpickled without torch's restriction
to plain tensors.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from core.errors import WeightsError
from core.learning.package import load_weights

WeightsSource = Literal["hub", "file", "model", "scratch"]
WEIGHTS_SOURCES: tuple[str, ...] = get_args(WeightsSource)

# What other programs wrap a state dict in, and what wrappers put before its keys.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net", "ema", "weights")
_PREFIXES = re.compile(r"^(?:_orig_mod\.|module\.|model\.|network\.|net\.|backbone\.|encoder\.)")
_ADDED_PREFIXES = ("", "encoder.", "encoder.model.", "model.")


@dataclass(frozen=True)
class WeightsReport:
    """What was taken over.

    Attributes:
        source: one of ``WEIGHTS_SOURCES``.
        loaded: tensors taken over.
        total: tensors that could have been: of the encoder when only that was given, else of the network.
        missing: names in the network for which nothing came.
        skipped: names in the source that found no place or have another size.
    """

    source: str
    loaded: int = 0
    total: int = 0
    missing: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Say it in one sentence, for the log and the card."""
        if self.source == "scratch":
            return "The network starts from random weights."
        left = f"; {len(self.skipped)} in the source were not used" if self.skipped else ""
        return f"{self.loaded} of {self.total} weight tensors come from the source {self.source!r}{left}."


def load_initial_weights(
    network: nn.Module, source: str, path: Path | None = None, encoder_name: str = ""
) -> WeightsReport:
    """Put first weights into a network.

    Args:
        network: the network, with an ``encoder``; changed in place.
        source: one of ``WEIGHTS_SOURCES``.
        path: weights file for ``file``, package folder for ``model``.
        encoder_name: name of the encoder for ``hub``; empty when the network has none from a library.

    Raises:
        ValueError: for an unknown source.
        WeightsError: when the weights are missing, damaged, or less than half of the network fits.
    """
    if source == "scratch":
        return WeightsReport("scratch")
    if source == "hub":
        state = load_hub_encoder(encoder_name)
        return apply_weights(network, {f"encoder.{key}": value for key, value in state.items()}, source)
    return apply_weights(network, read_first_weights(source, path), source)


def read_first_weights(source: str, path: Path | None) -> dict[str, torch.Tensor]:
    """Read the weights of the source ``file`` or ``model``.

    Raises:
        ValueError: for another source.
        WeightsError: when they are missing or damaged.
    """
    if source not in ("file", "model"):
        raise ValueError(f"The weights source must be one of {', '.join(WEIGHTS_SOURCES)}, got {source!r}.")
    if path is None:
        thing = "a weights file" if source == "file" else "a model"
        raise WeightsError(f"The weights source {source!r} needs {thing}; choose one, or the source scratch.")
    return load_weights(path) if source == "model" else read_weights_file(path)


def load_hub_encoder(encoder_name: str) -> dict[str, torch.Tensor]:
    """Fetch the ImageNet weights of an encoder by segmentation-models-pytorch (or its local cache).

    Raises:
        WeightsError: when there are none for this encoder, or no network reaches them.
    """
    if not encoder_name:
        raise WeightsError(
            "There are no pretrained weights for the classic U-Net on the hub; choose file, model or scratch."
        )
    from httpx2 import HTTPError  # the client below huggingface_hub, whose errors are no OSError
    from huggingface_hub.errors import EntryNotFoundError

    try:
        encoder = _build_pretrained(encoder_name)
    except (OSError, HTTPError, EntryNotFoundError) as error:
        raise WeightsError(
            f"No network: the pretrained weights of {encoder_name} cannot be fetched; "
            "choose the weights source file, model or scratch."
        ) from error
    except (KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"There are no pretrained weights for {encoder_name} on the hub; choose file, model or scratch."
        ) from error
    return encoder.state_dict()


def _build_pretrained(encoder_name: str) -> nn.Module:
    """Build a three-channel encoder with pretrained weights, ImageNet's where there are several."""
    from segmentation_models_pytorch.encoders import encoders, get_encoder

    if encoder_name.startswith("tu-"):
        weights: Any = True
    else:
        offered = list(encoders[encoder_name]["pretrained_settings"])
        weights = "imagenet" if "imagenet" in offered else offered[0]
    encoder: nn.Module = get_encoder(encoder_name, in_channels=3, weights=weights)
    return encoder


def read_weights_file(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a ``.safetensors`` file or a torch ``.pt``/``.pth`` file of plain tensors.

    Raises:
        WeightsError: when the file is missing, damaged, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path.name!r}; choose another or the source scratch.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping):
            content = inner
    state = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise WeightsError(f"{path.name!r} holds no weights; give a state dict (.safetensors, .pt or .pth).")
    return state


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path.name!r} is damaged or no safetensors file; copy it again.") from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    refused = f"{path.name!r} is damaged, or holds more than weights and is refused for safety"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{refused}; save its state dict as .safetensors.") from error
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError, MemoryError) as error:
        raise WeightsError(f"{refused}; save its state dict as .safetensors.") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path.name!r} holds a {type(content).__name__}, not a state dict.")
    return {str(key): value for key, value in content.items()}


def apply_weights(network: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> WeightsReport:
    """Copy every tensor that fits into the network; the first convolution is adapted to its channels.

    Raises:
        WeightsError: when less than half fits.
    """
    wanted = {key: value for key, value in network.state_dict().items() if not _is_counter(key)}
    names = match_names(state, wanted)
    fitting: dict[str, torch.Tensor] = {}
    for given, own in names.items():
        adapted = adapt_channels(state[given], wanted[own].shape)
        if adapted is not None:
            fitting[own] = adapted
    # Where only an encoder was given, only the encoder counts.
    encoder_only = all(own.startswith("encoder.") for own in names.values())
    targets = [key for key in wanted if key.startswith("encoder.") or not encoder_only]
    if len(fitting) * 2 < len(targets) or not fitting:
        raise WeightsError(
            f"The weights do not fit the network: {len(fitting)} of {len(targets)} tensors have its names "
            "and sizes; choose the architecture and encoder they were made for, or other weights."
        )
    network.load_state_dict(fitting, strict=False)
    missing = tuple(key for key in wanted if key not in fitting)
    skipped = tuple(key for key in state if not _is_counter(key) and names.get(key) not in fitting)
    return WeightsReport(source, len(fitting), len(targets), missing, skipped)


def match_names(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Find the change of prefix under which most names of a state dict are names of the network.

    Returns:
        name in ``state`` -> name in ``wanted``, for those that meet.
    """
    best: dict[str, str] = {}
    stripped = {key: key for key in state}
    while True:
        for added in _ADDED_PREFIXES:
            met = {given: added + key for given, key in stripped.items() if added + key in wanted}
            if len(met) > len(best):
                best = met
        shorter = {given: _PREFIXES.sub("", key) for given, key in stripped.items()}
        # Two names that would become one stay apart: the wrapper is then no mere wrapper.
        if shorter == stripped or len(set(shorter.values())) < len(shorter):
            return best
        stripped = shorter


def adapt_channels(weight: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """Return the weight when it has the shape, or fits it as a first convolution of other channels.

    To one channel the filters are summed; to others they are repeated and scaled so that the response to a
    grey image stays the same, as SMP and timm do.

    Returns:
        the weight, or None when it does not fit.
    """
    if weight.shape == shape:
        return weight
    if weight.ndim != 4 or len(shape) != 4 or weight.shape[0] != shape[0] or weight.shape[2:] != shape[2:]:
        return None
    given, wanted = weight.shape[1], shape[1]
    if given > 4 or wanted > 4:
        return None
    if wanted == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, [channel % given for channel in range(wanted)]] * (given / wanted)


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")
