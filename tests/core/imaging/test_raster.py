"""Picture files: values as Pillow, tifffile and scikit-image read them; hostile files refused in a sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage
from skimage import io as skio

from core.errors import FileRefused
from core.imaging.raster import read_raster
from core.settings import Settings

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (31, 47), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (31, 47), dtype=np.uint16)
COLOR = RNG.integers(0, 256, (31, 47, 3), dtype=np.uint8)
SMALL = Settings(max_image_bytes=2**24, max_image_pixels_per_frame=2**22)


def refused(path: Path, settings: Settings | None = None) -> str:
    with pytest.raises(FileRefused) as caught:
        read_raster(path, settings)
    message = str(caught.value)
    assert path.name in message and message.endswith(".") and "\n" not in message
    return message


def bomb_png(side: int, body: bytes | None = None) -> bytes:
    """A PNG that declares ``side`` x ``side`` grey pixels, all zero, in a few kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    if body is None:
        packer = zlib.compressobj(9)
        body = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "array"),
    [("a.png", GREY), ("b.png", DEEP), ("c.png", COLOR), ("d.bmp", GREY), ("e.bmp", COLOR), ("f.pgm", DEEP)],
)
def test_lossless_values_and_name(tmp_path: Path, name: str, array: np.ndarray) -> None:
    PILImage.fromarray(array).save(tmp_path / name)
    found = read_raster(tmp_path / name)
    assert np.array_equal(found.image.array, array) and found.image.array.dtype == array.dtype
    assert found.image.info.layout == ("yx" if array.ndim == 2 else "yxc")
    assert (found.name, found.source, found.patient_key) == (name[0], name, None)
    assert found.image.info.spacing_mm is None


def test_jpeg_is_what_scikit_image_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    PILImage.fromarray(COLOR).save(path, quality=95)
    image = read_raster(path).image
    assert np.array_equal(image.array, skio.imread(path)) and image.info.warnings


def test_deep_color_png_keeps_16_bits(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (9, 11, 4), dtype=np.uint16)
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(deep[..., :3])))
    (tmp_path / "rgba.png").write_bytes(imagecodecs.png_encode(deep))
    for name in ("rgb.png", "rgba.png"):
        assert np.array_equal(read_raster(tmp_path / name).image.array, deep[..., :3])


def test_alpha_is_dropped_and_palette_looked_up(tmp_path: Path) -> None:
    alpha = np.dstack([COLOR, np.full(GREY.shape, 9, np.uint8)])
    PILImage.fromarray(alpha).save(tmp_path / "rgba.png")
    PILImage.fromarray(np.dstack([GREY, GREY // 2]), mode="LA").save(tmp_path / "la.png")
    palette = PILImage.fromarray(GREY % 3, mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "p.png")
    assert np.array_equal(read_raster(tmp_path / "rgba.png").image.array, COLOR)
    assert np.array_equal(read_raster(tmp_path / "la.png").image.array, GREY)
    expected = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)[GREY % 3]
    assert np.array_equal(read_raster(tmp_path / "p.png").image.array, expected)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    PILImage.fromarray(GREY > 99).save(tmp_path / "b.png")
    tifffile.imwrite(tmp_path / "b.tif", GREY > 99, photometric="minisblack")
    for name in ("b.png", "b.tif"):
        assert np.array_equal(read_raster(tmp_path / name).image.array, (GREY > 99) * np.uint8(255))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = PILImage.Exif()
    exif[0x0112] = orientation
    PILImage.fromarray(COLOR).save(tmp_path / "r.png", exif=exif)
    tifffile.imwrite(
        tmp_path / "r.tif", COLOR, photometric="rgb", extratags=[(274, "H", 1, orientation, True)]
    )
    expected = np.asarray(ImageOps.exif_transpose(PILImage.open(tmp_path / "r.png")))
    assert np.array_equal(read_raster(tmp_path / "r.png").image.array, expected)
    assert np.array_equal(read_raster(tmp_path / "r.tif").image.array, expected)


@pytest.mark.parametrize(
    "array",
    [GREY, DEEP, DEEP.astype(np.int16), GREY.astype(np.float32) / 7, COLOR, np.dstack([DEEP] * 3)],
    ids=["u8", "u16", "i16", "f32", "rgb8", "rgb16"],
)
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_values(tmp_path: Path, array: np.ndarray, compression: str | None) -> None:
    path = tmp_path / "x.tiff"
    photometric = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, compression=compression, resolution=(72, 72))
    image = read_raster(path).image
    assert np.array_equal(image.array, tifffile.imread(path)) and image.array.dtype == array.dtype
    assert image.info.spacing_mm is None  # 72 per inch says nothing about the patient


def test_tiff_alpha_palette_and_inverted(tmp_path: Path) -> None:
    alpha = np.dstack([COLOR, GREY])
    tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read_raster(tmp_path / "a.tif").image.array, COLOR)
    colormap = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", GREY, photometric="palette", colormap=colormap)
    expected = np.moveaxis((colormap >> 8).astype(np.uint8)[:, GREY], 0, -1)
    assert np.array_equal(read_raster(tmp_path / "p.tif").image.array, expected)
    tifffile.imwrite(tmp_path / "w.tif", GREY, photometric="miniswhite")
    image = read_raster(tmp_path / "w.tif").image
    assert image.info.inverted and np.array_equal(image.array, GREY)


