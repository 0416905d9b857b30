"""Networks: all build from their spec, with sound losses and boxes; what does not fit is refused in a sentence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.tasks.detection.networks import _OneStage, build_network
from core.tasks.detection.spec import DETECTORS, DetectorSpec, Framing

TARGETS = [
    {
        "boxes": torch.tensor([[8.0, 8.0, 30.0, 28.0], [36.0, 20.0, 60.0, 50.0]]),
        "labels": torch.tensor([1, 2]),
        "masks": torch.ones(2, 64, 64, dtype=torch.uint8),
    },
    {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 64, dtype=torch.uint8),
    },
]


def spec_of(architecture: str, **values: object) -> DetectorSpec:
    """Return a small spec with anchors where the architecture has any."""
    first, levels = (16, 3) if architecture == "ssdlite" else (8, 3)
    if architecture != "fcos":
        values = {"anchor_sizes": tuple((4.0 * first * 2**n,) for n in range(levels)), **values}
    return DetectorSpec.model_validate(
        {
            "architecture": architecture, "features": 32, "head_convs": 1, "head_features": 16, "in_channels": 1,
            "classes": 2, "first_stride": first, "levels": levels, **values,
        }
    )  # fmt: skip


@pytest.mark.parametrize("architecture", DETECTORS)
def test_losses_and_boxes_are_sound_in_either_precision(architecture: str) -> None:
    torch.manual_seed(0)
    network = build_network(spec_of(architecture))
    images = torch.randn(2, 1, 64, 64)
    for is_bf16 in (False, True):
        network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            losses, found = network(images, TARGETS)
        assert found == []
        assert all(torch.isfinite(value) for value in losses.values())
        torch.stack([value.float() for value in losses.values()]).sum().backward()
        assert all(
            torch.isfinite(value.grad).all() for value in network.parameters() if value.grad is not None
        )
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            _, objects = network(images)
        assert len(objects) == 2
        assert all(one["boxes"].dtype == torch.float32 for one in objects)  # bf16 would round to whole pixels
        assert all(("masks" in one) == architecture.startswith("mask") for one in objects)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_100", "tu-resnet10t"])
@pytest.mark.parametrize("norm", ["group", "frozen", "batch"])
def test_norms_are_replaced_and_keep_their_names(encoder: str, norm: str) -> None:
    network = build_network(spec_of("fcos", encoder=encoder, norm=norm))
    plain = build_network(spec_of("fcos", encoder=encoder, norm="batch"))
    has_batch_norm = any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    assert has_batch_norm == (norm == "batch")
    names = {name for name, _ in network.encoder.named_parameters()}
    expected = {name for name, _ in plain.encoder.named_parameters()}
    if norm == "frozen":  # kept as statistics, not trained
        assert names < expected
        assert {name for name in plain.encoder.state_dict() if "num_batches" not in name} == set(
            network.encoder.state_dict()
        )
    else:
        assert names == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoder", ["resnet50", "efficientnet-b0", "densenet121", "vgg11_bn", "mobilenet_v2", "tu-convnext_atto"]
)
def test_encoders_give_pyramids(encoder: str) -> None:
    for architecture in ("fcos", "faster_rcnn", "ssdlite"):
        network = build_network(spec_of(architecture, encoder=encoder)).eval()
        with torch.inference_mode():
            network(torch.randn(1, 1, 64, 64))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_inputs_have_one_to_four_channels(channels: int) -> None:
    network = build_network(spec_of("fcos", in_channels=channels)).eval()
    with torch.inference_mode():
        assert len(network(torch.randn(1, channels, 64, 96))[1]) == 1


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_centre_weighs_as_much_as_the_spec_says(weight: float) -> None:
    """The score of FCOS is the geometric mean of label and centre; here the centre counts by a power."""
    torch.manual_seed(0)
    network = build_network(spec_of("fcos", centre_weight=weight)).eval()
    head = network.head
    assert isinstance(head, _OneStage)
    seen: dict[str, torch.Tensor] = {}
    head.model.head.register_forward_hook(lambda module, inputs, output: seen.update(output))
    head.model.score_thresh, head.model.nms_thresh = 0.0, 1.1  # every place gives a box
    with torch.inference_mode():
        _, (found,) = network(torch.randn(1, 1, 64, 64))
    label, centre = seen["cls_logits"][0].sigmoid(), seen["bbox_ctrness"][0].sigmoid()
    wanted = (label * centre**weight).sqrt().max()
    assert float(found["scores"].max()) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("coarser", [0, 1, 2])
def test_levels_beyond_the_encoder(coarser: int) -> None:
    spec = spec_of("fcos", levels=3 + coarser)
    network = build_network(spec).eval()
    with torch.inference_mode():
        features = network.neck(network.encoder(torch.randn(1, 1, 256, 256)))
    assert [256 // level.shape[2] for level in features.values()] == list(spec.strides)


def test_coarser_levels_of_ssdlite_are_computed_in_float32() -> None:
    """OneDNN's bf16 gradient of a strided depthwise convolution at one pixel is not a number at times."""
    network = build_network(spec_of("ssdlite")).train()
    inputs: list[torch.Tensor] = []
    for layer in network.neck.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, given, output: inputs.extend((given[0], output)))
    with torch.autocast("cpu", torch.bfloat16):
        network.neck(network.encoder(torch.randn(2, 1, 32, 32)))
    assert inputs[0].shape[2:] == (1, 1)
    assert {values.dtype for values in inputs} == {torch.float32}


def test_a_frozen_encoder_stays_in_evaluation() -> None:
    network = build_network(spec_of("fcos", norm="batch"))
    network.freeze_encoder(True)
    network.train()
    assert not network.encoder.training
    assert network.head.training
    network.freeze_encoder(False)
    assert network.encoder.training


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"architecture": "fcoss"}, "fcos"),
        ({"encoder": "resnet81"}, "resnet18"),
        ({"anchor_sizes": ((8.0,),), "architecture": "retinanet"}, "3 levels"),
        ({"anchor_sizes": ((8.0,), (16.0, 20.0), (32.0,)), "architecture": "retinanet"}, "same number"),
        ({"anchor_sizes": ((8.0,), (-16.0,), (32.0,)), "architecture": "retinanet"}, "positive"),
        ({"features": 40}, "multiple of 32"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DetectorSpec.model_validate({"architecture": "fcos", **values})


@pytest.mark.parametrize("encoder", ["tu-resnet10x", "tu-vit_tiny_patch16_224"])
def test_encoders_without_a_pyramid_are_named(encoder: str) -> None:
    with pytest.raises(ValueError, match=encoder):
        build_network(spec_of("fcos", encoder=encoder, first_stride=4, levels=4, in_channels=1))


def test_framing_checks_its_order() -> None:
    with pytest.raises(ValueError, match="between"):
        Framing(scale=2.0, lowest=0.5, highest=1.0)
