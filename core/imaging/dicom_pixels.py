"""DICOM pixels: stored frames made physical (rescale, modality table, colour) and put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from core.errors import FileRefused
from core.imaging.buffers import allocate, discard, settle
from core.imaging.dicom_color import stored_color, to_rgb_bytes
from core.imaging.dicom_frames import slow_frames
from core.imaging.dicom_groups import functional_group
from core.imaging.dicom_header import Header, transfer_syntax
from core.imaging.dicom_quick import NotQuick, PlainFrames, QuickFrames, Span, quick_frames
from core.imaging.dicom_video import VIDEO
from core.imaging.limits import check_declared_size, refusing
from core.imaging.values import PlaneStack, Rescale, TooNarrow, smallest_type
from core.settings import Settings
from core.types import Array

MAX_WORKERS = 4
FEW_PLANES = 3  # not worth a thread
FEWER_FRAMES = "The video has {done} frames, its header says {wanted}."
NO_NUMBERS = "Some values were not numbers and were set to 0."

Stored = tuple[Array, str]  # a frame as stored, and how its colours are meant
Reader = Callable[[int, Array | None], Stored]  # reads one plane, into the room given where it can


@dataclass(frozen=True)
class ValuePlan:
    """How one file's stored numbers become values: one rescale per frame, or a table."""

    rescales: tuple[Rescale, ...]
    has_table: bool = False


@dataclass(frozen=True)
class Part:
    """One file that gives planes to an image.

    Attributes:
        header: the checked header.
        plan: how its stored numbers become values.
        span: where its pixels lie, None when only pydicom can tell.
    """

    header: Header
    plan: ValuePlan
    span: Span | None = None


@dataclass(frozen=True)
class Filled:
    """Decoded planes.

    Attributes:
        array: (planes, rows, columns) or (planes, rows, columns, 3).
        refused: why planes could not be read, by their number; their place in the array holds nothing.
        warnings: what to say about the values.
    """

    array: Array
    refused: dict[int, FileRefused]
    warnings: tuple[str, ...] = ()


def plan_values(header: Header) -> ValuePlan:
    """Read the modality transformation of every frame.

    Source: DICOM PS3.3 C.11.1 (Modality LUT), C.7.6.16.2.9 (Pixel Value Transformation), C.8.8.3 (RT Dose).

    Raises:
        FileRefused: when it cannot be, such as a slope of 0.
    """
    dataset, frames = header.dataset, header.layout.frames
    if dataset.get("ModalityLUTSequence"):
        return ValuePlan((Rescale(),) * frames, has_table=True)
    try:
        return ValuePlan(tuple(_rescale(dataset, frame) for frame in range(frames)))
    except (ValueError, TypeError) as error:
        raise FileRefused(
            f"{header.path.name} cannot be read: its rescale slope and intercept must be numbers, and the slope not 0."
        ) from error


def _rescale(dataset: Dataset, frame: int) -> Rescale:
    if dataset.get("Modality") == "RTDOSE" and dataset.get("DoseGridScaling") is not None:
        return Rescale(float(dataset.DoseGridScaling), 0.0)
    source = functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
    return Rescale(
        1.0 if slope in (None, "") else float(slope), 0.0 if intercept in (None, "") else float(intercept)
    )


def decode_slices(parts: Sequence[Part], settings: Settings) -> Filled:
    """Decode single-frame files of one size into planes, in their order; a damaged one does not stop the rest.

    Args:
        parts: the files.
        settings: limits for the whole.

    Raises:
        FileRefused: when none can be decoded; with the first reason.
    """

    def read(place: int, room: Array | None) -> Stored:
        return _read_slice(parts[place], room)

    return _fill(parts, read, settings)


