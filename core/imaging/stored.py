"""Images at rest: one plain ``.npy`` per image, so that a single slice can be read without the rest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from core.errors import StorageError
from core.types import Array, Image, ImageInfo


def write_array(array: Array, path: Path) -> None:
    """Write an array as ``.npy`` under a temporary name, flush it to disk, then rename.

    Raises:
        StorageError: when the disk cannot take it; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"The image could not be stored ({error.strerror}). Free some disk space and try again."
        ) from error


def read_array(path: Path) -> Array:
    """Open a stored array read-only and memory-mapped: only the slices that are touched are read."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_image(path: Path, info: ImageInfo) -> Image:
    """Open a stored image; its pixels stay on disk until they are touched."""
    return Image(read_array(path), info)


def hash_array(array: Array) -> str:
    """SHA-256 over type, shape and values: equal pixels have equal hashes whatever file they came in."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
