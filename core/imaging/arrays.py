"""NumPy files: one array as one image, or sets such as MedMNIST's as one image a row. Nothing is ever unpickled.

A set is read row by row, through the compression of an .npz too, so that a hundred thousand images take the memory
of one.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.errors import FileRefused
from core.imaging.archive_members import Budget
from core.imaging.found import Found, Skipped
from core.imaging.limits import DEFLATE_MAX_RATIO, check_declared_size, check_ratio, declared_bytes, refusing
from core.imaging.values import narrow
from core.settings import Settings
from core.types import Array, Image, ImageInfo, Layout, Split

MEMBER_ENDING = ".npy"
MAX_CHANNELS = 4
IMAGE_KINDS = "buif"  # NumPy's letters for truth values, whole and floating point numbers
MAX_LABELS = 10**8
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
IMAGE_WORDS = ("images", "imgs", "image", "img", "x", "data", "arr")
LABEL_WORDS = ("labels", "label", "y", "targets", "target", "classes", "class")
NO_IMAGES = (
    *LABEL_WORDS, "mask", "masks", "seg", "segmentation", "scribble", "scribbles", "boxes", "ids", "names",
)  # fmt: skip
WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Key:
    """What the name of an array says: which split, and what of it.

    Attributes:
        split: train, val, test or None.
        what: the rest of the name, such as "images" or "x".
    """

    split: Split | None
    what: str


@dataclass(frozen=True)
class Header:
    """What an ``.npy`` declares: shape and type of its values, and whether the first axis is the fastest."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool


def iter_arrays(path: Path, settings: Settings) -> Iterator[Found | Skipped]:
    """Yield the images of an ``.npy`` or ``.npz`` file.

    A key such as ``train_images``, ``x_test`` or ``images`` holds a set: each row is an image with the name
    ``train_000012``, its split from the key, and its row of ``train_labels`` (``y_train``, ``labels``) as the fact
    "label". Any other array of two or three axes is one image; three axes are a volume ``zyx`` unless the last one
    is as short as colours are. Arrays of labels are named as no images.

    Raises:
        FileRefused: when the file is damaged, past the limits, or holds no image.
    """
    with refusing(path.name):
        if path.name.lower().endswith(".npz"):
            yield from _iter_npz(path, settings)
        else:
            yield from _iter_npy(path, settings)


def count_images(path: Path) -> int:
    """Return how many images and reasons ``iter_arrays`` will yield, from headers only; 1 for a damaged file."""
    try:
        with refusing(path.name):
            headers = _headers(path)
            shown = headers.keys() - _labels_used(headers)
            return sum(
                headers[name].shape[0] if _is_set(name, headers[name], headers) else 1 for name in shown
            )
    except FileRefused:
        return 1


def split_key(name: str) -> Key:
    """Take the split out of an array's name: "x_train" is "x" of train."""
    words = WORDS.findall(name.lower())
    split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
    return Key(split, "_".join(word for word in words if word not in SPLIT_WORDS))


def _iter_npy(path: Path, settings: Settings) -> Iterator[Found | Skipped]:
    name = path.stem
    if split_key(name).what.split("_")[0] in ("scribble", "scribbles"):
        raise FileRefused(f"{path.name} holds scribbles by its name, which are no image.")
    with open(path, "rb") as file:
        header = _read_header(file, path.name)
        if _is_set(name, header, {}):
            yield from _rows(_Source(file, header, path, settings), split_key(name), None)
        else:
            if header.dtype.kind not in IMAGE_KINDS:
                raise FileRefused(f"{path.name} holds values of type {header.dtype}, which are no image.")
            array = _read_whole(file, header, path, settings)
            yield _found(array, _layout_of_one(array.shape, path.name), path, path.stem, "")


def _iter_npz(path: Path, settings: Settings) -> Iterator[Found | Skipped]:
    headers = _headers(path)
    if not any(name for name in headers if _is_image(name, headers[name])):
        raise FileRefused(f"{path.name} holds no image; its arrays are {', '.join(sorted(headers))[:200]}.")
    singles = [name for name, header in headers.items() if _is_image(name, header)]
    for name, header in headers.items():
        if not _is_image(name, header):
            if name not in _labels_used(headers):
                yield Skipped(name, "This array of the file is no image by its name or its shape.")
            continue
        with _opened_member(path, name) as file:
            _read_header(file, path.name)
            if _is_set(name, header, headers):
                labels = _labels_for(path, name, headers, settings)
                yield from _rows(_Source(file, header, path, settings), split_key(name), labels)
                continue
            array = _read_whole(file, header, path, settings)
        part = name if len(singles) > 1 else ""
        title = f"{path.stem} {name}" if part else path.stem
        yield _found(array, _layout_of_one(array.shape, path.name), path, title, part)


