"""DICOM files to images: one file, a cine clip, an enhanced volume, or a series of slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import FileRefused
from core.imaging.computed import how_from_text, mark_computed
from core.imaging.dicom_geometry import Plane, Stack, dose_planes, plane_of, single_affine, stack_planes
from core.imaging.dicom_header import Header, is_dicom, metadata_of, read_header
from core.imaging.dicom_pixels import color_or_value_type, decode_into, plan_values, window_of
from core.imaging.found import Found, Skipped, patient_key
from core.imaging.geometry import spacing_from_affine
from core.imaging.limits import check_declared_size, refusing
from core.imaging.values import narrow
from core.settings import Settings
from core.types import Array, Image, ImageInfo, Layout

__all__ = ["is_dicom", "iter_dicom_images", "read_dicom_series"]

NameOf = Callable[[Path], str]


@dataclass(frozen=True)
class Slice:
    """One single-frame file of a series and its place."""

    header: Header
    plane: Plane


def read_dicom_series(paths: Sequence[Path], salt: str, settings: Settings) -> list[Found]:
    """Read one or many DICOM files into as many images as they hold.

    Files of one series with equal size and orientation become a volume, sorted along its normal. A file that
    cannot be read is left out and counted in the warnings, unless nothing else is left.

    Args:
        paths: the files, in any order.
        salt: the workspace's secret for patient keys.
        settings: limits.

    Raises:
        FileRefused: when no file gives an image; with the first reason.
    """
    found: list[Found] = []
    skipped: list[Skipped] = []
    for item in iter_dicom_images(paths, salt, settings):
        if isinstance(item, Found):
            found.append(item)
        else:
            skipped.append(item)
    if not found:
        raise FileRefused(skipped[0].reason if skipped else "No DICOM file was given.")
    return found


def iter_dicom_images(
    paths: Sequence[Path], salt: str, settings: Settings, shown: NameOf = lambda path: path.name
) -> Iterator[Found | Skipped]:
    """Read DICOM files image by image, one in memory at a time.

    Args:
        paths: the files, in any order.
        salt: the workspace's secret for patient keys.
        settings: limits.
        shown: how a path is shown to the user.
    """
    slices: list[Slice] = []
    clips: list[Header] = []
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            header = read_header(path, settings)
            twin = seen.setdefault(str(header.dataset.get("SOPInstanceUID") or path), path)
            if twin is not path:
                raise FileRefused(f"{path.name} is the same image as {twin.name}, which was taken.")
            with refusing(path.name):
                if header.layout.frames > 1:
                    clips.append(header)
                else:
                    slices.append(Slice(header, plane_of(header.dataset)))
        except FileRefused as error:
            yield Skipped(shown(path), str(error))
    for header in clips:
        yield from _read_clip(header, salt, settings, shown)
    for group in _parallel_groups(slices):
        yield from _read_group(group, salt, settings, shown)


def _parallel_groups(slices: list[Slice]) -> list[list[Slice]]:
    """Split slices into groups that can stack: same series, size, spacing and directions."""
    groups: dict[tuple, list[list[Slice]]] = {}
    for item in sorted(slices, key=_taken_order):
        layout, plane = item.header.layout, item.plane
        series = item.header.dataset.get("SeriesInstanceUID")
        if not series or not plane.is_placed:
            groups[(item.header.path,)] = [[item]]
            continue
        assert plane.spacing_yx is not None and plane.row is not None  # noqa: S101 - placed
        spacing = tuple(round(value, 4) for value in plane.spacing_yx)
        key = (str(series), layout.rows, layout.columns, layout.is_color, layout.photometric, spacing)
        for group in groups.setdefault(key, []):
            if _is_parallel(group[0].plane, plane):
                group.append(item)
                break
        else:
            groups[key].append([item])
    return [group for candidates in groups.values() for group in candidates]


def _taken_order(item: Slice) -> tuple:
    """Order in which slices were taken, so that repeats of a place are dealt out rightly."""
    dataset = item.header.dataset
    keys = ("TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers", "InstanceNumber")
    return (*(_number(dataset.get(key)) for key in keys), str(item.header.path))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def _is_parallel(one: Plane, other: Plane) -> bool:
    return np.allclose(one.row, other.row, atol=1e-3) and np.allclose(one.column, other.column, atol=1e-3)  # type: ignore[arg-type]


def _read_group(
    group: list[Slice], salt: str, settings: Settings, shown: NameOf
) -> Iterator[Found | Skipped]:
    """Read the stacks of one group of parallel slices; a damaged slice is left out and named."""
    stacks = stack_planes([item.plane for item in group]) if len(group) > 1 else []
    parts = [[group[index] for index in stack.order] for stack in stacks] or [group]
    for number, part in enumerate(parts, start=1):
        suffix = f", part {number}" if len(parts) > 1 else ""
        try:
            array, kept, skipped = _decode_slices(part, settings, shown)
            yield from skipped
            yield _found_slices(array, kept, suffix, salt, shown, len(skipped))
        except FileRefused as error:
            source = shown(part[0].header.path)
            yield Skipped(source, str(error))


def _decode_slices(
    part: list[Slice], settings: Settings, shown: NameOf
) -> tuple[Array, list[Slice], list[Skipped]]:
    layout = part[0].header.layout
    plans, planned, skipped = [], [], []
    for item in part:
        try:
            with refusing(item.header.path.name):
                plans.append(plan_values(item.header))
                planned.append(item)
        except FileRefused as error:
            skipped.append(Skipped(shown(item.header.path), str(error)))
    if not planned:
        raise FileRefused(skipped[0].reason)
    kind = color_or_value_type(plans, layout)
    shape = (len(planned), layout.rows, layout.columns) + ((3,) if layout.is_color else ())
    check_declared_size(shape, kind.itemsize, part[0].header.path.name, settings)
    out = np.zeros(shape, dtype=kind)
    kept: list[int] = []
    for index, (item, plan) in enumerate(zip(planned, plans, strict=True)):
        try:
            with refusing(item.header.path.name):
                decode_into(out, [index], item.header, plan)
            kept.append(index)
        except FileRefused as error:
            skipped.append(Skipped(shown(item.header.path), str(error)))
    if not kept:
        raise FileRefused(skipped[0].reason)
    array = out if len(kept) == len(planned) else out[kept]
    return narrow(array), [planned[index] for index in kept], skipped


def _found_slices(array: Array, kept: list[Slice], suffix: str, salt: str, shown: NameOf, lost: int) -> Found:
    """Put geometry and facts to decoded slices."""
    first = kept[0]
    path = first.header.path
    warnings = first.plane.warnings
    if lost:
        warnings += (f"{lost} of {len(kept) + lost} slices could not be read and are missing.",)
    if len(kept) == 1:
        info = _info(first.header, array[0], None, first.plane, warnings)
        return _found(first.header, Image(_locked(array[0]), info), path.stem + suffix, salt, shown)
    (stack,) = stack_planes([item.plane for item in kept])
    array = array if stack.order == tuple(range(len(kept))) else array[list(stack.order)]
    info = _info(first.header, array, stack, first.plane, warnings + stack.warnings)
    if info.window is None:
        windows = (window_of(item.header.dataset) for item in kept)
        info = replace(info, window=next((window for window in windows if window is not None), None))
    name = f"{_series_name(first.header)} ({len(kept)} {'slices' if stack.is_space else 'frames'}){suffix}"
    found = _found(first.header, Image(_locked(array), info), name, salt, shown)
    folder = Path(shown(path)).parent.as_posix()
    return replace(found, source=shown(path) if folder == "." else folder)


def _read_clip(header: Header, salt: str, settings: Settings, shown: NameOf) -> Iterator[Found | Skipped]:
    """Read a multi-frame file: a clip in time, or a volume where its frames have places."""
    try:
        with refusing(header.path.name):
            yield from _clip_images(header, salt, settings, shown)
    except FileRefused as error:
        yield Skipped(shown(header.path), str(error))


def _clip_images(header: Header, salt: str, settings: Settings, shown: NameOf) -> Iterator[Found]:
    layout = header.layout
    plan = plan_values(header)
    kind = color_or_value_type([plan], layout)
    shape = (layout.frames, layout.rows, layout.columns) + ((3,) if layout.is_color else ())
    check_declared_size(shape, kind.itemsize, header.path.name, settings)
    planes, warnings = _frame_planes(header)
    stacks = stack_planes(planes) if planes[0].is_placed and not warnings else []
    out = np.zeros(shape, dtype=kind)
    decode_into(out, list(range(layout.frames)), header, plan)
    array = narrow(out)
    for number, stack in enumerate(stacks or [None], start=1):
        part = (
            array if stack is None or stack.order == tuple(range(layout.frames)) else array[list(stack.order)]
        )
        suffix = f", part {number}" if len(stacks) > 1 else ""
        said = planes[0].warnings + warnings + (stack.warnings if stack else ())
        info = _info(header, part, stack, planes[0], said)
        yield _found(header, Image(_locked(part), info), header.path.stem + suffix, salt, shown)


def _frame_planes(header: Header) -> tuple[list[Plane], tuple[str, ...]]:
    """Return each frame's place, and a warning when frames with places cannot be stacked."""
    dataset, frames = header.dataset, header.layout.frames
    if dataset.get("GridFrameOffsetVector") is not None:
        return dose_planes(dataset, frames), ()
    if not dataset.get("PerFrameFunctionalGroupsSequence"):
        return [replace(plane_of(dataset), position=None)] * frames, ()
    planes = [plane_of(dataset, frame) for frame in range(frames)]
    if not all(plane.is_placed for plane in planes):
        return [replace(plane, position=None) for plane in planes], ()
    alike = all(
        _is_parallel(planes[0], plane) and np.allclose(planes[0].spacing_yx, plane.spacing_yx, rtol=1e-4)  # type: ignore[arg-type]
        for plane in planes
    )
    if not alike:
        return planes, ("The frames lie at different angles and are shown one after the other.",)
    return planes, ()


