"""Prediction: boxes on the image's own grid, whatever its size, kind or the way it is looked at."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import WeightsError
from core.learning.package import CARD_NAME, write_package
from core.learning.preprocessing import Preprocessing
from core.tasks.detection import DETECTION
from core.tasks.detection.networks import build_network
from core.tasks.detection.prediction import DetectionPredictor, Rule, crop_of
from core.tasks.detection.spec import DetectorSpec, Framing
from core.tasks.task import PredictOptions
from core.types import Image, ImageInfo

SPEC = DetectorSpec(in_channels=1, features=32, head_convs=1)
MASKED = SPEC.model_copy(
    update={"architecture": "mask_rcnn", "anchor_sizes": ((16.0,), (32.0,), (64.0,)), "head_features": 16}
)
RANGE = {"normalisation": "range", "range_low": 0.0, "range_high": 1.0}
PLAIN = PredictOptions(flips=False)


class Spots(nn.Module):
    """Sees every bright blob as an object: its bounding box, its mean value as the score."""

    def __init__(self, spec: DetectorSpec = SPEC) -> None:
        super().__init__()
        self.spec = spec
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> tuple[dict, list[dict[str, torch.Tensor]]]:
        from skimage.measure import label, regionprops

        self.shapes.append(tuple(images.shape))
        found = []
        for image in images[:, 0].float().numpy():
            regions = regionprops(label(image > 0.25), image)
            boxes = [[r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]] for r in regions]
            one = {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "scores": torch.tensor([min(1.0, float(r.intensity_mean)) for r in regions]),
                "labels": torch.ones(len(regions), dtype=torch.int64),
            }
            if self.spec.has_masks:
                one["masks"] = torch.ones(len(regions), 1, 28, 28)
            found.append(one)
        return {}, found


def predictor_of(network: nn.Module, rule: Rule | None = None, **framing: object) -> DetectionPredictor:
    looks = (
        Preprocessing.model_validate({"input_height": 64, "input_width": 96, **RANGE}),
        Framing.model_validate(framing),
    )
    return DetectionPredictor(network, looks, [7], "cpu", rule)


def spotted(shape: tuple[int, int], spots: list[tuple[int, int, int]]) -> Image:
    """Return an empty picture with bright squares at (left, top) with a side."""
    array = np.zeros(shape, np.float32)
    for left, top, side in spots:
        array[top : top + side, left : left + side] = 0.9
    return Image(array, ImageInfo("yx", shape, "float32"))


def truth_of(spots: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array([[left, top, left + side, top + side] for left, top, side in spots], np.float32)


def same_boxes(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Tell whether each expected box has a found one of its own, near in every corner."""
    apart = np.abs(found[:, None] - expected[None]).max(axis=2)
    near = apart <= tolerance
    return len(found) == len(expected) and bool(
        (near.sum(axis=0) == 1).all() and (near.sum(axis=1) == 1).all()
    )


@pytest.mark.parametrize("flips", [False, True])
def test_boxes_come_back_to_the_images_grid(flips: bool) -> None:
    spots = [(10, 12, 16), (60, 40, 20), (120, 90, 12)]
    boxes = predictor_of(Spots(), scale=0.5, lowest=0.5, highest=0.5).predict(
        spotted((128, 192), spots), PredictOptions(flips=flips)
    )
    assert same_boxes(boxes.box_xyxy, truth_of(spots), 1.0)
    assert set(boxes.labels.tolist()) == {7}
    assert boxes.threshold == 0.5


