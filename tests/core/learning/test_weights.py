"""First weights: what fits is taken, what does not is named, and nothing is ever unpickled freely."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import nn

from core.errors import WeightsError
from core.learning.package import write_package
from core.learning.weights import adapt_channels, load_initial_weights, read_weights_file
from core.tasks.segmentation.networks import build_network
from core.tasks.segmentation.spec import NetworkSpec

CLASSIC = NetworkSpec(architecture="classic_unet", base_features=4, levels=3)


def _other(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the network's shape and other values."""
    return {
        key: torch.randn_like(value) if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }


def test_scratch_changes_nothing() -> None:
    network = build_network(CLASSIC)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    report = load_initial_weights(network, "scratch")
    assert report.loaded == 0
    assert "random" in report.sentence()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_a_file_is_taken_whole(tmp_path: Path, suffix: str, prefix: str) -> None:
    network = build_network(CLASSIC)
    state = _other(network)
    path = tmp_path / f"weights{suffix}"
    named = {prefix + key: value for key, value in state.items()}
    if suffix == ".pth":
        torch.save({"epoch": 3, "state_dict": named}, path)
    else:
        save_file(named, str(path))
    report = load_initial_weights(network, "file", path)
    assert report.missing == report.skipped == ()
    assert report.loaded == report.total > 0
    loaded = network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if "num_batches" not in key)


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.backbone."])
def test_an_encoder_alone_is_enough(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(1)
    network = build_network(NetworkSpec(in_channels=1))
    encoder = _other(build_network(NetworkSpec(in_channels=3)).encoder)
    head = {f"{prefix}fc.weight": torch.zeros(10, 512)}
    save_file(
        {**{prefix + key: value for key, value in encoder.items()}, **head}, str(tmp_path / "e.safetensors")
    )
    report = load_initial_weights(network, "file", tmp_path / "e.safetensors")
    assert report.loaded == report.total
    assert report.skipped == (f"{prefix}fc.weight",)
    assert all(not name.startswith("encoder.") for name in report.missing)
    own = network.encoder.state_dict()
    assert torch.equal(own["layer1.0.conv1.weight"], encoder["layer1.0.conv1.weight"])
    # A grey image shown to the sum of the filters answers as its repetition to the filters themselves.
    assert torch.allclose(own["conv1.weight"], encoder["conv1.weight"].sum(1, keepdim=True))


def test_another_number_of_classes_leaves_the_head(tmp_path: Path) -> None:
    network = build_network(CLASSIC)
    before = network.segmentation_head.weight.clone()
    save_file(
        _other(build_network(CLASSIC.model_copy(update={"classes": 5}))), str(tmp_path / "w.safetensors")
    )
    report = load_initial_weights(network, "file", tmp_path / "w.safetensors")
    assert report.skipped == ("segmentation_head.bias", "segmentation_head.weight")
    assert set(report.missing) == set(report.skipped)
    assert torch.equal(network.segmentation_head.weight, before)
    assert "2 in the source were not used" in report.sentence()


def test_foreign_weights_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    network = build_network(CLASSIC)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    save_file(
        _other(build_network(CLASSIC.model_copy(update={"base_features": 8}))),
        str(tmp_path / "w.safetensors"),
    )
    with pytest.raises(WeightsError, match="do not fit"):
        load_initial_weights(network, "file", tmp_path / "w.safetensors")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
@pytest.mark.parametrize("given", [1, 2, 3, 4])
def test_the_first_convolution_answers_a_grey_image_alike(given: int, wanted: int) -> None:
    torch.manual_seed(given)
    # Alike channels: whatever is repeated or dropped, the sum over a grey image is the same.
    weight = torch.randn(5, 1, 3, 3).repeat(1, given, 1, 1)
    adapted = adapt_channels(weight, torch.Size((5, wanted, 3, 3)))
    assert adapted is not None
    assert adapted.shape == (5, wanted, 3, 3)
    assert torch.allclose(adapted.sum(1), weight.sum(1), atol=1e-6)


def test_other_shapes_are_not_adapted() -> None:
    weight = torch.zeros(8, 16, 3, 3)
    for shape in ((8, 3, 3, 3), (4, 16, 3, 3), (8, 16, 1, 1), (8, 16)):
        assert adapt_channels(weight, torch.Size(shape)) is None


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/tmp/sightline-was-here",)  # must never run


@pytest.mark.parametrize("kind", ["pickle", "torch", "text", "empty", "truncated", "number", "no tensors"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_bad_files_are_refused_in_a_sentence(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": _Attack()}))
    elif kind == "torch":
        torch.save({"a": _Attack()}, path)
    elif kind == "truncated":
        torch.save({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "number":
        torch.save(3, path)
    elif kind == "no tensors":
        torch.save({"state_dict": {"a": 1}}, path)
    else:
        path.write_bytes(b"hello" if kind == "text" else b"")
    with pytest.raises(WeightsError, match=r"bad\."):
        read_weights_file(path)
    assert not Path("/tmp/sightline-was-here").exists()


def test_missing_things_are_named(tmp_path: Path) -> None:
    network = build_network(CLASSIC)
    with pytest.raises(WeightsError, match=r"no weights file 'none\.pt'"):
        load_initial_weights(network, "file", tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="needs a weights file"):
        load_initial_weights(network, "file")
    with pytest.raises(WeightsError, match="needs a model"):
        load_initial_weights(network, "model")
    with pytest.raises(ValueError, match="hub, file, model, scratch"):
        load_initial_weights(network, "web")


def test_an_earlier_model_is_a_source(tmp_path: Path) -> None:
    state = _other(build_network(CLASSIC))
    card = {"task": "segmentation", "labels": [], "spec": {}, "preprocessing": {}}
    write_package(tmp_path / "model", state, card)
    network = build_network(CLASSIC.model_copy(update={"in_channels": 3, "classes": 4}))
    report = load_initial_weights(network, "model", tmp_path / "model")
    assert len(report.skipped) == 2
    assert torch.equal(network.encoder[1].conv1.weight, state["encoder.1.conv1.weight"])


def test_the_hub_is_asked_for_imagenet_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is stood in for; all else is the library's own loading code."""
    from segmentation_models_pytorch import encoders

    torch.manual_seed(2)
    state = _other(build_network(NetworkSpec(in_channels=3)).encoder)
    save_file(state, str(tmp_path / "model.safetensors"))
    asked = []

    def download(repo: str, filename: str, revision: str) -> str:
        asked.append((repo, filename))
        return str(tmp_path / filename)

    monkeypatch.setattr(encoders, "hf_hub_download", download)
    network = build_network(NetworkSpec(in_channels=4))
    report = load_initial_weights(network, "hub", encoder_name="resnet18")
    assert ("smp-hub/resnet18.imagenet", "model.safetensors") in asked
    assert report.loaded == report.total
    own = network.encoder.state_dict()
    assert torch.equal(own["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert torch.allclose(own["conv1.weight"][:, 3], state["conv1.weight"][:, 0] * 0.75)


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("offline"), ConnectionError("refused"), TimeoutError("slow")]
)
@pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_100"])
def test_no_network_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, encoder: str
) -> None:
    import timm.models._hub
    from segmentation_models_pytorch import encoders

    def download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(encoders, "hf_hub_download", download)
    monkeypatch.setattr(timm.models._hub, "hf_hub_download", download)
    network = build_network(NetworkSpec(encoder=encoder))
    with pytest.raises(
        WeightsError, match=r"^No network: .* choose the weights source file, model or scratch\.$"
    ):
        load_initial_weights(network, "hub", encoder_name=encoder)


def test_networks_without_hub_weights_say_so() -> None:
    with pytest.raises(WeightsError, match="classic U-Net"):
        load_initial_weights(build_network(CLASSIC), "hub")
