"""Intensities, channels and grids, there and back."""

from __future__ import annotations

import numpy as np
import pytest

from core.learning.planes import (
    fit_mask,
    fit_to_grid,
    grid_shape,
    measure_scale,
    pad_to_window,
    prepare_plane,
    to_channels,
    undo_fit,
    undo_fit_rows,
)
from core.learning.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from core.types import Image, ImageInfo


def _info(shape: tuple[int, ...], layout: str = "yx", **facts: object) -> ImageInfo:
    return ImageInfo(layout=layout, shape=shape, dtype="float32", **facts)  # type: ignore[arg-type]


def test_zscore_centres_and_clips() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(1000, 50, (128, 96))
    plane[0, :4] = 1e6  # a hot pixel or two must not squeeze the rest
    prepared = prepare_plane(plane, _info(plane.shape), Preprocessing())
    assert prepared.shape == (128, 96, 1)
    assert prepared.dtype == np.float32
    assert prepared.mean() == pytest.approx(0, abs=1e-4)
    assert prepared.std() == pytest.approx(1, abs=1e-4)
    assert prepared.max() < 4


def test_a_volume_is_scaled_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(0, 1, (5, 32, 32)) + np.arange(5)[:, None, None] * 10
    info = _info(array.shape, "zyx")
    scale = measure_scale(Image(array, info), Preprocessing())
    means = [float(prepare_plane(plane, info, Preprocessing(), scale).mean()) for plane in array]
    assert means == sorted(means)
    assert np.mean(means) == pytest.approx(0, abs=1e-2)
    alone = measure_scale(Image(array[2], _info(array[2].shape)), Preprocessing())
    same = prepare_plane(array[2], info, Preprocessing(), alone)
    assert np.array_equal(same, prepare_plane(array[2], info, Preprocessing()))


def test_large_images_are_sampled_without_changing_the_answer() -> None:
    rng = np.random.default_rng(1)
    array = rng.gamma(2, 30, (40, 300, 400)).astype(np.int16)
    scale = measure_scale(Image(array, _info(array.shape, "zyx")), Preprocessing())
    assert scale.low == pytest.approx(np.percentile(array, 0.5), abs=1)
    assert scale.high == pytest.approx(np.percentile(array, 99.5), rel=0.02)
    assert scale.shift[0] == pytest.approx(array.mean(), rel=0.02)


@pytest.mark.parametrize("inverted", [False, True])
def test_window_and_range_give_0_to_1(inverted: bool) -> None:
    plane = np.array([[-2000, -160, 40, 240, 3000]], dtype=np.int16)
    window = Preprocessing(normalisation="window", window_center=40, window_width=400)
    expected = np.array([0, 0, 0.5, 1, 1])
    prepared = prepare_plane(plane, _info(plane.shape, inverted=inverted), window)[0, :, 0]
    assert np.allclose(prepared, 1 - expected if inverted else expected, atol=1e-6)
    fixed = Preprocessing(normalisation="range", range_low=-160, range_high=240)
    assert np.allclose(prepare_plane(plane, _info(plane.shape, inverted=inverted), fixed)[0, :, 0], prepared)


def test_inverted_images_are_turned_over() -> None:
    plane = np.random.default_rng(0).normal(0, 1, (20, 20))
    normal = prepare_plane(plane, _info(plane.shape), Preprocessing())
    assert np.allclose(prepare_plane(plane, _info(plane.shape, inverted=True), Preprocessing()), -normal)


