"""The mark of an image that a program computed: wherever the image goes, its facts and its remarks say so."""

from __future__ import annotations

from dataclasses import replace

from core.types import ImageInfo

COMPUTED = "computed"  # key in an image's metadata, and the first word of every mark in a file
STAMP = "COMPUTED, NOT ACQUIRED"


def mark_computed(info: ImageInfo, how: str) -> ImageInfo:
    """Return an image's facts with the mark and the remark that measuring needs the acquired image.

    Args:
        info: the computed image's own size and geometry.
        how: what computed it from what, such as "super-resolution x4 by model nuclei (1f2e3d4c)".
    """
    said = f"Computed ({how}), not acquired: fine detail may be invented; measure on the acquired image."
    return replace(
        info, metadata={**info.metadata, COMPUTED: how}, warnings=tuple(dict.fromkeys((*info.warnings, said)))
    )


def computed_by(info: ImageInfo) -> str:
    """Return what computed an image; "" for one that was acquired."""
    return info.metadata.get(COMPUTED, "")


def mark_text(how: str) -> str:
    """Write the mark as one line for a file's description."""
    return f"{COMPUTED} by {how}, not acquired"


def how_from_text(text: str) -> str:
    """Read what computed an image back from a file's description; "" when it does not begin with the mark."""
    start = f"{COMPUTED} by "
    return text.removeprefix(start).removesuffix(", not acquired") if text.startswith(start) else ""
