"""How good a network is on the validation cases: PSNR per case beside bicubic, on whole planes or their middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.evaluation.image_scores import Scoring, psnr_of, range_of, score_images
from core.imaging.resample import FloatArray, enlarge
from core.tasks.super_resolution.data import Source, coarse_plane, fine_plane
from core.tasks.super_resolution.losses import FidelityLoss
from core.tasks.super_resolution.planning import Plan
from core.tasks.super_resolution.scaling import ValueScale, plane_count
from core.tasks.super_resolution.settings import SuperResolutionSettings
from core.types import Array, ImageInfo

PLANES_PER_CASE = 2
MOST_PLANES = 96
MOST_PIXELS = 2**24  # fine pixels of all planes together
LONGEST = 1024  # fine pixels; of larger planes the middle is looked at


@dataclass(frozen=True)
class ValidationPlane:
    """One plane: the number of its case, both images, the value scale, and the rule of its scores."""

    case: int
    coarse: FloatArray
    fine: Array
    scale: ValueScale
    scoring: Scoring


@dataclass(frozen=True)
class ValidationData:
    """What to validate on, and how to compute."""

    sources: Sequence[Source]
    planes: Sequence[ValidationPlane]
    factors: tuple[int, int]
    loss: FidelityLoss
    device: str
    precision: Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class ValidationScores:
    """Results: mean loss over planes, and PSNR in dB per case (NaN where a case is hit exactly)."""

    loss: float
    psnr: npt.NDArray[np.float64]

    @property
    def mean_psnr(self) -> float:
        """Mean over cases."""
        return float(np.nanmean(self.psnr)) if np.isfinite(self.psnr).any() else 0.0


def choose_planes(
    sources: Sequence[Source], plan: Plan, settings: SuperResolutionSettings
) -> list[ValidationPlane]:
    """Make the planes to validate on: the same in every training with one seed."""
    cases = min(len(sources), MOST_PLANES)
    per_case = min(PLANES_PER_CASE, max(1, MOST_PLANES // cases))
    planes: list[ValidationPlane] = []
    pixels = 0
    for case, source in enumerate(sources[:cases]):
        count = plane_count(source.info, plan.axes)
        places = np.unique(np.linspace(0, count - 1, min(count, per_case) + 2).round()[1:-1].astype(int))
        for index in places:
            random = np.random.default_rng((settings.seed, case, int(index)))
            made = _validation_plane(source, plan, settings, (case, int(index)), random)
            pixels += made.fine.size
            if planes and pixels > MOST_PIXELS:
                return planes
            planes.append(made)
    return planes


def _validation_plane(
    source: Source,
    plan: Plan,
    settings: SuperResolutionSettings,
    place: tuple[int, int],
    random: np.random.Generator,
) -> ValidationPlane:
    case, index = place
    fine = np.asarray(fine_plane(source, plan, index))
    coarse = coarse_plane(source, plan, index, random)
    cuts = []
    for axis, factor in enumerate(plan.spec.factors):
        have = coarse.shape[axis]
        kept = min(have, LONGEST // factor)
        first = (have - kept) // 2
        cuts.append((slice(first, first + kept), slice(first * factor, (first + kept) * factor)))
    coarse, fine = np.array(coarse[cuts[0][0], cuts[1][0]]), fine[cuts[0][1], cuts[1][1]]
    border = min(settings.border, (min(fine.shape[:2]) - 1) // 2)
    span = settings.data_range or range_of(fine) or 1.0
    return ValidationPlane(case, coarse, fine, source.scale, Scoring(span, border))


def validate(network: nn.Module, data: ValidationData, keep_going: Callable[[], None]) -> ValidationScores:
    """Run the network on all planes; it is put in evaluation mode and back.

    Args:
        network: gives fine planes on the network's scale.
        data: what to run on.
        keep_going: called between planes; may raise to stop.
    """
    errors: dict[int, list[float]] = {}
    total = 0.0
    for plane, made in _made(network, data, keep_going):
        truth = torch.from_numpy(plane.scale.to_network(plane.fine)).permute(2, 0, 1)[None]
        total += float(data.loss(made, truth))
        errors.setdefault(plane.case, []).append(_squared_error(plane, made))
    psnr = np.array([psnr_of(float(np.mean(values)), 1.0) for values in errors.values()])
    return ValidationScores(total / len(data.planes), psnr)


def score(network: nn.Module, data: ValidationData, keep_going: Callable[[], None]) -> list[dict[str, Any]]:
    """Return the scores of every case, of the network and of bicubic: keys such as "psnr" and "psnr_bicubic"."""
    by_case: dict[int, list[dict[str, float]]] = {}
    for plane, made in _made(network, data, keep_going):
        found = plane.scale.from_network(made[0].permute(1, 2, 0).numpy())
        baseline = plane.scale.from_network(enlarge(plane.coarse, data.factors))
        info = ImageInfo("yxc", plane.fine.shape, plane.fine.dtype.name)
        ours = score_images(found, plane.fine, info, plane.scoring)
        theirs = score_images(baseline, plane.fine, info, plane.scoring)
        both = ours | {f"{key}_bicubic": value for key, value in theirs.items()}
        by_case.setdefault(plane.case, []).append(both)
    rows = []
    for case, scores in by_case.items():
        source = data.sources[case]
        means = {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
        rows.append({"case": source.name, "patient": source.patient, "split": "val", "scores": means})
    return rows


def _made(network: nn.Module, data: ValidationData, keep_going: Callable[[], None]) -> Any:
    """Yield each plane with what the network makes of it: float32 (1, C, H, W) on the CPU."""
    training = network.training
    network.eval()
    try:
        for plane in data.planes:
            keep_going()
            with torch.inference_mode(), data.precision():
                given = torch.from_numpy(plane.coarse).permute(2, 0, 1)[None].to(data.device)
                made = network(given).float().cpu()
            yield plane, made
    finally:
        network.train(training)


def _squared_error(plane: ValidationPlane, made: torch.Tensor) -> float:
    """Return the mean squared error without the border, relative to the squared data range."""
    border = plane.scoring.border
    inner = np.s_[border : plane.fine.shape[0] - border, border : plane.fine.shape[1] - border]
    found = plane.scale.from_network(made[0].permute(1, 2, 0).numpy())[inner]
    difference = (found - plane.fine[inner]) / plane.scoring.data_range
    return float(np.square(difference, dtype=np.float64).mean())
