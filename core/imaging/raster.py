"""PNG, JPEG, BMP and their like to an Image; TIFF goes to its own module by the same rules.

Nothing is decoded before the header was held against the limits, nothing missing is filled in, and whatever
goes wrong in a decoder leaves here as one sentence.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFile

from core.errors import FileRefused
from core.imaging.computed import how_from_text, mark_computed
from core.imaging.found import Found
from core.imaging.limits import DEFLATE_MAX_RATIO, check_declared_size, check_ratio, refusing
from core.imaging.tiff import is_tiff, oriented, read_tiff
from core.settings import Settings, load_settings
from core.types import Array, Image, ImageInfo, Layout

RASTER_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "WEBP", "JPEG2000")
RASTER_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".gif", ".webp", ".jp2",
)  # fmt: skip
BYTES_PER_PIXEL = {
    "I": 4,
    "F": 4,
    "I;16": 2,
    "I;16B": 2,
    "RGB": 3,
    "RGBA": 4,
    "LA": 2,
    "P": 3,
    "PA": 4,
    "CMYK": 4,
}
EXIF_ORIENTATION = 0x0112
_PIL_LIMIT = threading.Lock()


def read_raster(path: Path, settings: Settings | None = None) -> Found:
    """Read one picture file: PNG, JPEG, BMP, GIF (one frame), PNM, WebP, JPEG 2000 or TIFF (also stacks).

    Grey stays grey, colour becomes ``yxc`` with three channels, palettes are looked up, transparency is
    dropped, the camera's rotation (EXIF) is applied, 16 bits stay 16 bits.

    Raises:
        FileRefused: when it is no such picture, damaged, cut off, or larger than the limits allow.
    """
    settings = settings or load_settings()
    with refusing(path.name):
        image = read_tiff(path, settings) if is_tiff(path) else _read_picture(path, settings)
    return Found(image=image, name=path.stem, source=path.name)


@contextmanager
def open_picture(path: Path, settings: Settings) -> Iterator[PILImage.Image]:
    """Open a picture's header and hold it against the limits; pixels are decoded by the caller's ``load``.

    Raises:
        FileRefused: when the declared size is over the limits.
    """
    with (
        _PIL_LIMIT
    ):  # our limits replace Pillow's process-wide one, which warns and refuses by its own numbers
        before = PILImage.MAX_IMAGE_PIXELS
        PILImage.MAX_IMAGE_PIXELS = None
        PILImage.init()  # Pillow knows a format by name only once its plug-in is loaded
        try:
            picture = PILImage.open(path, formats=RASTER_FORMATS)
        except PILImage.UnidentifiedImageError as error:
            raise FileRefused(
                f"{path.name} is damaged or no picture of a kind that Sightline reads."
            ) from error
        finally:
            PILImage.MAX_IMAGE_PIXELS = before
    with picture:
        width, height = picture.size
        depth = max(BYTES_PER_PIXEL.get(picture.mode, 1), 6 if png_bits(path)[0] == 16 else 1)
        check_declared_size((1, height, width), depth, path.name, settings)
        if picture.format == "PNG":
            packed = (width * png_bits(path)[0] + 7) // 8  # one channel at least
            check_ratio(packed * height, path.stat().st_size, DEFLATE_MAX_RATIO, path.name)
        if getattr(picture, "n_frames", 1) > 1 and picture.format in ("GIF", "WEBP"):
            raise FileRefused(
                f"{path.name} is an animation; save its frames as a TIFF stack or as single PNG files."
            )
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # some libraries switch the filling-in on for everybody
        yield picture


def png_bits(path: Path) -> tuple[int, int]:
    """Return (bits per channel, colour type) of a PNG file; (0, 0) for anything else."""
    with open(path, "rb") as file:
        head = file.read(26)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return 0, 0
    return head[24], head[25]


def _read_picture(path: Path, settings: Settings) -> Image:
    with open_picture(path, settings) as picture:
        picture.load()
        bits, color_type = png_bits(path)
        deep_color = bits == 16 and color_type in (2, 4, 6)
        array = _decode_deep_png(path) if deep_color else _to_array(picture)
        array = oriented(array, int(picture.getexif().get(EXIF_ORIENTATION, 1) or 1))
        file_format = "JPEG" if picture.format == "MPO" else str(picture.format)
        how = how_from_text(str(picture.info.get("Description", "")))
    layout: Layout = "yx" if array.ndim == 2 else "yxc"
    warnings = (
        ("Stored with JPEG loss: fine values were changed by the compression.",)
        if file_format == "JPEG"
        else ()
    )
    info = ImageInfo(
        layout=layout,
        shape=array.shape,
        dtype=array.dtype.name,
        metadata={"file_format": file_format},
        warnings=warnings,
    )
    return Image(array, mark_computed(info, how) if how else info)


def _to_array(picture: PILImage.Image) -> Array:
    mode = picture.mode
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode == "I":  # Pillow's 32-bit container; PGM and older PNG hold 16 bits in it
        values = np.asarray(picture)
        return values.astype(np.uint16) if values.min() >= 0 and values.max() <= 65535 else values
    if mode in ("L", "F", "RGB"):
        return np.asarray(picture)
    if mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)
    if mode in ("LA", "La"):
        return np.asarray(picture)[..., 0]
    if mode in ("RGBA", "RGBX"):
        return np.asarray(picture)[..., :3]
    return np.asarray(picture.convert("RGB"))  # palettes, CMYK, YCbCr, Lab


def _decode_deep_png(path: Path) -> Array:
    """Decode 16-bit colour PNG, which Pillow would cut to 8 bits."""
    import imagecodecs

    array = imagecodecs.png_decode(path.read_bytes())
    return array[..., 0] if array.shape[2] == 2 else array[..., :3]