def _info(
    header: Header, array: Array, stack: Stack | None, plane: Plane, warnings: tuple[str, ...]
) -> ImageInfo:
    """Describe an array: one plane, a stack in space, or frames in time."""
    dataset = header.dataset
    spatial = array.ndim - (1 if header.layout.is_color else 0)
    in_space = stack is not None and stack.is_space and spatial == 3
    axes = "yx" if spatial == 2 else "zyx" if in_space else "tyx"
    layout: Layout = f"{axes}c" if header.layout.is_color else axes  # type: ignore[assignment]
    affine = single_affine(plane) if stack is None and spatial == 2 else stack.affine_lps if stack else None
    spacing: tuple[float, ...] | None = plane.spacing_yx
    if in_space and affine is not None:
        spacing = spacing_from_affine(affine)
    if header.layout.is_color and header.layout.bits > 8 and header.layout.photometric != "PALETTE COLOR":
        warnings += (f"Colour was brought down from {header.layout.bits} to 8 bits.",)
    info = ImageInfo(
        layout=layout,
        shape=tuple(array.shape),
        dtype=array.dtype.name,
        spacing_mm=spacing,
        affine_lps=affine,
        modality=str(dataset.get("Modality") or "OT")[:16],
        window=None if header.layout.is_color else window_of(dataset),
        inverted=header.layout.photometric == "MONOCHROME1",
        metadata=metadata_of(dataset),
        warnings=warnings,
    )
    how = how_from_text(str(dataset.get("DerivationDescription") or ""))
    return mark_computed(info, how) if how else info


def _found(header: Header, image: Image, name: str, salt: str, shown: NameOf) -> Found:
    raw = str(header.dataset.get("PatientID") or header.dataset.get("PatientName") or "").strip()
    key = patient_key(raw, salt) if raw else None
    return Found(image=image, name=name, source=shown(header.path), patient_key=key)


def _series_name(header: Header) -> str:
    """Name a series by modality and number: descriptions are free text and may name a person."""
    number = header.dataset.get("SeriesNumber")
    modality = str(header.dataset.get("Modality") or "DICOM")[:16]
    return f"{modality} series" if number in (None, "") else f"{modality} series {int(number)}"


def _locked(array: Array) -> Array:
    """Return the array with contiguous memory, read-only, in this machine's byte order."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    plain.flags.writeable = False
    return plain
