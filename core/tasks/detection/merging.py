"""Many looks at one image become one answer: suppression, weighted fusion, and merging across tile borders.

Plain NumPy on a few thousand boxes; torch's suppression inside the networks comes before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.types import Array

SUPPRESSION_IOU = 0.6  # overlap from which two boxes of one label are one object
FUSION_IOU = 0.6  # the same, of boxes from several looks
FRAGMENT_SHARE = 0.8  # of a box's area inside a larger one: a piece that was cut off by a tile's border


@dataclass(frozen=True)
class Found:
    """Objects as the network gives them.

    Attributes:
        box_xyxy: float32 (n, 4) in image pixels.
        scores: float32 (n,).
        labels: int64 (n,) class numbers from 1.
        masks: float32 (n, m, m) probabilities inside the box, or None.
    """

    box_xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, kept: Array) -> Found:
        """Return the objects chosen by a boolean mask or by numbers, in that order."""
        return Found(
            self.box_xyxy[kept],
            self.scores[kept],
            self.labels[kept],
            None if self.masks is None else self.masks[kept],
        )


def join(parts: list[Found]) -> Found:
    """Lay the objects of several looks one after the other."""
    masks = [part.masks for part in parts if part.masks is not None]
    return Found(
        np.concatenate([part.box_xyxy for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(masks) if len(masks) == len(parts) else None,
    )


def suppress(found: Found, across_labels: bool = False, iou: float = SUPPRESSION_IOU) -> Found:
    """Keep the surest of boxes that overlap; of one label, or of any when ``across_labels``."""
    order = np.argsort(-found.scores, kind="stable")
    return found.only(_kept(found, order, across_labels, iou, 1.0))


def merge_tiles(
    found: Found, is_cut: npt.NDArray[np.bool_], across_labels: bool = False, iou: float = SUPPRESSION_IOU
) -> Found:
    """Suppress across tiles: objects that are whole come before pieces cut off by a border, which go inside them.

    Args:
        found: objects of all tiles, and of the whole.
        is_cut: for each, whether it ends at a border inside the image.
        across_labels: boxes of different labels suppress each other, too.
        iou: overlap from which two boxes are one object.

    Source: after Akyon et al. 2022 (SAHI), whose greedy merging also compares with the smaller box's area.
    """
    order = np.lexsort((-found.scores, is_cut))
    kept = found.only(_kept(found, order, across_labels, iou, FRAGMENT_SHARE))
    return kept.only(np.argsort(-kept.scores, kind="stable"))


def fuse(looks: list[Found], iou: float = FUSION_IOU) -> Found:
    """Fuse the boxes that several looks at the same input gave: weighted box fusion.

    Boxes of one label that overlap become their mean, weighted by score; the score is the mean over all looks,
    so that what only one of four looks saw counts a quarter. Masks are averaged alike. Two boxes of one look stay
    two, however much they overlap: cells that lie on each other are not one.

    Source: Solovyev, Wang, Gabruseva, Weighted boxes fusion, Image and Vision Computing 2021.
    """
    every = join(looks)
    source = np.repeat(np.arange(len(looks)), [len(look) for look in looks])
    order = np.argsort(-every.scores, kind="stable")
    every, source = every.only(order), source[order]
    clusters: list[list[int]] = []
    fused, labels = np.zeros((len(every), 4), np.float32), np.zeros(len(every), np.int64)
    has_look = np.zeros((len(every), len(looks)), bool)
    for number in range(len(every)):
        box, label, count = every.box_xyxy[number], every.labels[number], len(clusters)
        overlap = overlaps(box[None], fused[:count])[0]
        overlap[(labels[:count] != label) | has_look[:count, source[number]]] = 0
        home = int(overlap.argmax()) if overlap.max(initial=0) > iou else count
        if home == count:
            clusters.append([])
            labels[home] = label
        clusters[home].append(number)
        has_look[home, source[number]] = True
        fused[home] = _weighted(every.box_xyxy[clusters[home]], every.scores[clusters[home]])
    return _from_clusters(every, clusters, fused[: len(clusters)], len(looks))


def overlaps(first: Array, second: Array) -> npt.NDArray[np.float32]:
    """Return the IoU of every box (n, 4) with every box (m, 4)."""
    shared = shared_areas(first, second)
    joint = areas(first)[:, None] + areas(second)[None] - shared
    return np.asarray(shared / np.maximum(joint, 1e-9), dtype=np.float32)


def shared_areas(first: Array, second: Array) -> Array:
    """Return the area every box (n, 4) shares with every box (m, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray((high - low).clip(0).prod(axis=2))


def areas(box_xyxy: Array) -> Array:
    """Return the area of every box (n, 4)."""
    return np.asarray((box_xyxy[:, 2:] - box_xyxy[:, :2]).clip(0).prod(axis=1))


def _kept(
    found: Found, order: Array, across_labels: bool, iou: float, fragment_share: float
) -> npt.NDArray[np.int64]:
    """Return the numbers of the boxes that stay, in the given order."""
    boxes, labels, size = found.box_xyxy, found.labels, areas(found.box_xyxy)
    gone = np.zeros(len(found), bool)
    kept = []
    for number in order:
        if gone[number]:
            continue
        shared = shared_areas(boxes[number][None], boxes)[0]
        same = shared > iou * (size[number] + size - shared)
        same |= shared > fragment_share * np.minimum(size, size[number])
        if not across_labels:
            same &= labels == labels[number]
        gone |= same
        kept.append(int(number))
    return np.array(kept, dtype=np.int64)


def _weighted(values: Array, scores: Array) -> npt.NDArray[np.float32]:
    return np.asarray(np.average(values, axis=0, weights=scores), dtype=np.float32)


def _from_clusters(every: Found, clusters: list[list[int]], fused: Array, looks: int) -> Found:
    scores = np.array([every.scores[members].sum() / looks for members in clusters], np.float32)
    labels = np.array([every.labels[members[0]] for members in clusters], np.int64)
    masks = None
    if every.masks is not None:
        blended = [_weighted(every.masks[members], every.scores[members]) for members in clusters]
        masks = np.array(blended, np.float32).reshape(-1, *every.masks.shape[1:])
    found = Found(fused.astype(np.float32), scores, labels, masks)
    return found.only(np.argsort(-scores, kind="stable"))
