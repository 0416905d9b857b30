"""Readings at rest: one compressed ``.npz`` per version of a mask; probabilities lie beside the labels."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from core.errors import StorageError
from core.imaging.stored import hash_array
from core.readings.reading import Mask, Reading


def write_reading(reading: Reading, path: Path) -> None:
    """Write a reading under a temporary name, flush it to disk, then rename.

    Raises:
        StorageError: when the disk cannot take it; nothing half-written stays.
    """
    arrays = {"labels": reading.array}
    if reading.probabilities is not None:
        arrays["probabilities"] = reading.probabilities
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"The reading could not be stored ({error.strerror}). Free some disk space and try again."
        ) from error


def read_reading(path: Path, with_probabilities: bool = True) -> Reading:
    """Read a stored reading; without probabilities this is fast and small."""
    with np.load(path, allow_pickle=False) as file:
        wanted = with_probabilities and "probabilities" in file.files
        return Mask(file["labels"], file["probabilities"] if wanted else None)


def hash_reading(reading: Reading) -> str:
    """SHA-256 of what the reading says; equal readings have equal hashes."""
    digest = hashlib.sha256(hash_array(reading.array).encode())
    if reading.probabilities is not None:
        digest.update(hash_array(reading.probabilities).encode())
    return digest.hexdigest()
