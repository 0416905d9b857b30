"""Checks of what a file asks for, made from its header before any pixel is decoded."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import getLogger

from core.errors import FileRefused, SightlineError
from core.settings import Settings

# One replicate run of PackBits turns 2 bytes into 128 (DICOM PS3.5, Annex G.3.1).
RLE_MAX_RATIO = 64
# The densest deflate stream turns 1 byte into 1032 (RFC 1951: 258 bytes in 2 bits).
DEFLATE_MAX_RATIO = 1032
# JPEG, JPEG-LS and JPEG 2000 have no bound on blank images; 1000:1 is past any real picture.
CODEC_MAX_RATIO = 1000
# A small picture does no harm whatever its ratio: blank frames compress without bound.
HARMLESS_BYTES = 2**26

logger = getLogger(__name__)

_watcher: Callable[[int], None] | None = None


def watch_declared(watcher: Callable[[int], None] | None) -> None:
    """Let somebody hear how many bytes a file declares once they passed the checks; None: nobody any more."""
    global _watcher
    _watcher = watcher


def announce(declared: int) -> None:
    """Tell the watcher that so many bytes will be handled, so that memory and time are given for them.

    Args:
        declared: bytes after unpacking, held against the limits before.
    """
    if _watcher is not None:
        _watcher(declared)


def readable_size(count: int) -> str:
    """Write a number of bytes for people, such as "8.6 GB"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def declared_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Return how many bytes an array of this shape takes, in exact whole numbers."""
    return math.prod(int(size) for size in shape) * int(itemsize)


def check_declared_size(shape: Sequence[int], itemsize: int, name: str, settings: Settings) -> None:
    """Refuse an image that a header declares empty or larger than the limits.

    Args:
        shape: all axes, in any order, with channels and frames. Its two longest axes count as the frame.
        itemsize: bytes per value once decoded.
        name: what to call the file in the message.
        settings: the limits.

    Raises:
        FileRefused: with the size asked for and the limit.
    """
    sizes = sorted((int(size) for size in shape), reverse=True)
    if not sizes or sizes[-1] < 1:
        raise FileRefused(f"{name} holds no pixels: it gives its size as {' x '.join(map(str, shape))}.")
    total = declared_bytes(sizes, itemsize)
    if total > settings.max_image_bytes:
        raise FileRefused(
            f"{name} asks for {readable_size(total)} of memory, more than the limit of "
            f"{readable_size(settings.max_image_bytes)}; raise SIGHTLINE_MAX_IMAGE_BYTES if real."
        )
    frame = math.prod(sizes[:2])
    if frame > settings.max_image_pixels_per_frame:
        raise FileRefused(
            f"{name} asks for {frame} pixels per frame, more than the limit of "
            f"{settings.max_image_pixels_per_frame}; raise SIGHTLINE_MAX_IMAGE_PIXELS_PER_FRAME if real."
        )
    announce(total)


def check_ratio(
    declared: int, stored: int, max_ratio: int, name: str, harmless: int = HARMLESS_BYTES
) -> None:
    """Refuse a compressed image that declares more bytes than its stored bytes can hold.

    Args:
        declared: bytes after decoding.
        stored: compressed bytes in the file.
        max_ratio: largest declared / stored that is believed.
        name: what to call the file in the message.
        harmless: declared sizes up to here pass, in bytes.

    Raises:
        FileRefused: when the declared size is not plausible.
    """
    if declared > harmless and declared > stored * max_ratio:
        raise FileRefused(
            f"{name} claims {readable_size(declared)} of pixels in {readable_size(stored)} of compressed "
            "data, which cannot be; the file is damaged or made to do harm."
        )


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a damaged file into one sentence.

    Raises:
        FileRefused: in place of any exception that is not already a sentence for the user.
    """
    try:
        yield
    except SightlineError:
        raise
    except FileNotFoundError as error:
        raise FileRefused(f"{name} does not exist any more.") from error
    except PermissionError as error:
        raise FileRefused(f"{name} may not be read by this user.") from error
    except Exception as error:
        logger.debug("%s could not be read", name, exc_info=True)
        raise FileRefused(_sentence(name, error)) from error


def _sentence(name: str, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return (
            f"{name} needs more memory than a file may take here; it was not imported. "
            "Raise SIGHTLINE_DECODER_MEMORY_BYTES if the file is right."
        )
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{name} needs more space than the disk has; free some and try again."
    return f"{name} cannot be read: the file is damaged, cut short or of an unknown kind."
