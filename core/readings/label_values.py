"""Which label a number in a mask file stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import LabelError
from core.types import Array, Label

LabelMap = Mapping["int | Literal['any']", str]
BACKGROUND_NAMES = ("background", "ignore", "none")
GREY_STEP = 64  # masks whose values lie this far apart are painted in greys, not numbered
GREY_ROUNDING = 4  # grey 127, 128 and 130 are the same paint
GREY_STRAY_SHARE = 1e-3  # pixels of other greys that may be taken to the nearest, of all pixels


@dataclass(frozen=True)
class StoredValues:
    """Numbers as a mask file holds them.

    Attributes:
        array: on the image's grid.
        lossy: True for JPEG, whose values are only near what was painted.
        scale: for 1, 2 and 4-bit grey, what a reader multiplied the numbers by (255, 85, 17); else 1.
    """

    array: Array
    lossy: bool = False
    scale: int = 1


def parse_label_map(text: str) -> LabelMap:
    """Read a label map as typed: ``1=nerve,2=vessel`` or ``any=nucleus``.

    The names background, ignore and none leave a value out.

    Raises:
        LabelError: when it cannot be understood.
    """
    how = "Write it like 1=nerve,2=vessel or any=nucleus."
    found: dict[int | Literal["any"], str] = {}
    for entry in text.split(","):
        left, equals, name = (part.strip() for part in entry.partition("="))
        if not equals or not left or not name:
            raise LabelError(f"The label map has an entry {entry.strip()!r} that is not value=name. {how}")
        if left.lower() == "any":
            value: int | Literal["any"] = "any"
        elif left.isascii() and left.isdigit() and len(left) < 10:
            value = int(left)
        else:
            raise LabelError(
                f"The label map has the value {left!r}, which is no whole number and not 'any'. {how}"
            )
        if value in found:
            raise LabelError(f"The label map names the value {left} twice. {how}")
        found[value] = name
    return found


def to_label_map(
    stored: StoredValues, labels: tuple[Label, ...], label_map: LabelMap | None, name: str
) -> tuple[Array, tuple[str, ...]]:
    """Turn stored numbers into label numbers.

    Returns:
        The label map (uint8, uint16 when a label passes 255), and sentences about what was assumed.

    Raises:
        LabelError: for a label that is not in the set, or a number that nothing stands for.
    """
    array = whole_numbers(stored.array, name)
    values = _values_in(array)
    known, rest = _known_values(labels, label_map, values, stored)
    array, values = _unscaled(array, values, known, stored.scale)
    targets: dict[int, int] = {}
    unknown: list[int] = []
    for value in values.tolist():
        target = known.get(value, rest if value else 0)
        if target is None:
            unknown.append(value)
        else:
            targets[value] = target
    notes: tuple[str, ...] = ()
    if unknown:
        targets, notes = _to_nearest(array, unknown, targets, known, stored.lossy, name)
    kind = np.uint8 if max((label.value for label in labels), default=0) < 256 else np.uint16
    table = np.array([targets[value] for value in values.tolist()], dtype=kind)
    if values[0] >= 0 and values[-1] < 65536:
        direct = np.zeros(int(values[-1]) + 1, kind)
        direct[values] = table
        return direct[array], notes
    return table[np.searchsorted(values, array)], notes


def _values_in(array: Array) -> Array:
    if array.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(array.ravel()))
    return np.unique(array)


def whole_numbers(array: Array, name: str) -> Array:
    """Return stored numbers as whole ones.

    Raises:
        LabelError: when there are fractions among them.
    """
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        if (
            not np.isfinite(array).all()
            or (np.rint(array) != array).any()
            or np.abs(array).max(initial=0) > 2**31
        ):
            raise LabelError(f"{name} holds fractions; a mask must hold whole numbers, one per label.")
        return array.astype(np.int64)
    return array


def _known_values(
    labels: tuple[Label, ...], label_map: LabelMap | None, values: Array, stored: StoredValues
) -> tuple[dict[int, int], int | None]:
    """Return stored value -> label value, and the label for all others (None: others are unknown)."""
    if label_map is None:
        if len(labels) == 1 and (stored.lossy or set(values.tolist()) <= {0, 255}):
            return {0: 0, 255: labels[0].value}, None
        return {0: 0} | {label.value: label.value for label in labels}, None
    by_name = {label.name: label.value for label in labels}
    known: dict[int, int] = {0: 0}
    rest: int | None = None
    for value, label_name in label_map.items():
        if label_name not in by_name and label_name.lower() in BACKGROUND_NAMES:
            target = 0
        elif label_name in by_name:
            target = by_name[label_name]
        else:
            raise LabelError(
                f"The label map names {label_name!r}, which is not a label of this project "
                f"({', '.join(by_name) or 'it has none'}); correct the name or add the label."
            )
        if value == "any":
            rest = target
        else:
            known[value] = target
    if (
        stored.lossy and rest is not None and len(known) == 1
    ):  # JPEG is nowhere quite 0: halve the range instead
        return {0: 0, 255: rest}, None
    return known, rest


def _unscaled(array: Array, values: Array, known: dict[int, int], scale: int) -> tuple[Array, Array]:
    """Of 1, 2 and 4-bit grey, take the numbers as stored unless the label map speaks of full-range greys."""
    if scale == 1:
        return array, values
    numbers = values // scale
    if set(values.tolist()) <= set(known) and not set(numbers.tolist()) <= set(known):
        return array, values
    return array // scale, numbers


def _to_nearest(
    array: Array, unknown: list[int], targets: dict[int, int], known: dict[int, int], lossy: bool, name: str
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Take values of a mask painted in greys to the nearest known grey, where that is beyond doubt.

    JPEG blurs edges: any value goes to the nearest. Elsewhere only rounding (127 for 128) and a few
    stray pixels do, and nothing is turned into background unseen: an instance map must not vanish.

    Raises:
        LabelError: naming the unknown values and the way out.
    """
    greys = np.array(sorted(known))
    nearest = {value: int(greys[np.abs(greys - value).argmin()]) for value in unknown}
    painted = len(greys) > 1 and int(np.diff(greys).min()) >= GREY_STEP and max(unknown) <= 255
    far = [v for v in unknown if abs(v - nearest[v]) > GREY_ROUNDING or nearest[v] == 0]
    pixels = int(np.isin(array, far).sum()) if painted and not lossy and far else 0
    if not painted or (not lossy and pixels > GREY_STRAY_SHARE * array.size):
        raise LabelError(_unknown_sentence(unknown, known, name))
    shown = _few(unknown)
    moved = targets | {value: known[nearest[value]] for value in unknown}
    return moved, (
        f"{name} holds the values {shown} besides those expected; each was taken for the nearest.",
    )


def _unknown_sentence(unknown: list[int], known: dict[int, int], name: str) -> str:
    expected = ", ".join(str(value) for value in sorted(known))
    word = "value" if len(unknown) == 1 else "values"
    return (
        f"{name} holds the {word} {_few(unknown)}, which no label stands for (known: {expected}); "
        "give a label map such as 1=nerve,2=vessel, or any=NAME when every other value is one label."
    )


def _few(values: list[int]) -> str:
    return ", ".join(str(v) for v in values[:5]) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
