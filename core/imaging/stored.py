"""Images at rest: one plain ``.npy`` per image, so that a single slice can be read without the rest."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from core.errors import StorageError
from core.types import Array, Image, ImageInfo

READ_BYTES = 2**22


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


def adopt_array(file: Path, path: Path) -> None:
    """Move a finished ``.npy`` to its place and flush it to disk; from another disk it is copied.

    Raises:
        StorageError: when the disk cannot take it; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            os.replace(file, temporary)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copyfile(file, temporary)
        with open(temporary, "rb") as moved:
            os.fsync(moved.fileno())
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
    digest = hashlib.sha256(_facts(array.dtype, array.shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_array_file(path: Path) -> str:
    """Return ``hash_array`` of what a C-ordered ``.npy`` holds; read through, never as a whole in memory.

    Raises:
        StorageError: when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            digest = hashlib.sha256(_facts(dtype, shape))
            while chunk := file.read(READ_BYTES):
                digest.update(chunk)
            return digest.hexdigest()
    except (OSError, ValueError) as error:
        raise StorageError("The image could not be read back from the disk; import it again.") from error


def _facts(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    return f"{dtype.str}{tuple(shape)}".encode()
