"""What DICOM files say about their display, against pydicom's own VOI transformation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi, apply_windowing

from core.imaging.dicom import read_dicom_series
from core.imaging.windows import default_display, default_window, to_display
from core.settings import Settings
from core.types import Image, ShadeTable, Window, info_from_json, info_to_json
from tests.core.imaging.dicom_files import build, save

RAMP = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)


def read(dataset: Dataset, folder: Path) -> Image:
    (found,) = read_dicom_series([save(dataset, folder / "a.dcm")], "salt", Settings())
    return found.image


def table(first: int, entries: np.ndarray, bits: int, **fields: Any) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.astype("<u2").tobytes()
    for keyword, value in fields.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000, 300), (40, 1), (3000.5, 0.5), (-20, 700)])
def test_window_functions_equal_pydicom(tmp_path, function, center, width):
    if function == "LINEAR" and width < 1:
        pytest.skip("a linear window of DICOM spans at least 1")
    fields = {
        "WindowCenter": center,
        "WindowWidth": width,
        "VOILUTFunction": function,
        "BitsStored": 12,
        "HighBit": 11,
    }
    dataset = build(RAMP, **fields)
    image = read(dataset, tmp_path)
    assert image.info.window == Window(center, width, function.lower())
    expected = apply_windowing(RAMP, dataset) / 4095 * 255
    assert np.abs(to_display(image.array, image.info.window) - expected).max() <= 0.51


def test_all_windows_are_kept_and_names_that_are_words_of_the_trade(tmp_path):
    fields = {
        "WindowCenter": [40, -600, 300, 50],
        "WindowWidth": [400, 1500, 0, 350],
        "WindowCenterWidthExplanation": ["SOFT TISSUE", "Lung_1", "bad", "Smith^John"],
    }
    info = read(build(RAMP, **fields), tmp_path).info
    assert info.windows == (
        Window(40, 400, name="SOFT TISSUE"),
        Window(-600, 1500, name="Lung_1"),
        Window(50, 350),
    )
    assert info.window == info.windows[0]
    assert info_from_json(info_to_json(info)) == info


def test_descriptions_stored_before_windows_had_functions_can_still_be_read():
    old = {"layout": "yx", "shape": [2, 3], "dtype": "uint8", "window": {"center": 1.0, "width": 2.0}}
    info = info_from_json(old)
    assert info.window == Window(1, 2)
    assert (info.windows, info.shade_table) == ((), None)


@pytest.mark.parametrize(("first", "bits"), [(0, 8), (100, 12), (0, 16)])
def test_curve_equals_pydicom(tmp_path, first, bits):
    entries = (np.sqrt(np.linspace(0, 1, 3000)) * (2**bits - 1)).astype(np.uint16)
    dataset = build(RAMP, VOILUTSequence=[table(first, entries, bits, LUTExplanation="NORMAL")])
    image = read(dataset, tmp_path)
    mapped = entries[np.clip(RAMP.astype(int) - first, 0, 2999)]
    if bits > 8:  # pydicom 3.0 counts entries of 8-bit tables in bytes and starts over at 256
        assert np.array_equal(apply_voi(RAMP, dataset), mapped)
    expected = mapped / (2**bits - 1) * 255
    curve = default_display(image.array, image.info)
    assert isinstance(curve, ShadeTable) and curve.name == "NORMAL"
    assert np.abs(to_display(image.array, curve) - expected).max() <= 0.51
    assert np.array_equal(to_display(image.array, curve, True), 255 - to_display(image.array, curve))
    assert np.array_equal(to_display(image.array.astype(np.float32), curve), to_display(image.array, curve))
    assert info_from_json(info_to_json(image.info)) == image.info
    near = default_window(image.array, image.info)
    assert (near.low, near.high) == pytest.approx((first, first + 3000), abs=15)
    assert image.info.windows == ()


def test_a_window_goes_before_a_curve_and_a_curve_that_makes_no_sense_is_left_out(tmp_path):
    curve = table(0, np.arange(256), 8)
    both = read(build(RAMP, WindowCenter=40, WindowWidth=400, VOILUTSequence=[curve]), tmp_path).info
    assert default_display(RAMP, both) == Window(40, 400)
    assert both.shade_table is not None
    short = table(0, np.arange(256), 8)
    short.LUTDescriptor = [4096, 0, 8]
    assert read(build(RAMP, VOILUTSequence=[short]), tmp_path).info.shade_table is None


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
    ],
)
def test_low_values_shown_bright(tmp_path, photometric, shape, inverted):
    fields = {"PhotometricInterpretation": photometric} | ({"PresentationLUTShape": shape} if shape else {})
    assert read(build(RAMP, **fields), tmp_path).info.inverted is inverted


def test_signed_and_rescaled_curve(tmp_path):
    """A curve works on the values after rescale; its first value may be negative."""
    entries = np.arange(0, 1000, dtype=np.uint16)
    stored = np.arange(0, 2000, dtype=np.int16).reshape(40, 50)
    dataset = build(stored, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=[table(-500, entries, 10)])
    image = read(dataset, tmp_path)
    shown = to_display(image.array, default_display(image.array, image.info))
    clipped = np.clip(stored.astype(int) - 1024 + 500, 0, 999)
    assert np.array_equal(shown, np.rint(entries[clipped] * (255 / 1023)).astype(np.uint8))


def test_a_curve_of_sixteen_bits_is_stored_small():
    curve = ShadeTable.of(0, np.rint(np.linspace(0, 1, 65536) ** 2 * 255))
    assert len(curve.shades) < 1500
    assert curve.array.tolist() == np.rint(np.linspace(0, 1, 65536) ** 2 * 255).astype(int).tolist()
