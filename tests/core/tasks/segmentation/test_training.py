"""Training on small discs: it learns, repeats itself, resumes exactly, and refuses what cannot be trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import TrainingError
from core.imaging.stored import hash_array, read_image, write_array
from core.learning.package import load_weights, read_card
from core.learning.snapshot import Snapshot
from core.readings.reading import Mask
from core.readings.stored import write_reading
from core.tasks.segmentation import SEGMENTATION
from core.tasks.segmentation.training import train
from core.tasks.task import PredictOptions, TrainingRequest, TrainingResult
from core.types import ImageInfo
from tests.core.tasks.segmentation.samples import SIZE, disc, make_request, make_snapshot


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Eight discs to train on, four to validate on."""
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


def losses(events: list[dict[str, Any]]) -> dict[int, float]:
    """Return the training loss by epoch; a later telling of an epoch counts."""
    return {event["epoch"]: event["train_loss"] for event in events if event["kind"] == "epoch"}


@pytest.mark.parametrize("labels", [1, 2])
def test_it_learns_and_the_package_predicts(tmp_path: Path, labels: int) -> None:
    snapshot = make_snapshot(tmp_path / "data", labels)
    request = make_request(snapshot, tmp_path, epochs=25, base_features=8, hard_case_sampling=0.3)
    result, events = run(request)
    by_epoch = losses(events)
    assert by_epoch[25] < 0.6 * by_epoch[1]
    assert result.metrics["dice"] > 0.6
    card = read_card(request.out_dir)
    assert card["training"]["snapshot_sha256"] == snapshot.sha256
    predictor = SEGMENTATION.load(request.out_dir, "cpu")
    item = snapshot.of_split("val")[0]
    reading = predictor.predict(read_image(item.image_path, item.info), PredictOptions())
    assert reading.array.shape == (SIZE, SIZE)
    assert reading.probabilities is not None
    assert reading.probabilities.shape == (labels + 1, SIZE, SIZE)


def test_same_seed_same_weights_another_seed_others(snapshot: Snapshot, tmp_path: Path) -> None:
    ends = []
    for number, seed in enumerate((3, 3, 4)):
        request = make_request(snapshot, tmp_path / str(number), epochs=3, seed=seed)
        run(request)
        ends.append(load_weights(request.out_dir))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert not all(torch.equal(ends[0][key], ends[2][key]) for key in ends[0])


@pytest.mark.parametrize("stop_at", [3, 6, 9])
def test_a_stopped_training_resumes_to_the_same_end(snapshot: Snapshot, tmp_path: Path, stop_at: int) -> None:
    settings = {"epochs": 5, "hard_case_sampling": 0.5, "dropout": 0.2, "schedule": "cosine"}
    whole = make_request(snapshot, tmp_path / "whole", **settings)
    _, whole_events = run(whole)
    parts = make_request(snapshot, tmp_path / "parts", **settings)
    stopped, first_events = run(parts, stop_after_steps=stop_at)
    assert stopped.stopped
    assert (parts.work_dir / "checkpoint.pt").exists()
    assert not parts.out_dir.exists()
    finished, second_events = run(parts)
    assert not finished.stopped
    expected, found = losses(whole_events), losses(first_events + second_events)
    assert found[5] == pytest.approx(expected[5], abs=1e-5)
    weights, resumed = load_weights(whole.out_dir), load_weights(parts.out_dir)
    assert all(torch.allclose(weights[key].float(), resumed[key].float(), atol=1e-5) for key in weights)


def test_a_checkpoint_of_other_data_is_not_taken(snapshot: Snapshot, tmp_path: Path) -> None:
    request = make_request(snapshot, tmp_path, epochs=4)
    run(request, stop_after_steps=5)
    other = replace(request, snapshot=make_snapshot(tmp_path / "other", train=6))
    with pytest.raises(TrainingError, match="checkpoint"):
        run(other)


