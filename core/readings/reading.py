"""What a reader saw in a case: a mask now; boxes, a class, a restored image as their tasks arrive."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.types import Array


@dataclass(frozen=True)
class Mask:
    """A label map on the image's grid.

    Attributes:
        array: uint8 or uint16, shape = the image's spatial shape (yx, zyx or tyx); 0 is background.
        probabilities: uint8 of shape (labels + 1, *array.shape), probability * 255 per class with
            background first; None for a person's mask.
    """

    array: Array
    probabilities: Array | None = None

    def __post_init__(self) -> None:
        if self.array.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"a mask must be uint8 or uint16, got {self.array.dtype}.")
        if self.probabilities is not None and self.probabilities.shape[1:] != self.array.shape:
            raise ValueError(
                f"probabilities must have shape (classes, {self.array.shape}), got {self.probabilities.shape}."
            )

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


Reading = Mask  # becomes a union as further tasks arrive


@dataclass(frozen=True)
class Provenance:
    """How a reading came to be; kept with every version."""

    reader: str
    note: str = ""
    model_sha256: str = ""
    based_on_version: int | None = None
    extra: dict[str, str] = field(default_factory=dict)
