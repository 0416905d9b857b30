"""Display windows against pydicom's own VOI transformation."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from core.imaging.windows import CT_PRESETS, default_window, to_display
from core.types import ImageInfo, Window


def info_of(array: np.ndarray, modality: str = "OT", window: Window | None = None) -> ImageInfo:
    layout = {2: "yx", 3: "zyx"}[array.ndim]
    return ImageInfo(layout, array.shape, array.dtype.name, modality=modality, window=window)


def by_pydicom(array: np.ndarray, window: Window) -> np.ndarray:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 16, 1
    dataset.WindowCenter, dataset.WindowWidth = window.center, window.width
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    values = apply_windowing(array.astype(np.int16), dataset)
    return (values + 32768) / 65535 * 255


@pytest.mark.parametrize("window", [*CT_PRESETS.values(), Window(0, 2), Window(0.5, 7), Window(1000, 4096)])
def test_linear_function_equals_pydicom(window: Window) -> None:
    values = np.arange(-2000, 3000, dtype=np.int16).reshape(50, 100)
    shown = to_display(values, window, False)
    assert shown.dtype == np.uint8
    assert np.abs(shown - by_pydicom(values, window)).max() <= 0.501
    assert np.array_equal(to_display(values, window, True), 255 - shown)
    if window.width >= 256:
        floats = to_display(values.astype(np.float32), window, False)
        assert np.abs(floats.astype(int) - shown).max() <= 1


def test_bytes_are_shown_as_they_are() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    window = default_window(ramp, info_of(ramp))
    assert np.array_equal(to_display(ramp, window), ramp)
    assert np.array_equal(to_display(ramp.astype(np.int16), window), ramp)


def test_defaults() -> None:
    volume = np.random.default_rng(0).normal(500, 100, (20, 64, 64)).astype(np.float32)
    volume[0, 0, 0] = 1e9
    assert default_window(volume, info_of(volume, "CT")) == CT_PRESETS["soft tissue"]
    assert default_window(volume, info_of(volume, "CT", Window(1, 2))) == Window(1, 2)
    window = default_window(volume, info_of(volume, "MR"))
    low, high = np.percentile(volume, (0.5, 99.5))
    assert window.low == pytest.approx(low, abs=3) and window.high == pytest.approx(high, abs=3)


def test_small_range_floats_fill_the_screen() -> None:
    ramp = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    shown = to_display(ramp, default_window(ramp, info_of(ramp)))
    assert shown.min() == 0 and shown.max() == 255 and abs(int(shown[50, 0]) - 128) <= 2


@pytest.mark.parametrize("value", [0, 7])
def test_constant_nan_and_sparse_images(value: int) -> None:
    flat = np.full((9, 9), value, np.uint16)
    assert default_window(flat, info_of(flat)).width > 0
    holes = np.full((9, 9), np.nan, np.float32)
    assert to_display(holes, default_window(holes, info_of(holes))).max() == 0
    flat[0, 0] = 900
    assert to_display(flat, default_window(flat, info_of(flat)))[0, 0] == 255


def test_color() -> None:
    color = np.random.default_rng(1).integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    window = Window(128, 256)
    assert np.array_equal(to_display((color >> 8).astype(np.uint8), window), color >> 8)
    assert np.abs(to_display(color, window) - color / 257).max() <= 0.5
    two = to_display(color[..., :2].astype(np.uint8), window)
    assert two.shape == (5, 6, 3) and not two[..., 2].any()
