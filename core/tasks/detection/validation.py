"""How good a network is on the validation cases, and pictures of what it finds in some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.imaging.stored import read_image
from core.imaging.windows import default_window, to_display
from core.learning.snapshot import SnapshotItem
from core.readings.picture import draw_boxes, to_rgb, write_png
from core.tasks.detection.data import BoxCache
from core.tasks.detection.frames import pad_to, whole_frame
from core.tasks.detection.merging import Found, suppress
from core.tasks.detection.networks import Detector
from core.tasks.detection.planning import Plan
from core.tasks.detection.prediction import DetectionPredictor, Rule
from core.tasks.detection.scores import DetectionScores, PlanePair, score_planes
from core.tasks.task import PredictOptions
from core.types import Label

SHOWN_SIDE = 480  # of a sample picture, at most


@dataclass(frozen=True)
class ValidationData:
    """The validation cases, and how to compute on them.

    Attributes:
        items: the cases.
        labels: the label set.
        cache: their planes at the network's scale, with their boxes.
        plan: the training's plan.
        device: where to compute.
        rule: how the model will be used.
        samples: planes that are drawn after each validation.
    """

    items: tuple[SnapshotItem, ...]
    labels: tuple[Label, ...]
    cache: BoxCache
    plan: Plan
    device: str
    rule: Rule
    samples: int

    def predictor(self, network: Detector) -> DetectionPredictor:
        """Return the network as it will be used."""
        looks = (self.plan.preprocessing, self.plan.framing)
        return DetectionPredictor(network, looks, [label.value for label in self.labels], self.device, self.rule)


def validate(
    network: Detector, data: ValidationData, keep_going: Callable[[], None], flips: bool = False
) -> tuple[DetectionScores, list[Found]]:
    """Run the network on all validation cases; return scores and what it found on each plane.

    Args:
        network: is put in evaluation mode and back.
        data: what to run on.
        keep_going: called between batches; may raise to stop.
        flips: fuse what mirrored looks show, as prediction does by default.
    """
    read = _read_whole if data.plan.framing.mode == "whole" else _read_tiles
    found = read(data.predictor(network), data, keep_going, flips)
    pairs = [PlanePair(one, truth) for one, truth in zip(found, data.cache.boxes, strict=True)]
    return score_planes(pairs, len(data.labels)), found


def draw_samples(
    predictor: DetectionPredictor, data: ValidationData, found: list[Found], threshold: float, folder: Path
) -> list[str]:
    """Draw what was found on some validation planes, evenly chosen; return the pictures' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    count = min(data.samples, len(found))
    files = []
    for place in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int)):
        item = data.items[int(data.cache.images.items[place])]
        image = read_image(item.image_path, item.info)
        window = image.info.window or default_window(image.array, image.info)
        plane = to_display(image.plane(int(data.cache.images.slices[place])), window, image.info.inverted)
        sure = found[place].only(found[place].scores >= threshold)
        boxes = predictor.to_boxes(sure, 0, plane.shape[:2])
        scale = min(1.0, SHOWN_SIDE / max(plane.shape[:2]))
        size = (round(plane.shape[1] * scale), round(plane.shape[0] * scale))
        shown = to_rgb(cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_AREA))
        path = folder / f"{len(files)}.png"
        write_png(draw_boxes(shown, boxes, data.labels, (scale, scale)), path)
        files.append(str(path))
    return files


def _read_whole(
    predictor: DetectionPredictor, data: ValidationData, keep_going: Callable[[], None], flips: bool
) -> list[Found]:
    """Read planes from the cache, several at a time; objects in image pixels."""
    every: list[Found] = []
    size = predictor.batch_size
    for first in range(0, len(data.cache), size):
        keep_going()
        every += _whole_found(predictor, data, list(range(first, min(first + size, len(data.cache)))), flips)
    return every


def _whole_found(
    predictor: DetectionPredictor, data: ValidationData, planes: list[int], flips: bool
) -> list[Found]:
    size = data.plan.input_size
    inputs = [pad_to(data.cache.images.plane(number).astype(np.float32), size) for number in planes]
    found = []
    for number, one in zip(planes, predictor.detect(np.stack(inputs), flips), strict=True):
        shape = (int(data.cache.sizes[number, 0]), int(data.cache.sizes[number, 1]))
        frame = whole_frame(shape, data.plan.preprocessing, data.plan.framing)
        kept = suppress(one)
        found.append(Found(frame.to_image(kept.box_xyxy), kept.scores, kept.labels, kept.masks))
    return found


def _read_tiles(
    predictor: DetectionPredictor, data: ValidationData, keep_going: Callable[[], None], flips: bool
) -> list[Found]:
    """Read large planes as prediction does."""
    options = PredictOptions(flips=flips, device=data.device)
    number_of = {int(value): number for number, value in enumerate(predictor.values)}
    every: list[Found] = []
    for item in data.items:
        keep_going()
        boxes = predictor.predict(read_image(item.image_path, item.info), options)
        labels = np.array([number_of[int(value)] for value in boxes.labels], np.int64)
        scores = boxes.scores if boxes.scores is not None else np.ones(len(boxes), np.float32)
        found = Found(boxes.box_xyxy, scores, labels)
        every += [found.only(boxes.planes == plane) for plane in range(item.info.slices)]
    return every