@pytest.mark.parametrize("shape", [(700, 900), (64, 2000), (1500, 70)])
def test_tiles_equal_the_whole_where_both_see_it(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    spots = []
    for top in range(8, shape[0] - 30, 40):
        for left in range(8, shape[1] - 30, 40):
            spots.append((left + int(rng.integers(8)), top + int(rng.integers(8)), 14))
    network = Spots()
    boxes = predictor_of(network, Rule(overlap=0.3)).predict(spotted(shape, spots), PLAIN)
    assert same_boxes(boxes.box_xyxy, truth_of(spots), 1.5)
    assert sum(shape[0] for shape in network.shapes) > 10  # it was looked at through tiles


def test_an_object_across_tiles_is_one_and_a_large_one_is_found_by_the_whole() -> None:
    spots = [(80, 10, 30), (250, 100, 260)]  # on a tile's border; larger than any tile
    boxes = predictor_of(Spots(), Rule(overlap=0.4)).predict(spotted((400, 600), spots), PLAIN)
    assert same_boxes(boxes.box_xyxy, truth_of(spots), 8.0)


def test_twenty_pixels_and_twenty_thousand(tmp_path: Path) -> None:
    tiny = predictor_of(Spots()).predict(spotted((20, 20), [(4, 6, 9)]), PLAIN)
    assert same_boxes(tiny.box_xyxy, truth_of([(4, 6, 9)]), 0.1)
    array = np.lib.format.open_memmap(tmp_path / "huge.npy", "w+", np.uint8, (2000, 20_000))
    array[1200:1216, 15_000:15_016] = 1
    image = Image(array, ImageInfo("yx", array.shape, "uint8"))
    tracemalloc.start()
    found = predictor_of(Spots()).predict(image, PLAIN)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert same_boxes(found.box_xyxy, np.array([[15_000, 1200, 15_016, 1216]], np.float32), 1.5)
    assert peak < 300 * 2**20  # the whole as floats would be 160 MB a copy and more


def test_the_threshold_is_the_models_own_unless_given() -> None:
    image = spotted((64, 96), [(10, 10, 12)])
    image.array[40:50, 60:70] = 0.4
    predictor = predictor_of(Spots(), Rule(threshold=0.7))
    every = predictor.predict(image, PLAIN)
    assert len(every) == 2
    assert len(every.decided()) == 1
    assert len(predictor.predict(image, PredictOptions(flips=False, keep_probabilities=False))) == 1
    low = PredictOptions(threshold=0.3, flips=False, keep_probabilities=False)
    assert len(predictor.predict(image, low)) == 2
    with pytest.raises(ValueError, match="threshold"):
        predictor.predict(image, PredictOptions(threshold=1.5))


def test_labels_suppress_each_other_only_when_asked() -> None:
    class Twice(Spots):
        def forward(self, images: torch.Tensor) -> tuple[dict, list[dict[str, torch.Tensor]]]:
            losses, found = super().forward(images)
            for one in found:
                one["boxes"] = one["boxes"].repeat(2, 1)
                one["scores"] = torch.cat([one["scores"], one["scores"] * 0.5])
                one["labels"] = torch.cat([one["labels"], one["labels"] + 1])
            return losses, found

    network = Twice(SPEC.model_copy(update={"classes": 2}))
    predictor = predictor_of(network)
    predictor.values = np.array([0, 7, 9], np.uint16)
    image = spotted((64, 96), [(10, 10, 12)])
    assert sorted(predictor.predict(image, PLAIN).labels.tolist()) == [7, 9]
    across = PredictOptions(flips=False, across_labels=True)
    assert predictor.predict(image, across).labels.tolist() == [7]


def test_masks_become_crops_of_their_boxes() -> None:
    spots = [(3, 5, 20), (70, 41, 23)]  # the second reaches out of the picture
    boxes = predictor_of(Spots(MASKED)).predict(spotted((64, 93), spots), PLAIN)
    assert boxes.crops is not None
    assert all(crop.all() for crop in boxes.crops)
    mask = np.zeros((28, 28), np.float32)
    mask[:, 14:] = 1
    crop = crop_of(mask, np.array([0, 0, 40, 20], np.float32), np.array([0, 0, 40, 20], np.float32))
    assert crop.shape == (20, 40)
    assert not crop[:, :19].any()
    assert crop[:, 21:].all()


def test_many_objects_in_one_image() -> None:
    spots = [(left, top, 6) for top in range(2, 400, 10) for left in range(2, 520, 10)][:2000]
    boxes = predictor_of(Spots(), Rule(overlap=0.3)).predict(spotted((420, 540), spots), PLAIN)
    assert len(boxes) == 2000


def package(folder: Path, **changes: object) -> Path:
    """Write an untrained model's package with changed card entries."""
    card = {
        "task": "detection", "name": "m", "labels": [{"value": 1, "name": "cell", "color": "#ff0000"}],
        "spec": SPEC.model_dump(mode="json"),
        "preprocessing": Preprocessing(input_height=64, input_width=64).model_dump(mode="json"),
        "framing": Framing().model_dump(mode="json"),
        "inference": {"rule": "", "threshold": 0.5, "mirror_axes": ["x"], "overlap": 0.25},
        "training": {}, "metrics": {}, "limits": [], "created_at": "2026-01-01T00:00:00+00:00", **changes,
    }  # fmt: skip
    write_package(folder, build_network(SPEC).state_dict(), card)
    return folder


def test_a_package_comes_back_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    predictor = DETECTION.load(package(tmp_path / "good"), "cpu")
    image = Image(np.zeros((50, 70), np.uint8), ImageInfo("yx", (50, 70), "uint8"))
    assert predictor.predict(image, PredictOptions()).misfit(image.info) is None
    five = Image(np.zeros((50, 70, 5), np.uint8), ImageInfo("yxc", (50, 70, 5), "uint8"))
    with pytest.raises(WeightsError, match="channels"):
        predictor.predict(five, PredictOptions())
    two_labels = [{"value": n, "name": str(n), "color": "#ff0000"} for n in (1, 2)]
    wrong = {
        "another task": package(tmp_path / "a", task="segmentation"),
        "labels": package(tmp_path / "b", labels=two_labels),
        "spec": package(tmp_path / "c", spec={"architecture": "fcos", "encoder": "resnet34"}),
        "inference": package(tmp_path / "d", inference={}),
    }
    for folder in wrong.values():
        with pytest.raises(WeightsError):
            DETECTION.load(folder, "cpu")
    damaged = package(tmp_path / "e")
    weights = next(path for path in damaged.iterdir() if path.name != CARD_NAME)
    weights.write_bytes(weights.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(WeightsError, match="SHA-256"):
        DETECTION.load(damaged, "cpu")
    card = json.loads((damaged / CARD_NAME).read_text())
    assert card["framing"]["mode"] == "whole"