def decode_clip(part: Part, settings: Settings) -> Filled:
    """Decode all frames of one file.

    Args:
        part: the file.
        settings: limits for the whole.

    Raises:
        FileRefused: when one of them cannot be decoded.
    """
    header = part.header
    with refusing(header.path.name):
        try:
            frames = _open_quick(part)

            def read(place: int, room: Array | None) -> Stored:
                return _read_quick(frames, place, room, header)

            filled = _fill([part] * header.layout.frames, read, settings)
        except NotQuick:
            return _fill_in_turn(part, settings)
    if filled.refused:
        raise filled.refused[min(filled.refused)]
    return filled


def stored_planes(parts: Sequence[Part]) -> Iterator[Array]:
    """Decode files one after the other and give their frames as stored: before rescale and palette, as RGB.

    Args:
        parts: single-frame files, or one multi-frame file.

    Returns:
        Each frame, in the file's own byte order.

    Raises:
        FileRefused: when one of them cannot be decoded.
    """
    for part in parts:
        header = part.header
        with refusing(header.path.name):
            for frame, photometric in _frames_in_turn(part):
                yield stored_color(frame, photometric, header.layout.bits_stored)


def _frames_in_turn(part: Part) -> Iterator[Stored]:
    """Decode the frames of one file in their order."""
    layout, done = part.header.layout, 0
    try:
        frames = _open_quick(part)
        while done < frames.count:
            frame = frames.stored(done)
            done += 1
            yield frame, layout.photometric
    except NotQuick:
        yield from islice(slow_frames(part.header), done, layout.frames)


def _read_slice(part: Part, room: Array | None) -> Stored:
    """Return the stored values of a single-frame file, read into ``room`` where that can be."""
    try:
        return _read_quick(_open_quick(part), 0, room, part.header)
    except NotQuick:
        for frame in slow_frames(part.header):
            return frame
    raise FileRefused(f"{part.header.path.name} is cut short: it has no frame.")


def _open_quick(part: Part) -> QuickFrames:
    if part.span is None:
        raise NotQuick
    return quick_frames(part.header.path, part.header.layout, part.span)


def _read_quick(frames: QuickFrames, index: int, room: Array | None, header: Header) -> Stored:
    layout = header.layout
    fits = (
        room is not None and room.shape == layout.frame_shape and (layout.samples == 1 or layout.planar == 0)
    )
    if room is not None and fits and isinstance(frames, PlainFrames):
        frames.read_into(index, room)
        return room, layout.photometric
    return frames.stored(index), layout.photometric


def _fill(parts: Sequence[Part], read: Reader, settings: Settings) -> Filled:
    """Decode planes into the smallest type that one of them suggests, into a wider one where that fails."""
    kind = _guess_kind(parts, read)
    while True:
        stack = PlaneStack(_new_array(len(parts), kind, parts[0].header, settings))
        try:
            refused = _decode_all(parts, read, stack)
        except TooNarrow as error:
            discard(stack.array)
            kind = error.kind
            continue
        if len(refused) == len(parts):
            raise refused[0]
        return _filled(stack, refused)


