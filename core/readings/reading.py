"""What a reader saw in a case: a mask, boxes, or the image with finer pixels. Each kind checks itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from core.imaging.computed import computed_by
from core.types import Array, ImageInfo

ReadingKind = Literal["mask", "boxes", "restored"]
COLUMNS = {
    "box_xyxy": np.float32, "labels": np.uint16, "planes": np.int32,
    "scores": np.float32, "groups": np.int32, "crowds": np.bool_,
}  # fmt: skip


@dataclass(frozen=True)
class Mask:
    """A label map on the image's grid.

    Attributes:
        array: uint8 or uint16, shape = the image's spatial shape (yx, zyx or tyx); 0 is background.
        probabilities: uint8 of shape (labels + 1, *array.shape), probability * 255 per class with
            background first; None for a person's mask.
    """

    kind: ClassVar[ReadingKind] = "mask"
    array: Array
    probabilities: Array | None = None

    def __post_init__(self) -> None:
        if self.array.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"a mask must be uint8 or uint16, got {self.array.dtype}.")
        if self.probabilities is not None and self.probabilities.shape[1:] != self.array.shape:
            raise ValueError(
                f"probabilities must have shape (classes, {self.array.shape}), got {self.probabilities.shape}."
            )

    def misfit(self, info: ImageInfo) -> str | None:
        """Say in a sentence why this cannot be a reading of an image; None when it can."""
        wanted, given = info.spatial_shape, tuple(self.array.shape)
        if wanted == given:
            return None
        return f"The mask has {_size(given)}, the image has {_size(wanted)}; they must be equal."

    def at_threshold(self, threshold: float) -> Array:
        """Return the label map where the foreground probability reaches ``threshold``.

        A pixel is foreground when 1 - P(background) >= threshold; it then takes its likeliest foreground label.
        """
        if self.probabilities is None:
            return self.array
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}.")
        foreground = 255 - self.probabilities[0].astype(np.int16) >= threshold * 255
        likeliest = self.probabilities[1:].argmax(axis=0).astype(self.array.dtype) + 1
        return np.where(foreground, likeliest, 0).astype(self.array.dtype)


@dataclass(frozen=True)
class Boxes:
    """Objects seen in a case, each with a box and perhaps its own mask.

    Coordinates are continuous: the pixel in column i covers [i, i + 1), its centre lies at i + 0.5.

    Attributes:
        box_xyxy: float32 (n, 4): left, top, right, bottom in pixels of the object's plane; right > left, bottom > top.
        labels: uint16 (n,) label values of the project, from 1.
        planes: int32 (n,) the plane (slice or frame) an object lies on; 0 in a single image.
        scores: float32 (n,) how sure a model is, 0 to 1; None for a person's boxes.
        crops: for each object a boolean mask of the pixels from floor(left), floor(top) to ceil(right),
            ceil(bottom); None where objects have boxes only.
        groups: int32 (n,) number of the finding in space that a box is a slice of, from 1; None where nothing
            links the planes (see ``core.readings.findings``).
        crowds: bool (n,) True for a box around a crowd of objects that nobody counted: what a model finds inside
            is neither right nor wrong; None where there is no crowd.
        threshold: score from which the reader's boxes count by its own rule; those below are kept for curves and
            for another choice. None: all count.
    """

    kind: ClassVar[ReadingKind] = "boxes"
    box_xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint16]
    planes: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32] | None = None
    crops: tuple[npt.NDArray[np.bool_], ...] | None = None
    groups: npt.NDArray[np.int32] | None = None
    crowds: npt.NDArray[np.bool_] | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        n = len(self.box_xyxy)
        for name, kind in COLUMNS.items():
            column = getattr(self, name)
            if column is not None and (column.dtype != kind or len(column) != n):
                raise ValueError(
                    f"{name} must be {n} of {np.dtype(kind)}, got {len(column)} of {column.dtype}."
                )
        if self.box_xyxy.shape != (n, 4):
            raise ValueError(f"box_xyxy must have shape (n, 4), got {self.box_xyxy.shape}.")
        if n and not (self.box_xyxy[:, 2:] > self.box_xyxy[:, :2]).all():
            raise ValueError("every box needs right > left and bottom > top.")
        if n and self.labels.min() < 1:
            raise ValueError("labels of boxes begin at 1.")
        if self.crops is not None:
            wanted = [crop_shape(box) for box in self.box_xyxy]
            if [crop.shape for crop in self.crops] != wanted:
                raise ValueError("crops must have the size of their boxes, rounded outwards.")

    def __len__(self) -> int:
        return len(self.box_xyxy)

    def misfit(self, info: ImageInfo) -> str | None:
        """Say in a sentence why these cannot be boxes of an image; None when they can."""
        if not len(self):
            return None
        height, width = info.spatial_shape[-2:]
        if not np.isfinite(self.box_xyxy).all():
            return "A box has a corner that is not a number."
        low, high = self.box_xyxy.min(axis=0), self.box_xyxy.max(axis=0)
        if low[0] < 0 or low[1] < 0 or high[2] > width or high[3] > height:
            return f"A box reaches out of the image, which has {_size((height, width))}."
        if self.planes.min() < 0 or self.planes.max() >= info.slices:
            return f"A box lies on plane {int(self.planes.max()) + 1}, the image has {info.slices}."
        return None

    def only(self, kept: Array) -> Boxes:
        """Return the objects chosen by a boolean mask or by numbers, in that order."""
        numbers = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept

        def chosen(column: Array | None) -> Array | None:
            return None if column is None else column[numbers]

        return Boxes(
            self.box_xyxy[numbers],
            self.labels[numbers],
            self.planes[numbers],
            chosen(self.scores),
            None if self.crops is None else tuple(self.crops[number] for number in numbers),
            chosen(self.groups),
            chosen(self.crowds),
            self.threshold,
        )

    @property
    def counted(self) -> Boxes:
        """The single objects, without boxes around crowds: what to learn from and what to count."""
        return self if self.crowds is None else self.only(~self.crowds)

    def at_threshold(self, threshold: float) -> Boxes:
        """Return the objects whose score reaches ``threshold``; a person's boxes all stay."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}.")
        return self if self.scores is None else self.only(self.scores >= threshold)

    def decided(self, threshold: float | None = None) -> Boxes:
        """Return the objects that count: at ``threshold``, or by the reader's own rule when it is None."""
        chosen = self.threshold if threshold is None else threshold
        return self if chosen is None else self.at_threshold(chosen)


