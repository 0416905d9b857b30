"""The cache of planes and what is cut from it: right values, built once, same samples wherever they are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import StorageError, TrainingError
from core.imaging.stored import hash_array, read_image, write_array
from core.learning import plane_cache
from core.learning.feed import Feed
from core.learning.planes import measure_scale, prepare_plane
from core.learning.sampling import sample_seed
from core.learning.variation import LEVELS
from core.readings.reading import Mask
from core.readings.stored import write_reading
from core.tasks.segmentation.augmentation import build_augmentation
from core.tasks.segmentation.data import (
    SampleKey,
    SampleMaker,
    class_numbers,
    crops_per_plane,
    middle_window,
    open_cache,
)
from core.tasks.segmentation.planning import Plan, make_plan
from core.tasks.segmentation.settings import make_settings
from core.types import ImageInfo, Label
from tests.core.tasks.segmentation.samples import SIZE, SMALL, make_snapshot


def quiet(done: int, items: int) -> None:
    """Take no notice."""


def make_cache(tmp_path: Path, **settings: object):  # type: ignore[no-untyped-def]
    """Return snapshot, plan and opened training cache."""
    snapshot = make_snapshot(tmp_path / "data", labels=2)
    plan = make_plan(snapshot, make_settings({**SMALL, "input_size": 64, **settings}))
    return snapshot, plan, open_cache(snapshot, "train", plan, tmp_path / "planes", quiet)


def test_planes_hold_what_preprocessing_makes(tmp_path: Path) -> None:
    snapshot, plan, cache = make_cache(tmp_path, fit="patch", input_size=32)
    assert len(cache) == 8
    item = snapshot.items[3]
    image = read_image(item.image_path, item.info)
    expected = prepare_plane(
        image.plane(0), item.info, plan.preprocessing, measure_scale(image, plan.preprocessing)
    )
    values, classes = cache.plane(3)
    assert values.shape == (SIZE, SIZE, 1)
    assert np.allclose(values, expected, atol=5e-3)
    assert set(np.unique(classes)) == {0, 1, 2}
    assert cache.marked.all()


def test_it_is_built_once_and_anew_for_other_data(tmp_path: Path) -> None:
    snapshot, plan, _ = make_cache(tmp_path)
    told: list[int] = []
    open_cache(snapshot, "train", plan, tmp_path / "planes", lambda done, items: told.append(done))
    assert told == []
    fewer = replace(snapshot, items=snapshot.items[1:])
    again = open_cache(fewer, "train", plan, tmp_path / "planes", lambda done, items: told.append(done))
    assert told == list(range(1, 8))
    assert len(again) == 7


def test_stopping_or_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, plan, _ = make_cache(tmp_path)
    folder = tmp_path / "other" / "planes"

    def stop(done: int, items: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(snapshot, "val", plan, folder, stop)
    assert list(folder.parent.iterdir()) == []
    monkeypatch.setattr(plane_cache, "SPARE_BYTES", 2**62)
    with pytest.raises(StorageError, match="free"):
        open_cache(snapshot, "val", plan, folder, quiet)
    assert list(folder.parent.iterdir()) == []


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    snapshot, plan, _ = make_cache(tmp_path)
    snapshot.of_split("val")[1].image_path.unlink()
    with pytest.raises(TrainingError, match="disc9"):
        open_cache(snapshot, "val", plan, tmp_path / "val", quiet)


def test_volumes_give_their_slices(tmp_path: Path) -> None:
    snapshot = make_snapshot(tmp_path / "data", train=2, val=1)
    array = np.arange(3 * 20 * 30, dtype=np.int16).reshape(3, 20, 30)
    labels = np.zeros(array.shape, np.uint8)
    labels[1, 5:9, 5:9] = 1
    item = snapshot.items[0]
    write_array(array, item.image_path)
    write_reading(Mask(labels), item.reading_path)
    info = ImageInfo("zyx", array.shape, "int16", modality="MR")
    items = (replace(item, info=info, image_sha256=hash_array(array)), *snapshot.items[1:])
    volumes = replace(snapshot, items=items)
    plan = make_plan(volumes, make_settings({**SMALL, "fit": "patch", "input_size": 32}))
    cache = open_cache(volumes, "train", plan, tmp_path / "planes", quiet)
    assert list(cache.items) == [0, 0, 0, 1]
    assert list(cache.slices) == [0, 1, 2, 0]
    assert list(cache.marked) == [False, True, False, True]
    assert [tuple(shape) for shape in cache.shapes] == [(20, 30)] * 3 + [(SIZE, SIZE)]
    # One scale for the whole volume: the mean of all planes is 0, that of one is not.
    means = [float(cache.plane(number)[0].astype(np.float32).mean()) for number in range(3)]
    assert means[0] < -0.5 < 0.5 < means[2]
    assert np.mean(means) == pytest.approx(0, abs=0.02)


def test_label_values_become_class_numbers() -> None:
    labels = (Label(5, "a", "#000000"), Label(2, "b", "#000000"))
    assert class_numbers(labels, np.array([0, 5, 2, 7, 1], np.uint8)).tolist() == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("fit", ["resize", "patch"])
def test_samples_are_the_same_wherever_they_are_made(tmp_path: Path, fit: str) -> None:
    _, _plan, cache = make_cache(tmp_path, fit=fit, input_size=32)
    maker = SampleMaker(cache, build_augmentation(LEVELS["medium"]), crops=fit == "patch")
    keys = [
        [SampleKey(plane, sample_seed(0, epoch, plane), 32, 32) for plane in range(4)] for epoch in range(3)
    ]
    expected = [maker(one) for one in keys]
    assert expected[0].images.shape == (4, 1, 32, 32)
    assert expected[0].images.dtype == torch.float32
    assert expected[0].images.permute(0, 2, 3, 1).is_contiguous()
    assert expected[0].targets.dtype == torch.int64
    assert not torch.equal(expected[0].images, expected[1].images)
    for workers in (0, 2):
        feed = Feed(maker, workers, pin_memory=False)
        with feed.batches(iter(keys)) as batches:
            for batch, wanted in zip(batches, expected, strict=True):
                assert all(torch.equal(one, two) for one, two in zip(batch, wanted, strict=True))
        feed.close()


def test_crops_find_marks_and_small_planes_are_mirrored_outwards(tmp_path: Path) -> None:
    _, plan, cache = make_cache(tmp_path, fit="patch", input_size=16)
    assert crops_per_plane(cache, make_big(plan, 16)).tolist() == [2] * 8
    maker = SampleMaker(cache, build_augmentation(LEVELS["none"]), crops=True)
    crops = maker([SampleKey(0, seed, 16, 16) for seed in range(200)])
    assert (crops.targets > 0).flatten(1).any(dim=1).float().mean() > 0.6
    assert maker([SampleKey(0, 1, 96, 96)]).images.shape == (1, 1, 96, 96)
    image, classes = middle_window(*cache.plane(0), (48, 48))
    assert image.shape == (48, 48, 1)
    assert classes.shape == (48, 48)


def make_big(plan: Plan, side: int) -> Plan:
    """Return the plan with windows of another size."""
    changed = plan.preprocessing.model_copy(update={"input_height": side, "input_width": side})
    return replace(plan, preprocessing=changed)
