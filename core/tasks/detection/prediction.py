"""From an image to boxes on its own grid: whole images and tiles, mirrored looks, fusion, and masks of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError

from core.errors import WeightsError
from core.learning.devices import autocast_for, memory_format_of
from core.learning.package import load_weights, read_card
from core.learning.planes import FloatArray, IntensityScale, channels_message, measure_scale, prepare_plane
from core.learning.preprocessing import Preprocessing
from core.readings.findings import link_findings
from core.readings.reading import Boxes, crop_shape, no_boxes
from core.tasks.detection.augmentation import mirror_boxes
from core.tasks.detection.frames import Frame, frames_of
from core.tasks.detection.merging import Found, fuse, join, merge_tiles, suppress
from core.tasks.detection.networks import Detector, build_network
from core.tasks.detection.spec import DetectorSpec, Framing, check_input_size
from core.tasks.task import PredictOptions
from core.types import Array, Image

# Pixels given to the network at once: enough to keep the device busy, little enough for any memory.
BATCH_PIXELS = {"cpu": 2**19, "cuda": 2**23}
DIMENSIONS = {"x": 3, "y": 2}  # of (N, C, H, W)
DEFAULT_OVERLAP = 0.25
MASK_LEVEL = 0.5
WHOLE_SHARE = 0.75  # of the tiles' overlap: sides from which the look at the whole counts
WHOLE_PIXELS = 8.0  # in its input, that an object must have
LEAST_SIDE = 1e-2  # of a box in image pixels


@dataclass(frozen=True)
class Rule:
    """How a model is used unless the user says otherwise; from its card.

    Attributes:
        threshold: score from which an object counts.
        mirror_axes: "x" and "y" as far as the network was trained on mirrored images.
        overlap: of tiles, as a share of their sides: the largest objects fit into it.
    """

    threshold: float = 0.5
    mirror_axes: tuple[str, ...] = ("x", "y")
    overlap: float = DEFAULT_OVERLAP


def load_predictor(package_dir: Path, device: str = "cpu") -> DetectionPredictor:
    """Check a model package, build its network and load its weights.

    Raises:
        WeightsError: when the package is damaged, foreign or for another task.
    """
    card = read_card(package_dir, "detection")
    state = load_weights(package_dir)
    try:
        spec = DetectorSpec.model_validate(card["spec"])
        preprocessing = Preprocessing.model_validate(card["preprocessing"])
        framing = Framing.model_validate(card["framing"])
        check_input_size(spec, preprocessing)
        values = [int(label["value"]) for label in card["labels"]]
        inference = card["inference"]
        axes = tuple(str(axis) for axis in inference["mirror_axes"])
        rule = Rule(float(inference["threshold"]), axes, float(inference["overlap"]))
        network = build_network(spec)
        network.load_state_dict(state)
        if len(values) != spec.classes:
            raise ValueError(f"{len(values)} labels for {spec.classes} classes")
    except (ValidationError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"The card of model {Path(package_dir).name!r} does not fit its weights; "
            "export or train the model again."
        ) from error
    network.to(device=device, memory_format=memory_format_of(device))  # type: ignore[call-overload]
    return DetectionPredictor(network, (preprocessing, framing), values, device, rule)


class DetectionPredictor:
    """A network with all that is needed to read images with it."""

    def __init__(
        self,
        network: Detector,
        looks: tuple[Preprocessing, Framing],
        label_values: Sequence[int],
        device: str = "cpu",
        rule: Rule | None = None,
    ) -> None:
        """Keep the network, moved to the device.

        Args:
            network: gives boxes, scores and class numbers from 1.
            looks: how images become its input, and at which scale.
            label_values: the project's value of each class, in the order of the class numbers.
            device: "cpu" or "cuda:N".
            rule: how the model is used by default.
        """
        self.network = network.to(device)
        self.preprocessing, self.framing = looks
        self.device = device
        self.rule = rule or Rule()
        self.values = np.array((0, *label_values), dtype=np.uint16)
        self._turns: list[tuple[str, ...]] = [()]
        for axis in self.rule.mirror_axes:
            self._turns += [(*turn, axis) for turn in self._turns]

    def predict(self, image: Image, options: PredictOptions) -> Boxes:
        """Return the objects of one image on its own grid; volumes and frames plane by plane.

        Volumes' objects are linked to findings in space. With ``options.keep_probabilities`` unsure objects are
        kept, too, so that another threshold can be chosen later; the reading says from which score they count.

        Raises:
            WeightsError: when the image's channels do not fit the model.
        """
        problem = channels_message(image.info.channels, self.preprocessing.channels)
        if problem is not None:
            raise WeightsError(problem)
        threshold = self.rule.threshold if options.threshold is None else options.threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}.")
        scale = measure_scale(image, self.preprocessing)
        planes = []
        for index in range(image.info.slices):
            found = self._read_plane(image, index, scale, options)
            planes.append(self.to_boxes(found, index, image.info.spatial_shape[-2:]))
        boxes = replace(join_planes(planes), threshold=float(threshold))
        if image.info.is_volume:
            boxes = link_findings(boxes)
        return boxes if options.keep_probabilities else boxes.decided()

    def detect(self, inputs: FloatArray, flips: bool) -> list[Found]:
        """Return the objects of each input (N, H, W, channels), in input pixels.

        With ``flips`` the inputs and their mirror images (along the axes trained on) are looked at and what they
        show is fused.
        """
        turns = self._turns if flips else self._turns[:1]
        training = self.network.training
        self.network.eval()
        try:
            # Channels last at rest is torch's channels_last layout: no copy is made.
            images = torch.from_numpy(inputs).permute(0, 3, 1, 2).to(self.device, non_blocking=True)
            looks = [self._look(images, turn) for turn in turns]
        finally:
            self.network.train(training)
        if len(looks) == 1:
            return looks[0]
        return [fuse(list(one)) for one in zip(*looks, strict=True)]

    def to_boxes(self, found: Found, plane: int, shape_yx: tuple[int, ...]) -> Boxes:
        """Return a plane's objects as a reading: inside the image, with the project's label values."""
        limit = np.array([shape_yx[1], shape_yx[0], shape_yx[1], shape_yx[0]], np.float32)
        corners = np.clip(found.box_xyxy, 0, limit).astype(np.float32)
        kept = (corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) > LEAST_SIDE
        found, corners = found.only(kept), corners[kept]
        crops = None
        if self.network.spec.has_masks:
            masks = found.masks if found.masks is not None else np.zeros((0, 1, 1), np.float32)
            crops = tuple(
                crop_of(mask, whole, box)
                for mask, whole, box in zip(masks, found.box_xyxy, corners, strict=True)
            )
        return Boxes(
            corners,
            self.values[found.labels],
            np.full(len(found), plane, np.int32),
            np.clip(found.scores, 0, 1).astype(np.float32),
            crops,
        )

    @property
    def batch_size(self) -> int:
        """Inputs given to the network at once."""
        pixels = BATCH_PIXELS[self.device.partition(":")[0]]
        return max(1, pixels // (self.preprocessing.input_height * self.preprocessing.input_width))

    def _read_plane(self, image: Image, index: int, scale: IntensityScale, options: PredictOptions) -> Found:
        """Return the objects of one plane in its pixels."""
        plane = image.plane(index)
        overlap = self.rule.overlap if options.overlap is None else options.overlap
        shape = (plane.shape[0], plane.shape[1])
        frames = frames_of(shape, self.preprocessing, self.framing, overlap)
        size = (self.preprocessing.input_height, self.preprocessing.input_width)

        def prepare(part: Array) -> FloatArray:
            return prepare_plane(part, image.info, self.preprocessing, scale)

        parts: list[Found] = []
        for batch in _batches(frames, self.batch_size):
            inputs = np.stack([frame.cut(plane, prepare, size) for frame in batch])
            for frame, found in zip(batch, self.detect(inputs, options.flips), strict=True):
                parts.append(place_in_image(found, frame))
        if len(frames) == 1:
            return suppress(parts[0], across_labels=True) if options.across_labels else parts[0]
        # Of the whole, looked at from afar, only what tiles may have cut: small objects are a blur there.
        cut_from = WHOLE_SHARE * overlap * min(frames[1].height, frames[1].width)
        least = max(cut_from, WHOLE_PIXELS / min(frames[0].scale_xy))
        sides = (parts[0].box_xyxy[:, 2:] - parts[0].box_xyxy[:, :2]).max(axis=1, initial=0)
        parts[0] = parts[0].only(sides >= least)
        is_cut = [frame.is_cut(part.box_xyxy, shape) for frame, part in zip(frames, parts, strict=True)]
        return merge_tiles(join(parts), np.concatenate(is_cut), options.across_labels)

    def _look(self, images: torch.Tensor, turn: tuple[str, ...]) -> list[Found]:
        """Return the objects of mirrored images, mirrored back."""
        axes = [DIMENSIONS[axis] for axis in turn]
        with torch.inference_mode(), autocast_for(self.device):
            _, found = self.network(images.flip(axes) if axes else images)
        return [self._turned_back(one, turn, (images.shape[2], images.shape[3])) for one in found]

    def _turned_back(
        self, found: dict[str, torch.Tensor], turn: tuple[str, ...], size: tuple[int, int]
    ) -> Found:
        boxes, masks = _numbers(found["boxes"]), None
        if "masks" in found:
            masks = _numbers(found["masks"])[:, 0]
        for axis in turn:
            boxes = mirror_boxes(boxes, size[1] if axis == "x" else size[0], axis=0 if axis == "x" else 1)
            masks = None if masks is None else np.flip(masks, 2 if axis == "x" else 1)
        labels = found["labels"].cpu().numpy().astype(np.int64)
        return Found(boxes, _numbers(found["scores"]), labels, masks)


def join_planes(planes: list[Boxes]) -> Boxes:
    """Lay the objects of all planes of an image one after the other."""
    if not planes:
        return no_boxes()
    has_crops = all(one.crops is not None for one in planes)
    return Boxes(
        np.concatenate([one.box_xyxy for one in planes]),
        np.concatenate([one.labels for one in planes]),
        np.concatenate([one.planes for one in planes]),
        np.concatenate([one.scores for one in planes if one.scores is not None]),
        tuple(crop for one in planes for crop in one.crops or ()) if has_crops else None,
    )


def crop_of(mask: FloatArray, whole_xyxy: Array, box_xyxy: Array) -> npt.NDArray[np.bool_]:
    """Return which pixels of a box belong to its object.

    Args:
        mask: (m, m) probabilities over the box as it was found.
        whole_xyxy: that box; it may reach out of the image.
        box_xyxy: the same inside the image; pixels are those it touches.
    """
    rows, columns = crop_shape(box_xyxy)
    left, top = np.floor(box_xyxy[:2])
    width, height = whole_xyxy[2:] - whole_xyxy[:2]
    step_x, step_y = mask.shape[1] / width, mask.shape[0] / height
    # Pixel centres of both grids are laid over each other.
    place = np.array(
        [
            [step_x, 0, (left + 0.5 - whole_xyxy[0]) * step_x - 0.5],
            [0, step_y, (top + 0.5 - whole_xyxy[1]) * step_y - 0.5],
        ]
    )
    seen = cv2.warpAffine(
        np.ascontiguousarray(mask, dtype=np.float32),
        place,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    crop: npt.NDArray[np.bool_] = seen >= MASK_LEVEL
    return crop


def place_in_image(found: Found, frame: Frame) -> Found:
    """Bring a frame's objects from the input to the image; those in the filling are left out."""
    found = found.only((found.box_xyxy[:, 0] < frame.columns) & (found.box_xyxy[:, 1] < frame.rows))
    return Found(frame.to_image(found.box_xyxy), found.scores, found.labels, found.masks)


def _numbers(values: torch.Tensor) -> FloatArray:
    return np.asarray(values.float().cpu().numpy(), dtype=np.float32)


def _batches(frames: list[Frame], size: int) -> Iterator[list[Frame]]:
    left = iter(frames)
    while batch := list(islice(left, size)):
        yield batch
