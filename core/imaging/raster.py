"""PNG, JPEG, BMP and their like to an Image; TIFF goes to its own module by the same rules.

Nothing is decoded before the header was held against the limits, nothing missing is filled in, and whatever
goes wrong in a decoder leaves here as one sentence.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFile

from core.errors import FileRefused
from core.imaging.codestreams import HEAD_BYTES, Codestream, jpeg2000_header, jpeg_header
from core.imaging.computed import how_from_text, mark_computed
from core.imaging.found import Found
from core.imaging.limits import (
    CODEC_MAX_RATIO,
    DEFLATE_MAX_RATIO,
    check_declared_size,
    check_ratio,
    declared_bytes,
    refusing,
)
from core.imaging.netpbm import is_netpbm, read_netpbm
from core.imaging.pixel_size import UNKNOWN_SIZE, PixelSize, from_resolution
from core.imaging.tiff import JPEG_LOSS, is_tiff, iter_tiff, oriented
from core.settings import Settings, load_settings
from core.types import Array, Image, ImageInfo, Layout

RASTER_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "WEBP", "JPEG2000")
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
MM_PER_INCH = 25.4
_PIL_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded picture: its values, which way it was held, what else the file tells of it."""

    array: Array
    file_format: str
    orientation: int = 1
    size: PixelSize = UNKNOWN_SIZE
    warnings: tuple[str, ...] = field(default=())
    computed: str = ""


def read_raster(path: Path, settings: Settings | None = None) -> Found:
    """Read one picture file, as ``iter_raster`` does; of a file with several pictures the first.

    Raises:
        FileRefused: when it is no such picture, damaged, cut off, or larger than the limits allow.
    """
    return next(iter_raster(path, settings or load_settings()))


def iter_raster(path: Path, settings: Settings) -> Iterator[Found]:
    """Yield the pictures of a file: PNG, JPEG, BMP, GIF (one frame), PNM, WebP, JPEG 2000, TIFF (also several).

    Grey stays grey, colour becomes ``yxc`` with three channels, palettes are looked up, transparency is
    dropped, the camera's rotation (EXIF) is applied, 10 to 16 bits stay.

    Raises:
        FileRefused: when it is no such picture, damaged, cut off, or larger than the limits allow.
    """
    with refusing(path.name):
        if is_tiff(path):
            yield from iter_tiff(path, settings)
        else:
            yield _to_found(_read_picture(path, settings), path)


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
        if picture.format not in ("PNG", "GIF"):
            check_ratio(width * height, path.stat().st_size, CODEC_MAX_RATIO, path.name)
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


def _to_found(picture: Picture, path: Path) -> Found:
    array = oriented(picture.array, picture.orientation)
    array.flags.writeable = False
    size = picture.size.turned() if picture.orientation in (5, 6, 7, 8) else picture.size
    layout: Layout = "yx" if array.ndim == 2 else "yxc"
    info = ImageInfo(
        layout=layout,
        shape=array.shape,
        dtype=array.dtype.name,
        spacing_mm=size.yx,
        metadata={"file_format": picture.file_format},
        warnings=picture.warnings,
    )
    marked = mark_computed(info, picture.computed) if picture.computed else info
    return Found(Image(array, marked), path.stem, path.name)


def _read_picture(path: Path, settings: Settings) -> Picture:
    if is_netpbm(path):
        return Picture(read_netpbm(path, settings), "PPM")
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    jpeg = jpeg_header(head)
    if jpeg is not None and (jpeg.bits != 8 or jpeg.is_lossless or jpeg.codec == "jpegls"):
        return _read_deep_jpeg(path, jpeg, settings)
    with open_picture(path, settings) as picture:
        picture.load()
        file_format = "JPEG" if picture.format == "MPO" else str(picture.format)
        return Picture(
            array=_decode_whole(picture, path, head),
            file_format=file_format,
            orientation=int(picture.getexif().get(EXIF_ORIENTATION, 1) or 1),
            size=_pixel_size(picture),
            warnings=_losses(file_format, head),
            computed=how_from_text(str(picture.info.get("Description", ""))),
        )


def _decode_whole(picture: PILImage.Image, path: Path, head: bytes) -> Array:
    """Return a picture's values; 16-bit colour is decoded without Pillow, which would cut it to 8 bits."""
    bits, color_type = png_bits(path)
    if bits == 16 and color_type in (2, 4, 6):
        return _without_alpha(_decode("png", path), color_type in (4, 6))
    stream = jpeg2000_header(head) if picture.format == "JPEG2000" else None
    if stream is not None and stream.bits > 8 and stream.channels > 1:
        return _without_alpha(_decode(stream.codec, path), stream.channels in (2, 4))
    return _to_array(picture)


def _read_deep_jpeg(path: Path, header: Codestream, settings: Settings) -> Picture:
    """Decode JPEG of 12 or 16 bits, lossless JPEG and JPEG-LS, which Pillow does not know."""
    shape = (header.height, header.width, header.channels)
    itemsize = 1 if header.bits <= 8 else 2
    check_declared_size(shape, itemsize, path.name, settings)
    check_ratio(declared_bytes(shape, itemsize), path.stat().st_size, CODEC_MAX_RATIO, path.name)
    array = _decode(header.codec, path)
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.shape[:2] != shape[:2]:
        raise FileRefused(f"{path.name} holds another size than its header declares; it is damaged.")
    return Picture(array, "JPEG", warnings=() if header.is_lossless else (JPEG_LOSS,))


def _pixel_size(picture: PILImage.Image) -> PixelSize:
    """Return the pixel size by PNG's pHYs, JPEG's density and their like, where no printer comes in question."""
    dpi = picture.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return UNKNOWN_SIZE
    return from_resolution((float(dpi[1]), float(dpi[0])), MM_PER_INCH)


def _losses(file_format: str, head: bytes) -> tuple[str, ...]:
    if file_format == "JPEG":
        return (JPEG_LOSS,)
    is_lossy_webp = file_format == "WEBP" and b"VP8 " in head[:64]
    stream = jpeg2000_header(head) if file_format == "JPEG2000" else None
    if is_lossy_webp or (stream is not None and not stream.is_lossless):
        return ("Stored with losses: fine values were changed by the compression.",)
    return ()


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


def _decode(codec: str, path: Path) -> Array:
    import imagecodecs

    decoders = {
        "png": imagecodecs.png_decode,
        "jpeg": imagecodecs.jpeg_decode,
        "jpegls": imagecodecs.jpegls_decode,
        "jpeg2k": imagecodecs.jpeg2k_decode,
    }
    return np.asarray(decoders[codec](path.read_bytes()))


def _without_alpha(array: Array, has_alpha: bool) -> Array:
    array = array[..., :-1] if has_alpha else array
    return array[..., 0] if array.shape[2] == 1 else array