def _guess_kind(parts: Sequence[Part], read: Reader) -> np.dtype:
    """Decode one plane, from the middle where it can be, and return the type it suggests for all.

    Raises:
        FileRefused: when no plane can be decoded; with the first one's reason.
    """
    refused: dict[int, FileRefused] = {}
    for place in dict.fromkeys((len(parts) // 2, *range(len(parts)))):
        part = parts[place]
        try:
            with _refusing(part):
                stored, _ = read(place, None)
        except FileRefused as error:
            refused[place] = error
            continue
        kind = _kind_of(part, stored, {rescale for other in parts for rescale in other.plan.rescales})
        plain_bytes = all(other.header.layout.stored_type == np.uint8 for other in parts)
        return kind if plain_bytes or kind != np.uint8 or part.header.layout.is_color else np.dtype(np.int16)
    raise refused[min(refused)]


def _kind_of(part: Part, stored: Array, rescales: set[Rescale]) -> np.dtype:
    if part.header.layout.is_color:
        return np.dtype(np.uint8)
    if part.plan.has_table:
        return smallest_type(apply_modality_lut(stored, part.header.dataset), {Rescale()})
    return smallest_type(stored, rescales)


def _decode_all(parts: Sequence[Part], read: Reader, stack: PlaneStack) -> dict[int, FileRefused]:
    """Decode every plane, several at once; return why some could not be."""

    def some(places: range) -> dict[int, FileRefused]:
        refused: dict[int, FileRefused] = {}
        for place in places:
            part = parts[place]
            try:
                with _refusing(part):
                    room = stack.room_for(place, part.header.layout.stored_type)
                    _write(stack, place, part, read(place, None if part.plan.has_table else room))
                    settle(stack.array, place)
            except FileRefused as error:
                refused[place] = error
        return refused

    workers = 1 if len(parts) <= FEW_PLANES else min(MAX_WORKERS, os.cpu_count() or 1)
    if workers == 1:
        return some(range(len(parts)))
    try:
        with ThreadPoolExecutor(workers) as pool:
            shares = pool.map(some, [range(start, len(parts), workers) for start in range(workers)])
            return {place: error for share in shares for place, error in share.items()}
    except RuntimeError:  # no further thread can be started
        return some(range(len(parts)))


def _write(stack: PlaneStack, place: int, part: Part, frame: Stored) -> None:
    """Write one plane: colour as RGB bytes, grey as physical values."""
    stored, photometric = frame
    header = part.header
    if header.layout.is_color:
        rgb = to_rgb_bytes(stored, photometric, header)
        if not np.may_share_memory(rgb, stack.array):
            stack.array[place] = rgb
    elif part.plan.has_table:
        stack.put(place, apply_modality_lut(stored, header.dataset), Rescale())
    else:
        rescales = part.plan.rescales
        stack.put(place, stored, rescales[place if len(rescales) > 1 else 0])


def _fill_in_turn(part: Part, settings: Settings) -> Filled:
    """Decode the frames of a file that only gives them one after the other."""
    header = part.header
    kind: np.dtype | None = None
    while True:
        stack: PlaneStack | None = None
        done = 0
        try:
            for stored, photometric in islice(slow_frames(header), header.layout.frames):
                if stack is None:
                    kind = kind or _kind_of(part, stored, set(part.plan.rescales))
                    stack = PlaneStack(_new_array(header.layout.frames, kind, header, settings))
                _write(stack, done, part, (stored, photometric))
                settle(stack.array, done)
                done += 1
        except TooNarrow as error:
            if stack is not None:
                discard(stack.array)
            kind = error.kind
            continue
        wanted = header.layout.frames
        if stack is not None and done < wanted and transfer_syntax(header.dataset) in VIDEO:
            return Filled(stack.array[:done], {}, (FEWER_FRAMES.format(done=done, wanted=wanted),))
        if stack is None or done < wanted:
            raise FileRefused(f"{header.path.name} is cut short: it has {done} of {wanted} frames.")
        return _filled(stack, {})


def _new_array(planes: int, kind: np.dtype, header: Header, settings: Settings) -> Array:
    layout = header.layout
    shape = (planes, layout.rows, layout.columns, *((3,) if layout.is_color else ()))
    check_declared_size(shape, kind.itemsize, header.path.name, settings)
    return allocate(shape, kind)


def _filled(stack: PlaneStack, refused: dict[int, FileRefused]) -> Filled:
    return Filled(stack.array, refused, (NO_NUMBERS,) if stack.had_no_numbers else ())


@contextmanager
def _refusing(part: Part) -> Iterator[None]:
    """Turn what decoders raise into a sentence; the signals between the ways of decoding pass."""
    signal: Exception | None = None
    with refusing(part.header.path.name):
        try:
            yield
        except (NotQuick, TooNarrow) as error:
            signal = error
    if signal is not None:
        raise signal