def test_volumes_are_trained_and_predicted_slice_by_slice(tmp_path: Path) -> None:
    flat = make_snapshot(tmp_path / "data", train=3, val=1)
    items = []
    for item in flat.items:
        planes = [disc(100 * item.case_id + z, 1) for z in range(5)]
        array, truth = (np.stack(part) for part in zip(*planes, strict=True))
        array = (array.astype(np.int16) - 100) * 4
        write_array(array, item.image_path)
        write_reading(Mask(truth), item.reading_path)
        info = ImageInfo("zyx", array.shape, "int16", spacing_mm=(3.0, 1.0, 1.0), modality="MR")
        items.append(replace(item, info=info, image_sha256=hash_array(array)))
    request = make_request(replace(flat, items=tuple(items)), tmp_path, epochs=8)
    run(request)
    last = items[-1]
    reading = SEGMENTATION.load(request.out_dir, "cpu").predict(
        read_image(last.image_path, last.info), PredictOptions(flips=False)
    )
    assert reading.array.shape == (5, SIZE, SIZE)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimiser": "sgd", "momentum": 0.9, "schedule": "polynomial"},
        {"optimiser": "adam", "schedule": "constant", "l1": 1e-6, "ema_decay": 0.0},
        {"architecture": "Unet", "encoder": "resnet18", "freeze_encoder_epochs": 1, "loss": "dice"},
        {"progressive_size": True, "input_size": 64, "augmentation": "strong", "loss": "focal"},
        {"fit": "patch", "input_size": 16, "augmentation": "medium"},
    ],
)
def test_settings_that_people_choose_all_run(
    snapshot: Snapshot, tmp_path: Path, settings: dict[str, Any]
) -> None:
    result, events = run(make_request(snapshot, tmp_path, epochs=2, **settings))
    assert result.epochs == 2
    assert all(np.isfinite(loss) for loss in losses(events).values())


def test_a_frozen_encoder_stays_as_it_was(snapshot: Snapshot, tmp_path: Path) -> None:
    settings = {"architecture": "Unet", "encoder": "resnet18", "ema_decay": 0.0}
    first = make_request(snapshot, tmp_path / "a", epochs=1, freeze_encoder_epochs=1, **settings)
    second = make_request(snapshot, tmp_path / "b", epochs=2, freeze_encoder_epochs=2, **settings)
    run(first)
    run(second)
    one, two = load_weights(first.out_dir), load_weights(second.out_dir)
    assert torch.equal(one["encoder.conv1.weight"], two["encoder.conv1.weight"])
    decoder = next(key for key in one if key.startswith("decoder") and key.endswith("weight"))
    assert not torch.equal(one[decoder], two[decoder])


def test_early_stopping_ends_a_training_that_no_longer_gains(snapshot: Snapshot, tmp_path: Path) -> None:
    request = make_request(
        snapshot, tmp_path, epochs=60, learning_rate=1e-7, early_stopping_patience=3, schedule="constant"
    )
    result, _ = run(request)
    assert result.epochs < 60
    assert "no gain" in result.reason


def test_minutes_end_a_training(snapshot: Snapshot, tmp_path: Path) -> None:
    result, events = run(make_request(snapshot, tmp_path, epochs=0, minutes=0.05))
    assert result.seconds < 6
    assert events[-1]["progress"] == pytest.approx(1, abs=0.2)


def test_what_cannot_be_trained_is_refused_in_a_sentence(snapshot: Snapshot, tmp_path: Path) -> None:
    empty = replace(snapshot, items=())
    no_val = replace(snapshot, items=snapshot.of_split("train"))
    unmarked = make_snapshot(tmp_path / "unmarked", train=3, val=1)
    for item in unmarked.items:
        write_reading(Mask(np.zeros((SIZE, SIZE), np.uint8)), item.reading_path)
    for wrong in (empty, no_val, unmarked):
        with pytest.raises(TrainingError) as refused:
            run(make_request(wrong, tmp_path / "refused", epochs=1))
        assert str(refused.value).endswith(".")
