"""How good a network is on the validation cases: Dice per case on the image's own grid, as evaluation does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.imaging.stored import read_image
from core.learning.planes import undo_fit
from core.learning.snapshot import SnapshotItem
from core.tasks.segmentation.data import PlaneCache, class_numbers, middle_window
from core.tasks.segmentation.planning import Plan, read_labels
from core.tasks.segmentation.prediction import SegmentationPredictor
from core.tasks.task import PredictOptions
from core.types import Array, Label

BATCH_PIXELS = {"cpu": 2**19, "cuda": 2**22}


@dataclass(frozen=True)
class ValidationData:
    """The validation cases, and how to compute on them.

    Attributes:
        items: the cases.
        labels: the label set.
        cache: their planes at the network's grid.
        plan: the training's plan.
        loss: of logits and targets.
        device: where to compute.
        precision: gives a fresh autocast context.
    """

    items: tuple[SnapshotItem, ...]
    labels: tuple[Label, ...]
    cache: PlaneCache
    plan: Plan
    loss: nn.Module
    device: str
    precision: Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class ValidationScores:
    """Results: mean loss over planes and Dice per case and label, shape (cases, labels)."""

    loss: float
    dice: npt.NDArray[np.float64]

    @property
    def mean_dice(self) -> float:
        """Mean over cases of the mean over labels."""
        return float(self.dice.mean())


def validate(network: nn.Module, data: ValidationData, keep_going: Callable[[], None]) -> ValidationScores:
    """Run the network on all validation cases.

    Args:
        network: is put in evaluation mode and back.
        data: what to run on.
        keep_going: called between batches; may raise to stop.
    """
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            if data.plan.preprocessing.fit == "resize":
                return _validate_whole(network, data, keep_going)
            return _validate_windows(network, data, keep_going)
    finally:
        network.train(training)


def _validate_whole(
    network: nn.Module, data: ValidationData, keep_going: Callable[[], None]
) -> ValidationScores:
    """Read whole planes from the cache, several at a time: loss and Dice from one pass."""
    counts = np.zeros((len(data.items), len(data.labels), 3), dtype=np.int64)
    references = _References(data)
    total = 0.0
    for planes in _plane_batches(data):
        keep_going()
        logits, loss = _forward(network, data, [data.cache.plane(number) for number in planes])
        total += loss * len(planes)
        probabilities = logits.float().softmax(dim=1).cpu().numpy()
        for number, seen in zip(planes, probabilities, strict=True):
            item, reference = references.plane(number)
            found = undo_fit(seen, (reference.shape[0], reference.shape[1])).argmax(axis=0)
            counts[item] += count_overlap(found, reference, len(data.labels))
    return ValidationScores(total / len(data.cache), dice_of(counts))


def _validate_windows(
    network: nn.Module, data: ValidationData, keep_going: Callable[[], None]
) -> ValidationScores:
    """Read large planes by sliding window as prediction does; the loss is that of one window in each plane."""
    counts = np.zeros((len(data.items), len(data.labels), 3), dtype=np.int64)
    predictor = SegmentationPredictor(
        network, data.plan.preprocessing, [label.value for label in data.labels], data.device
    )
    options = PredictOptions(flips=False, overlap=0.25, device=data.device, keep_probabilities=False)
    for number, item in enumerate(data.items):
        keep_going()
        found = predictor.predict(read_image(item.image_path, item.info), options).array
        counts[number] = count_overlap(
            class_numbers(data.labels, found), class_numbers(data.labels, read_labels(item)), len(data.labels)
        )
    return ValidationScores(_window_loss(network, data, keep_going), dice_of(counts))


def _window_loss(network: nn.Module, data: ValidationData, keep_going: Callable[[], None]) -> float:
    """Return the mean loss over the middle window of every plane."""
    size = (data.plan.preprocessing.input_height, data.plan.preprocessing.input_width)
    total = 0.0
    for planes in _plane_batches(data):
        keep_going()
        pairs = [middle_window(*data.cache.plane(number), size) for number in planes]
        total += _forward(network, data, pairs)[1] * len(planes)
    return total / len(data.cache)


def _forward(
    network: nn.Module, data: ValidationData, pairs: list[tuple[Array, Array]]
) -> tuple[torch.Tensor, float]:
    """Return logits and loss of a batch of (image, classes) pairs."""
    images = torch.from_numpy(np.stack([image for image, _ in pairs]).astype(np.float32)).permute(0, 3, 1, 2)
    targets = torch.from_numpy(np.stack([classes for _, classes in pairs]).astype(np.int64))
    with data.precision():
        logits = network(images.to(data.device))
    return logits, float(data.loss(logits, targets.to(data.device)))


def count_overlap(found: Array, reference: Array, labels: int) -> npt.NDArray[np.int64]:
    """Return (labels, 3) pixel counts of two arrays of class numbers: in both, in found, in reference."""
    table = np.bincount(
        (reference.ravel().astype(np.int64) * (labels + 1) + found.ravel().astype(np.int64)),
        minlength=(labels + 1) ** 2,
    ).reshape(labels + 1, labels + 1)
    return np.stack([table.diagonal(), table.sum(axis=0), table.sum(axis=1)], axis=1)[1:]


def dice_of(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return Dice from (..., 3) counts; 1 where label is in neither, as ``core.evaluation`` has it."""
    both, sizes = counts[..., 0], counts[..., 1] + counts[..., 2]
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)


def _plane_batches(data: ValidationData) -> Iterator[list[int]]:
    pixels = data.plan.preprocessing.input_height * data.plan.preprocessing.input_width
    size = max(1, BATCH_PIXELS[data.device.partition(":")[0]] // pixels)
    for first in range(0, len(data.cache), size):
        yield list(range(first, min(first + size, len(data.cache))))


class _References:
    """Reference planes as class numbers, one case in memory at a time."""

    def __init__(self, data: ValidationData) -> None:
        self._data = data
        self._item = -1
        self._planes: Array = np.zeros(0)

    def plane(self, number: int) -> tuple[int, Array]:
        """Return the item's number and the reference of one plane of the cache."""
        item = int(self._data.cache.items[number])
        if item != self._item:
            classes = class_numbers(self._data.labels, read_labels(self._data.items[item]))
            self._item, self._planes = item, classes.reshape(-1, *classes.shape[-2:])
        return item, self._planes[int(self._data.cache.slices[number])]
