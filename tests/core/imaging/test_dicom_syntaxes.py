"""Every transfer syntax, depth and sign: written by other libraries, read here, equal value by value."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from core.imaging import dicom_series
from core.imaging.dicom import iter_dicom_images
from core.imaging.found import Found
from core.settings import Settings
from core.types import Image
from tests.core.imaging.dicom_encode import (
    BY_GDCM,
    BY_PYDICOM,
    HTJ2K,
    htj2k,
    lossless_jpeg,
    write_frames,
    write_gdcm,
)
from tests.core.imaging.dicom_files import build, save

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
DEPTHS = [("u1", 8), ("u1", 5), ("u2", 16), ("u2", 12), ("i2", 16), ("i2", 12), ("u2", 10)]
SOME = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path) -> Found:
    (found,) = iter_dicom_images([path], "salt", Settings(), with_facts=True)
    assert isinstance(found, Found), found
    return found


def read_slowly(path: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Read as files are read that the quick way does not know."""
    with monkeypatch.context() as patch:
        patch.setattr(dicom_series, "read_elements", lambda *_: None)
        return read(path)


def values(dtype: str, bits: int, shape: tuple[int, ...] = (41, 54), seed: int = 0) -> np.ndarray:
    """Draw values that fill the significant bits, both ends included."""
    signed = dtype[0] == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    array = np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(dtype)
    array.flat[0], array.flat[-1] = low, high
    return array


def dataset_of(array: np.ndarray, bits: int, **fields) -> Dataset:
    return build(array, BitsStored=bits, HighBit=bits - 1, **fields)


def same(image: Image, expected: np.ndarray) -> bool:
    return image.array.shape == expected.shape and np.array_equal(image.array.astype(np.float64), expected)


def hash_by_pydicom(path: Path) -> str:
    """Hash what pydicom reads; not for lossless JPEG, where GDCM ends the process on some depths."""
    return hashlib.sha256(pydicom.dcmread(path).pixel_array.tobytes()).hexdigest()


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(("dtype", "bits"), [*DEPTHS, ("u4", 32), ("i4", 32), ("u4", 20), ("i1", 8)])
def test_native(tmp_path, monkeypatch, syntax, dtype, bits):
    array = values(dtype, bits)
    dataset = dataset_of(array, bits)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = array.astype(array.dtype.newbyteorder(">")).tobytes()
        dataset["PixelData"].VR = "OW" if array.itemsize > 1 else "OB"
    path = save(dataset, tmp_path / "a.dcm")
    found = read(path)
    expected = array.astype(np.float32) if bits == 32 and dtype == "u4" else array
    assert same(found.image, expected)
    assert found.stored.sha256 == hash_by_pydicom(path)
    slow = read_slowly(path, monkeypatch)
    assert np.array_equal(slow.image.array, found.image.array) and slow.image.info == found.image.info
    assert slow.stored == found.stored


@pytest.mark.parametrize("syntax", BY_GDCM)
@pytest.mark.parametrize(("dtype", "bits"), DEPTHS)
def test_compressed_by_gdcm(tmp_path, monkeypatch, syntax, dtype, bits):
    array = values(dtype, bits)
    path = write_gdcm(dataset_of(array, bits), tmp_path / "a.dcm", syntax)
    found, slow = read(path), read_slowly(path, monkeypatch)
    assert same(found.image, array)
    assert found.stored.sha256 == hashlib.sha256(array.tobytes()).hexdigest() == slow.stored.sha256
    assert np.array_equal(slow.image.array, found.image.array)


@pytest.mark.parametrize("syntax", BY_PYDICOM)
@pytest.mark.parametrize(("dtype", "bits"), DEPTHS)
def test_compressed_by_pydicom(tmp_path, monkeypatch, syntax, dtype, bits):
    array = values(dtype, bits)
    dataset = dataset_of(array, bits)
    dataset.compress(syntax, encoding_plugin={RLELossless: "pydicom"}.get(syntax, ""))
    path = save(dataset, tmp_path / "a.dcm")
    found, slow = read(path), read_slowly(path, monkeypatch)
    assert same(found.image, array)
    assert found.stored.sha256 == hash_by_pydicom(path) == slow.stored.sha256
    assert np.array_equal(slow.image.array, found.image.array)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg_with_every_predictor_equals_gdcm(tmp_path, predictor, bits):
    array = values("u1" if bits == 8 else "u2", bits, (31, 17))
    path = tmp_path / "a.dcm"
    stream = lossless_jpeg(array, bits, predictor)
    write_frames(dataset_of(array, bits), path, "1.2.840.10008.1.2.4.57", [stream])
    assert np.array_equal(pydicom.dcmread(path).pixel_array, array)  # GDCM
    assert same(read(path).image, array)


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 16), ("u2", 12)])
def test_high_throughput_jpeg_2000(tmp_path, dtype, bits):
    array = values(dtype, bits, (64, 48))
    path = write_frames(dataset_of(array, bits), tmp_path / "a.dcm", HTJ2K, [htj2k(array, bits)])
    assert same(read(path).image, array)
    assert read(path).stored.sha256 == hash_by_pydicom(path)


