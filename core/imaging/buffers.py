"""Where decoders put large arrays: plain memory, or, in the decoder process, the very file that is handed over.

A volume of gigabytes is then written slice by slice into its ``.npy`` file and never stands in memory as a whole.
Decoders call ``allocate``, ``settle``, ``take`` and ``narrow`` and need not know which of the two it is.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.imaging import values
from core.types import Array

FILE_FROM_BYTES = 2**22  # smaller arrays are quicker in memory
SETTLE_BYTES = 2**26


@dataclass(frozen=True)
class _File:
    """One array file of the folder and the mapping that writes to it."""

    name: str
    array: np.memmap


class ArrayFolder:
    """The folder that arrays are handed over in; large ones live there from the start."""

    def __init__(self, folder: Path | str, prefix: str) -> None:
        self.folder = folder
        self.prefix = prefix
        self._files: dict[int, _File] = {}  # by the address of the first value
        self._count = 0

    def create(self, shape: Sequence[int], dtype: np.dtype) -> Array:
        """Return an array of zeros that lies in a new file."""
        name = self._next_name()
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(map(int, shape))}
        try:
            with open(Path(self.folder, name), "x+b") as file:
                np.lib.format.write_array_header_1_0(file, header)
                file.flush()
                offset = file.tell()
                _reserve(file.fileno(), offset + _n_bytes(shape, dtype))
                array = np.memmap(file, dtype, "r+", offset, tuple(shape))
        except OSError:
            Path(self.folder, name).unlink(missing_ok=True)
            raise
        self._files[_address(array)] = _File(name, array)
        return array

    def keep(self, array: Array) -> str:
        """Return the name of the file that holds an array; written now unless it lives there already."""
        plain = np.ascontiguousarray(array)
        own = self._files.get(_address(plain))
        if own is not None and (plain.shape, plain.dtype) == (own.array.shape, own.array.dtype):
            return own.name
        name = self._next_name()
        try:
            with open(Path(self.folder, name), "xb") as file:
                np.lib.format.write_array(file, plain, allow_pickle=False)
        except OSError:
            Path(self.folder, name).unlink(missing_ok=True)
            raise
        return name

    def mapping_of(self, array: Array) -> np.memmap | None:
        """Return the mapping that an array begins in, None when it lives in plain memory."""
        own = self._files.get(_address(array))
        return own.array if own is not None else None

    def remove(self, array: Array) -> None:
        """Remove the file an array lives in, if it lives in one."""
        own = self._files.pop(_address(array), None)
        if own is not None:
            Path(self.folder, own.name).unlink(missing_ok=True)

    def close(self, keep: set[str]) -> None:
        """Forget all arrays and remove their files, but for those that were handed over."""
        for own in self._files.values():
            if own.name not in keep:
                Path(self.folder, own.name).unlink(missing_ok=True)
        self._files.clear()

    def _next_name(self) -> str:
        self._count += 1
        return f"{self.prefix}-{self._count}.npy"


_folder: ArrayFolder | None = None


def use_folder(folder: ArrayFolder | None) -> None:
    """Let large arrays live in files of a folder from now on; None: in memory."""
    global _folder
    _folder = folder


def allocate(shape: Sequence[int], dtype: np.dtype) -> Array:
    """Return an array of zeros for decoded values.

    Args:
        shape: checked against the limits.
        dtype: type of the values.
    """
    if _folder is None or _n_bytes(shape, dtype) < FILE_FROM_BYTES:
        return np.zeros(tuple(shape), dtype)
    return _folder.create(shape, dtype)


def settle(array: Array, index: int) -> None:
    """Say that a plane is written: now and then the written ones leave this process's memory for their file."""
    mapping = _folder.mapping_of(array) if _folder is not None else None
    if mapping is None:
        return
    plane_bytes = array[0].nbytes
    if (index + 1) * plane_bytes // SETTLE_BYTES > index * plane_bytes // SETTLE_BYTES:
        mapped: mmap.mmap = mapping._mmap  # type: ignore[attr-defined]
        mapped.madvise(mmap.MADV_DONTNEED)  # a shared mapping: what was written stays in the file


def take(array: Array, order: Sequence[int]) -> Array:
    """Return the planes of an array in another order, or fewer of them; the array itself may be gone after."""
    if list(order) == list(range(len(array))):
        return array
    if _folder is None or _folder.mapping_of(array) is None:
        return array[list(order)]
    out = allocate((len(order), *array.shape[1:]), array.dtype)
    for place, index in enumerate(order):
        out[place] = array[index]
        settle(out, place)
        settle(array, place)
    return out


def discard(array: Array) -> None:
    """Give up an array that ``allocate`` gave: its file goes with it."""
    if _folder is not None:
        _folder.remove(array)


def narrow(array: Array) -> Array:
    """Do what ``values.narrow`` does, plane by plane where the array lives in a file.

    The array itself is gone afterwards when another one is returned.
    """
    if _folder is None or _folder.mapping_of(array) is None:
        return values.narrow(array)
    wanted = _narrow_type(array)
    if wanted == array.dtype:
        return array
    out = allocate(array.shape, wanted)
    for index, plane in enumerate(array):
        out[index] = plane
        settle(out, index)
        settle(array, index)
    _folder.remove(array)
    return out


def _narrow_type(array: Array) -> np.dtype:
    """Return the type that ``values.narrow`` would choose: it looks at nothing but the two ends."""
    if array.dtype.kind not in "iu" or array.dtype in (np.uint8, np.int16):
        return values.narrow(np.zeros(1, array.dtype)).dtype
    ends = []
    for index, plane in enumerate(array):
        ends += [plane.min(), plane.max()]
        settle(array, index)
    return values.narrow(np.array([min(ends), max(ends)], array.dtype)).dtype


def _reserve(descriptor: int, size: int) -> None:
    """Give a file its size and its blocks: without them a full disk would end the process at a later write."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        os.ftruncate(descriptor, size)


def _n_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    return math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
