"""Training on small textures: it beats bicubic, repeats itself, resumes exactly, and refuses what cannot be trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import TrainingError, WeightsError
from core.imaging.computed import mark_computed
from core.imaging.resample import reduce
from core.imaging.stored import hash_array, read_image, write_array
from core.learning.package import load_weights, read_card
from core.learning.snapshot import Snapshot
from core.readings.reading import RestoredImage
from core.readings.stored import hash_reading, write_reading
from core.tasks.super_resolution import SUPER_RESOLUTION
from core.tasks.super_resolution.networks import build_network
from core.tasks.super_resolution.planning import plan_network
from core.tasks.super_resolution.prediction import ADVERSARIAL, FIDELITY
from core.tasks.super_resolution.settings import SuperResolutionSettings
from core.tasks.super_resolution.training import train
from core.tasks.task import PredictOptions, TrainingRequest, TrainingResult
from core.types import ImageInfo
from tests.core.tasks.super_resolution.samples import make_request, make_snapshot, store, texture

PLAIN = PredictOptions(flips=False)


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Six textures to train on, two to validate on."""
    return make_snapshot(tmp_path / "data")


def run(
    request: TrainingRequest, stop_after_steps: int | None = None
) -> tuple[TrainingResult, list[dict[str, Any]]]:
    """Train; stop before the step after the n-th (asked once a step, once the network is built)."""
    events: list[dict[str, Any]] = []
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += any("random weights" in event.get("message", "") for event in events)
        return stop_after_steps is not None and asked > stop_after_steps

    return train(request, events.append, should_stop), events


