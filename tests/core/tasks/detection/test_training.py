"""Training on planted squares: it learns, repeats itself, resumes exactly, and refuses what cannot be trained."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from core.errors import TrainingError, WeightsError
from core.imaging.stored import hash_array, read_image, write_array
from core.learning.package import load_weights, read_card
from core.learning.snapshot import Snapshot
from core.readings.reading import Boxes, Mask, no_boxes
from core.readings.stored import hash_reading, write_reading
from core.tasks.detection import DETECTION
from core.tasks.detection.spec import DETECTORS
from core.tasks.detection.training import train
from core.tasks.segmentation import SEGMENTATION
from core.tasks.task import PredictOptions, TrainingRequest, TrainingResult
from core.types import ImageInfo
from tests.core.tasks.detection.samples import SIZE, make_request, make_snapshot, squares
from tests.core.tasks.segmentation import samples as segmentation_samples


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Eight pictures to train on, four to validate on."""
    return make_snapshot(tmp_path / "data")


def run(
    request: TrainingRequest, stop_after_steps: int | None = None
) -> tuple[TrainingResult, list[dict[str, Any]]]:
    """Train; stop before the step after the n-th (asked once a step, once the network is built)."""
    events: list[dict[str, Any]] = []
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += any("weights" in event.get("message", "") for event in events)
        return stop_after_steps is not None and asked > stop_after_steps

    return train(request, events.append, should_stop), events


