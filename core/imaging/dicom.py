"""DICOM files to images: one file, a cine clip, an enhanced volume, or a series of slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from core.errors import FileRefused
from core.imaging.buffers import take
from core.imaging.computed import how_from_text, mark_computed
from core.imaging.dicom_clips import FrameGroup, frame_groups
from core.imaging.dicom_codestream import JPEG_EXTENDED
from core.imaging.dicom_display import Display, display_of, is_inverted
from core.imaging.dicom_frames import ALWAYS_LOSSY
from core.imaging.dicom_geometry import Plane, Stack, single_affine, stack_planes
from core.imaging.dicom_header import Header, IsSegmentation, is_dicom, metadata_of, transfer_syntax
from core.imaging.dicom_pixels import Filled, Part, decode_clip, decode_slices, stored_planes
from core.imaging.dicom_series import HeaderReader, Slice, parallel_groups
from core.imaging.fingerprint import facts_of
from core.imaging.found import Found, Skipped, series_key
from core.imaging.geometry import spacing_from_affine
from core.imaging.limits import refusing
from core.imaging.patient import dataset_key
from core.settings import Settings
from core.types import LAYOUTS, Array, Image, ImageInfo, Layout

__all__ = ["is_dicom", "iter_dicom_images", "read_dicom_series"]

NameOf = Callable[[Path], str]
LOCALIZER = "This is a localiser (scout), taken to plan other pictures."
SEVERAL_KINDS = (
    "The series holds {groups} groups of slices that differ in size, spacing, angle or kind; each became an image "
    "of its own."
)
SEVERAL_TURNS = (
    "The series shows the same places {turns} times (time points, echoes or repeats); each became an image of its "
    "own, this is number {turn}."
)
LOST = "{lost} of {all} slices could not be read and are missing."
FEWER_BITS = "Colour was brought down from {bits} to 8 bits."
LOSSY = "Stored with loss: fine values were changed by the compression."
LOSSY_12_BIT = "Stored with loss (JPEG of 12 bits): fine values were changed, and decoders differ by up to 1."
MORE_COLORS = "The file also has colours for some of its values; they are not shown."


@dataclass(frozen=True)
class How:
    """What all steps of reading need to know; see ``iter_dicom_images``."""

    salt: str
    settings: Settings
    shown: NameOf
    with_facts: bool = False


@dataclass(frozen=True)
class Content:
    """Decoded planes of one image, and what is known of their place.

    Attributes:
        parts: the files, in the image's order.
        order: numbers of the frames, for the planes of one multi-frame file; None for a series.
    """

    parts: tuple[Part, ...]
    array: Array
    plane: Plane
    stack: Stack | None
    warnings: tuple[str, ...]
    order: tuple[int, ...] | None = None


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
    paths: Sequence[Path],
    salt: str,
    settings: Settings,
    shown: NameOf = lambda path: path.name,
    with_facts: bool = False,
) -> Iterator[Found | Skipped]:
    """Read DICOM files image by image, one in memory at a time.

    Args:
        paths: the files, in any order.
        salt: the workspace's secret for patient keys.
        settings: limits.
        shown: how a path is shown to the user.
        with_facts: take down ``Found.stored``, at the cost of decoding twice.
    """
    how = How(salt, settings, shown, with_facts)
    reader = HeaderReader(settings)
    slices: list[Slice] = []
    clips: list[Part] = []
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            item = reader.read(path)
            twin = seen.setdefault(_uid_of(item) or str(path), path)
            if twin is not path:
                raise FileRefused(f"{path.name} is the same image as {twin.name}, which was taken.")
            if isinstance(item, Slice):
                slices.append(item)
            else:
                clips.append(item)
        except FileRefused as error:
            yield Skipped(shown(path), str(error), path if isinstance(error, IsSegmentation) else None)
    for part in clips:
        yield from _read_clip(part, how)
    groups = parallel_groups(slices)
    kinds = Counter(group[0].series for group in groups if group[0].plane.is_placed)
    for group in groups:
        yield from _read_group(group, _kinds_note(group[0], kinds), how)


def _uid_of(item: Slice | Part) -> str:
    return item.uid if isinstance(item, Slice) else str(item.header.dataset.get("SOPInstanceUID") or "")


def _kinds_note(first: Slice, kinds: Counter[str]) -> tuple[str, ...]:
    """Say what tells a group apart from the others of its series.

    Args:
        first: one of the group.
        kinds: series -> how many groups it has.
    """
    if first.is_localizer:
        return (LOCALIZER,)
    if not first.series or not first.plane.is_placed or kinds[first.series] < 2:
        return ()
    return (SEVERAL_KINDS.format(groups=kinds[first.series]),)


def _read_group(group: list[Slice], note: tuple[str, ...], how: How) -> Iterator[Found | Skipped]:
    """Read the stacks of one group of parallel slices; a damaged slice is left out and named."""
    stacks: list[Stack | None] = [None]
    if len(group) > 1:
        stacks = [*stack_planes([item.plane for item in group], [item.taken[:3] for item in group])]
    for number, stack in enumerate(stacks, start=1):
        slices = group if stack is None else [group[index] for index in stack.order]
        suffix = f", part {number}" if len(stacks) > 1 else ""
        said = note
        if stack is not None and stack.turns > 1:
            said += (SEVERAL_TURNS.format(turns=stack.turns, turn=stack.turn),)
        try:
            filled = decode_slices([item.part for item in slices], how.settings)
            for place, error in sorted(filled.refused.items()):
                yield Skipped(how.shown(slices[place].path), str(error))
            yield _found_slices(slices, filled, said, suffix, how)
        except FileRefused as error:
            yield Skipped(how.shown(slices[0].path), str(error))


def _found_slices(slices: list[Slice], filled: Filled, said: tuple[str, ...], suffix: str, how: How) -> Found:
    """Put geometry and facts to decoded slices."""
    array, kept = filled.array, slices
    if filled.refused:
        places = [place for place in range(len(slices)) if place not in filled.refused]
        array, kept = take(array, places), [slices[place] for place in places]
        said += (LOST.format(lost=len(filled.refused), all=len(slices)),)
    first = kept[0]
    stack = None
    if len(kept) > 1:
        (stack,) = stack_planes([item.plane for item in kept])
        said += stack.warnings
    warnings = first.plane.warnings + said + filled.warnings
    content = Content(
        tuple(item.part for item in kept), array[0] if stack is None else array, first.plane, stack, warnings
    )
    if stack is None:
        return _found(content, first.path.stem + suffix, how)
    kind = "slices" if stack.is_space else "frames"
    found = _found(content, f"{_series_name(first.part.header)} ({len(kept)} {kind}){suffix}", how)
    folder = Path(how.shown(first.path)).parent.as_posix()
    return found if folder == "." else replace(found, source=folder)


def _read_clip(part: Part, how: How) -> Iterator[Found | Skipped]:
    """Read a multi-frame file: a clip in time, or volumes where its frames have places."""
    header = part.header
    try:
        with refusing(header.path.name):
            groups = frame_groups(header.dataset, header.layout.frames)
            filled = decode_clip(part, how.settings)
            for number, group in enumerate(groups, start=1):
                suffix = f", part {number}" if len(groups) > 1 else ""
                yield _found(_clip_content(part, group, filled), header.path.stem + suffix, how)
    except FileRefused as error:
        yield Skipped(how.shown(header.path), str(error))


def _clip_content(part: Part, group: FrameGroup, filled: Filled) -> Content:
    order = tuple(frame for frame in group.order if frame < len(filled.array))  # a video may be shorter
    array = take(filled.array, order)
    return Content((part,), array, group.plane, group.stack, group.warnings + filled.warnings, order)


def _found(content: Content, name: str, how: How) -> Found:
    """Describe decoded planes as an image that was found."""
    header = content.parts[0].header
    header = replace(header, parsed=header.dataset)
    dataset = header.dataset
    series = str(dataset.get("SeriesInstanceUID") or "")
    found = Found(
        image=Image(_locked(content.array), _info(content, header)),
        name=name,
        source=how.shown(header.path),
        patient_key=dataset_key(dataset, how.salt),
        files=tuple(part.header.path for part in content.parts),
        series_key=series_key(series, how.salt) if series else None,
    )
    if not how.with_facts:
        return found
    planes = stored_planes(content.parts)
    if content.order is not None:  # in the file's own order, whatever the volume's is
        planes = (plane for index, plane in enumerate(planes) if index in set(content.order))
    single = content.stack is None and content.order is None
    return replace(found, stored=facts_of(planes, header.layout.photometric, single))


def _info(content: Content, header: Header) -> ImageInfo:
    """Describe an array: one plane, a stack in space, or frames in time."""
    dataset, layout = header.dataset, header.layout
    array, plane, stack = content.array, content.plane, content.stack
    spatial = array.ndim - (1 if layout.is_color else 0)
    in_space = stack is not None and stack.is_space and spatial == 3
    axes = "yx" if spatial == 2 else "zyx" if in_space else "tyx"
    affine = single_affine(plane) if stack is None and spatial == 2 else stack.affine_lps if stack else None
    spacing: tuple[float, ...] | None = plane.spacing_yx
    if in_space and affine is not None:
        spacing = spacing_from_affine(affine)
    display = Display() if layout.is_color else _display(content, dataset)
    info = ImageInfo(
        layout=_layout(f"{axes}c" if layout.is_color else axes),
        shape=tuple(array.shape),
        dtype=array.dtype.name,
        spacing_mm=spacing,
        affine_lps=affine if plane.in_patient else None,
        modality=str(dataset.get("Modality") or "OT")[:16],
        window=display.window,
        inverted=not layout.is_color and is_inverted(dataset),
        metadata=metadata_of(dataset),
        warnings=content.warnings + _color_notes(header) + _loss_notes(header),
        windows=display.windows,
        shade_table=display.shade_table,
    )
    how = how_from_text(str(dataset.get("DerivationDescription") or ""))
    return mark_computed(info, how) if how else info


def _display(content: Content, dataset: Dataset) -> Display:
    """Return how the first plane asks to be shown; where it does not say, the middle or the last may."""
    display = display_of(dataset, content.order[0] if content.order else 0)
    others = content.parts[1:]
    for part in (others[len(others) // 2], others[-1]) if others and display.window is None else ():
        display = display_of(part.header.dataset)
        if display.window is not None:
            break
    return display


def _color_notes(header: Header) -> tuple[str, ...]:
    layout = header.layout
    if not layout.is_color:
        has_colors = header.dataset.get("RedPaletteColorLookupTableDescriptor") is not None
        return (MORE_COLORS,) if has_colors else ()
    if layout.bits_stored > 8 and layout.photometric != "PALETTE COLOR":
        return (FEWER_BITS.format(bits=layout.bits_stored),)
    return ()


def _loss_notes(header: Header) -> tuple[str, ...]:
    syntax = transfer_syntax(header.dataset)
    if syntax == JPEG_EXTENDED and header.layout.bits > 8:
        return (LOSSY_12_BIT,)
    if syntax in ALWAYS_LOSSY or header.dataset.get("LossyImageCompression") == "01":
        return (LOSSY,)
    return ()


def _layout(axes: str) -> Layout:
    return next(layout for layout in LAYOUTS if layout == axes)


def _series_name(header: Header) -> str:
    """Name a series by modality and number: descriptions are free text and may name a person."""
    dataset = header.dataset
    number = dataset.get("SeriesNumber")
    modality = str(dataset.get("Modality") or "DICOM")[:16]
    return f"{modality} series" if number in (None, "") else f"{modality} series {int(number)}"


def _locked(array: Array) -> Array:
    """Return the array with contiguous memory, read-only."""
    plain = np.ascontiguousarray(array)
    plain.flags.writeable = False
    return plain