@dataclass(frozen=True)
class _Source:
    """An array's values, at hand from the first one on."""

    file: IO[bytes]
    header: Header
    path: Path
    settings: Settings


def _rows(source: _Source, key: Key, labels: list[str] | None) -> Iterator[Found]:
    """Yield each row of a set as an image."""
    header, path = source.header, source.path
    count, *shape = header.shape
    layout, to_last = _layout_of_row(tuple(shape), path.name)
    check_declared_size(shape, header.dtype.itemsize, path.name, source.settings)
    _check_set(header, path, source.settings)
    whole = _read_whole(source.file, header, path, source.settings) if header.is_fortran else None
    for number in range(count):
        row = _read_values(source.file, tuple(shape), header.dtype, path) if whole is None else whole[number]
        row = np.moveaxis(row, 0, -1) if to_last else row
        name = f"{key.split or 'image'}_{number:06d}"
        facts = {} if labels is None else {"label": labels[number]}
        found = _found(row[..., 0] if row.ndim > len(layout) else row, layout, path, name, name)
        yield replace(found, split=key.split, metadata=facts)


def _check_set(header: Header, path: Path, settings: Settings) -> None:
    """Hold a set to the limits of an archive of as many files."""
    budget = Budget(settings, path.name, packed=path.stat().st_size)
    budget.count_members(header.shape[0])
    budget.count_bytes(declared_bytes(header.shape, header.dtype.itemsize))


def _headers(path: Path) -> dict[str, Header]:
    """Return the header of every array of a file, by its name."""
    if not path.name.lower().endswith(".npz"):
        with open(path, "rb") as file:
            return {path.stem: _read_header(file, path.name)}
    headers: dict[str, Header] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(MEMBER_ENDING):
                with archive.open(member) as file:
                    headers[member.removesuffix(MEMBER_ENDING)] = _read_header(file, path.name)
    return headers


@contextmanager
def _opened_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}{MEMBER_ENDING}") as file:
        yield file


