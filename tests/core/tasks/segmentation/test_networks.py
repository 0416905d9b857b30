"""Networks: shapes, names, the textbook's numbers, freezing, dropout."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError

from core.learning.encoders import ENCODERS
from core.learning.preprocessing import Preprocessing
from core.tasks.segmentation.networks import build_network, freeze_encoder, unfreeze_encoder
from core.tasks.segmentation.spec import ARCHITECTURES, NetworkSpec, check_input_size

SMALL = NetworkSpec(architecture="classic_unet", base_features=4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (4, 5)])
def test_every_architecture_maps_channels_to_classes(architecture: str, channels: int, classes: int) -> None:
    spec = NetworkSpec(architecture=architecture, in_channels=channels, classes=classes, base_features=4)
    network = build_network(spec).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, channels, 128, 160)).shape == (2, classes, 128, 160)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_offered_encoder_builds_and_trains(encoder: str) -> None:
    network = build_network(NetworkSpec(encoder=encoder, in_channels=1, classes=3)).train()
    network(torch.randn(2, 1, 64, 64)).sum().backward()
    assert any(value.grad is not None for value in network.encoder.parameters())


@pytest.mark.parametrize("encoder", ["vgg11_bn", "efficientnet-b0", "mobilenet_v2", "mit_b0", "tu-resnet10t"])
def test_encoders_of_each_family(encoder: str) -> None:
    network = build_network(NetworkSpec(encoder=encoder)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 32, 64)).shape == (1, 2, 32, 64)


def test_the_classic_unet_has_the_textbook_numbers() -> None:
    """31,030,658 is the count given everywhere for the padded U-Net with one channel and two classes."""
    network = build_network(NetworkSpec(architecture="classic_unet", norm="none"))
    widths = [pair.conv1.out_channels for pair in network.encoder]
    assert widths == [64, 128, 256, 512, 1024]
    assert sum(value.numel() for value in network.parameters()) == 31_030_658
    kernels = {
        name: module.kernel_size for name, module in network.named_modules() if hasattr(module, "kernel_size")
    }
    assert kernels["pool"] == 2
    assert kernels["segmentation_head"] == (1, 1)
    assert all(size == (2, 2) for name, size in kernels.items() if name.endswith(".up"))
    assert all(size == (3, 3) for name, size in kernels.items() if ".conv" in name)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("levels", [2, 4])
def test_classic_variants_learn(norm: str, levels: int) -> None:
    torch.manual_seed(0)
    spec = SMALL.model_copy(update={"norm": norm, "levels": levels, "in_channels": 2, "classes": 3})
    network = build_network(spec)
    images, target = torch.randn(2, 2, 16, 32), torch.randint(0, 3, (2, 16, 32))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(value.grad is not None for value in network.parameters())


def test_sizes_that_do_not_divide_are_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="divisible by 16, got 24 x 32"):
        build_network(SMALL)(torch.zeros(1, 1, 24, 32))
    with pytest.raises(ValueError, match=r"divisible by 32 for Unet, got 250 x 256; 256 x 256 would do"):
        check_input_size(NetworkSpec(), Preprocessing(input_height=250))
    with pytest.raises(ValueError, match="3 channels but preprocessing makes 1"):
        check_input_size(NetworkSpec(in_channels=3), Preprocessing())
    check_input_size(SMALL, Preprocessing(input_height=48, input_width=64))


def test_unknown_names_bring_near_ones() -> None:
    with pytest.raises(ValidationError, match=r"'resnet19'; near names are .*resnet18"):
        NetworkSpec(encoder="resnet19")
    with pytest.raises(ValidationError, match=r"'UNet'; near names are .*Unet"):
        NetworkSpec(architecture="UNet")
    with pytest.raises(ValueError, match=r"'tu-resnet19d'; near names are .*tu-resnet18d"):
        build_network(NetworkSpec(encoder="tu-resnet19d"))
    for wrong in ({"in_channels": 5}, {"classes": 1}, {"dropout": 1.0}, {"levels": 1}, {"colour": 1}):
        with pytest.raises(ValidationError):
            NetworkSpec.model_validate(wrong)


@pytest.mark.parametrize(
    ("architecture", "encoder"), [("UnetPlusPlus", "mit_b0"), ("Linknet", "mit_b0"), ("DeepLabV3", "vgg11")]
)
def test_pairs_that_do_not_work_are_refused(architecture: str, encoder: str) -> None:
    with pytest.raises(ValueError, match=f"'{encoder}' does not work with {architecture}"):
        build_network(NetworkSpec(architecture=architecture, encoder=encoder))


def test_decoder_widths_can_be_set() -> None:
    wide = sum(value.numel() for value in build_network(NetworkSpec()).decoder.parameters())
    narrow = NetworkSpec(decoder_channels=(64, 32, 16, 16, 8))
    assert sum(value.numel() for value in build_network(narrow).decoder.parameters()) < wide
    with pytest.raises(ValidationError, match="cannot be set for FPN"):
        NetworkSpec(architecture="FPN", decoder_channels=(1, 2, 3, 4, 5))


def test_specs_survive_json() -> None:
    spec = NetworkSpec(decoder_channels=(64, 32, 16, 16, 8), dropout=0.1)
    assert NetworkSpec.model_validate_json(spec.model_dump_json()) == spec
    preprocessing = Preprocessing(channels=3, mean=(0.1, 0.2, 0.3), target_spacing_mm=(0.5, 0.5), fit="patch")
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing


@pytest.mark.parametrize("spec", [SMALL, NetworkSpec()], ids=["classic", "library"])
def test_a_frozen_encoder_stays_as_it_is(spec: NetworkSpec) -> None:
    torch.manual_seed(0)
    network = build_network(spec)
    freeze_encoder(network)
    network.train()  # a training loop calls this at each epoch
    frozen = copy.deepcopy(network.encoder.state_dict())
    decoder = copy.deepcopy(network.decoder.state_dict())
    trainable = [value for value in network.parameters() if value.requires_grad]
    optimiser = torch.optim.SGD(trainable, 0.1)
    network(torch.randn(4, 1, 32, 32)).square().mean().backward()
    optimiser.step()
    assert all(torch.equal(value, frozen[key]) for key, value in network.encoder.state_dict().items())
    assert any(not torch.equal(value, decoder[key]) for key, value in network.decoder.state_dict().items())
    unfreeze_encoder(network)
    assert all(value.requires_grad for value in network.parameters())
    network(torch.randn(4, 1, 32, 32)).mean().backward()
    assert any(not torch.equal(value, frozen[key]) for key, value in network.encoder.state_dict().items())


def test_unfreezing_in_prediction_does_not_start_training_norms() -> None:
    network = build_network(SMALL).eval()
    freeze_encoder(network)
    unfreeze_encoder(network)
    assert not network.encoder.training
    assert network.train().encoder.training


@pytest.mark.parametrize("architecture", ["classic_unet", "Unet"])
def test_dropout_acts_in_training_only_and_renames_nothing(architecture: str) -> None:
    plain = build_network(NetworkSpec(architecture=architecture, base_features=4, norm="group"))
    dropping = build_network(
        NetworkSpec(architecture=architecture, base_features=4, norm="group", dropout=0.5)
    )
    dropping.load_state_dict(plain.state_dict())
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        dropping.train()
        assert not torch.equal(dropping(images), dropping(images))
        copied = copy.deepcopy(dropping).eval()  # as averaging of weights does
        fresh = build_network(NetworkSpec(architecture=architecture, base_features=4, norm="group"))
        fresh.load_state_dict(dropping.state_dict())
        assert torch.equal(copied(images), fresh.eval()(images))
