"""Copies of files that are kept beside an image, less the parts that may name a patient."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

from core.imaging.found import Original

CHUNK = 2**22


def write_original(original: Original, path: Path) -> str:
    """Copy a file, with its parts blanked and rewritten, flush it to disk, and return the copy's SHA-256.

    What is not to be kept never reaches the copy, not even for a moment.

    Raises:
        OSError: when the disk cannot take it.
    """
    digest = hashlib.sha256()
    blanked = sorted(original.blanked)
    ends = list(accumulate((start + count for start, count in blanked), max))
    texts = sorted((start, text.encode("ascii")) for start, text in original.rewritten)
    with open(original.path, "rb") as source, open(path, "wb") as target:
        position = 0
        while chunk := bytearray(source.read(CHUNK)):
            for start, count in blanked[bisect_right(ends, position) :]:
                if start >= position + len(chunk):
                    break
                _overlay(chunk, position, start, bytes(min(count, position + len(chunk) - start)))
            for start, text in texts:
                _overlay(chunk, position, start, text)
            digest.update(chunk)
            target.write(chunk)
            position += len(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _overlay(chunk: bytearray, position: int, start: int, data: bytes) -> None:
    """Put data that belongs at ``start`` of the file over the chunk that begins at ``position``."""
    first, last = max(start, position), min(start + len(data), position + len(chunk))
    if first < last:
        chunk[first - position : last - position] = data[first - start : last - start]
