"""Build a detector from its spec: any encoder with a pyramid, torchvision's heads and losses on top.

The parts have names of their own (``encoder``, ``neck``, ``head``), so that an encoder trained for another task
finds its place. Inputs are batches of one size, made by ``core.tasks.detection.data``; torchvision's own resizing is
not used.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from typing import Any

import timm
import torch
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import MultiScaleRoIAlign, box_iou
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork

from core.learning.encoders import unknown_name_message
from core.tasks.detection.merging import SUPPRESSION_IOU
from core.tasks.detection.spec import GROUP_WIDTH, STRIDE, DetectorSpec

Tensors = dict[str, torch.Tensor]
SCORE_FLOOR = (
    0.03  # objects below are not kept: far under any threshold, but mean average precision counts them
)
NORM_GROUPS = 16
PRIOR_PROBABILITY = 0.01  # of an object at a place, before training: focal loss needs it low
MASK_SIDE = 28
POOL_SIDE, MASK_POOL_SIDE = 7, 14
PROPOSALS_PER_OBJECT = 3
SAMPLED_PROPOSALS = 128  # of an image, that the box head learns from; more without masks where objects crowd


def build_network(spec: DetectorSpec) -> Detector:
    """Build the detector, without pretrained weights.

    Raises:
        ValueError: when the encoder is unknown or gives no pyramid.
    """
    encoder = _build_encoder(spec)
    if spec.norm != "batch":
        _replace_norms(encoder, spec.norm)
    neck: nn.Module
    if spec.architecture == "ssdlite":
        neck = _ExtraLevels(_pyramid_widths(encoder, spec), spec)
    else:
        neck = _Pyramid(_pyramid_widths(encoder, spec), spec)
    widths = neck.widths if isinstance(neck, _ExtraLevels) else [spec.features] * spec.levels
    return Detector(spec, encoder, neck, HEADS[spec.architecture](spec, widths))


class Detector(nn.Module):
    """Encoder, neck and head: losses while training, objects otherwise."""

    def __init__(self, spec: DetectorSpec, encoder: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.neck = neck
        self.head = head
        self._is_encoder_frozen = False

    def forward(
        self, images: torch.Tensor, targets: list[Tensors] | None = None
    ) -> tuple[Tensors, list[Tensors]]:
        """Return (losses by name, objects of each image).

        Args:
            images: float (N, C, H, W).
            targets: in training, for each image "boxes" float32 (n, 4), "labels" int64 (n,) from 1 and, for
                networks with masks, "masks" uint8 (n, H, W).
        """
        features = self.neck(self.encoder(images))
        listed = ImageList(images, [(images.shape[2], images.shape[3])] * len(images))
        losses, found = self.head(listed, features, targets if self.training else None)
        return losses, found

    def train(self, mode: bool = True) -> Detector:
        """Set the mode; a frozen encoder stays as in prediction."""
        super().train(mode)
        if self._is_encoder_frozen:
            self.encoder.eval()
        return self

    def freeze_encoder(self, frozen: bool) -> None:
        """Stop or resume the training of the encoder."""
        self._is_encoder_frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.encoder.train(self.training and not frozen)


class _Pyramid(nn.Module):
    """Feature pyramid on the encoder's levels, and coarser levels by strided convolutions."""

    def __init__(self, widths: list[int], spec: DetectorSpec) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if spec.norm == "batch" else partial(nn.GroupNorm, NORM_GROUPS)
        self.fpn = FeaturePyramidNetwork(widths, spec.features, norm_layer=norm)
        coarser = spec.levels - len(widths)
        self.coarser = nn.ModuleList(
            nn.Conv2d(spec.features, spec.features, 3, stride=2, padding=1) for _ in range(coarser)
        )
        self.kept = len(widths)

    def forward(self, features: list[torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
        levels = list(self.fpn(OrderedDict(enumerate(features[-self.kept :]))).values())
        for convolution in self.coarser:
            levels.append(convolution(levels[-1]))
        return OrderedDict((str(number), level) for number, level in enumerate(levels))


class _ExtraLevels(nn.Module):
    """SSDlite's levels: the encoder's last two, and coarser ones by depthwise separable convolutions.

    Source: Sandler et al., MobileNetV2, 2018, section 6.2.
    """

    def __init__(self, widths: list[int], spec: DetectorSpec) -> None:
        super().__init__()
        self.widths = [*widths, *[spec.features] * (spec.levels - len(widths))]
        self.kept = len(widths)
        self.extra = nn.ModuleList(
            _separable(given, spec.features) for given in self.widths[self.kept - 1 : spec.levels - 1]
        )

    def forward(self, features: list[torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
        levels = list(features[-self.kept :])
        # In float32: oneDNN's bf16 gradient of a strided depthwise convolution reads foreign memory at 1 pixel.
        with torch.autocast(levels[-1].device.type, enabled=False):
            for block in self.extra:
                levels.append(block(levels[-1].float()))
        return OrderedDict((str(number), level) for number, level in enumerate(levels))


class _TwoStage(nn.Module):
    """Proposals, then a closer look at each: Faster and Mask R-CNN."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.rpn = model.rpn
        self.roi_heads = model.roi_heads
        # Hooks, not layers around them: the names of the weights stay torchvision's.
        self.rpn.head.register_forward_hook(_to_float)
        self.roi_heads.box_predictor.register_forward_hook(_to_float)

    def forward(
        self, images: ImageList, features: OrderedDict[str, torch.Tensor], targets: list[Tensors] | None
    ) -> tuple[Tensors, list[Tensors]]:
        proposals, first = self.rpn(images, features, targets)
        found, second = self.roi_heads(features, proposals, images.image_sizes, targets)
        names = {
            "loss_objectness": "rpn_object", "loss_rpn_box_reg": "rpn_box",
            "loss_classifier": "label", "loss_box_reg": "box", "loss_mask": "mask",
        }  # fmt: skip
        return {names[name]: value for name, value in {**first, **second}.items()}, found


class _OneStage(nn.Module):
    """Objects straight from the features: FCOS, RetinaNet and SSDlite.

    The sigmoid of the first two needs no class for the background, so that theirs begin at 0.
    """

    def __init__(self, model: FCOS | RetinaNet | SSD, centre_weight: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.centre_weight = centre_weight
        self.first_label = 1 if isinstance(model, SSD) else 0

    def forward(
        self, images: ImageList, features: OrderedDict[str, torch.Tensor], targets: list[Tensors] | None
    ) -> tuple[Tensors, list[Tensors]]:
        levels = list(features.values())
        outputs = {name: value.float() for name, value in self.model.head(levels).items()}
        anchors = self.model.anchor_generator(images, levels)
        counts = self.model.anchor_generator.num_anchors_per_location()
        per_level = [
            count * level.shape[2] * level.shape[3] for count, level in zip(counts, levels, strict=True)
        ]
        with torch.autocast(images.tensors.device.type, enabled=False):
            if targets is not None:
                moved = [one | {"labels": one["labels"] - 1 + self.first_label} for one in targets]
                return self._losses(outputs, anchors, moved, per_level), []
            found = self._objects(outputs, anchors, images.image_sizes, per_level)
            return {}, [one | {"labels": one["labels"] + 1 - self.first_label} for one in found]

    def _losses(
        self, outputs: Tensors, anchors: list[torch.Tensor], targets: list[Tensors], per_level: list[int]
    ) -> Tensors:
        if isinstance(self.model, FCOS):
            losses = self.model.compute_loss(targets, outputs, anchors, per_level)
        elif isinstance(self.model, RetinaNet):
            losses = self.model.compute_loss(targets, outputs, anchors)
        else:
            matches = [self._match(one["boxes"], given) for one, given in zip(targets, anchors, strict=True)]
            losses = self.model.compute_loss(targets, outputs, anchors, matches)
        names = {"classification": "label", "bbox_regression": "box", "bbox_ctrness": "centre"}
        return {names[name]: value for name, value in losses.items()}

    def _match(self, boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """Give each anchor of SSD its object, or -1."""
        if len(boxes) == 0:
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        matched: torch.Tensor = self.model.proposal_matcher(box_iou(boxes, anchors))
        return matched

    def _objects(
        self,
        outputs: Tensors,
        anchors: list[torch.Tensor],
        sizes: list[tuple[int, int]],
        per_level: list[int],
    ) -> list[Tensors]:
        found: list[Tensors]
        if isinstance(self.model, SSD):
            found = self.model.postprocess_detections(outputs, anchors, sizes)
            return found
        if isinstance(self.model, FCOS) and self.centre_weight != 1:
            # torchvision takes the root of label times centre: it gets the logit of a power of the centre.
            weighed = self.centre_weight * nn.functional.logsigmoid(outputs["bbox_ctrness"])
            outputs = outputs | {"bbox_ctrness": weighed - torch.log(-torch.expm1(weighed))}
        by_level = {name: list(value.split(per_level, dim=1)) for name, value in outputs.items()}
        split = [list(given.split(per_level)) for given in anchors]
        found = self.model.postprocess_detections(by_level, split, sizes)
        return found


class _Unused(nn.Module):
    """Stands where torchvision's classes want a backbone: features are handed to their heads directly."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


def _build_fcos(spec: DetectorSpec, widths: list[int]) -> nn.Module:
    anchors = AnchorGenerator(tuple((stride,) for stride in spec.strides), ((1.0,),) * spec.levels)
    model = FCOS(
        _Unused(spec.features),
        spec.classes,
        anchor_generator=anchors,
        head=FCOSHead(spec.features, 1, spec.classes, spec.head_convs),
        score_thresh=SCORE_FLOOR,
        nms_thresh=SUPPRESSION_IOU,
        detections_per_img=spec.objects,
        topk_candidates=_candidates(spec),
    )
    return _OneStage(model, spec.centre_weight)


def _build_retinanet(spec: DetectorSpec, widths: list[int]) -> nn.Module:
    anchors = _anchors(spec)
    count = anchors.num_anchors_per_location()[0]
    norm = partial(nn.GroupNorm, NORM_GROUPS)
    head = RetinaNetHead(spec.features, count, spec.classes, norm_layer=norm)
    for part in (head.classification_head, head.regression_head):
        part.conv = part.conv[: spec.head_convs]
    model = RetinaNet(
        _Unused(spec.features),
        spec.classes,
        anchor_generator=anchors,
        head=head,
        score_thresh=SCORE_FLOOR,
        nms_thresh=SUPPRESSION_IOU,
        detections_per_img=spec.objects,
        topk_candidates=_candidates(spec),
    )
    return _OneStage(model)


def _build_ssdlite(spec: DetectorSpec, widths: list[int]) -> nn.Module:
    anchors = _anchors(spec)
    counts = anchors.num_anchors_per_location()
    norm = nn.BatchNorm2d if spec.norm == "batch" else _group_norm
    model = SSD(
        _Unused(spec.features),
        anchors,
        (STRIDE, STRIDE),
        spec.classes + 1,
        head=SSDLiteHead(widths, counts, spec.classes + 1, norm),
        score_thresh=SCORE_FLOOR,
        nms_thresh=SUPPRESSION_IOU,
        detections_per_img=spec.objects,
        topk_candidates=_candidates(spec),
    )
    return _OneStage(model)


def _build_rcnn(spec: DetectorSpec, widths: list[int]) -> nn.Module:
    """Build the heads of Faster or Mask R-CNN, in torchvision's first or second version."""
    second = spec.architecture.endswith("_v2")
    anchors = _anchors(spec)
    levels = [str(number) for number in range(spec.levels)]
    proposals = max(2 * SAMPLED_PROPOSALS, PROPOSALS_PER_OBJECT * spec.objects)
    # Each sampled proposal that holds an object goes through the mask head, which takes most of a step's time.
    sampled = SAMPLED_PROPOSALS if spec.has_masks else max(SAMPLED_PROPOSALS, spec.objects)
    trained = min(proposals, 4 * sampled)
    settings: dict[str, Any] = {
        "rpn_anchor_generator": anchors,
        "rpn_head": RPNHead(spec.features, anchors.num_anchors_per_location()[0], 2 if second else 1),
        "rpn_pre_nms_top_n_train": 2 * trained,
        "rpn_pre_nms_top_n_test": 2 * proposals,
        "rpn_post_nms_top_n_train": trained,
        "rpn_post_nms_top_n_test": max(SAMPLED_PROPOSALS, 2 * spec.objects),
        "rpn_batch_size_per_image": 2 * SAMPLED_PROPOSALS,
        "box_roi_pool": MultiScaleRoIAlign(levels, POOL_SIDE, 2),
        "box_head": _box_head(spec, second),
        "box_predictor": FastRCNNPredictor(spec.head_features, spec.classes + 1),
        "box_batch_size_per_image": sampled,
        "box_score_thresh": SCORE_FLOOR,
        "box_nms_thresh": SUPPRESSION_IOU,
        "box_detections_per_img": spec.objects,
    }
    if not spec.has_masks:
        return _TwoStage(FasterRCNN(_Unused(spec.features), **settings))
    norm = partial(nn.GroupNorm, NORM_GROUPS) if second else None
    width = spec.features
    return _TwoStage(
        MaskRCNN(
            _Unused(width),
            mask_roi_pool=MultiScaleRoIAlign(levels, MASK_POOL_SIDE, 2),
            mask_head=MaskRCNNHeads(width, (width,) * (4 if second else 2), 1, norm_layer=norm),
            mask_predictor=_MaskPredictor(width, spec.classes + 1),
            **settings,
        )
    )


class _MaskPredictor(nn.Sequential):
    """Doubles the resolution and gives a mask for each label."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU(inplace=True), nn.Conv2d(width, classes, 1)
        )
        for layer in self:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _box_head(spec: DetectorSpec, second: bool) -> nn.Module:
    if not second:
        return TwoMLPHead(spec.features * POOL_SIDE**2, spec.head_features)
    return FastRCNNConvFCHead(
        (spec.features, POOL_SIDE, POOL_SIDE),
        [spec.features] * 4,
        [spec.head_features],
        norm_layer=partial(nn.GroupNorm, NORM_GROUPS),
    )


HEADS = {
    "fcos": _build_fcos,
    "retinanet": _build_retinanet,
    "faster_rcnn": _build_rcnn,
    "faster_rcnn_v2": _build_rcnn,
    "mask_rcnn": _build_rcnn,
    "mask_rcnn_v2": _build_rcnn,
    "ssdlite": _build_ssdlite,
}


def _anchors(spec: DetectorSpec) -> AnchorGenerator:
    return AnchorGenerator(spec.anchor_sizes, (spec.anchor_ratios,) * spec.levels)


def _candidates(spec: DetectorSpec) -> int:
    """Return how many places of a level are looked at before suppression."""
    return max(400, 4 * spec.objects)


def _build_encoder(spec: DetectorSpec) -> nn.Module:
    from segmentation_models_pytorch.encoders import get_encoder

    _check_timm_name(spec.encoder)
    try:
        encoder: nn.Module = get_encoder(spec.encoder, in_channels=spec.in_channels, depth=5, weights=None)
    except (ValueError, KeyError, RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The encoder {spec.encoder!r} gives no pyramid of features; choose another, such as resnet18."
        ) from error
    return encoder


def _pyramid_widths(encoder: nn.Module, spec: DetectorSpec) -> list[int]:
    """Return the channels of the encoder's levels from the spec's first stride on, to stride 32 at most."""
    widths = [int(width) for width in getattr(encoder, "out_channels")]  # noqa: B009 - of SMP, untyped
    first = int(math.log2(spec.first_stride))
    kept = widths[first : first + spec.levels]
    if len(widths) != 6 or not kept or min(kept) < 1:
        raise ValueError(
            f"The encoder {spec.encoder!r} gives no features at stride {spec.first_stride}; "
            "choose another, such as resnet18."
        )
    return kept


def _check_timm_name(encoder: str) -> None:
    """Refuse a ``tu-`` name timm does not know, with near matches."""
    if not encoder.startswith("tu-"):
        return
    if not timm.is_model(encoder.removeprefix("tu-")):
        known = tuple(f"tu-{name}" for name in timm.list_models())
        raise ValueError(unknown_name_message("encoder", encoder, known))


def _replace_norms(module: nn.Module, norm: str) -> None:
    """Put group or frozen batch normalisation in the place of batch normalisation; names stay the same."""
    if norm == "frozen":
        timm.layers.freeze_batch_norm_2d(module)
        return
    for name, child in module.named_children():
        if isinstance(child, timm.layers.BatchNormAct2d):
            replaced = timm.layers.GroupNormAct(child.num_features, _groups(child.num_features))
            replaced.drop, replaced.act = child.drop, child.act
            setattr(module, name, replaced)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _group_norm(child.num_features))
        else:
            _replace_norms(child, norm)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_groups(channels), channels)


def _groups(channels: int) -> int:
    """Return the number of groups: 16, or a part of it that divides the channels, of two channels at least."""
    return max(1, math.gcd(NORM_GROUPS, channels // 2))


def _separable(given: int, width: int) -> nn.Module:
    """Halve the resolution: a narrow 1x1 convolution, a depthwise 3x3 one, and a 1x1 one to the width."""
    narrow = max(GROUP_WIDTH, width // 2)
    return nn.Sequential(
        nn.Conv2d(given, narrow, 1, bias=False),
        _group_norm(narrow),
        nn.ReLU6(inplace=True),
        nn.Conv2d(narrow, narrow, 3, stride=2, padding=1, groups=narrow, bias=False),
        _group_norm(narrow),
        nn.ReLU6(inplace=True),
        nn.Conv2d(narrow, width, 1, bias=False),
        _group_norm(width),
        nn.ReLU6(inplace=True),
    )


def _to_float(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Turn a head's answers to float32: torchvision computes boxes in their precision, and bf16 rounds to pixels."""
    if isinstance(output, torch.Tensor):
        return output.float()
    return type(output)(_to_float(module, inputs, part) for part in output)
