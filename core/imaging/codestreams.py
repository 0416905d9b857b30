"""Headers of JPEG, JPEG-LS and JPEG 2000 pictures, for what Pillow does not tell or would cut to 8 bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD_BYTES = 2**20  # a colour profile and an Exif preview may stand before the size
STAND_ALONE = (0x01, *range(0xD0, 0xDA))  # markers without a length
LOSSLESS_FRAME, JPEG_LS_FRAME = 0xC3, 0xF7
# Start-of-frame markers; C4, C8 and CC are something else.
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), JPEG_LS_FRAME)
J2K_START, J2K_SIZE, J2K_STYLE = b"\xff\x4f\xff\x51", b"\xff\x51", b"\xff\x52"


@dataclass(frozen=True)
class Codestream:
    """What a header declares.

    Attributes:
        height: in pixels.
        width: in pixels.
        channels: number of components.
        bits: per value.
        is_lossless: True when no value was changed by the compression.
        codec: "jpeg", "jpegls" or "jpeg2k".
    """

    height: int
    width: int
    channels: int
    bits: int
    is_lossless: bool
    codec: str


def jpeg_header(data: bytes) -> Codestream | None:
    """Read the frame header of a JPEG or JPEG-LS picture; None when there is none.

    Source: ITU-T T.81 B.2.2 (SOFn), ITU-T T.87 C.2.2 (SOF55).
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in STAND_ALONE:
            at += 2
        elif marker in FRAMES and at + 10 <= len(data):
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            if marker == JPEG_LS_FRAME:
                return Codestream(height, width, channels, bits, _is_exact_jpeg_ls(data, at), "jpegls")
            return Codestream(height, width, channels, bits, marker == LOSSLESS_FRAME, "jpeg")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _is_exact_jpeg_ls(data: bytes, start: int) -> bool:
    """True when the first scan allows no error (ITU-T T.87 C.2.3: NEAR is 0)."""
    scan = data.find(b"\xff\xda", start)
    near = scan + 5 + 2 * data[scan + 4] if 0 <= scan < len(data) - 4 else len(data)
    return near < len(data) and data[near] == 0


def jpeg2000_header(data: bytes) -> Codestream | None:
    """Read the size and style of a JPEG 2000 picture, bare or in a JP2 file; None when there is none.

    Source: ITU-T T.800 A.5.1 (SIZ), A.6.1 (COD; transformation 1 is the reversible one).
    """
    start = data.find(J2K_START)
    if start < 0 or start + 43 > len(data):
        return None
    right, bottom, left, top = struct.unpack(">4L", data[start + 8 : start + 24])
    channels, precision = struct.unpack(">HB", data[start + 40 : start + 43])
    style = data.find(J2K_STYLE, start)
    reversible = style >= 0 and style + 14 <= len(data) and data[style + 13] == 1
    return Codestream(bottom - top, right - left, channels, (precision & 0x7F) + 1, reversible, "jpeg2k")