def epochs(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the epoch events by epoch; a later telling counts."""
    return {event["epoch"]: event for event in events if event["kind"] == "epoch"}


def test_it_learns_and_the_package_finds_the_squares(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data", labels=2, train=16)
    request = make_request(snapshot, tmp_path, epochs=20, val_every=10, samples=2)
    result, events = run(request)
    told = epochs(events)
    assert told[20]["train_loss"] < 0.7 * told[1]["train_loss"]
    assert told[20]["train_loss"] == pytest.approx(
        sum(value for key, value in told[20].items() if key.startswith("loss/"))
    )
    assert result.metrics["map50"] > 0.8
    drawn = [event for event in events if event["kind"] == "samples"][-1]["files"]
    assert PilImage.open(drawn[0]).size == (SIZE, SIZE)
    card = read_card(request.out_dir)
    assert card["training"]["snapshot_sha256"] == snapshot.sha256
    assert card["metrics"]["map50"]["ci95"][0] <= card["metrics"]["map50"]["value"]
    assert card["inference"]["threshold"] == result.metrics["threshold"]
    item = snapshot.of_split("val")[0]
    predictor = DETECTION.load(request.out_dir, "cpu")
    sure = predictor.predict(read_image(item.image_path, item.info), PredictOptions(keep_probabilities=False))
    every = predictor.predict(read_image(item.image_path, item.info), PredictOptions())
    assert isinstance(sure, Boxes)
    assert isinstance(every, Boxes)
    assert sure.threshold == card["inference"]["threshold"]
    assert np.array_equal(every.decided().box_xyxy, sure.box_xyxy)
    assert sure.misfit(item.info) is None


def test_same_seed_same_weights_another_seed_others(snapshot: Snapshot, tmp_path: Path) -> None:
    ends = []
    for number, seed in enumerate((3, 3, 4)):
        request = make_request(
            snapshot,
            tmp_path / str(number),
            epochs=2,
            seed=seed,
            mosaic=0.5,
            scale=0.3,
            augmentation="medium",
        )
        run(request)
        ends.append(load_weights(request.out_dir))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert not all(torch.equal(ends[0][key], ends[2][key]) for key in ends[0])


@pytest.mark.parametrize("stop_at", [3, 6])
def test_a_stopped_training_resumes_to_the_same_end(snapshot: Snapshot, tmp_path: Path, stop_at: int) -> None:
    settings = {"epochs": 4, "hard_case_sampling": 0.5, "mosaic": 0.3, "architecture": "faster_rcnn"}
    whole = make_request(snapshot, tmp_path / "whole", **settings)
    _, whole_events = run(whole)
    parts = make_request(snapshot, tmp_path / "parts", **settings)
    stopped, first_events = run(parts, stop_after_steps=stop_at)
    assert stopped.stopped
    assert (parts.work_dir / "checkpoint.pt").exists()
    assert not parts.out_dir.exists()
    finished, second_events = run(parts)
    assert not finished.stopped
    expected, found = epochs(whole_events), epochs(first_events + second_events)
    assert found[4]["train_loss"] == pytest.approx(expected[4]["train_loss"], abs=1e-5)
    weights, resumed = load_weights(whole.out_dir), load_weights(parts.out_dir)
    assert all(torch.allclose(weights[key].float(), resumed[key].float(), atol=1e-5) for key in weights)


@pytest.mark.parametrize("architecture", DETECTORS)
def test_every_architecture_takes_a_step(snapshot: Snapshot, tmp_path: Path, architecture: str) -> None:
    result, events = run(make_request(snapshot, tmp_path, epochs=1, architecture=architecture))
    assert result.epochs == 1
    assert np.isfinite(epochs(events)[1]["train_loss"])
    item = snapshot.of_split("val")[0]
    boxes = DETECTION.load(tmp_path / "model", "cpu").predict(
        read_image(item.image_path, item.info), PredictOptions(flips=False)
    )
    assert isinstance(boxes, Boxes)
    assert (boxes.crops is not None) == architecture.startswith("mask")


@pytest.mark.parametrize(
    "settings",
    [
        {"optimiser": "sgd", "schedule": "polynomial", "freeze_encoder_epochs": 1, "norm": "batch"},
        {"progressive_size": True, "augmentation": "strong", "mosaic": 1.0, "rare_label_sampling": 1.0},
        {"fit": "tiles", "augmentation": "medium", "first_stride": "4", "input_size": 64},
        {"encoder": "tu-mobilenetv3_small_100", "ema_decay": 0.0, "norm": "group", "mixed_precision": "off"},
        {"architecture": "mask_rcnn", "augmentation": "strong", "mosaic": 0.5, "fit": "tiles"},
    ],
)
def test_settings_that_people_choose_all_run(
    snapshot: Snapshot, tmp_path: Path, settings: dict[str, Any]
) -> None:
    result, events = run(make_request(snapshot, tmp_path, epochs=2, **settings))
    assert result.epochs == 2
    assert all(np.isfinite(event["train_loss"]) for event in epochs(events).values())


def test_early_stopping_ends_a_training_that_no_longer_gains(snapshot: Snapshot, tmp_path: Path) -> None:
    request = make_request(
        snapshot, tmp_path, epochs=60, learning_rate=1e-9, early_stopping_patience=2, schedule="constant"
    )
    result, _ = run(request)
    assert result.epochs < 60
    assert "no gain" in result.reason


def test_volumes_are_read_slice_by_slice_and_linked_in_space(tmp_path: Path) -> None:
    flat = make_snapshot(tmp_path / "data", train=4, val=1)
    items = []
    for item in flat.items:
        picture, boxes = squares(item.case_id, 1)
        array = np.stack([picture] * 3).astype(np.int16) * 4 - 200
        write_array(array, item.image_path)
        reading = Boxes(
            np.tile(boxes.box_xyxy, (3, 1)),
            np.tile(boxes.labels, 3),
            np.repeat(np.arange(3, dtype=np.int32), 2),
        )
        write_reading(reading, item.reading_path)
        info = ImageInfo("zyx", array.shape, "int16", spacing_mm=(3.0, 1.0, 1.0), modality="CT")
        items.append(
            replace(item, info=info, image_sha256=hash_array(array), reading_sha256=hash_reading(reading))
        )
    request = make_request(replace(flat, items=tuple(items)), tmp_path, epochs=25, val_every=25)
    run(request)
    last = items[-1]
    found = DETECTION.load(request.out_dir, "cpu").predict(
        read_image(last.image_path, last.info), PredictOptions(flips=False, keep_probabilities=False)
    )
    assert isinstance(found, Boxes)
    assert set(found.planes.tolist()) == {0, 1, 2}  # three equal slices
    assert found.groups is not None
    assert len(set(found.groups.tolist())) == len(found) // 3


def test_an_encoder_of_segmentation_goes_on_as_a_detectors(snapshot: Snapshot, tmp_path: Path) -> None:
    masks = segmentation_samples.make_snapshot(tmp_path / "discs")
    first = segmentation_samples.make_request(
        masks, tmp_path / "first", epochs=1, architecture="Unet", encoder="resnet18"
    )
    SEGMENTATION.train(first, lambda event: None, lambda: False)
    request = make_request(snapshot, tmp_path / "second", epochs=1, weights="model", freeze_encoder_epochs=1)
    request = replace(request, initial_weights=first.out_dir)
    _, events = run(request)
    plan = next(event for event in events if event["kind"] == "plan")
    assert plan["spec"]["norm"] == "frozen"  # the encoder came with batch norm
    given, taken = load_weights(first.out_dir), load_weights(request.out_dir)
    assert torch.equal(given["encoder.layer3.0.conv1.weight"], taken["encoder.layer3.0.conv1.weight"])
    again = make_request(snapshot, tmp_path / "third", epochs=1, weights="model", ema_decay=0.0)
    _, events = run(replace(again, initial_weights=request.out_dir))
    message = next(event["message"] for event in events if "weight tensors" in event.get("message", ""))
    whole, total = (int(word) for word in message.split()[:3:2])
    assert whole == total
    with pytest.raises(WeightsError, match="do not fit"):
        wrong = make_request(snapshot, tmp_path / "fourth", epochs=1, weights="model", encoder="vgg11")
        run(replace(wrong, initial_weights=first.out_dir))


def test_one_label_and_images_without_objects_are_fine(snapshot: Snapshot, tmp_path: Path) -> None:
    emptied = snapshot.items[0]
    write_reading(no_boxes(), emptied.reading_path)
    request = make_request(snapshot, tmp_path, epochs=1)
    assert any("no object" in warning for warning in DETECTION.check(snapshot, request.settings))
    result, _ = run(request)
    assert result.epochs == 1


def test_what_cannot_be_trained_is_refused_in_a_sentence(snapshot: Snapshot, tmp_path: Path) -> None:
    numbers = count()

    def with_reading(reading: object) -> Snapshot:
        changed = make_snapshot(tmp_path / f"changed{next(numbers)}", train=2, val=1)
        for item in changed.items:
            write_reading(reading, item.reading_path)  # type: ignore[arg-type] - whatever a person can store
        return changed

    one = np.array([[1, 1, 9, 9]], np.float32)
    plane = np.zeros(1, np.int32)
    wrong = {
        "no cases": replace(snapshot, items=()),
        "validation split": replace(snapshot, items=snapshot.of_split("train")),
        "no training case has an object": with_reading(no_boxes()),
        "another image": with_reading(Boxes(one * 20, np.ones(1, np.uint16), plane)),
        "label set lacks": with_reading(Boxes(one, np.full(1, 7, np.uint16), plane)),
        "has no boxes": with_reading(Mask(np.zeros((SIZE, SIZE), np.uint8))),
    }
    for words, one_snapshot in wrong.items():
        with pytest.raises(TrainingError) as refused:
            run(make_request(one_snapshot, tmp_path / "refused", epochs=1))
        assert words in str(refused.value).lower() or words in str(refused.value)
        assert str(refused.value).endswith(".")
    bare = with_reading(Boxes(one, np.ones(1, np.uint16), plane))
    with pytest.raises(TrainingError, match="masks"):
        run(make_request(bare, tmp_path / "refused", epochs=1, architecture="mask_rcnn"))