def test_stacks_time_unless_z_is_said(tmp_path: Path) -> None:
    stack = RNG.integers(0, 4000, (5, 8, 9), dtype=np.uint16)
    plain, imagej, ome = (tmp_path / n for n in ("plain.tif", "ij.tif", "x.ome.tif"))
    tifffile.imwrite(plain, stack, photometric="minisblack")
    tifffile.imwrite(
        imagej, stack, imagej=True, resolution=(4, 2), metadata={"spacing": 3.0, "unit": "um", "axes": "ZYX"}
    )
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(ome, stack, metadata={"axes": "ZYX", **sizes})
    assert read_raster(plain).image.info.layout == "tyx"
    for path, z in ((imagej, 3e-3), (ome, 2e-3)):
        info = read_raster(path).image.info
        assert info.layout == "zyx"
        assert info.spacing_mm == pytest.approx((z, 5e-4, 2.5e-4))
    assert np.array_equal(read_raster(ome).image.array, stack)


def test_microscope_resolution_tag_is_taken(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", GREY, resolution=(20000, 40000), resolutionunit="CENTIMETER")
    assert read_raster(tmp_path / "m.tif").image.info.spacing_mm == pytest.approx((0.00025, 0.0005))


def test_channels_of_fluorescence_stay(tmp_path: Path) -> None:
    planes = RNG.integers(0, 4000, (2, 8, 9), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "c.ome.tif", planes, metadata={"axes": "CYX"})
    image = read_raster(tmp_path / "c.ome.tif").image
    assert image.info.layout == "yxc" and np.array_equal(image.array, np.moveaxis(planes, 0, -1))


def test_too_many_axes_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "tz.ome.tif", np.zeros((2, 3, 8, 9), np.uint8), metadata={"axes": "TZYX"})
    assert "time point" in refused(tmp_path / "tz.ome.tif")


def test_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb_png(12500))
    assert path.stat().st_size < 400_000
    assert "limit" in refused(path, SMALL)


def test_png_that_declares_more_than_its_bytes_can_hold(tmp_path: Path) -> None:
    (tmp_path / "lie.png").write_bytes(bomb_png(12500, zlib.compress(b"\0" * 100)))
    assert "cannot be" in refused(tmp_path / "lie.png")


def test_large_picture_within_limits_passes_pillows_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 10)
    PILImage.fromarray(GREY).save(tmp_path / "x.png")
    assert read_raster(tmp_path / "x.png").image.array.shape == GREY.shape
    assert PILImage.MAX_IMAGE_PIXELS == 10


def test_huge_tiff_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, shape=(40, 2000, 2000), dtype=np.uint16, compression="zlib", photometric="minisblack",
                     data=(np.zeros((2000, 2000), np.uint16) for _ in range(40)))  # fmt: skip
    assert path.stat().st_size < 2_000_000
    assert "limit" in refused(path, SMALL)


@pytest.mark.parametrize("name", ["t.png", "t16.png", "t.jpg", "t.bmp", "t.tif", "tz.tif", "s.tif"])
def test_truncated_anywhere_is_refused_or_exact(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t16.png":
        path.write_bytes(imagecodecs.png_encode(np.dstack([DEEP] * 3)))
    elif name.endswith(".tif"):
        array = np.stack([DEEP] * 4) if name == "s.tif" else DEEP
        compression = None if name == "t.tif" else "zlib"
        tifffile.imwrite(path, array, photometric="minisblack", compression=compression)
    else:
        PILImage.fromarray(COLOR).save(path)
    whole, expected = path.read_bytes(), read_raster(path).image.array
    refusals = 0
    for cut in np.linspace(1, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:cut])
        try:
            assert np.array_equal(read_raster(path).image.array, expected), f"filled in after {cut} bytes"
        except FileRefused:
            refusals += 1
    assert refusals >= 36


def test_wrong_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"hello, I am text\n" * 9)
    (tmp_path / "b.tif").write_bytes(b"II*\0" + bytes(40))
    (tmp_path / "c.png").write_bytes(b"")
    for name in ("a.png", "b.tif", "c.png", "missing.png"):
        refused(tmp_path / name)


def test_real_sets(shared_data: Path) -> None:
    nuclei = sorted((shared_data / "seg_nuclei_dsb2018" / "images").glob("*.png"))[0]
    axon = shared_data / "seg_em_axon" / "images" / "sub-rat6_sample-data15_SEM.png"
    fundus = sorted((shared_data / "seg_retina_chase" / "images").glob("*.jpg"))[0]
    assert np.array_equal(read_raster(nuclei).image.array, skio.imread(nuclei)[..., :3])
    assert np.array_equal(read_raster(axon).image.array, skio.imread(axon)[..., 0])
    assert read_raster(fundus).image.info.shape == (2880, 2997, 3)
