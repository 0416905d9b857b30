"""Picture files: values as Pillow, tifffile and scikit-image read them; hostile files refused in a sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from skimage import io as skio

from core.errors import FileRefused
from core.imaging.raster import iter_raster, read_raster
from core.settings import Settings

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (31, 47), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (31, 47), dtype=np.uint16)
COLOR = RNG.integers(0, 256, (31, 47, 3), dtype=np.uint8)
SMALL = Settings(max_image_bytes=2**24, max_image_pixels_per_frame=2**22)


def refused(path: Path, limits: Settings | None = None) -> str:
    with pytest.raises(FileRefused) as caught:
        read_raster(path, limits)
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


def test_stacks_over_time_become_one_image_a_time(tmp_path: Path) -> None:
    stack = RNG.integers(0, 4000, (3, 2, 8, 9), dtype=np.uint16)
    sizes = {"PhysicalSizeX": 1, "PhysicalSizeY": 1, "PhysicalSizeZ": 2}
    tifffile.imwrite(tmp_path / "tz.ome.tif", stack, metadata={"axes": "TZYX", **sizes})
    found = list(iter_raster(tmp_path / "tz.ome.tif", Settings()))
    assert [item.name for item in found] == ["tz time 1", "tz time 2", "tz time 3"]
    assert all(item.image.info.layout == "zyx" for item in found)
    assert all(np.array_equal(item.image.array, stack[number]) for number, item in enumerate(found))
    tifffile.imwrite(tmp_path / "long.ome.tif", np.zeros((50, 2, 8, 9), np.uint8), metadata={"axes": "TZYX"})
    (first,) = iter_raster(tmp_path / "long.ome.tif", Settings())
    assert "50 points in time" in first.image.info.warnings[-1]


def test_axes_without_a_meaning_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "q.tif", np.zeros((2, 3, 8, 9), np.uint8), metadata={"axes": "QRYX"})
    assert "axes" in refused(tmp_path / "q.tif")


def test_several_series_are_several_images_and_thumbnails_none(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(GREY, photometric="minisblack", metadata=None)
        file.write(COLOR[:20], photometric="rgb", metadata=None)
        file.write(GREY[::2], photometric="minisblack", metadata=None, subfiletype=1)
    found = list(iter_raster(tmp_path / "s.tif", Settings()))
    assert [(item.name, item.part) for item in found] == [("s image 1", "image 1"), ("s image 2", "image 2")]
    assert np.array_equal(found[0].image.array, GREY) and np.array_equal(found[1].image.array, COLOR[:20])


def test_files_that_a_tiff_names_are_not_opened(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (2, 8, 9), dtype=np.uint8)
    inside = tmp_path / "inside"
    inside.mkdir()
    tifffile.imwrite(tmp_path / "secret.tif", stack[1], photometric="minisblack", metadata=None)
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="8" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="../secret.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(inside / "a.ome.tif", stack[0], description=xml, metadata=None, photometric="minisblack")
    assert np.array_equal(read_raster(inside / "a.ome.tif").image.array, stack[0])


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


# Set -> (files, what an independent reader says of one).
def by_pillow(path: Path) -> np.ndarray:
    array = np.asarray(PILImage.open(path))
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array = array[..., :-1]
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def by_opencv(path: Path) -> np.ndarray:
    array = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB if path.suffix == ".jpg" else cv2.IMREAD_UNCHANGED)
    return array


REAL = {
    "cls_cxr_projection": ("**/*.png", by_pillow),
    "det_bccd": ("**/*.jpg", by_opencv),
    "seg_em_axon": ("images/*.png", by_pillow),
    "seg_nuclei_dsb2018": ("images/*.png", by_pillow),
    "seg_retina_chase": ("images/*.jpg", by_opencv),
    "seg_us_nerve": ("images/*.png", by_pillow),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_equal_an_independent_reader(shared_data: Path, name: str) -> None:
    pattern, read = REAL[name]
    files = sorted((shared_data / name).glob(pattern))
    assert files
    for path in files[:: max(1, len(files) // 25)]:
        assert np.array_equal(read_raster(path).image.array, read(path)), path.name


def test_a_slide_read_as_pages_gives_no_label_and_no_overview(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "wsi_openslide" / "CMU-1-Small-Region.svs"
    (found,) = iter_raster(path, Settings())
    assert np.array_equal(found.image.array, tifffile.imread(path))
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(COLOR, photometric="rgb", metadata={"axes": "YXS"})
        file.write(COLOR[:9], photometric="rgb", metadata={"axes": "YXS", "Name": "label image"})
        file.write(COLOR[:8], photometric="rgb", metadata={"axes": "YXS", "Name": "Macro"})
    (found,) = iter_raster(tmp_path / "a.ome.tif", Settings())
    assert np.array_equal(found.image.array, COLOR)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([None, "zlib", "lzw", "zstd", "packbits"]),
    st.sampled_from([None, (16, 16), (16, 32)]),
    st.booleans(),
)
def test_any_tiff_comes_back(tmp_path_factory, dtype, shape, compression, tile, is_big):
    array = RNG.integers(0, 100, shape).astype(dtype)
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    tifffile.imwrite(
        path,
        array,
        compression=compression,
        tile=tile,
        bigtiff=is_big,
        photometric="minisblack",
        metadata=None,
    )
    image = read_raster(path).image
    assert np.array_equal(image.array, array) and image.info.layout == "yx"


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(np.uint8, ""), (np.uint16, ""), (np.uint8, "c"), (np.uint16, "c")]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["png", "jp2", "jls"]),
)
def test_any_picture_without_losses_comes_back(tmp_path_factory, kind, shape, ending):
    dtype, color = kind
    array = RNG.integers(0, np.iinfo(dtype).max, (*shape, 3) if color else shape, dtype=dtype, endpoint=True)
    encode = {
        "png": imagecodecs.png_encode,
        "jp2": lambda values: imagecodecs.jpeg2k_encode(values, level=0),
        "jls": imagecodecs.jpegls_encode,
    }
    path = tmp_path_factory.mktemp("picture") / f"a.{ending}"
    path.write_bytes(encode[ending](array))
    image = read_raster(path).image
    assert np.array_equal(image.array, array) and image.array.dtype == dtype


@pytest.mark.parametrize(("bits", "lossless"), [(12, False), (16, True), (8, True), (12, True)])
def test_deep_and_lossless_jpeg(tmp_path: Path, bits: int, lossless: bool) -> None:
    array = DEEP >> (16 - bits) if bits > 8 else GREY
    data = imagecodecs.jpeg8_encode(array, bitspersample=bits, lossless=lossless, level=100)
    (tmp_path / "d.jpg").write_bytes(data)
    image = read_raster(tmp_path / "d.jpg").image
    difference = np.abs(image.array.astype(int) - array)
    assert image.array.dtype == array.dtype and difference.max() <= (0 if lossless else 8)
    assert bool(image.info.warnings) != lossless


def test_jpeg_ls_and_deep_jpeg_2000(tmp_path: Path) -> None:
    deep = np.dstack([DEEP, DEEP.T[:31, :31].repeat(2, axis=1)[:, :47], 65535 - DEEP])
    for name, data, expected in (
        ("a.jls", imagecodecs.jpegls_encode(DEEP), DEEP),
        ("b.jp2", imagecodecs.jpeg2k_encode(DEEP, level=0), DEEP),
        ("c.j2k", imagecodecs.jpeg2k_encode(deep, level=0, codecformat="j2k"), deep),
        ("d.jp2", imagecodecs.jpeg2k_encode(COLOR, level=0), COLOR),
    ):
        (tmp_path / name).write_bytes(data)
        image = read_raster(tmp_path / name).image
        assert np.array_equal(image.array, expected) and image.array.dtype == expected.dtype, name
        assert image.info.warnings == (), name
    (tmp_path / "e.jp2").write_bytes(imagecodecs.jpeg2k_encode(GREY, level=30))
    assert "losses" in read_raster(tmp_path / "e.jp2").image.info.warnings[0]
    (tmp_path / "f.jls").write_bytes(imagecodecs.jpegls_encode(GREY, level=3))
    assert "loss" in read_raster(tmp_path / "f.jls").image.info.warnings[0]


def test_webp_progressive_and_print_colors(tmp_path: Path) -> None:
    smooth = cv2.resize(COLOR[:4, :6], (48, 32), interpolation=cv2.INTER_CUBIC)
    PILImage.fromarray(smooth).save(tmp_path / "a.webp", lossless=True)
    assert np.array_equal(read_raster(tmp_path / "a.webp").image.array, smooth)
    PILImage.fromarray(smooth).save(tmp_path / "b.webp", quality=80)
    image = read_raster(tmp_path / "b.webp").image
    assert np.array_equal(image.array, cv2.imread(str(tmp_path / "b.webp"), cv2.IMREAD_COLOR_RGB))
    assert "losses" in image.info.warnings[0]
    PILImage.fromarray(smooth).save(tmp_path / "p.jpg", progressive=True, quality=90)
    assert np.array_equal(
        read_raster(tmp_path / "p.jpg").image.array, cv2.imread(str(tmp_path / "p.jpg"))[..., ::-1]
    )
    PILImage.fromarray(smooth).convert("CMYK").save(tmp_path / "k.jpg", quality=95)
    theirs = cv2.imread(str(tmp_path / "k.jpg"), cv2.IMREAD_COLOR_RGB).astype(int)
    assert np.abs(read_raster(tmp_path / "k.jpg").image.array - theirs).max() <= 3


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_and_interlaced_png(tmp_path: Path, bits: int) -> None:
    values = GREY >> (8 - bits)
    data = interlaced_png(values, bits)
    (tmp_path / "i.png").write_bytes(data)
    expected = values * (255 // (2**bits - 1))
    assert np.array_equal(read_raster(tmp_path / "i.png").image.array, expected)
    assert np.array_equal(cv2.imread(str(tmp_path / "i.png"), cv2.IMREAD_GRAYSCALE), expected)
    tifffile.imwrite(tmp_path / "i.tif", values, bitspersample=bits, photometric="minisblack")
    assert np.array_equal(read_raster(tmp_path / "i.tif").image.array, expected)


def interlaced_png(values: np.ndarray, bits: int) -> bytes:
    """Write grey values of few bits in Adam7 order (PNG specification, 8.1)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    raw = b""
    for y, x, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ):  # fmt: skip
        for row in values[y::down, x::across]:
            unpacked = np.unpackbits(row[:, None], axis=1)[:, -bits:].ravel()
            raw += b"\0" + np.packbits(unpacked).tobytes() if len(row) else b""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("largest", [200, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("plain", [True, False])
def test_netpbm_values_are_not_stretched(tmp_path: Path, largest: int, plain: bool) -> None:
    for array in (DEEP.clip(0, largest), np.dstack([DEEP, DEEP // 2, DEEP // 3]).clip(0, largest)):
        magic = f"P{(2 if plain else 5) + (array.ndim == 3)}"
        head = f"{magic}\n# a comment\n47 31\n{largest}\n".encode()
        wide = ">u2" if largest > 255 else "u1"
        body = " ".join(map(str, array.ravel())).encode() if plain else array.astype(wide).tobytes()
        (tmp_path / "a.pnm").write_bytes(head + body)
        ours = read_raster(tmp_path / "a.pnm").image.array
        assert np.array_equal(ours, array) and ours.dtype == (np.uint16 if largest > 255 else np.uint8)
        (tmp_path / "a.pnm").write_bytes(head + body[: len(body) // 2])
        refused(tmp_path / "a.pnm")


def test_sizes_are_taken_only_where_no_printer_comes_in_question(tmp_path: Path) -> None:
    for per_inch, expected in ((72, None), (300, None), (1200, None), (25400, (0.001, 0.001))):
        PILImage.fromarray(GREY).save(tmp_path / "a.png", dpi=(per_inch, per_inch))
        spacing = read_raster(tmp_path / "a.png").image.info.spacing_mm
        assert spacing == (None if expected is None else pytest.approx(expected, rel=1e-4))
    exif = PILImage.Exif()
    exif[0x0112] = 6
    PILImage.fromarray(GREY).save(tmp_path / "b.png", dpi=(25400, 50800), exif=exif)
    assert read_raster(tmp_path / "b.png").image.info.spacing_mm == pytest.approx((0.001, 0.0005), rel=1e-4)


def test_electron_microscopes_say_their_pixel_size(tmp_path: Path) -> None:
    fei = b"[Scan]\r\nPixelWidth=2e-9\r\nPixelHeight=3e-9\r\n"
    tifffile.imwrite(tmp_path / "fei.tif", GREY, extratags=[(34682, 2, len(fei), fei, True)], metadata=None)
    assert read_raster(tmp_path / "fei.tif").image.info.spacing_mm == pytest.approx((3e-6, 2e-6))
    zeiss = b"\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 4.5 nm\r\n"
    tifffile.imwrite(tmp_path / "z.tif", GREY, extratags=[(34118, 2, len(zeiss), zeiss, True)], metadata=None)
    assert read_raster(tmp_path / "z.tif").image.info.spacing_mm == pytest.approx((4.5e-6, 4.5e-6))


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"planarconfig": "separate"},
        {"rowsperstrip": 7},
        {"byteorder": ">"},
    ],
    ids=["tiled", "big", "planar", "strips", "big-endian"],
)
def test_tiff_in_every_build(tmp_path: Path, options: dict) -> None:
    array = np.moveaxis(COLOR, -1, 0) if "planarconfig" in options else COLOR
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", compression="zlib", **options)
    assert np.array_equal(read_raster(tmp_path / "a.tif").image.array, COLOR)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_COLOR_RGB), COLOR)


def test_tiff_that_claims_more_than_its_bytes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint8), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for tag in (256, 257, 278):  # width, height, rows per strip
        at = data.index(struct.pack("<HH", tag, 4 if struct.pack("<HH", tag, 4) in data else 3))
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 12000)
    (tmp_path / "a.tif").write_bytes(data)
    assert "cannot be" in refused(tmp_path / "a.tif") or "damaged" in refused(tmp_path / "a.tif")
