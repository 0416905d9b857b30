"""All numbers of one reading against another: a dict of scores per case, with stated rules for nothing.

Rules for a label that is empty (no pixel) in one of the two masks or in both:

======================  ======  ======  ===========  =========  ======  ======  ========  =======
prediction, reference   dice    iou     sensitivity  precision  nsd     hd95    n_missed  n_false
======================  ======  ======  ===========  =========  ======  ======  ========  =======
both empty              1       1       1            1          1       0       0         0
only prediction empty   0       0       0            NaN        0       NaN     1         0
only reference empty    0       0       NaN          0          0       NaN     0         1
======================  ======  ======  ===========  =========  ======  ======  ========  =======

NaN is "not defined" and left out of means; ``n_missed`` and ``n_false`` say how often a distance was left out
for that reason. ``volume_error`` (prediction minus reference) and ``specificity`` need no rule but one: the
specificity of a reference that covers the whole image is NaN.

A number without a label ("dice") is the mean over the label set, each label weighing the same; counts are
sums.

Units: with a known spacing, distances are mm and ``volume_error`` is ml for volumes (zyx), mm2 for images;
with an unknown spacing both are pixels, and so is the tolerance of NSD (see ``score_units``).

Layout decides what a surface is. zyx: a surface in space; a volume of a single slice is measured as an image.
yx: an outline. tyx: the frames are images of their own: pixels are counted over all frames together, hd95 and
nsd are means over the frames where they are defined (frames in which both are empty are left out).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from core.errors import LabelError
from core.evaluation.overlap import Counts, count, dice, iou, precision, sensitivity, specificity
from core.evaluation.surface import hausdorff95_of, surface_dice_of, surface_distances
from core.readings.reading import Mask
from core.types import Array, ImageInfo, Label

OVERLAP = {
    "dice": dice,
    "iou": iou,
    "sensitivity": sensitivity,
    "precision": precision,
    "specificity": specificity,
}
COUNT_KEYS = ("n_missed", "n_false")  # summed over labels and cases, not averaged
SCORE_KEYS = (*OVERLAP, "hd95", "nsd", "volume_error", *COUNT_KEYS)
NAN = float("nan")


def score_masks(
    prediction: Mask | Array,
    reference: Mask | Array,
    info: ImageInfo,
    labels: tuple[Label, ...],
    nsd_tolerance_mm: float = 2.0,
) -> dict[str, float]:
    """Score one label map against another, per label and as the mean over labels.

    Args:
        prediction: label map of the image's spatial shape; values outside the label set count as background.
        reference: label map of the same shape.
        info: the image's info: layout and spacing.
        labels: the project's label set.
        nsd_tolerance_mm: NSD tolerance in mm (in pixels where the spacing is unknown), zero or more.

    Returns:
        ``SCORE_KEYS`` -> number, and "<key>/<label name>" -> number. NaN where undefined, see the module.

    Raises:
        LabelError: when a mask does not have the image's size, or there is no label.
        ValueError: when the tolerance is negative or not finite.
    """
    predicted, referred = _array(prediction), _array(reference)
    _check(predicted, referred, info, labels)
    per_label = _score_labels(predicted, referred, info, labels, nsd_tolerance_mm)
    scores = {}
    for key in SCORE_KEYS:
        values = [per_label[label.name][key] for label in labels]
        scores[key] = float(sum(values)) if key in COUNT_KEYS else _mean(values)
    for label in labels:
        scores |= {f"{key}/{label.name}": value for key, value in per_label[label.name].items()}
    return scores


def score_units(info: ImageInfo, nsd_tolerance_mm: float = 2.0) -> dict[str, str]:
    """Return the unit of the scores that have one, as ``score_masks`` gives them for such an image."""
    if info.spacing_mm is None:
        return {"hd95": "px", "nsd": f"within {nsd_tolerance_mm:g} px", "volume_error": "px"}
    return {
        "hd95": "mm",
        "nsd": f"within {nsd_tolerance_mm:g} mm",
        "volume_error": "ml" if info.is_volume else "mm2",
    }


def _score_labels(
    prediction: Array, reference: Array, info: ImageInfo, labels: tuple[Label, ...], tolerance: float
) -> dict[str, dict[str, float]]:
    """Return label name -> scores, looking at each label inside its own box only."""
    spacing = info.spacing_mm
    if info.is_volume and prediction.shape[0] == 1:
        prediction, reference = prediction[0], reference[0]
        spacing = info.in_plane_spacing_mm
    highest = max(label.value for label in labels)
    boxes_p = ndimage.find_objects(prediction, highest)
    boxes_r = ndimage.find_objects(reference, highest)
    per_frame = info.layout[0] == "t"
    scores = {}
    for label in labels:
        box = _union(boxes_p[label.value - 1], boxes_r[label.value - 1], prediction.ndim)
        inside_p, inside_r = prediction[box] == label.value, reference[box] == label.value
        inside = count(inside_p, inside_r)
        counts = inside + Counts(0, 0, 0, prediction.size - inside_p.size)
        result = {key: function(counts) for key, function in OVERLAP.items()}
        frames = zip(inside_p, inside_r, strict=True) if per_frame else iter([(inside_p, inside_r)])
        result["hd95"], result["nsd"] = _surface_scores(frames, spacing, tolerance)
        result["volume_error"] = (counts.in_prediction - counts.in_reference) * _element(info)
        result["n_missed"] = float(counts.in_prediction == 0 < counts.in_reference)
        result["n_false"] = float(counts.in_reference == 0 < counts.in_prediction)
        scores[label.name] = result
    return scores


def _surface_scores(
    pairs: Iterator[tuple[Array, Array]], spacing: tuple[float, ...] | None, tolerance: float
) -> tuple[float, float]:
    """Return the mean HD95 and NSD over pairs that are not both empty; (0, 1) when all are."""
    hd95, nsd = [], []
    for prediction, reference in pairs:
        distances = surface_distances(prediction, reference, spacing)
        one_nsd = surface_dice_of(distances, tolerance)
        if not distances.both_empty:
            hd95.append(hausdorff95_of(distances))
            nsd.append(one_nsd)
    return (_mean(hd95), _mean(nsd)) if nsd else (0.0, 1.0)


def _array(reading: Mask | Array) -> Array:
    array = reading.array if isinstance(reading, Mask) else np.asarray(reading)
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _check(prediction: Array, reference: Array, info: ImageInfo, labels: tuple[Label, ...]) -> None:
    """Raise LabelError with one sentence when these masks cannot be compared."""
    if not labels:
        raise LabelError("There is no label to score: add a label to the project first.")
    if min(label.value for label in labels) < 1:
        raise LabelError("Label values must be 1 or more: 0 is the background.")
    for array, whose in ((prediction, "predicted"), (reference, "reference")):
        if array.shape != info.spatial_shape:
            given, wanted = (" x ".join(map(str, shape)) for shape in (array.shape, info.spatial_shape))
            raise LabelError(
                f"The {whose} mask has size {given or 'of a single number'}, its image has {wanted}: "
                "compare masks made on the same image."
            )
        if array.dtype.kind not in "ui":
            raise LabelError(f"The {whose} mask must hold whole numbers (label values), got {array.dtype}.")


def _union(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None, ndim: int) -> tuple[slice, ...]:
    """Return the smallest box around two boxes; an empty box for two times nothing."""
    if first is None or second is None:
        return first or second or (slice(0, 0),) * ndim
    sides = zip(first, second, strict=True)
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in sides)


def _element(info: ImageInfo) -> float:
    """Return what one pixel measures: ml for a voxel, mm2 for a pixel, 1 where the spacing is unknown."""
    if info.spacing_mm is None:
        return 1.0
    return float(np.prod(info.spacing_mm)) / (1000.0 if info.is_volume else 1.0)


def _mean(values: list[float]) -> float:
    """Mean without NaN; NaN for nothing."""
    kept = [value for value in values if value == value]
    return sum(kept) / len(kept) if kept else NAN
