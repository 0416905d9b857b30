"""Augmented samples: repeatable, images and masks moved alike, inputs untouched, data decide on mirroring."""

from __future__ import annotations

import numpy as np
import pytest

from core.learning.variation import LEVELS, AugmentationPlan, plan_augmentation
from core.tasks.segmentation.augmentation import build_augmentation, preview_samples
from core.tasks.segmentation.settings import make_settings


def sample(channels: int = 1, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return an image that is 2 inside its mask and 0 outside, with a little texture."""
    rng = np.random.default_rng(0)
    mask = np.zeros((size, size), np.uint8)
    mask[10:22, 8:30] = 1
    mask[30:40, 35:44] = 2
    image = 2.0 * (mask > 0)[..., None] + rng.normal(0, 0.05, (size, size, channels))
    return image.astype(np.float32), mask


@pytest.mark.parametrize("level", list(LEVELS))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_equal_seeds_give_equal_samples_and_inputs_stay(level: str, channels: int) -> None:
    image, mask = sample(channels)
    kept = image.copy(), mask.copy()
    one, two = build_augmentation(LEVELS[level]), build_augmentation(LEVELS[level])
    seen = set()
    for seed in range(12):
        first, second = one(image, mask, seed), two(image, mask, seed)
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])
        assert first[0].dtype == np.float32
        assert first[0].shape == image.shape
        assert first[1].dtype == mask.dtype
        assert set(np.unique(first[1])) <= {0, 1, 2}
        seen.add(first[0].tobytes())
    assert np.array_equal(image, kept[0])
    assert np.array_equal(mask, kept[1])
    assert len(seen) == 1 if level == "none" else len(seen) > 8


def test_order_of_calls_does_not_matter() -> None:
    image, mask = sample()
    augment = build_augmentation(LEVELS["strong"])
    forward = [augment(image, mask, seed)[0] for seed in range(6)]
    backward = [augment(image, mask, seed)[0] for seed in reversed(range(6))][::-1]
    assert all(np.array_equal(one, two) for one, two in zip(forward, backward, strict=True))


def test_mask_and_image_move_together() -> None:
    image, mask = sample()
    plan = AugmentationPlan(flip_x=True, flip_y=True, rotate90=True, rotation=30, scale=0.3)
    augment = build_augmentation(plan)
    for seed in range(20):
        moved, moved_mask = augment(image, mask, seed)
        agreement = ((moved[..., 0] > 1) == (moved_mask > 0)).mean()
        assert agreement > 0.97, seed


def test_the_eight_positions_are_equally_likely() -> None:
    image, mask = sample()
    augment = build_augmentation(AugmentationPlan(flip_x=True, flip_y=True, rotate90=True))
    seen = [augment(image, mask, seed)[1].tobytes() for seed in range(400)]
    counts = np.array([seen.count(one) for one in set(seen)])
    assert len(counts) == 8
    assert counts.min() > 25


def test_a_negative_keeps_the_mean() -> None:
    image, mask = sample()
    negative, _ = build_augmentation(AugmentationPlan(invert=1.0))(image, mask, 0)
    assert negative.mean() == pytest.approx(image.mean(), abs=1e-4)
    assert np.allclose(negative - negative.mean(), -(image - image.mean()), atol=1e-4)


def test_switches_overrule_the_level_and_data_decide_the_rest() -> None:
    settings = make_settings({"augmentation": "medium", "rotation": 5.0, "noise": 0.0})
    plan = plan_augmentation(settings, flip_x=False, mixed_polarity=True)
    assert (plan.rotation, plan.noise) == (5.0, 0.0)
    assert not plan.flip_x
    assert plan.flip_y
    assert not plan.rotate90  # a quarter turn and a mirror image make the other mirror image
    assert plan.invert > 0
    forced = plan_augmentation(make_settings({"flips": True, "invert": 0.0}), False, False, True)
    assert forced.flip_x
    assert forced.flip_y
    assert forced.invert == 0
    assert (
        plan_augmentation(make_settings({"augmentation": "none"}), mixed_polarity=True) == AugmentationPlan()
    )


def test_previews_are_pictures() -> None:
    rng = np.random.default_rng(0)
    for shape in ((40, 50), (40, 50, 3)):
        picture = rng.integers(0, 256, shape, dtype=np.uint8)
        mask = np.zeros((40, 50), np.uint8)
        mask[5:20, 5:20] = 1
        samples = preview_samples(picture, mask, LEVELS["strong"], 3, seed=1)
        assert [
            (image.shape, image.dtype, labels.shape) for image, labels in samples if labels is not None
        ] == [(shape, np.uint8, (40, 50))] * 3
        (unmarked,) = preview_samples(picture, None, LEVELS["none"], 1, seed=1)
        assert np.array_equal(unmarked[0], picture)
        assert unmarked[1] is None