def epochs_of(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the epoch events by number; a later telling of an epoch counts."""
    return {event["epoch"]: event for event in events if event["kind"] == "epoch"}


def test_it_beats_bicubic_and_the_package_restores(snapshot: Snapshot, tmp_path: Path) -> None:
    request = make_request(snapshot, tmp_path, epochs=5)
    result, events = run(request)
    told = epochs_of(events)
    assert told[5]["train_loss"] < told[1]["train_loss"]
    assert result.metrics["gain"] > 0.3
    assert told[5]["val_psnr"] > told[5]["val_psnr_bicubic"]
    card = read_card(request.out_dir)
    assert card["training"]["snapshot_sha256"] == snapshot.sha256
    assert card["degradation_words"] == "bicubic reduction"
    assert card["metrics"]["psnr"]["value"] == pytest.approx(result.metrics["psnr"])
    assert card["metrics"]["psnr_bicubic"]["n"] == 2
    item = snapshot.of_split("val")[0]
    reading = SUPER_RESOLUTION.load(request.out_dir, "cpu").predict(
        read_image(item.image_path, item.info), PLAIN
    )
    assert reading.array.shape == (96, 96)
    assert reading.array.dtype == np.uint8
    assert "super-resolution x2 by edsr" in reading.computed


def test_same_seed_same_weights_another_seed_others(snapshot: Snapshot, tmp_path: Path) -> None:
    ends = []
    for number, seed in enumerate((3, 3, 4)):
        request = make_request(snapshot, tmp_path / str(number), epochs=1, seed=seed)
        run(request)
        ends.append(load_weights(request.out_dir))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert not all(torch.equal(ends[0][key], ends[2][key]) for key in ends[0])


@pytest.mark.parametrize("stop_at", [5, 14, 28])
def test_a_stopped_training_resumes_to_the_same_end(snapshot: Snapshot, tmp_path: Path, stop_at: int) -> None:
    """Stopped in the first epoch, in a later one, and in the second stage."""
    settings = {
        "epochs": 4, "adversarial": True, "discriminator_features": 4, "batch_size": 4, "degradation": "blurred",
        "perceptual": "none",
    }  # fmt: skip
    whole = make_request(snapshot, tmp_path / "whole", **settings)
    _, whole_events = run(whole)
    parts = make_request(snapshot, tmp_path / "parts", **settings)
    stopped, first_events = run(parts, stop_after_steps=stop_at)
    assert stopped.stopped
    assert (parts.work_dir / "checkpoint.pt").exists()
    assert not parts.out_dir.exists()
    finished, second_events = run(parts)
    assert not finished.stopped
    expected, found = epochs_of(whole_events), epochs_of(first_events + second_events)
    assert found[4]["train_loss"] == pytest.approx(expected[4]["train_loss"], abs=1e-5)
    weights, resumed = load_weights(whole.out_dir), load_weights(parts.out_dir)
    assert weights.keys() == resumed.keys()
    assert all(torch.allclose(weights[key], resumed[key], atol=1e-5) for key in weights)


def test_the_second_stage_adds_a_set_of_weights(snapshot: Snapshot, tmp_path: Path) -> None:
    request = make_request(
        snapshot, tmp_path, epochs=4, adversarial=True, discriminator="plain", discriminator_features=4,
        adversarial_rate=1e-3, adversarial_weight=0.1,
    )  # fmt: skip
    _, events = run(request)
    told = epochs_of(events)
    assert [told[number]["stage"] for number in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert {"judge_loss", "real_loss", "pixel_loss"} <= set(told[4])
    assert told[4]["progress"] == 1
    notes = [event["message"] for event in events if event["kind"] == "note"]
    assert any("Second stage" in note and "no features" in note for note in notes)
    state = load_weights(request.out_dir)
    names = {key.removeprefix(FIDELITY) for key in state if key.startswith(FIDELITY)}
    assert names == {key.removeprefix(ADVERSARIAL) for key in state if key.startswith(ADVERSARIAL)}
    card = read_card(request.out_dir)
    assert card["inference"]["blendable"]
    assert set(card["metrics"]["adversarial"]) >= {"psnr", "ssim"}
    assert card["training"]["perceptual_source"] == "no features"
    item = snapshot.items[0]
    image = read_image(item.image_path, item.info)
    predictor = SUPER_RESOLUTION.load(request.out_dir, "cpu")
    ends = [
        predictor.predict(image, replace(PLAIN, blend=blend)).array.astype(int) for blend in (0.0, 0.5, 1.0)
    ]
    assert np.abs(ends[0] - ends[2]).max() > 0
    assert np.abs(ends[0] - ends[1]).mean() < np.abs(ends[0] - ends[2]).mean()


@pytest.mark.parametrize(
    "settings",
    [
        {
            "architecture": "rrdb",
            "blocks": 1,
            "features": 8,
            "growth": 4,
            "upsampling": "nearest_conv",
            "scale": 3,
        },
        {"architecture": "srresnet", "blocks": 1, "scale": 4, "patch": 0},
        {"architecture": "rrdb_compact", "blocks": 1, "degradation": "camera"},
        {"degradation": "ultrasound", "loss": "l1", "ssim_weight": 0.1, "frequency_weight": 0.1},
        {"degradation": "mr", "optimiser": "sgd", "flips": False, "rotate90": False},
        {"architecture": "bicubic"},
    ],
)
def test_settings_that_people_choose_all_run(
    snapshot: Snapshot, tmp_path: Path, settings: dict[str, Any]
) -> None:
    request = make_request(snapshot, tmp_path, **{"epochs": 1, "batch_size": 16, **settings})
    result, _ = run(request)
    assert np.isfinite(result.metrics["psnr"])
    item = snapshot.items[0]
    reading = SUPER_RESOLUTION.load(request.out_dir, "cpu").predict(
        read_image(item.image_path, item.info), PredictOptions()
    )
    assert reading.misfit(item.info) is None
    assert (reading.spread is not None) == bool(settings.get("flips", True))


def test_training_goes_on_from_an_earlier_model(snapshot: Snapshot, tmp_path: Path) -> None:
    first = make_request(snapshot, tmp_path / "a", epochs=4)
    before, _ = run(first)
    second = replace(
        make_request(snapshot, tmp_path / "b", epochs=1, weights="model", learning_rate=1e-6),
        initial_weights=first.out_dir,
    )
    after, events = run(second)
    assert any("weight tensors come from" in event.get("message", "") for event in events)
    assert after.metrics["psnr"] == pytest.approx(before.metrics["psnr"], abs=0.05)
    other = replace(
        make_request(snapshot, tmp_path / "c", epochs=1, weights="model", features=8),
        initial_weights=first.out_dir,
    )
    with pytest.raises(WeightsError, match="do not fit"):
        run(other)


@pytest.mark.parametrize("bands", [False, True], ids=["published", "ours"])
def test_weights_from_a_file_are_shown_planes_as_they_are_used_to(
    snapshot: Snapshot, tmp_path: Path, bands: bool
) -> None:
    request = make_request(snapshot, tmp_path, epochs=1, weights="file", learning_rate=1e-6)
    assert isinstance(request.settings, SuperResolutionSettings)
    spec = plan_network(request.settings, 1, bands)
    save_file(build_network(spec).state_dict(), str(tmp_path / "w.safetensors"))
    run(replace(request, initial_weights=tmp_path / "w.safetensors"))
    assert read_card(request.out_dir)["spec"] == spec.model_dump(mode="json")


def test_minutes_end_a_training_with_both_stages(snapshot: Snapshot, tmp_path: Path) -> None:
    request = make_request(
        snapshot,
        tmp_path,
        epochs=0,
        minutes=0.1,
        adversarial=True,
        discriminator_features=4,
        perceptual="none",
    )
    result, events = run(request)
    assert result.reason == "budget used"
    assert {event["stage"] for event in events if event["kind"] == "epoch"} == {1, 2}
    shown = [event["progress"] for event in events if event["kind"] in ("step", "epoch")]
    assert shown == sorted(shown)


def test_hounsfield_units_go_in_and_out(tmp_path: Path) -> None:
    """A CT volume keeps its mean to 0.1 %, its type and its place; through the plane, it gets thinner slices."""
    items = []
    affine = ((0.8, 0, 0, -50.0), (0, 0.8, 0, 20.0), (0, 0, 2.0, 5.0), (0, 0, 0, 1))
    for number in range(4):
        array = (texture(number, (12, 40, 44)).astype(np.int16) - 100) * 8
        info = ImageInfo("zyx", array.shape, "int16", (2.0, 0.8, 0.8), affine, "CT")
        items.append(store(tmp_path / "data", number, array, info, "train" if number < 3 else "val"))
    snapshot = Snapshot("super_resolution", (), tuple(items))
    for axes, factors in (("in_plane", (1, 2, 2)), ("through_plane", (2, 1, 1))):
        request = make_request(
            snapshot, tmp_path / axes, epochs=1, axes=axes, degradation="thick_slices", patch=0, batch_size=16
        )
        run(request)
        image = read_image(items[3].image_path, items[3].info)
        reading = SUPER_RESOLUTION.load(request.out_dir, "cpu").predict(image, PLAIN)
        assert reading.array.dtype == np.int16
        assert reading.factors(image.info) == factors
        mean = float(np.mean(image.array))
        assert abs(float(reading.array.mean()) - mean) < 1e-3 * abs(mean)
        steps = np.array(image.info.spacing_mm) / factors
        assert reading.info.spacing_mm == pytest.approx(tuple(steps))


def pairs_snapshot(folder: Path, scales: tuple[int, ...]) -> Snapshot:
    """Store coarse images whose references are finer images, each of a scale."""
    items = []
    for number, scale in enumerate(scales):
        fine = texture(number)
        coarse = np.rint(reduce(fine, (scale, scale), "area")).astype(np.uint8)
        info = ImageInfo("yx", coarse.shape, "uint8")
        item = store(folder, number, coarse, info, "train" if number < len(scales) - 1 else "val")
        reading = RestoredImage(fine, ImageInfo("yx", fine.shape, "uint8"))
        path = folder / f"{number}.npz"
        write_reading(reading, path)
        items.append(replace(item, reading_path=path, reading_sha256=hash_reading(reading)))
    return Snapshot("super_resolution", (), tuple(items))


def test_real_pairs_are_learned_from(tmp_path: Path) -> None:
    snapshot = pairs_snapshot(tmp_path / "data", (2, 2, 2, 2))
    request = make_request(snapshot, tmp_path, epochs=6, degradation="pairs")
    assert SUPER_RESOLUTION.needs_readings(request.settings)
    result, _ = run(request)
    assert result.metrics["gain"] > 0.2
    item = snapshot.items[-1]
    image = read_image(item.image_path, item.info)
    reading = SUPER_RESOLUTION.load(request.out_dir, "cpu").predict(image, PLAIN)
    assert reading.array.shape == (48, 48)


def test_pairs_of_mixed_scales_are_refused(tmp_path: Path) -> None:
    snapshot = pairs_snapshot(tmp_path / "data", (2, 3, 2))
    with pytest.raises(TrainingError, match="texture1 is 3 x 3 times finer"):
        run(make_request(snapshot, tmp_path, epochs=1, degradation="pairs"))


def test_what_cannot_be_trained_is_refused_in_a_sentence(snapshot: Snapshot, tmp_path: Path) -> None:
    def changed(array: np.ndarray, **facts: Any) -> Snapshot:
        folder = tmp_path / f"changed{len(list(tmp_path.iterdir()))}"
        layout = facts.pop("layout", "yx")
        info = replace(ImageInfo(layout, array.shape, array.dtype.name), **facts)
        items = [store(folder, n, array, info, "train" if n < 2 else "val") for n in range(3)]
        return Snapshot("super_resolution", (), tuple(items))

    grey = texture(0)
    others = changed(np.stack([grey] * 3, -1), layout="yxc").items
    others = tuple(replace(item, patient_key=f"other {item.patient_key}") for item in others)
    colour = replace(snapshot, items=(*snapshot.items, *others))
    holes = np.full((48, 48), np.nan, np.float32)
    computed = mark_computed(ImageInfo("yx", grey.shape, "uint8"), "super-resolution x4 by a model")
    refused = {
        "no cases": (replace(snapshot, items=()), {}),
        "validation": (replace(snapshot, items=snapshot.of_split("train")), {}),
        "smaller than a patch of 100": (snapshot, {"patch": 100}),
        "smaller than 4 pixels": (changed(grey[:6, :6]), {}),
        "nothing to make finer": (changed(np.zeros_like(grey)), {}),
        "no numbers": (changed(holes), {}),
        "1 and 3 channels": (colour, {}),
        "was computed": (changed(grey, metadata=computed.metadata), {}),
        "More slices need volumes": (snapshot, {"axes": "through_plane"}),
        "no reference reading": (snapshot, {"degradation": "pairs"}),
    }
    for says, (wrong, settings) in refused.items():
        with pytest.raises(TrainingError, match=says):
            run(make_request(wrong, tmp_path / "refused", epochs=1, **settings))


def test_warnings_about_the_data(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data", train=3, val=2)
    blurred = []
    for item in snapshot.items:
        grey = texture(item.case_id, (24, 24)).repeat(4, axis=0).repeat(4, axis=1)
        soft = np.rint(np.array(texture(item.case_id, (96, 96)), float) * 0 + 100).astype(np.uint8)
        y, x = np.mgrid[:96, :96]
        soft = (100 + 40 * np.sin(y / 30) + 30 * np.cos(x / 25)).astype(np.float32)
        assert grey.shape == soft.shape
        write_array(soft, item.image_path)
        info = ImageInfo("yx", soft.shape, "float32", (0.1 * (1 + 3 * (item.case_id == 0)),) * 2)
        blurred.append(replace(item, info=info, image_sha256=hash_array(soft)))
    said = SUPER_RESOLUTION.check(
        replace(snapshot, items=tuple(blurred)), make_request(snapshot, tmp_path, epochs=1).settings
    )
    assert any("no fine detail" in warning for warning in said)
    assert any("Pixel sizes range from 0.1 to 0.4 mm" in warning for warning in said)
    assert not any(
        "no fine detail" in warning
        for warning in SUPER_RESOLUTION.check(
            make_snapshot(tmp_path / "sharp"), make_request(snapshot, tmp_path, epochs=1).settings
        )
    )
