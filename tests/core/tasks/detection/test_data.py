"""Training samples: the same in any process, boxes in the pixels of the sample, masks where wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.learning.variation import AugmentationPlan
from core.readings.reading import no_boxes
from core.readings.stored import write_reading
from core.tasks.detection.data import (
    SampleKey,
    SampleMaker,
    crops_per_plane,
    open_cache,
    paint_objects,
    rarity,
)
from core.tasks.detection.planning import Plan, make_plan
from core.tasks.detection.settings import make_settings
from core.tasks.detection.spec import Framing
from tests.core.tasks.detection.samples import SIZE, SMALL, make_snapshot, squares


def quiet(done: int, items: int) -> None:
    """Hear nothing of the progress."""


def plan_for(snapshot: object, **settings: object) -> Plan:
    return make_plan(snapshot, make_settings({**SMALL, "epochs": 1, **settings}))  # type: ignore[arg-type] - samples


def bright(image: np.ndarray, box: np.ndarray) -> tuple[float, float]:
    """Return the mean inside a box (without its rim) and that of the whole picture."""
    left, top, right, bottom = (round(float(value)) for value in box)
    return float(image[top + 1 : bottom - 1, left + 1 : right - 1].mean()), float(image.mean())


def test_boxes_lie_on_their_objects(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data")
    plan = plan_for(snapshot, architecture="mask_rcnn")
    cache = open_cache(snapshot, "train", plan, tmp_path / "cache", quiet)
    maker = SampleMaker(cache, replace(plan, augmentation=AugmentationPlan(flip_x=True)))
    for size in (64, 32):
        batch = maker([SampleKey(plane, plane, size, size) for plane in range(4)])
        assert batch.images.shape == (4, 1, size, size)
        for image, target in zip(batch.images, batch.targets, strict=True):
            assert target["masks"].shape == (2, size, size)
            for box, mask in zip(target["boxes"].numpy(), target["masks"].numpy(), strict=True):
                inside, mean = bright(image[0].numpy(), box)
                assert inside > mean + 1
                rows, columns = np.nonzero(mask)
                found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert np.abs(np.array(found) - box).max() <= 1


def test_the_cache_is_taken_again_and_made_anew_for_other_scales(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data")
    told: list[int] = []
    plan = plan_for(snapshot)
    for _ in range(2):
        open_cache(snapshot, "val", plan, tmp_path / "cache", lambda done, items: told.append(done))
    assert told == [1, 2, 3, 4]
    open_cache(
        snapshot, "val", plan_for(snapshot, input_size=96), tmp_path / "cache", lambda d, i: told.append(d)
    )
    assert len(told) == 8


def test_same_keys_same_batch(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data")
    plan = plan_for(snapshot, mosaic=0.5, augmentation="strong")
    cache = open_cache(snapshot, "train", plan, tmp_path / "cache", quiet)
    maker = SampleMaker(cache, plan)
    keys = [SampleKey(plane, 10 + plane, SIZE, SIZE) for plane in range(4)]
    first, again = maker(keys), maker(keys)
    assert np.array_equal(first.images, again.images)
    for one, other in zip(first.targets, again.targets, strict=True):
        assert np.array_equal(one["boxes"], other["boxes"])


def test_calm_samples_are_whole_images_only_mirrored_and_relit(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data")
    plan = plan_for(snapshot, mosaic=1.0, augmentation="strong", calm_end=0.3)
    assert plan.calm_from == pytest.approx(0.7)
    cache = open_cache(snapshot, "train", plan, tmp_path / "cache", quiet)
    maker = SampleMaker(cache, plan)
    for seed in range(8):
        target = maker([SampleKey(0, seed, SIZE, SIZE, is_calm=True)]).targets[0]
        sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
        own = cache.boxes[0].box_xyxy[:, 2:] - cache.boxes[0].box_xyxy[:, :2]
        assert np.allclose(np.sort(sides.numpy().ravel()), np.sort(own.ravel()), atol=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (256, 256)])
def test_crops_of_large_planes_keep_an_object_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    snapshot = make_snapshot(tmp_path / "data", size=200)
    plan = replace(plan_for(snapshot, fit="tiles"), framing=Framing(mode="tiles"))
    cache = open_cache(snapshot, "train", plan, tmp_path / "cache", quiet)
    assert set(crops_per_plane(cache, plan).tolist()) == {3}
    maker = SampleMaker(cache, replace(plan, augmentation=AugmentationPlan()))
    batch = maker([SampleKey(0, seed, *size) for seed in range(30)])
    assert batch.images.shape[2:] == size
    shown = sum(len(target["boxes"]) > 0 for target in batch.targets)
    assert shown >= 0.6 * 30
    for image, target in zip(batch.images, batch.targets, strict=True):
        for box in target["boxes"].numpy():
            inside, mean = bright(image[0].numpy(), box)
            assert inside > mean


def test_rare_labels_and_empty_images_are_known(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data", labels=2)
    write_reading(no_boxes(), snapshot.items[0].reading_path)
    plan = plan_for(snapshot)
    cache = open_cache(snapshot, "train", plan, tmp_path / "cache", quiet)
    assert cache.marked.tolist() == [False] + [True] * 7
    weights = rarity(cache, 2)
    assert weights[0] == 0
    labels = np.concatenate([one.labels for one in cache.boxes])
    rarest = int(np.bincount(labels)[1:].argmin()) + 1
    assert weights[[rarest in one.labels for one in cache.boxes]].min() == weights.max()


def test_objects_are_painted_where_their_masks_say() -> None:
    _, boxes = squares(3, 1)
    painted = paint_objects(boxes, (SIZE, SIZE))
    for number, box in enumerate(boxes.box_xyxy.astype(int), start=1):
        left, top, right, bottom = box
        assert (painted[top:bottom, left:right] == number).all()
