"""PNG, JPEG and TIFF copies: the same pixels by other programs' reading, and not a word more."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from core.errors import FileRefused
from core.imaging.limits import refusing
from core.imaging.strip_picture import strip_jpeg, strip_png
from core.imaging.strip_tiff import strip_tiff
from tests.conftest import SHARED_DATA

DATA = SHARED_DATA
CANARY = "ZEBRAFINK"
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (40, 50), dtype=np.uint8)
COLOR = RNG.integers(0, 255, (40, 50, 3), dtype=np.uint8)


def exif(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x013B] = CANARY  # Artist
    block[0x010E] = CANARY  # ImageDescription
    return block


def saved(picture: Image.Image, file_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, file_format, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "LA"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_png(mode: str, orientation: int) -> None:
    picture = (
        Image.fromarray(GREY.astype(np.uint16) * 200)
        if mode == "I;16"
        else Image.fromarray(COLOR).convert(mode)
    )
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", CANARY)
    text.add_text("Comment", CANARY * 50, zip=True)
    text.add_itxt("Title", CANARY)
    text.add(b"zeBr", CANARY.encode())
    profile = Image.new("RGB", (1, 1)).info.get("icc_profile")
    data = saved(picture, "PNG", pnginfo=text, exif=exif(orientation), dpi=(254, 254), icc_profile=profile)
    data += CANARY.encode()  # behind the end
    out = strip_png(data, "x.png")
    assert CANARY.encode() in data and CANARY.encode() not in out
    back = opened(out)
    np.testing.assert_array_equal(np.asarray(back), np.asarray(opened(data)))
    assert (back.mode, back.getpalette()) == (opened(data).mode, opened(data).getpalette())
    assert back.getexif().get(0x0112, 1) == orientation and len(back.getexif()) == (orientation != 1)
    assert back.info.get("dpi") == pytest.approx((254, 254), abs=0.1)
    assert set(back.info) <= {"dpi", "exif", "transparency"}


def test_png_keeps_colours_but_not_the_name_of_their_profile() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(Image.fromarray(COLOR), "PNG", icc_profile=profile)
    out = strip_png(data.replace(b"ICC Profile\0", b"ZEBRAFINK A\0"), "x.png")
    assert opened(out).info["icc_profile"] == profile and CANARY.encode() not in out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": 0, "quality": 95},
        {"restart_marker_rows": 1},
        {"optimize": True},
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 8])
def test_jpeg(options: dict[str, object], mode: str, orientation: int) -> None:
    picture = Image.fromarray(COLOR).convert(mode)
    said = {"exif": exif(orientation), "comment": CANARY, "xmp": CANARY.encode(), "dpi": (254, 254)}
    data = saved(picture, "JPEG", **said, **options)
    data += CANARY.encode()
    out = strip_jpeg(data, "x.jpg")
    assert data.count(CANARY.encode()) >= 4 and CANARY.encode() not in out
    back = opened(out)
    np.testing.assert_array_equal(np.asarray(back), np.asarray(opened(data)))
    assert back.getexif().get(0x0112, 1) == orientation
    assert (back.mode, back.info.get("dpi")) == (opened(data).mode, opened(data).info.get("dpi"))
    assert {"comment", "xmp"}.isdisjoint(back.info)


TAGS = [
    (270, "s", 0, f"{CANARY} description", True), (305, "s", 0, CANARY, True), (315, "s", 0, CANARY, True),
    (306, "s", 0, "2024:01:31 10:00:00", True), (33432, "s", 0, CANARY, True), (65000, "s", 0, CANARY, True),
    (700, "B", 20, (CANARY * 3).encode()[:20], True),
]  # fmt: skip
TIFFS: dict[str, dict[str, object]] = {
    "plain": {}, "big endian": {"byteorder": ">"}, "big": {"bigtiff": True}, "tiled": {"tile": (16, 32)},
    "deflate": {"compression": "zlib", "predictor": True}, "lzw strips": {"compression": "lzw", "rowsperstrip": 7},
    "jpeg": {"compression": "jpeg", "tile": (32, 32)}, "packbits": {"compression": "packbits"},
    "big tiled": {"bigtiff": True, "tile": (16, 16), "byteorder": ">", "compression": "zlib"},
}  # fmt: skip


@pytest.mark.parametrize("how", TIFFS)
@pytest.mark.parametrize("kind", ["grey", "color", "deep", "float", "stack"])
def test_tiff(how: str, kind: str) -> None:
    options = dict(TIFFS[how])
    array = {"grey": GREY, "color": COLOR, "deep": GREY.astype(np.uint16) * 200, "float": GREY / np.float32(7),
             "stack": np.stack([GREY, GREY[::-1], GREY[:, ::-1]])}[kind]  # fmt: skip
    if how == "jpeg" and array.dtype != np.uint8:
        options["compression"] = None
    form = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    out = io.BytesIO()
    with tifffile.TiffWriter(out, **form) as writer:
        writer.write(array, extratags=TAGS, metadata=None, photometric="rgb" if kind == "color" else "minisblack",
                     resolution=(1000, 1000), resolutionunit="CENTIMETER", software=False, **options)  # fmt: skip
    data = out.getvalue()
    stripped = strip_tiff(data, "x.tif")
    assert CANARY.encode() in data and CANARY.encode() not in stripped and b"2024:01:31" not in stripped
    with tifffile.TiffFile(io.BytesIO(data)) as before, tifffile.TiffFile(io.BytesIO(stripped)) as after:
        np.testing.assert_array_equal(after.asarray(), before.asarray())
        assert len(after.pages) == len(before.pages)
        assert (after.byteorder, after.is_bigtiff) == (before.byteorder, before.is_bigtiff)
        assert after.pages[0].tags["XResolution"].value == before.pages[0].tags["XResolution"].value


def test_a_tiff_with_exif_and_places_inside() -> None:
    picture = Image.fromarray(COLOR)
    block = exif(3)
    block.get_ifd(0x8769)[0x9286] = CANARY.encode()  # UserComment
    block.get_ifd(0x8825)[1] = CANARY  # GPS
    data = saved(picture, "TIFF", exif=block)
    out = strip_tiff(data, "x.tif")
    assert data.count(CANARY.encode()) >= 2 and CANARY.encode() not in out
    np.testing.assert_array_equal(np.asarray(opened(out)), np.asarray(opened(data)))
    with tifffile.TiffFile(io.BytesIO(out)) as file:
        assert file.pages[0].tags["Orientation"].value == 3


@pytest.mark.parametrize("form", ["imagej", "ome"])
def test_sizes_and_axes_of_microscopes_stay(form: str) -> None:
    stack = RNG.integers(0, 999, (3, 2, 30, 20), dtype=np.uint16)
    metadata: dict[str, object] = {
        "axes": "ZCYX",
        "unit": "um",
        "spacing": 2.5,
        "Info": CANARY,
        "Labels": [CANARY] * 6,
    }
    if form == "ome":
        metadata = {"axes": "ZCYX", "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 2.5,
                    "Channel": {"Name": [CANARY, CANARY]}, "Name": CANARY, "Description": CANARY}  # fmt: skip
    out = io.BytesIO()
    with tifffile.TiffWriter(out, imagej=form == "imagej", ome=form == "ome") as writer:
        writer.write(stack, photometric="minisblack", metadata=metadata)
    data = out.getvalue()
    if form == "imagej":  # ImageJ keeps a whole stack behind one page
        with pytest.raises(FileRefused, match="ImageJ"):
            strip_tiff(data.replace(b"images=6", b"images=9"), "x.tif")
    stripped = strip_tiff(data, "x.tif")
    written = [CANARY.encode(code) for code in ("ascii", "utf-16-le", "utf-16-be")]
    assert any(word in data for word in written) and not any(word in stripped for word in written)
    with tifffile.TiffFile(io.BytesIO(stripped)) as file:
        np.testing.assert_array_equal(file.asarray(), stack)
        if form == "ome":
            assert 'PhysicalSizeX="0.3" PhysicalSizeXUnit="µm"' in str(file.ome_metadata)
        else:
            assert (file.imagej_metadata or {}).get("spacing") == 2.5


def test_damaged_files_are_refused() -> None:
    for strip, data in (
        (strip_png, saved(Image.fromarray(GREY), "PNG")),
        (strip_jpeg, saved(Image.fromarray(GREY), "JPEG")),
        (strip_tiff, saved(Image.fromarray(GREY), "TIFF")),
    ):
        for cut in range(8, len(data) - 3, 97):
            with pytest.raises(FileRefused), refusing("x"):
                strip(data[:cut], "x")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(("PNG", "JPEG", "TIFF")),
    st.lists(st.tuples(st.integers(8, 3000), st.integers(0, 255)), max_size=4),
)
def test_mutants_give_a_picture_or_a_sentence(file_format: str, edits: list[tuple[int, int]]) -> None:
    data = bytearray(saved(Image.fromarray(GREY), file_format))
    for at, value in edits:
        data[at % len(data)] = value
    strip = {"PNG": strip_png, "JPEG": strip_jpeg, "TIFF": strip_tiff}[file_format]
    try:
        with refusing("x"), warnings.catch_warnings():
            assert isinstance(strip(bytes(data), "x"), bytes)
    except FileRefused as error:
        assert str(error).endswith(".")


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data are not here")
@pytest.mark.parametrize(
    "pattern", ["seg_us_nerve/images/*.png", "det_bccd/images/*.jpg", "seg_em_axon/**/*.png"]
)
def test_real_pictures_are_the_same(pattern: str) -> None:
    files = sorted(DATA.glob(pattern))[:6]
    assert files
    for path in files:
        strip = strip_png if path.suffix == ".png" else strip_jpeg
        data = path.read_bytes()
        np.testing.assert_array_equal(np.asarray(opened(strip(data, path.name))), np.asarray(opened(data)))


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data are not here")
def test_a_whole_slide_is_refused() -> None:
    path = DATA / "wsi_openslide" / "CMU-1-Small-Region.svs"
    with pytest.raises(FileRefused, match="label"):
        strip_tiff(path.read_bytes(), path.name)
