"""Files named by their content: HOME/files/<aa>/<sha256><ending>. Equal content is stored once."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import StorageError
from core.imaging.formats import SUFFIXES
from core.imaging.found import Original
from core.imaging.headers import Headers, hash_headers, headers_to_bytes
from core.imaging.originals import write_original
from core.imaging.stored import adopt_array, hash_array, write_array
from core.readings.reading import Reading
from core.readings.stored import hash_reading, write_reading
from core.types import Array

IMAGE_ENDING = ".npy"
READING_ENDING = ".npz"
HEADERS_ENDING = ".headers"
PART_ENDING = ".part"
# Endings of kept originals: some readers go by them.
ORIGINAL_ENDINGS, OTHER_ENDING = (*SUFFIXES["slide"], ".tif", ".tiff"), ".slide"


class FileStore:
    """The folder of all images and readings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, sha256: str, ending: str) -> Path:
        """Return where content lies, whether it is there or not."""
        return self.path_of_name(f"{sha256}{ending}")

    def path_of_name(self, name: str) -> Path:
        """Return where a file lies whose name is its hash and its ending."""
        return self.root / name[:2] / name

    def put_image(self, array: Array, sha256: str | None = None, array_file: Path | None = None) -> str:
        """Store an array unless it is there; returns its hash.

        Args:
            array: the pixels.
            sha256: their hash, when it is known.
            array_file: an ``.npy`` file of the same array, to be moved here instead of writing it again.
        """
        sha256 = sha256 or hash_array(array)

        def write(path: Path) -> None:
            if array_file is not None and array_file.exists():  # gone when a sweep made this the second try
                adopt_array(array_file, path)
            else:
                write_array(array, path)

        self._put(self.path_of(sha256, IMAGE_ENDING), write)
        return sha256

    def put_reading(self, reading: Reading, sha256: str | None = None) -> str:
        """Store a reading unless it is there; returns its hash."""
        sha256 = sha256 or hash_reading(reading)
        self._put(self.path_of(sha256, READING_ENDING), lambda path: write_reading(reading, path))
        return sha256

    def put_original(self, original: Original) -> str:
        """Store a file, less the parts that are not to be kept, unless it is there.

        Returns:
            The stored file's name: its hash and its ending.
        """
        ending = original.path.suffix.lower()
        ending = ending if ending in ORIGINAL_ENDINGS else OTHER_ENDING
        copies = self.root / "00"  # a folder that a sweep looks into, should this process be killed
        temporary = copies / f".original-{secrets.token_hex(8)}{PART_ENDING}"
        try:
            copies.mkdir(parents=True, exist_ok=True)
            sha256 = write_original(original, temporary)
            self._put(self.path_of(sha256, ending), lambda path: os.replace(temporary, path))
        except OSError as error:
            raise StorageError(
                f"The slide's file could not be kept ({error.strerror}). Free some disk space and try again."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return f"{sha256}{ending}"

    def put_headers(self, headers: Headers) -> str:
        """Store DICOM headers unless they are there; returns their hash."""
        content = headers_to_bytes(headers)
        sha256 = hash_headers(content)
        self._put(self.path_of(sha256, HEADERS_ENDING), lambda path: _write_bytes(content, path))
        return sha256

    def _put(self, path: Path, write: Callable[[Path], None]) -> None:
        try:
            if path.exists():
                os.utime(path)  # young again, so that a sweep lets it be until a row points to it
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            _flush_folder(path.parent)
        except OSError as error:
            raise StorageError(
                f"The home folder cannot take a file ({error.strerror}); check its disk and permissions."
            ) from error

    def walk(self) -> Iterator[Path]:
        """Yield every file, half-written ones too."""
        for folder in sorted(self.root.glob("??")):
            yield from folder.iterdir()


def _write_bytes(content: bytes, path: Path) -> None:
    """Write a file under a temporary name, flush it to disk, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART_ENDING}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def age_seconds(path: Path) -> float:
    """Return how long ago a file was last written or touched; 0 when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def read_or_make_secret(path: Path) -> str:
    """Return the secret in a file; made on first use, readable by its owner only.

    Raises:
        StorageError: when it can neither be read nor made.
    """
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StorageError(f"The file {path} cannot be used ({error.strerror}).") from error
    if not secret:
        raise StorageError(f"The file {path} is empty; put back a copy of it.")
    return secret


def _make_secret(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART_ENDING}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # fails when another process was first; then its secret counts
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
