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
from core.readings.reading import Boxes
from core.tasks.detection.data import BoxCache
from core.tasks.detection.frames import pad_to, whole_frame
from core.tasks.detection.networks import Detector
from core.tasks.detection.planning import Plan
from core.tasks.detection.prediction import DetectionPredictor, Rule, join_planes, place_in_image
from core.tasks.detection.scores import Scores, score_readings
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
        return DetectionPredictor(
            network, looks, [label.value for label in self.labels], self.device, self.rule
        )


def validate(
    network: Detector, data: ValidationData, keep_going: Callable[[], None], flips: bool = False
) -> tuple[Scores, list[Boxes]]:
    """Run the network on all validation cases; return scores and what it found in each.

    Args:
        network: is put in evaluation mode and back.
        data: what to run on.
        keep_going: called between batches; may raise to stop.
        flips: fuse what mirrored looks show, as prediction does by default.
    """
    read = _read_whole if data.plan.framing.mode == "whole" else _read_tiles
    found = read(data.predictor(network), data, keep_going, flips)
    return score_readings(data.items, found, data.cache.readings, data.labels), found


def draw_samples(data: ValidationData, found: list[Boxes], threshold: float, folder: Path) -> list[str]:
    """Draw what was found in some validation planes, evenly chosen; return the pictures' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    count = min(data.samples, len(data.cache))
    files: list[str] = []
    for place in np.unique(np.linspace(0, len(data.cache) - 1, count).round().astype(int)):
        number, index = int(data.cache.images.items[place]), int(data.cache.images.slices[place])
        item = data.items[number]
        image = read_image(item.image_path, item.info)
        window = image.info.window or default_window(image.array, image.info)
        plane = to_display(image.plane(index), window, image.info.inverted)
        boxes = found[number].only(found[number].planes == index).at_threshold(threshold)
        scale = min(1.0, SHOWN_SIDE / max(plane.shape[:2]))
        size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
        shown = to_rgb(cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_AREA))
        path = folder / f"{len(files)}.png"
        write_png(draw_boxes(shown, boxes, data.labels, (scale, scale)), path)
        files.append(str(path))
    return files


def _read_whole(
    predictor: DetectionPredictor, data: ValidationData, keep_going: Callable[[], None], flips: bool
) -> list[Boxes]:
    """Read planes from the cache, several at a time."""
    by_item: list[list[Boxes]] = [[] for _ in data.items]
    images, size = data.cache.images, predictor.batch_size
    for first in range(0, len(data.cache), size):
        keep_going()
        planes = range(first, min(first + size, len(data.cache)))
        inputs = [pad_to(images.plane(number).astype(np.float32), data.plan.input_size) for number in planes]
        for number, found in zip(planes, predictor.detect(np.stack(inputs), flips), strict=True):
            shape = (int(data.cache.sizes[number, 0]), int(data.cache.sizes[number, 1]))
            frame = whole_frame(shape, data.plan.preprocessing, data.plan.framing)
            placed = place_in_image(found, frame)
            boxes = predictor.to_boxes(placed, int(images.slices[number]), shape)
            by_item[int(images.items[number])].append(boxes)
    return [join_planes(planes) for planes in by_item]


def _read_tiles(
    predictor: DetectionPredictor, data: ValidationData, keep_going: Callable[[], None], flips: bool
) -> list[Boxes]:
    """Read large planes as prediction does."""
    options = PredictOptions(flips=flips, device=data.device)
    found = []
    for item in data.items:
        keep_going()
        found.append(predictor.predict(read_image(item.image_path, item.info), options))
    return found
