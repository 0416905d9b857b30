"""Which case to read next: where a model is unsure, where readers disagree, and what looks like nothing read so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.assist.levels import FloatArray, Levels, measure_levels, to_chroma, to_grey
from core.readings.reading import Boxes, Mask, Reading
from core.types import Array, Image

# Fainter probabilities are a model's haze over the background; so large a share of the pixels is taken to be right
# beforehand, so that a few faint ones in an empty image do not make it unsure.
LEAST_PROBABILITY, LEAST_SHARE = 0.1, 0.002
MOST_PIXELS = 2**20  # looked at per reading
THUMB_PX = 12
BINS = 16
# Variety weighs as much as doubt: with half of that, tests/bench/next_case.py found less.
WEIGHTS = {"unsure": 1.0, "disagreement": 1.0, "unlike": 1.0}
TELLING = 0.6  # a reason is told when more than so much of the cases score lower by it


@dataclass(frozen=True)
class Candidate:
    """A case nobody of interest has read yet.

    Attributes:
        case_id: its number.
        signature: what it looks like, from ``sign_image``.
        unsure: from 0 to 1, how unsure a model is of it; None when none has read it.
        disagreement: from 0 to 1, how much those who read it disagree; None when fewer than two have.
    """

    case_id: int
    signature: FloatArray
    unsure: float | None = None
    disagreement: float | None = None


@dataclass(frozen=True)
class Suggestion:
    """A case to read, and why, in a few words."""

    case_id: int
    score: float
    reason: str


def sign_image(image: Image) -> FloatArray:
    """Return a short vector of what an image looks like: values, colours, a thumbnail of the middle plane."""
    plane = image.plane(image.info.slices // 2)
    steps = tuple(max(1, size // 256) for size in plane.shape[:2])
    small = np.asarray(plane[:: steps[0], :: steps[1]])
    levels = measure_levels(image)
    whole = Levels(0, 255) if image.info.dtype == "uint8" else levels
    grey = to_grey(small, whole)
    counts = np.histogram(grey, BINS, (0, 1))[0].astype(np.float32)
    thumb = cv2.resize(to_grey(small, levels), (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    tints = [float(chroma.mean()) for chroma in to_chroma(small, whole)] or [0.0, 0.0]
    edges = cv2.Laplacian(np.ascontiguousarray(grey), cv2.CV_32F)
    parts = [
        np.sqrt(counts / max(1.0, float(counts.sum()))),
        np.asarray(thumb, np.float32).ravel() / THUMB_PX,
        np.array([*tints, 4 * float(np.abs(edges).mean())], np.float32),
    ]
    return np.concatenate(parts).astype(np.float32)


def unsureness(reading: Reading) -> float | None:
    """Return how unsure a model was of a case, from 0 to 1; None when it did not say.

    Of masks: one minus the Dice that the model's own probabilities promise its mask, the mean over the labels. It
    finds the cases that a model fails on better than entropy does (rank correlation 0.53 to 0.25 with the error of
    young networks on seg_nuclei_dsb2018).

    Source: after Borges et al., Soft Dice Confidence, 2024 (arXiv 2402.10665).
    """
    if isinstance(reading, Boxes):
        if reading.scores is None:
            return None
        return float(1 - 2 * np.abs(reading.scores - 0.5).mean()) if len(reading) else 0.5
    if not isinstance(reading, Mask) or reading.probabilities is None:
        return None
    flat = reading.probabilities.reshape(len(reading.probabilities), -1)
    flat = flat[:, :: max(1, flat.shape[1] // MOST_PIXELS)]
    chosen = flat.argmax(axis=0)
    promised = [_promised_dice(shares, chosen == label) for label, shares in enumerate(flat) if label > 0]
    return float(1 - np.mean(promised))


def _promised_dice(shares: Array, mask: npt.NDArray[np.bool_]) -> float:
    """Return the Dice to expect of a label's mask when its pixels are right as often as its shares (of 255) say."""
    probable = np.where(shares >= LEAST_PROBABILITY * 255, shares, 0) / 255
    spare = LEAST_SHARE * mask.size
    return float((2 * probable[mask].sum() + spare) / (probable.sum() + np.count_nonzero(mask) + spare))


