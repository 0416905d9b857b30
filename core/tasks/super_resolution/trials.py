"""Models put to the test: an image is made coarse as the card says, restored, and held against what it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import log10
from pathlib import Path

import numpy as np

from core.errors import SightlineError, WeightsError
from core.evaluation.image_scores import Scoring, psnr_of, range_of, score_images
from core.imaging.computed import mark_computed
from core.imaging.geometry import coarser_info
from core.imaging.resample import enlarge
from core.learning.package import read_card
from core.tasks.super_resolution.agreement import rms_error
from core.tasks.super_resolution.degradation import crop_to_multiple, degrade
from core.tasks.super_resolution.prediction import SuperResolver, load_predictor
from core.tasks.super_resolution.scaling import (
    ValueScale,
    plane_at,
    plane_count,
    to_dtype,
)
from core.tasks.task import ImageCase, PredictOptions, Shown, Trial, View
from core.types import Array, Image

AROUND = 32  # coarse pixels around a part that is looked at, so that its border is right
SMALLEST_SIDE = 2  # coarse pixels
FLOAT32 = np.dtype(np.float32)


def try_on(
    package_dir: Path, cases: Iterable[ImageCase], options: PredictOptions
) -> Iterator[tuple[ImageCase, Trial]]:
    """Make each case coarse as the model's card says, restore it, score it beside bicubic.

    Raises:
        WeightsError: when the package is damaged, was trained on real pairs, or a case does not fit it.
    """
    card = read_card(package_dir, "super_resolution")
    predictor = load_predictor(package_dir, options.device)
    if predictor.recipe.degradation.real_pairs:
        raise WeightsError(
            "This model was trained on real pairs, so there is no stated way to make images coarse; let it read the "
            "coarse images and compare it with the reader of the fine ones."
        )
    border, span = int(card["scoring"]["border"]), float(card["scoring"]["data_range"])
    for case in cases:
        try:
            yield case, _trial(predictor, case, options, (border, span))
        except SightlineError as error:
            raise type(error)(f"{case.case}: {error}") from error


def look(
    package_dir: Path, image: Image, view: View, options: PredictOptions, degrade_first: bool
) -> list[Shown]:
    """Restore a part of one plane with every blend the model has; see ``ImageTruth.look``."""
    from core.tasks.super_resolution.task import MadeCoarse

    predictor = load_predictor(package_dir, options.device)
    scale, plane, window = _part(predictor, image, view)
    factors = predictor.recipe.spec.factors
    truth = None
    if degrade_first:
        plane = crop_to_multiple(plane, factors)
        coarse = degrade(
            scale.to_network(plane), factors, predictor.recipe.degradation, np.random.default_rng(0)
        )
        rows, columns = (
            slice(cut.start // factor, max(cut.start // factor + SMALLEST_SIDE, cut.stop // factor))
            for cut, factor in zip(window, factors, strict=True)
        )
        window = rows, columns
        truth = plane
    else:
        coarse = scale.to_network(plane)
    around = tuple(slice(max(0, cut.start - AROUND), cut.stop + AROUND) for cut in window)
    given = np.ascontiguousarray(coarse[around])
    inner = tuple(
        slice((cut.start - outer.start) * factor, (cut.stop - outer.start) * factor)
        for cut, outer, factor in zip(window, around, factors, strict=True)
    )
    fine = tuple(
        slice(cut.start * factor, cut.stop * factor) for cut, factor in zip(window, factors, strict=True)
    )
    wanted = None if truth is None else truth[fine]
    found: list[Shown] = []
    pixels = np.repeat(np.repeat(given, factors[0], axis=0), factors[1], axis=1)
    for name, blend, values in (("input", None, pixels), ("bicubic", None, enlarge(given, factors))):
        facts = _facts(values, inner, scale, wanted)
        found.append(Shown(name, blend, _shown(values, inner, scale, plane.dtype), facts))
    blends = MadeCoarse.blends if predictor.can_blend else (0.0,)
    for blend in blends:
        made = predictor.restore_plane(given, replace(options, blend=blend))
        facts = _facts(made, inner, scale, wanted)
        rms = rms_error(made, given, ValueScale(0.0, 1.0), predictor.recipe.agreement)
        facts |= {"consistency_db": -20 * log10(rms)} if rms > 0 else {}
        found.append(Shown("restored", blend, _shown(made, inner, scale, plane.dtype), facts))
    if wanted is not None:
        found.append(Shown("truth", None, _squeezed(wanted), {}))
    return found


def _trial(
    predictor: SuperResolver, case: ImageCase, options: PredictOptions, rule: tuple[int, float]
) -> Trial:
    """Put one case to the test; ``rule`` is (border, data range or 0)."""
    recipe, image = predictor.recipe, case.load()
    scale = predictor.check(image)
    factors = predictor.factors_of(image)
    if (
        min(size // factor for size, factor in zip(image.info.spatial_shape, factors, strict=True)) < 1
        or min(coarser_info(image.info, factors).spatial_shape[-2:]) < SMALLEST_SIDE
    ):
        raise WeightsError(
            f"an image of {' x '.join(map(str, image.info.spatial_shape))} pixels is too small to be made coarse "
            f"{max(factors)} times; choose larger ones."
        )
    truth = _cropped(image, factors)
    random = np.random.default_rng(int(case.image_sha256[:8] or "0", 16))
    coarse_info = replace(coarser_info(truth.info, factors), dtype="float32")
    coarse = np.zeros(coarse_info.shape, np.float32)
    baseline = np.zeros(truth.info.shape, np.float32)
    for index in range(plane_count(truth.info, recipe.axes)):
        fine = scale.to_network(plane_at(truth.array, truth.info, recipe.axes, index))
        made = degrade(fine, recipe.spec.factors, recipe.degradation, random)
        plane_at(coarse, coarse_info, recipe.axes, index)[...] = scale.from_network(made)
        plane_at(baseline, truth.info, recipe.axes, index)[...] = scale.from_network(
            enlarge(made, recipe.spec.factors)
        )
    given = Image(coarse, coarse_info)
    restored, _ = predictor.restore(given, replace(options, keep_probabilities=False), FLOAT32)
    border = min(rule[0], (min(truth.info.spatial_shape[-2:]) - 1) // 2)
    scoring = Scoring(rule[1] or range_of(truth.array), border)
    scores = score_images(restored, truth.array, truth.info, scoring)
    theirs = score_images(baseline, truth.array, truth.info, scoring)
    fine_info = replace(truth.info, dtype="float32")
    return Trial(
        truth=truth,
        coarse=given,
        restored=Image(restored, mark_computed(fine_info, recipe.how)),
        baseline=Image(baseline, mark_computed(fine_info, "bicubic interpolation")),
        scores=scores | {f"{key}_bicubic": value for key, value in theirs.items()},
    )


def _cropped(image: Image, factors: tuple[int, ...]) -> Image:
    """Leave out what makes no whole coarse pixel."""
    kept = tuple(slice(size // f * f) for size, f in zip(image.info.spatial_shape, factors, strict=True))
    array = np.asarray(image.array[kept])
    return Image(array, replace(image.info, shape=array.shape))


def _part(
    predictor: SuperResolver, image: Image, view: View
) -> tuple[ValueScale, Array, tuple[slice, slice]]:
    """Return the value scale, the plane (H, W, channels) that a view lies on, and the part of it."""
    axes = predictor.recipe.axes
    scale = predictor.check(image)
    if axes == "through_plane":  # the section through the middle of the part, with all slices
        row = min(view.top + view.side // 2, plane_count(image.info, axes) - 1)
        plane = plane_at(image.array, image.info, axes, row)
        rows = slice(0, plane.shape[0])
    else:
        plane = plane_at(image.array, image.info, axes, min(view.plane, image.info.slices - 1))
        rows = slice(view.top, min(plane.shape[0], view.top + view.side))
    columns = slice(view.left, min(plane.shape[1], view.left + view.side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise WeightsError("That part lies outside the image; choose another.")
    return scale, np.asarray(plane), (rows, columns)


def _shown(values: Array, inner: tuple[slice, ...], scale: ValueScale, dtype: np.dtype) -> Array:
    return _squeezed(to_dtype(scale.from_network(values[inner]), dtype))


def _squeezed(plane: Array) -> Array:
    return plane[..., 0] if plane.shape[-1] == 1 else plane


def _facts(
    values: Array, inner: tuple[slice, ...], scale: ValueScale, truth: Array | None
) -> dict[str, float]:
    """Return the PSNR of a part where its truth is known."""
    if truth is None:
        return {}
    difference = scale.from_network(values[inner]) - np.asarray(truth, np.float32)
    psnr = psnr_of(float(np.square(difference, dtype=np.float64).mean()), range_of(truth) or 1.0)
    return {"psnr": psnr} if np.isfinite(psnr) else {}