def test_imagenet_numbers_match_torchvision() -> None:
    import torch
    from torchvision.transforms import functional

    plane = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    preprocessing = Preprocessing(normalisation="range", channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    expected = functional.normalize(
        torch.from_numpy(plane).permute(2, 0, 1) / 255, list(IMAGENET_MEAN), list(IMAGENET_STD)
    )
    prepared = prepare_plane(plane, _info(plane.shape, "yxc"), preprocessing)
    assert np.allclose(prepared, expected.permute(1, 2, 0).numpy(), atol=1e-6)


@pytest.mark.parametrize("normalisation", ["zscore", "window", "range"])
@pytest.mark.parametrize("value", [0.0, 1234.5, np.nan, np.inf])
def test_constant_and_broken_planes_stay_finite(normalisation: str, value: float) -> None:
    plane = np.full((8, 8), value, dtype=np.float32)
    prepared = prepare_plane(plane, _info(plane.shape), Preprocessing(normalisation=normalisation))
    assert np.isfinite(prepared).all()


def test_few_bright_pixels_are_not_clipped_away() -> None:
    plane = np.zeros((100, 100), dtype=np.uint8)
    plane[50, 50:54] = 200
    assert prepare_plane(plane, _info(plane.shape), Preprocessing())[50, 50, 0] > 1


def test_the_input_is_not_changed() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    plane.flags.writeable = False
    prepare_plane(plane, _info(plane.shape), Preprocessing())
    assert np.array_equal(plane, np.arange(12).reshape(3, 4))


def test_channels() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(to_channels(grey, 3), np.repeat(grey[..., None], 3, axis=-1))
    assert np.array_equal(to_channels(grey[..., None], 1)[..., 0], grey)
    colour = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert np.array_equal(to_channels(colour, 3), colour)
    from PIL import Image as Pil

    assert np.abs(to_channels(colour, 1)[..., 0] - np.asarray(Pil.fromarray(colour).convert("L"))).max() <= 1
    with pytest.raises(ValueError, match="takes images of 3 channels, this one has 4"):
        to_channels(np.zeros((2, 2, 4)), 3)
    with pytest.raises(ValueError, match="takes images of 1 channels, this one has 2"):
        to_channels(np.zeros((2, 2, 2)), 1)


def test_grids() -> None:
    resize = Preprocessing(input_height=64, input_width=96)
    assert grid_shape((500, 20), _info((500, 20)), resize) == (64, 96)
    patch = Preprocessing(fit="patch", target_spacing_mm=(0.5, 1.0))
    assert grid_shape((100, 200), _info((100, 200)), patch) == (100, 200)
    assert grid_shape((100, 200), _info((100, 200), spacing_mm=(1.0, 0.5)), patch) == (200, 100)
    volume = _info((7, 100, 200), "zyx", spacing_mm=(3.0, 0.25, 0.5))
    assert grid_shape((100, 200), volume, patch) == (50, 100)
    assert grid_shape((1, 1), _info((1, 1), spacing_mm=(0.01, 0.01)), patch) == (1, 1)


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (256, 100), (64, 96)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fit_and_undo_give_the_asked_shapes(shape: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((*shape, channels), dtype=np.float32)
    fitted = fit_to_grid(plane, (64, 96))
    assert fitted.shape == (64, 96, channels)
    assert fitted.mean() == pytest.approx(plane.mean(), abs=0.02)
    back = undo_fit(np.ascontiguousarray(fitted.transpose(2, 0, 1)), shape)
    assert back.shape == (channels, *shape)
    assert fit_mask(np.ones(shape, dtype=np.uint16), (64, 96)).shape == (64, 96)


def test_a_smooth_image_survives_there_and_back() -> None:
    y, x = np.mgrid[0:50, 0:70] / 20
    plane = (np.sin(y) * np.cos(x)).astype(np.float32)[..., None]
    back = undo_fit(fit_to_grid(plane, (96, 128)).transpose(2, 0, 1), (50, 70))[0]
    assert np.abs(back - plane[..., 0])[2:-2, 2:-2].max() < 0.01  # no shift by half a pixel


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (300, 20), (64, 200)])
def test_rows_brought_back_equal_opencv(shape: tuple[int, int]) -> None:
    import cv2

    grid = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    expected = np.stack([cv2.resize(one, shape[::-1], interpolation=cv2.INTER_LINEAR) for one in grid])
    assert np.allclose(undo_fit(grid, shape), expected, atol=2e-6)
    bands = [undo_fit_rows(grid, shape, top, min(top + 7, shape[0])) for top in range(0, shape[0], 7)]
    assert np.allclose(np.concatenate(bands, axis=1), undo_fit(grid, shape), atol=1e-6)


def test_masks_keep_their_values_and_their_place() -> None:
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[2:6, 3:9] = 3
    mask[7, 7] = 200
    larger = fit_mask(mask, (30, 20))
    assert np.array_equal(larger, np.repeat(np.repeat(mask, 3, axis=0), 2, axis=1))
    assert np.array_equal(fit_mask(larger, (10, 10)), mask)
    assert larger.dtype == np.uint8


def test_small_planes_are_mirrored_to_the_window() -> None:
    preprocessing = Preprocessing(input_height=16, input_width=32)
    for shape in ((1, 1), (5, 7), (16, 8), (40, 8), (40, 40)):
        plane = np.random.default_rng(0).random((*shape, 2), dtype=np.float32)
        padded, (top, left) = pad_to_window(plane, preprocessing)
        assert padded.shape == (max(16, shape[0]), max(32, shape[1]), 2)
        assert np.array_equal(padded[top : top + shape[0], left : left + shape[1]], plane)


def test_wrong_settings_are_refused() -> None:
    for wrong in (
        {"range_low": 3, "range_high": 3},
        {"mean": (0.1, 0.2)},
        {"std": (0.0,)},
        {"window_width": 0},
        {"target_spacing_mm": (0, 1)},
        {"input_height": 8},
    ):
        with pytest.raises(ValueError):
            Preprocessing.model_validate(wrong)
