"""Scribbles to label maps: a random forest learns from scribbled pixels and reads all others, quickly enough to watch.

The forest first reads every second pixel of every second row; only where those disagree, or doubt, it reads the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core.assist.levels import FloatArray
from core.assist.marks import Proposal, Scribbles
from core.assist.smoothing import Smoothing, keep_touching, smooth_probabilities
from core.assist.tiles import Region, tiles_of
from core.errors import LabelError
from core.types import Array

THREADS = 2
DOUBT = 0.12  # change of a probability between neighbours from which a place is read fully
FEW_PIXELS = 2**14  # below that, reading every pixel costs nothing

FeaturesOf = Callable[[Region], FloatArray]


@dataclass(frozen=True)
class ClassifierOptions:
    """How scribbles become a proposal.

    Attributes:
        smoothing: "none", "guided" or "cut".
        only_marked: True proposes only parts that hold a scribble of their label.
        trees: number of trees.
        depth: most questions a tree asks.
        most_samples: pixels of one label that are learnt from, at most.
        seed: of the forest and of the choice of pixels.
    """

    smoothing: Smoothing = "guided"
    only_marked: bool = True
    trees: int = 32
    depth: int = 12
    most_samples: int = 1500
    seed: int = 0


@dataclass(frozen=True)
class Samples:
    """Pixels to learn from: float32 (n, features), and their labels, uint16 (n,)."""

    features: FloatArray
    labels: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.labels):
            raise ValueError(
                f"samples need (n, features) and (n,) labels, got {self.features.shape}, {self.labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.labels)


def join_samples(parts: Sequence[Samples]) -> Samples:
    """Put samples of several planes and cases together.

    Raises:
        ValueError: when there are none, or their features differ in number.
    """
    kept = [part for part in parts if len(part)]
    if not kept:
        raise ValueError("Scribble on the image first.")
    if len({part.features.shape[1] for part in kept}) > 1:
        raise ValueError("Scribbles of grey and of colour images cannot be learnt from together.")
    return Samples(
        np.concatenate([part.features for part in kept]), np.concatenate([part.labels for part in kept])
    )


def take_samples(scribbles: Scribbles, features_of: FeaturesOf, shape: tuple[int, int]) -> Samples:
    """Look up the features of scribbled pixels, tile by tile.

    Args:
        scribbles: on one plane.
        features_of: returns the features of a tile of that plane.
        shape: of the plane.
    """
    features, labels = [], []
    for tile in tiles_of(shape):
        y, x = scribbles.places.T
        inside = (y >= tile.top) & (y < tile.bottom) & (x >= tile.left) & (x < tile.right)
        if inside.any():
            features.append(features_of(tile)[y[inside] - tile.top, x[inside] - tile.left])
            labels.append(scribbles.labels[inside])
    if not features:
        return Samples(np.zeros((0, 0), np.float32), np.zeros(0, np.uint16))
    return Samples(np.concatenate(features), np.concatenate(labels))


def thin_samples(samples: Samples, most: int, seed: int) -> Samples:
    """Return at most so many samples of each label, chosen by chance with a seed, in their order."""
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(samples.labels):
        places = np.flatnonzero(samples.labels == label)
        kept.append(places if len(places) <= most else random.choice(places, most, replace=False))
    chosen = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.intp)
    return Samples(samples.features[chosen], samples.labels[chosen])


class PixelClassifier:
    """A forest that has learnt from scribbles.

    Attributes:
        labels: label values it knows, ascending; 0 is background.
    """

    def __init__(self, forest: Any, labels: npt.NDArray[np.uint16]) -> None:
        self._trees = [tree.tree_ for tree in forest.estimators_]
        self.labels = labels

    def read_rows(self, rows: FloatArray) -> FloatArray:
        """Return probabilities (n, labels) of pixels (n, features)."""
        rows = np.ascontiguousarray(rows, np.float32)
        parts = np.array_split(rows, THREADS) if len(rows) > FEW_PIXELS // 4 else [rows]
        if len(parts) == 1:
            return self._read(rows)
        with ThreadPoolExecutor(THREADS) as pool:  # a tree lets go of Python's lock while it reads
            return np.concatenate(list(pool.map(self._read, parts)))

    def _read(self, rows: FloatArray) -> FloatArray:
        total = np.zeros((len(rows), len(self.labels)), np.float64)
        for tree in self._trees:
            total += tree.predict(rows).reshape(len(rows), len(self.labels))
        total /= np.maximum(total.sum(axis=1, keepdims=True), 1e-12)
        return total.astype(np.float32)

    def read_plane(self, features: FloatArray) -> FloatArray:
        """Return probabilities (labels, h, w) of a tile's features (h, w, features)."""
        height, width, count = features.shape
        if height * width <= FEW_PIXELS:
            found = self.read_rows(features.reshape(-1, count))
            return np.ascontiguousarray(found.reshape(height, width, -1).transpose(2, 0, 1))
        coarse = self.read_rows(features[::2, ::2].reshape(-1, count))
        small = coarse.reshape((height + 1) // 2, (width + 1) // 2, -1)
        full = np.stack([_enlarged(small[..., i], (height, width)) for i in range(small.shape[2])])
        open_questions = _enlarged(_doubtful(small), (height, width)) > 0
        open_questions[::2, ::2] = False
        full[:, ::2, ::2] = small.transpose(2, 0, 1)
        if open_questions.any():
            full[:, open_questions] = self.read_rows(features[open_questions]).T
        return full


def _enlarged(small: Array, shape: tuple[int, int]) -> FloatArray:
    """Return values of every second pixel for every pixel, between them linearly (places i to i / 2)."""
    height, width = shape
    matrix = np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float64)
    enlarged = cv2.warpAffine(
        np.ascontiguousarray(small, np.float32),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(enlarged, np.float32)


def _doubtful(small: FloatArray) -> FloatArray:
    """Return 1 where a probability changes among the neighbours, else 0."""
    kernel = np.ones((3, 3), np.uint8)
    change = np.zeros(small.shape[:2], np.float32)
    for i in range(small.shape[2]):
        values = np.ascontiguousarray(small[..., i])
        np.maximum(change, cv2.dilate(values, kernel) - cv2.erode(values, kernel), out=change)
    return (change > DOUBT).astype(np.float32)


def train_pixels(samples: Samples, options: ClassifierOptions) -> PixelClassifier:
    """Learn from scribbled pixels; the same samples and seed give the same forest.

    Raises:
        LabelError: when fewer than two kinds of scribbles are there.
    """
    from sklearn.ensemble import RandomForestClassifier

    kept = thin_samples(samples, options.most_samples, options.seed)
    labels = np.unique(kept.labels)
    if len(labels) < 2:
        raise LabelError(
            "Scribble at least two kinds: a label and the background, or two labels; so far there is "
            f"{'one' if len(labels) else 'none'}."
        )
    forest = RandomForestClassifier(
        options.trees,
        max_depth=options.depth,
        min_samples_leaf=2,
        class_weight="balanced",
        random_state=options.seed,
        n_jobs=THREADS,
    )
    forest.fit(kept.features, kept.labels)
    return PixelClassifier(forest, labels.astype(np.uint16))


def uncertainty_of(probabilities: FloatArray) -> FloatArray:
    """Return how close the two likeliest labels are: 0 sure, 1 alike; from probabilities (labels, ...)."""
    top = np.partition(probabilities, len(probabilities) - 2, axis=0)[-2:]
    unsure: FloatArray = (1 - (top[1] - top[0])).astype(np.float32)
    return unsure


def propose_labels(
    classifier: PixelClassifier,
    features: FloatArray,
    grey: FloatArray,
    sheet: Array,
    options: ClassifierOptions,
) -> Proposal:
    """Read a tile and return what is proposed there.

    Args:
        classifier: what has been learnt.
        features: of the tile, (h, w, features).
        grey: of the tile, in about [0, 1].
        sheet: the scribbles of the tile, -1 elsewhere; they are kept as they were made.
        options: how to smooth, and whether parts without a scribble count.
    """
    read = classifier.read_plane(features)
    probabilities = smooth_probabilities(read, grey, options.smoothing)
    dtype = np.uint8 if classifier.labels.max() < 256 else np.uint16
    labels = classifier.labels.astype(dtype)[probabilities.argmax(axis=0)]
    marked = sheet >= 0
    labels[marked] = sheet[marked]
    if options.only_marked:
        for value in classifier.labels[classifier.labels > 0]:
            loose = (labels == value) & ~keep_touching(labels == value, sheet == value)
            labels[loose] = 0
    background = probabilities[0] if classifier.labels[0] == 0 else np.zeros(labels.shape, np.float32)
    return Proposal(labels, 1 - background, uncertainty_of(read))