def disagreement(readings: Sequence[Reading]) -> float | None:
    """Return how much readings of one case differ: 1 - mean Dice of the foreground over all pairs; None below two."""
    masks: list[npt.NDArray[np.bool_]] = [one.array > 0 for one in readings if isinstance(one, Mask)]
    if len(masks) < 2:
        return None
    pairs = [(a, b) for number, a in enumerate(masks) for b in masks[number + 1 :]]
    return float(np.mean([1 - _dice(a, b) for a, b in pairs]))


def _dice(a: Array, b: Array) -> float:
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if total == 0 else 2 * int(np.count_nonzero(a & b)) / total


def rank_cases(candidates: Sequence[Candidate], read: Sequence[FloatArray]) -> list[Suggestion]:
    """Order cases by how much they would teach, the most first; each goes with its reason.

    What is unlike everything read (or put before it) counts too, so that the first few are not alike.

    Args:
        candidates: cases to choose from.
        read: signatures of the cases that have been read.

    Source: O. Sener, S. Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018
    (farthest first).
    """
    left = list(candidates)
    if not left:
        return []
    signatures = np.stack([one.signature for one in left])
    if len(read):
        nearest = np.linalg.norm(signatures[:, None] - np.stack(read)[None], axis=2).min(axis=1)
    else:
        nearest = np.linalg.norm(signatures - signatures.mean(axis=0), axis=1)
        nearest = nearest.max() - nearest  # nothing read yet: begin with the most usual one
    fixed = {
        "unsure": _ranks([one.unsure for one in left]),
        "disagreement": _ranks([one.disagreement for one in left]),
    }
    order: list[Suggestion] = []
    open_places = np.ones(len(left), np.bool_)
    while open_places.any():
        ranks = {
            **fixed,
            "unlike": _ranks(
                [float(x) if free else None for x, free in zip(nearest, open_places, strict=True)]
            ),
        }
        score = sum(WEIGHTS[name] * rank for name, rank in ranks.items()) / sum(WEIGHTS.values())
        place = int(np.where(open_places, score, -1).argmax())
        reason = _reason(
            {name: float(rank[place]) for name, rank in ranks.items()}, left[place], bool(len(read))
        )
        order.append(Suggestion(left[place].case_id, float(np.asarray(score)[place]), reason))
        open_places[place] = False
        distance = np.linalg.norm(signatures - signatures[place], axis=1)
        nearest = np.minimum(nearest, distance) if len(read) or len(order) > 1 else distance
    return order


def _ranks(values: Sequence[float | None]) -> FloatArray:
    """Return ranks from 0 (lowest) to 1; equal values share one, what is not known gets 0.5, or 0 when nothing is."""
    known = np.array([value is not None for value in values])
    numbers = np.array([0.0 if value is None else value for value in values])
    ranks = np.full(len(values), 0.5 if known.any() else 0.0, np.float32)
    if known.any():
        ordered = np.sort(numbers[known])
        low, high = (np.searchsorted(ordered, numbers[known], side) for side in ("left", "right"))
        ranks[known] = (low + high - 1) / max(1, 2 * (len(ordered) - 1)) if len(ordered) > 1 else 1.0
    return ranks


def _reason(ranks: dict[str, float], chosen: Candidate, anything_read: bool) -> str:
    words = []
    if chosen.unsure is not None and ranks["unsure"] >= TELLING:
        words.append(f"the model is unsure of it (more than of {ranks['unsure']:.0%} of the others)")
    if chosen.disagreement is not None and ranks["disagreement"] >= TELLING:
        words.append(f"its readers disagree (Dice {1 - chosen.disagreement:.2f})")
    if ranks["unlike"] >= TELLING:
        words.append(
            "it looks unlike those read so far" if anything_read else "it is a typical one to begin with"
        )
    return "; ".join(words) or "nothing sets it apart; it is as good as another"