@dataclass(frozen=True)
class RestoredImage:
    """A case's image with finer pixels: computed by a model and marked so, or acquired besides as the truth.

    Attributes:
        array: values in the image's own units, with the image's layout and channels.
        info: size and geometry of ``array``.
        spread: float16, spatial shape of ``array``: how far mirrored looks disagree, in the image's units; None
            where nobody asked for it.
        facts: numbers about how it was made, such as {"consistency_db": 48.2}.
    """

    kind: ClassVar[ReadingKind] = "restored"
    array: Array
    info: ImageInfo
    spread: npt.NDArray[np.float16] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.info.shape:
            raise ValueError(f"array has shape {self.array.shape}, its info says {self.info.shape}.")
        if self.spread is not None and (
            self.spread.dtype != np.float16 or tuple(self.spread.shape) != self.info.spatial_shape
        ):
            raise ValueError(f"spread must be float16 of shape {self.info.spatial_shape}.")

    @property
    def computed(self) -> str:
        """What computed it; "" for an acquired image."""
        return computed_by(self.info)

    def factors(self, info: ImageInfo) -> tuple[int, ...] | None:
        """Return how many times finer each spatial axis is than the image's; None when no whole number fits."""
        given, coarse = self.info.spatial_shape, info.spatial_shape
        if len(given) != len(coarse) or any(fine % size for fine, size in zip(given, coarse, strict=True)):
            return None
        return tuple(fine // size for fine, size in zip(given, coarse, strict=True))

    def misfit(self, info: ImageInfo) -> str | None:
        """Say in a sentence why this cannot be an image restored from another; None when it can."""
        if self.info.channels != info.channels:
            given, wanted = str(self.info.channels), str(info.channels)
            return f"The finer image has {given} channels, the image has {wanted}; they must be equal."
        factors = self.factors(info)
        if factors is None:
            given, wanted = _size(self.info.spatial_shape), _size(info.spatial_shape)
            return f"The finer image has {given}, the image has {wanted}; each side must be a whole multiple."
        if max(factors) == 1:
            return f"The finer image has the image's own {_size(info.spatial_shape)}; it must have more."
        return None


Reading = Mask | Boxes | RestoredImage


def no_boxes() -> Boxes:
    """Return the reading of somebody who saw no object."""
    return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.uint16), np.zeros(0, np.int32))


def crop_shape(box_xyxy: Array) -> tuple[int, int]:
    """Return (rows, columns) of the pixels that a box touches."""
    left, top = np.floor(box_xyxy[:2])
    right, bottom = np.ceil(box_xyxy[2:])
    return int(bottom - top), int(right - left)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) + " pixels"