@pytest.mark.parametrize(("dtype", "keyword"), [("f4", "FloatPixelData"), ("f8", "DoubleFloatPixelData")])
def test_floating_point_pixels(tmp_path, monkeypatch, dtype, keyword):
    array = np.random.default_rng(0).normal(size=(5, 6)).astype(dtype)
    dataset = build(np.zeros((5, 6), np.uint16), BitsAllocated=8 * array.itemsize)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del dataset[name]
    setattr(dataset, keyword, array.tobytes())
    path = save(dataset, tmp_path / "a.dcm")
    found = read(path)
    assert np.array_equal(found.image.array, array.astype(np.float32))
    assert found.image.info.dtype == "float32"
    assert found.stored.sha256 == hash_by_pydicom(path) == read_slowly(path, monkeypatch).stored.sha256
    array[1, 2], array[2, 2] = np.nan, np.inf
    setattr(dataset, keyword, array.tobytes())
    found = read(save(dataset, path))
    assert found.image.array[1, 2] == found.image.array[2, 2] == 0
    assert found.image.info.warnings == ("Some values were not numbers and were set to 0.",)


@pytest.mark.parametrize("frames", [1, 3])
def test_single_bits(tmp_path, frames):
    array = np.random.default_rng(0).integers(0, 2, (frames, 5, 7), dtype=np.uint8)
    dataset = build(array[0] if frames == 1 else array, BitsAllocated=1, BitsStored=1, HighBit=0)
    if frames > 1:
        dataset.NumberOfFrames = frames
    packed = np.packbits(array.ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    found = read(save(dataset, tmp_path / "a.dcm"))
    assert same(found.image, array[0] if frames == 1 else array)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_values_may_stand_in_high_bits_and_others_carry_no_value(tmp_path, monkeypatch, syntax):
    array = values("i2", 12)
    dataset = build((array << 4) | 5, BitsStored=12, HighBit=15)
    if syntax == RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom")
    path = save(dataset, tmp_path / "a.dcm")
    assert same(read(path).image, array)
    assert same(read_slowly(path, monkeypatch).image, array)
    low = build(array.view(np.uint16) & 0x0FFF | 0x3000, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert same(read(save(low, path)).image, array)


def color(shape: tuple[int, ...] = (6, 8, 3)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("frames", [1, 2])
def test_color(tmp_path, monkeypatch, syntax, planar, photometric, frames):
    array = color((6, 8, 3)) if frames == 1 else color((frames, 6, 8, 3))
    fields = {"NumberOfFrames": frames} if frames > 1 else {}
    dataset = build(array, PhotometricInterpretation=photometric, **fields)
    if planar:
        dataset.PlanarConfiguration = 1
        dataset.PixelData = np.moveaxis(array, -1, -3).tobytes()
    if syntax == RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom")
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    path = save(dataset, tmp_path / "a.dcm")
    found, slow = read(path), read_slowly(path, monkeypatch)
    truth = pydicom.dcmread(path).pixel_array
    assert np.array_equal(found.image.array, truth)
    assert found.stored.sha256 == hash_by_pydicom(path)
    assert np.array_equal(slow.image.array, truth)
    assert found.image.info.layout == ("yxc" if frames == 1 else "tyxc")


def test_half_as_many_colors_as_pixels(tmp_path):
    array = color((4, 8, 3))
    array[:, 1::2, 1:] = array[:, ::2, 1:]
    dataset = build(array, PhotometricInterpretation="YBR_FULL")
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    pairs = array.reshape(-1, 2, 3)
    packed = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=1)
    dataset.PixelData = packed.tobytes()
    path = save(dataset, tmp_path / "a.dcm")
    assert np.array_equal(read(path).image.array, pydicom.dcmread(path).pixel_array)


def test_sixteen_bit_color(tmp_path):
    array = np.random.default_rng(1).integers(0, 4096, (5, 6, 3)).astype(np.uint16)
    fields = {"PhotometricInterpretation": "RGB", "BitsStored": 12, "HighBit": 11}
    found = read(save(build(array, **fields), tmp_path / "a.dcm"))
    assert np.array_equal(found.image.array, array >> 4)
    assert "from 12 to 8 bits" in found.image.info.warnings[0]
    assert found.stored.high == array.max()
    grey = np.full((2, 3, 3), 2048, np.uint16)  # no colour difference: luminance alone
    grey[..., 0] = 1000
    ybr = build(grey, **{**fields, "PhotometricInterpretation": "YBR_FULL"})
    assert (read(save(ybr, tmp_path / "b.dcm")).image.array == 1000 >> 4).all()


def palette(entries: np.ndarray, first: int, bits: int, segmented: bool) -> dict[str, object]:
    """Return the elements of a palette of three equal ramps shifted against each other."""
    fields: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for shift, name in enumerate(("Red", "Green", "Blue")):
        fields[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries), first, bits]
        table = np.roll(entries, shift)
        key = f"{name}PaletteColorLookupTableData"
        if segmented:
            key, table = f"Segmented{key}", np.concatenate([[0, len(table)], table])
        fields[key] = table.astype("<u2" if bits == 16 else "u1").tobytes()
    return fields


@pytest.mark.parametrize(("bits", "segmented"), [(8, False), (16, False), (16, True)])
@pytest.mark.parametrize("first", [0, 3])
def test_palettes(tmp_path, bits, segmented, first):
    entries = np.linspace(0, 2**bits - 1, 16).astype(np.uint16)
    array = np.random.default_rng(0).integers(0, 24, (4, 6), dtype=np.uint8)
    path = save(build(array, **palette(entries, first, bits, segmented)), tmp_path / "a.dcm")
    found = read(path)
    expected = np.stack(
        [np.roll(entries, n)[np.clip(array.astype(int) - first, 0, 15)] for n in range(3)], -1
    )
    assert np.array_equal(found.image.array, expected >> (bits - 8))
    assert found.stored.sha256 == hash_by_pydicom(path)  # the indices
    assert found.stored.shape == (4, 6)


def test_colors_for_some_values_only_are_said(tmp_path):
    entries = np.arange(16, dtype=np.uint16)
    fields = palette(entries, 1024, 16, False) | {"PhotometricInterpretation": "MONOCHROME2"}
    found = read(save(build(values("u2", 12), **fields), tmp_path / "a.dcm"))
    assert "colours" in found.image.info.warnings[0]
    assert found.image.info.layout == "yx"


RESCALES = st.tuples(
    st.one_of(st.sampled_from([1, 1, 2, -1, 100]), st.floats(0.001, 50).map(lambda n: round(n, 4))),
    st.one_of(st.sampled_from([0, -1024, 1, 30000]), st.floats(-2000, 2000).map(lambda n: round(n, 3))),
)


@SOME
@given(
    st.data(),
    st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]),
    st.sampled_from(
        [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEGLosslessSV1]
    ),
    RESCALES,
)
def test_the_quick_way_and_the_slow_way_give_the_same(tmp_path, monkeypatch, data, dtype, syntax, rescale):
    itemsize = int(dtype[1])
    if itemsize == 4 and syntax in (RLELossless, JPEGLSLossless, JPEGLosslessSV1):
        syntax = ExplicitVRLittleEndian
    least = {  # what the encoders take
        JPEGLSLossless: 8 * itemsize,
        RLELossless: 8 * itemsize - 7,
        JPEGLosslessSV1: 8 * itemsize - 7,
    }.get(syntax, 2)
    bits = data.draw(st.integers(max(2, least), 8 * itemsize))
    array = values(
        dtype,
        bits,
        data.draw(st.tuples(st.integers(16, 40), st.integers(16, 40))),
        data.draw(st.integers(0, 9)),
    )
    dataset = dataset_of(array, bits, RescaleSlope=rescale[0], RescaleIntercept=rescale[1])
    path = tmp_path / "a.dcm"
    if syntax == JPEGLosslessSV1:
        mask = 2**bits - 1
        stream = lossless_jpeg((array.astype(np.int64) & mask).astype(f"u{itemsize}"), max(bits, 2))
        write_frames(dataset, path, syntax, [stream])
    elif syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax, encoding_plugin="pydicom" if syntax == RLELossless else "")
        save(dataset, path)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        save(dataset, path)
    found, slow = read(path), read_slowly(path, monkeypatch)
    assert found.image.info == slow.image.info
    assert np.array_equal(found.image.array, slow.image.array)
    assert found.stored == slow.stored
    assert found.stored.sha256 == hashlib.sha256(array.tobytes()).hexdigest()
    expected = array.astype(np.float64) * rescale[0] + rescale[1]
    assert np.allclose(found.image.array, expected.astype(found.image.array.dtype), rtol=1e-6)
    whole = all(float(number).is_integer() for number in rescale)
    if whole and np.abs(expected).max() < 2**31:
        assert np.array_equal(found.image.array, expected)
        fits = expected.min() >= -(2**15) and expected.max() < 2**15
        bytes_stay = dtype == "u1" and tuple(map(float, rescale)) == (1, 0)
        assert found.image.info.dtype == ("uint8" if bytes_stay else "int16" if fits else "int32")