def _read_header(file: IO[bytes], name: str) -> Header:
    """Read an array's header and leave the file at its first value.

    Raises:
        FileRefused: for objects, which only unpickling would bring back, and for what is no number.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise FileRefused(f"{name} holds Python objects, which are not read for safety; save plain numbers.")
    return Header(tuple(int(size) for size in shape), dtype, bool(is_fortran))


def _read_values(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> Array:
    n_bytes = declared_bytes(shape, dtype.itemsize)
    data = bytearray()
    while len(data) < n_bytes and (chunk := file.read(min(n_bytes - len(data), 2**22))):
        data += chunk
    if len(data) < n_bytes:
        raise FileRefused(f"{path.name} is cut short: not all of its values are there.")
    return np.frombuffer(data, dtype).reshape(shape)


def _read_whole(file: IO[bytes], header: Header, path: Path, settings: Settings) -> Array:
    check_declared_size(header.shape, header.dtype.itemsize, path.name, settings)
    check_ratio(
        declared_bytes(header.shape, header.dtype.itemsize), path.stat().st_size, DEFLATE_MAX_RATIO, path.name
    )
    shape = header.shape[::-1] if header.is_fortran else header.shape
    values = _read_values(file, shape, header.dtype, path)
    return values.T if header.is_fortran else values


def _is_image(name: str, header: Header) -> bool:
    if header.dtype.kind not in IMAGE_KINDS or not 2 <= len(header.shape) <= 5 or min(header.shape) < 1:
        return False
    return not any(word in NO_IMAGES for word in WORDS.findall(name.lower()))


def _is_set(name: str, header: Header, headers: dict[str, Header]) -> bool:
    """True when the rows of an array are images of their own: by its name, and by labels in the same number."""
    if not _is_image(name, header) or not 3 <= len(header.shape) <= 5:
        return False
    key = split_key(name)
    if _label_key(name, headers) is not None:
        return True
    plural = key.what in ("images", "imgs", "x", "data") or key.split is not None
    return plural and (key.what in IMAGE_WORDS or not key.what)


def _label_key(name: str, headers: dict[str, Header]) -> str | None:
    """Return the name of the array that labels the rows of another one."""
    key = split_key(name)
    for other, header in headers.items():
        theirs = split_key(other)
        fits = len(header.shape) in (1, 2) and header.shape[:1] == headers[name].shape[:1]
        if theirs.what in LABEL_WORDS and theirs.split == key.split and fits:
            return other
    return None


def _labels_used(headers: dict[str, Header]) -> set[str]:
    return {
        label for name in headers if _is_image(name, headers[name]) and (label := _label_key(name, headers))
    }


def _labels_for(path: Path, name: str, headers: dict[str, Header], settings: Settings) -> list[str] | None:
    """Return a word for each row: its class; of several classes that may all be true, the numbers of those."""
    label = _label_key(name, headers)
    if label is None:
        return None
    header = headers[label]
    if header.dtype.kind not in "buifU" or math.prod(header.shape) * header.dtype.itemsize > MAX_LABELS:
        raise FileRefused(f"{path.name} holds labels ({label}) that are no plain numbers or words.")
    with _opened_member(path, label) as file:
        _read_header(file, path.name)
        values = _read_whole_labels(file, header, path)
    if values.ndim == 1 or values.shape[1] == 1:
        return [_word(value) for value in values.reshape(len(values))]
    if values.dtype.kind in "bui" and values.max(initial=0) <= 1:
        return [" ".join(map(str, np.flatnonzero(row))) for row in values]
    return [" ".join(map(_word, row)) for row in values]


def _read_whole_labels(file: IO[bytes], header: Header, path: Path) -> Array:
    shape = header.shape[::-1] if header.is_fortran else header.shape
    values = _read_values(file, shape, header.dtype, path)
    return values.T if header.is_fortran else values


def _word(value: Any) -> str:
    if isinstance(value, np.floating):
        return f"{float(value):g}"
    return str(value.item() if isinstance(value, np.generic) else value)[:200]


def _layout_of_one(shape: tuple[int, ...], name: str) -> Layout:
    if len(shape) == 2:
        return "yx"
    if len(shape) == 3:
        return "yxc" if shape[2] in (3, 4) and min(shape[:2]) > MAX_CHANNELS else "zyx"
    if len(shape) == 4 and shape[3] <= MAX_CHANNELS:
        return "zyxc"
    raise FileRefused(
        f"{name} holds an array of shape {shape}; an image has two or three axes. Many images go into an .npz "
        'as the array "images".'
    )


def _layout_of_row(shape: tuple[int, ...], name: str) -> tuple[Layout, bool]:
    """Return the layout of a row and whether its channels stand first, as torch has them; one channel is grey."""
    if len(shape) == 2:
        return "yx", False
    first = len(shape) in (3, 4) and shape[-1] > MAX_CHANNELS >= shape[0]
    channels = shape[0] if first else shape[-1]
    if len(shape) == 3 and channels > MAX_CHANNELS:
        return "zyx", False
    if len(shape) not in (3, 4) or channels > MAX_CHANNELS:
        raise FileRefused(f"{name} holds rows of shape {shape}, which are no images.")
    space: Layout = "yx" if len(shape) == 3 else "zyx"
    return (space if channels == 1 else "yxc" if space == "yx" else "zyxc"), first


def _plain(array: Array) -> Array:
    """Return values in a type that images have; truth values become black and white."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return array if array.dtype in (np.uint16, np.float32) else narrow(array)


def _found(array: Array, layout: Layout, path: Path, name: str, part: str) -> Found:
    array = np.ascontiguousarray(_plain(array))
    said: tuple[str, ...] = ()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
        said = ("Some values were not numbers and were set to 0.",)
    array.flags.writeable = False
    info = ImageInfo(
        layout=layout,
        shape=tuple(array.shape),
        dtype=array.dtype.name,
        metadata={"file_format": "NumPy"},
        warnings=said,
    )
    return Found(Image(array, info), name, path.name, part=part)
