"""What JPEG, JPEG-LS and JPEG 2000 streams in DICOM files say about themselves."""

from __future__ import annotations

import struct

from core.errors import FileRefused
from core.imaging.dicom_layout import PixelLayout

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
LOSSLESS_FRAME = 0xC3  # marker SOF3, ITU-T T.81 table B.1


def check_codestream(data: bytes, layout: PixelLayout, name: str) -> None:
    """Refuse a JPEG or JPEG 2000 stream that is larger than the header says: codecs obey the stream."""
    size = codestream_size(data)
    if size is not None and size[0] * size[1] > 2 * layout.rows * layout.columns + 65536:
        raise FileRefused(
            f"{name} hides a picture of {size[0]} x {size[1]} pixels behind a header of "
            f"{layout.rows} x {layout.columns}; it was not decoded."
        )


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) written in a JPEG, JPEG-LS or JPEG 2000 stream, None for other data.

    Source: ITU-T T.81 B.2.2 (SOFn), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ).
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0 and len(data) >= start + 24:
        x_end, y_end, x_start, y_start = struct.unpack(">4L", data[start + 8 : start + 24])
        return y_end - y_start, x_end - x_start
    frame = jpeg_frame(data)
    return None if frame is None else struct.unpack(">HH", data[frame + 1 : frame + 5])


def jpeg_frame(data: bytes) -> int | None:
    """Return where the content of a JPEG stream's frame header begins: precision, rows, columns, components.

    None when the stream has none.
    """
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return at + 4
        at += 1 if marker == 0xFF else 2 + length
    return None
