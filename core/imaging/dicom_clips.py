"""What the frames of a multi-frame DICOM file are: moments of a clip, planes of one or several volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from core.imaging.dicom_geometry import Plane, Stack, dose_planes, nuclear_planes, plane_of, stack_planes
from core.imaging.dicom_groups import functional_group

SEVERAL_ANGLES = (
    "The file holds {groups} stacks of frames that differ in angle, spacing or purpose; each became an image of "
    "its own, this is number {number}."
)
SEVERAL_TURNS = (
    "The file shows the same places {turns} times (time points, echoes or repeats); each became an image of its "
    "own, this is number {turn}."
)


@dataclass(frozen=True)
class FrameGroup:
    """Frames that make one image.

    Attributes:
        order: their numbers, in the image's order.
        plane: place and spacing of the first.
        stack: how they lie in space; None for moments of a clip.
        warnings: what to say about them.
    """

    order: tuple[int, ...]
    plane: Plane
    stack: Stack | None = None
    warnings: tuple[str, ...] = ()


def frame_groups(dataset: Dataset, frames: int) -> list[FrameGroup]:
    """Split the frames of a file into images: by stack, angle and spacing, then by time point.

    Args:
        dataset: its header.
        frames: how many it has.

    Source: DICOM PS3.3 C.7.6.16 (functional groups), C.8.8.3 (RT Dose), C.8.4 (nuclear medicine).
    """
    if dataset.get("GridFrameOffsetVector") is not None:
        planes: list[Plane] = dose_planes(dataset, frames)
    elif dataset.get("PerFrameFunctionalGroupsSequence"):
        planes = [plane_of(dataset, frame) for frame in range(frames)]
    else:
        planes = nuclear_planes(dataset, frames) or [plane_of(dataset)]
    if len(planes) < frames or not all(plane.is_placed for plane in planes):
        plane = replace(planes[0], position=None)
        return [FrameGroup(tuple(range(frames)), plane, None, plane.warnings)]
    taken = [_taken(dataset, frame) for frame in range(frames)]
    groups = _alike(planes, taken)
    return [
        part
        for number, group in enumerate(groups, start=1)
        for part in _volumes(
            group,
            [planes[frame] for frame in group],
            [taken[frame] for frame in group],
            (SEVERAL_ANGLES.format(groups=len(groups), number=number),) if len(groups) > 1 else (),
        )
    ]


def _alike(planes: Sequence[Plane], taken: Sequence[tuple[str, Any]]) -> list[list[int]]:
    """Group frames of one stack with equal directions and spacing, in the order they appear."""
    groups: list[list[int]] = []
    for frame, plane in enumerate(planes):
        for group in groups:
            first = group[0]
            if taken[first][0] == taken[frame][0] and planes[first].can_stack_with(plane):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _volumes(
    group: list[int], planes: list[Plane], taken: list[tuple[str, Any]], said: tuple[str, ...]
) -> list[FrameGroup]:
    found = []
    for stack in stack_planes(planes, taken):
        order = tuple(group[index] for index in stack.order)
        notes = said
        if stack.turns > 1:
            notes += (SEVERAL_TURNS.format(turns=stack.turns, turn=stack.turn),)
        found.append(FrameGroup(order, planes[0], stack, planes[0].warnings + notes + stack.warnings))
    return found


def _taken(dataset: Dataset, frame: int) -> tuple[str, Any]:
    """Return the stack a frame belongs to and its time point, as far as the file tells."""
    content = functional_group(dataset, frame, "FrameContentSequence") or Dataset()
    return str(content.get("StackID") or ""), content.get("TemporalPositionIndex")
