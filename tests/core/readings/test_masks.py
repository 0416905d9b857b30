"""Masks from and to files: values, sizes, geometry, and sentences for what does not fit."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from core.errors import FileRefused, LabelError
from core.imaging.nifti import read_nifti
from core.readings.label_values import parse_label_map
from core.readings.masks import (
    read_mask,
    read_mask_noting,
    write_mask_nifti,
    write_mask_tiff,
    write_masks_png,
)
from core.readings.reading import Mask
from core.settings import Settings
from core.types import ImageInfo, make_labels

ONE, THREE = make_labels(["nucleus"]), make_labels(["a", "b", "c"])
FLAT = ImageInfo("yx", (13, 17), "uint8")
RNG = np.random.default_rng(11)
NUMBERS = RNG.integers(0, 4, (13, 17)).astype(np.uint8)


def volume_info(shape: tuple[int, int, int] = (4, 5, 6)) -> ImageInfo:
    turn = np.deg2rad(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * (0.7, 0.9, 2.5)
    affine[:3, 3] = (-31.5, 12.25, 90)
    return ImageInfo("zyx", shape, "int16", (2.5, 0.9, 0.7), tuple(map(tuple, affine.tolist())), "CT")


def refused(path: Path, info: ImageInfo, labels=THREE, label_map=None) -> str:
    with pytest.raises(LabelError) as caught:
        read_mask(path, info, labels, label_map)
    assert path.name in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


@pytest.mark.parametrize("top", [3, 255, 40_000])
def test_png_round_trip(tmp_path: Path, top: int) -> None:
    array = np.array([0, 1, 2, top], np.uint16 if top > 255 else np.uint8)[NUMBERS]
    labels = (*THREE[:2], type(THREE[0])(top, "c", "#000000"))
    write_masks_png(Mask(array), tmp_path / "m.png")
    assert np.array_equal(np.asarray(PILImage.open(tmp_path / "m.png")), array)
    mask = read_mask(tmp_path / "m.png", FLAT, labels, None)
    assert np.array_equal(mask.array, array) and mask.array.dtype == array.dtype
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.png"]


def test_nifti_round_trip_and_nibabel_reads_the_same(tmp_path: Path) -> None:
    info = volume_info()
    array = RNG.integers(0, 4, info.shape).astype(np.uint8)
    write_mask_nifti(Mask(array), info, tmp_path / "m.nii.gz")
    other = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(np.asanyarray(other.dataobj), array.T) and other.get_data_dtype() == np.uint8
    assert np.allclose(other.affine, np.diag([-1, -1, 1, 1]) @ np.array(info.affine_lps), atol=1e-5)
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz", info, THREE, None).array, array)
    with pytest.raises(LabelError, match="size of its image"):
        write_mask_nifti(Mask(array[1:]), info, tmp_path / "n.nii.gz")


def test_flat_and_time_masks_as_nifti_and_tiff(tmp_path: Path) -> None:
    write_mask_nifti(Mask(NUMBERS), FLAT, tmp_path / "f.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "f.nii.gz", FLAT, THREE, None).array, NUMBERS)
    clip = ImageInfo("tyx", (7, 13, 17), "uint8", (0.3, 0.3))
    frames = RNG.integers(0, 4, clip.shape).astype(np.uint8)
    write_mask_nifti(Mask(frames), clip, tmp_path / "t.nii")
    write_mask_tiff(Mask(frames), tmp_path / "t.tif")
    for name in ("t.nii", "t.tif"):
        assert np.array_equal(read_mask(tmp_path / name, clip, THREE, None).array, frames)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_nifti_in_other_axis_order_is_turned(tmp_path: Path, axes: str) -> None:
    info = volume_info()
    array = RNG.integers(0, 4, info.shape).astype(np.uint8)
    write_mask_nifti(Mask(array), info, tmp_path / "m.nii.gz")
    original = nib.load(tmp_path / "m.nii.gz")
    start = nib.orientations.io_orientation(original.affine)
    turn = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(axes))
    nib.save(original.as_reoriented(turn), tmp_path / "turned.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "turned.nii.gz", info, THREE, None).array, array)


@pytest.mark.parametrize("change", ["shift", "spacing", "angle", "flipped place"])
def test_nifti_on_another_grid_is_refused(tmp_path: Path, change: str) -> None:
    info = volume_info()
    affine = np.diag([-1, -1, 1, 1]) @ np.array(info.affine_lps)
    if change == "shift":
        affine[0, 3] += 0.4
    elif change == "spacing":
        affine[:3, 2] *= 1.02
    elif change == "angle":
        affine[:3, 0] += 0.02 * affine[:3, 1]
    else:
        affine[:3, 0] *= -1
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.uint8), affine), tmp_path / "m.nii.gz")
    assert "another grid" in refused(tmp_path / "m.nii.gz", info)


def test_rounded_affine_is_accepted(tmp_path: Path) -> None:
    info = volume_info((40, 200, 220))
    affine = (np.diag([-1, -1, 1, 1]) @ np.array(info.affine_lps)).astype(np.float32).astype(float)
    affine[:3] = np.round(affine[:3], 4)
    nib.save(nib.Nifti1Image(np.ones((220, 200, 40), np.uint8), affine), tmp_path / "m.nii.gz")
    assert read_mask(tmp_path / "m.nii.gz", info, THREE, None).array.all()


def test_palette_index_16_bit_and_first_channel(tmp_path: Path) -> None:
    palette = PILImage.fromarray(NUMBERS, mode="P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png")
    PILImage.fromarray(np.dstack([NUMBERS, np.full_like(NUMBERS, 255)]), mode="LA").save(tmp_path / "la.png")
    PILImage.fromarray(np.dstack([NUMBERS] * 3)).save(tmp_path / "grey_rgb.png")
    for name in ("p.png", "la.png", "grey_rgb.png"):
        assert np.array_equal(read_mask(tmp_path / name, FLAT, THREE, None).array, NUMBERS)
    PILImage.fromarray(np.dstack([NUMBERS, NUMBERS, NUMBERS // 2])).save(tmp_path / "color.png")
    assert "colour" in refused(tmp_path / "color.png", FLAT)


def test_one_label_accepts_255_and_bits(tmp_path: Path) -> None:
    on = NUMBERS > 1
    PILImage.fromarray(on * np.uint8(255)).save(tmp_path / "a.png")
    PILImage.fromarray(on).save(tmp_path / "b.png")
    tifffile.imwrite(tmp_path / "c.tif", on * np.uint8(255))
    for name in ("a.png", "b.png", "c.tif"):
        for label_map in (None, {"any": "nucleus"}, {255: "nucleus"}):
            assert np.array_equal(read_mask(tmp_path / name, FLAT, ONE, label_map).array, on), (
                name,
                label_map,
            )
    assert np.array_equal(read_mask(tmp_path / "b.png", FLAT, ONE, {1: "nucleus"}).array, on)
    assert "255" in refused(tmp_path / "a.png", FLAT, THREE)


def test_label_maps(tmp_path: Path) -> None:
    instances = RNG.integers(0, 900, (13, 17)).astype(np.uint16)
    PILImage.fromarray(instances).save(tmp_path / "i.png")
    assert np.array_equal(read_mask(tmp_path / "i.png", FLAT, ONE, {"any": "nucleus"}).array, instances > 0)
    assert "any=NAME" in refused(tmp_path / "i.png", FLAT, ONE)
    write_masks_png(Mask(NUMBERS), tmp_path / "n.png")
    got = read_mask(tmp_path / "n.png", FLAT, THREE, {1: "c", 2: "background", "any": "a"}).array
    assert np.array_equal(got, np.array([0, 3, 0, 1])[NUMBERS])
    assert "value 3" in refused(tmp_path / "n.png", FLAT, THREE, {1: "a", 2: "b"})
    with pytest.raises(LabelError, match="'vein', which is not a label of this project"):
        read_mask(tmp_path / "n.png", FLAT, THREE, {1: "vein"})


def test_painted_greys_go_to_the_nearest_only_when_sure(tmp_path: Path) -> None:
    labels = make_labels(["myelin", "axon"])
    label_map = {127: "myelin", 255: "axon"}
    info = ImageInfo("yx", (100, 100), "uint8")
    painted = np.repeat(np.array([0, 128, 130, 255], np.uint8), 2500).reshape(100, 100)
    painted[0, 0] = 233
    PILImage.fromarray(painted).save(tmp_path / "g.png")
    mask, notes = read_mask_noting(tmp_path / "g.png", info, labels, label_map)
    assert np.bincount(mask.array.ravel()).tolist() == [2499, 5000, 2501] and "nearest" in notes[0]
    painted[:5] = 60
    PILImage.fromarray(painted).save(tmp_path / "bad.png")
    refused(tmp_path / "bad.png", info, labels, label_map)
    few = RNG.integers(0, 5, (100, 100)).astype(
        np.uint8
    )  # instance numbers must never vanish into background
    PILImage.fromarray(few).save(tmp_path / "few.png")
    refused(tmp_path / "few.png", info, labels, label_map)


def test_jpeg_masks_are_halved(tmp_path: Path) -> None:
    info = ImageInfo("yx", (64, 64), "uint8")
    disc = np.hypot(*(np.mgrid[:64, :64] - 32)) < 20
    PILImage.fromarray(disc * np.uint8(255)).save(tmp_path / "m.jpg", quality=90)
    expected = np.asarray(PILImage.open(tmp_path / "m.jpg")) > 127
    for label_map in (None, {"any": "nucleus"}, {255: "nucleus"}):
        mask, notes = read_mask_noting(tmp_path / "m.jpg", info, ONE, label_map)
        assert np.array_equal(mask.array, expected) and notes


def test_sizes_and_damage(tmp_path: Path) -> None:
    PILImage.fromarray(np.zeros((17, 13), np.uint8)).save(tmp_path / "s.png")
    message = refused(tmp_path / "s.png", FLAT)
    assert "17 x 13" in message and "13 x 17" in message
    whole = (tmp_path / "s.png").read_bytes()
    (tmp_path / "s.png").write_bytes(whole[:-30])
    with pytest.raises(FileRefused):
        read_mask(tmp_path / "s.png", ImageInfo("yx", (17, 13), "uint8"), ONE, None)
    (tmp_path / "x.nii.gz").write_bytes(b"nonsense")
    with pytest.raises(FileRefused):
        read_mask(tmp_path / "x.nii.gz", volume_info(), ONE, None)
    tifffile.imwrite(tmp_path / "f.tif", np.full((13, 17), 0.5, np.float32))
    assert "fractions" in refused(tmp_path / "f.tif", FLAT)


@pytest.mark.parametrize("text", ["", "1", "1=", "=a", "x=a", "-1=a", "1=a,1=b", "1=a,,2=b", "1.5=a", "any"])
def test_nonsense_label_maps(text: str) -> None:
    with pytest.raises(LabelError) as caught:
        parse_label_map(text)
    assert "any=nucleus" in str(caught.value)


def test_parse_label_map() -> None:
    assert parse_label_map(" 1 = nerve, 2=blood vessel ,ANY=x") == {1: "nerve", 2: "blood vessel", "any": "x"}


@given(st.dictionaries(st.one_of(st.integers(0, 10**8), st.just("any")), st.from_regex(r"[a-z][a-z ]{0,8}[a-z]", fullmatch=True), min_size=1))  # fmt: skip  # noqa: E501
def test_parse_label_map_round_trip(label_map: dict) -> None:
    assert parse_label_map(",".join(f"{k}={v}" for k, v in label_map.items())) == label_map


def test_real_sets(shared_data: Path) -> None:
    nuclei = sorted((shared_data / "seg_nuclei_dsb2018" / "labels").glob("*.png"))[0]
    raw = np.asarray(PILImage.open(nuclei))
    info = ImageInfo("yx", raw.shape, "uint8")
    assert np.array_equal(read_mask(nuclei, info, ONE, {"any": "nucleus"}).array, raw > 0)

    nerve = sorted((shared_data / "seg_us_nerve" / "masks").glob("*.png"))[0]
    raw = np.asarray(PILImage.open(nerve))
    labels = make_labels(["nerve", "vessel"])
    mask = read_mask(nerve, ImageInfo("yx", raw.shape, "uint8"), labels, parse_label_map("1=nerve,2=vessel"))
    assert np.array_equal(mask.array, raw)

    for path in sorted((shared_data / "seg_em_axon" / "masks").glob("*.png")):
        raw = np.asarray(PILImage.open(path).getchannel(0))
        labels = make_labels(["axon", "myelin"])
        mask = read_mask(path, ImageInfo("yx", raw.shape, "uint8"), labels, {255: "axon", 127: "myelin"})
        nearest = np.abs(raw[..., None].astype(int) - [0, 255, 127]).argmin(-1)
        assert np.array_equal(mask.array, nearest)


def test_real_volumes(shared_data: Path) -> None:
    folder = shared_data / "vol_mr_hippocampus"
    labels = make_labels(["anterior", "posterior"])
    for path in sorted((folder / "labelsTr").glob("*.nii.gz"))[:12]:
        info = read_nifti(folder / "imagesTr" / path.name, Settings()).image.info
        expected = np.asanyarray(nib.load(path).dataobj).T
        assert np.array_equal(read_mask(path, info, labels, None).array, expected)
