"""What the pixel classifier and the click tool make of real scribbles, beside naive recipes fed with the same.

``python -m tests.bench.assist_quality`` prints Dice per picture and annotator. Truth is seg.npy at 0.5. Naive: a random
forest on the raw value of each pixel, and GrabCut on the whole picture from the box around the scribbles.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from core.assist.features import pixel_features
from core.assist.levels import measure_levels, to_grey, to_rgb_bytes
from core.assist.marks import Clicks
from core.assist.pixel_classifier import ClassifierOptions, Samples, propose_labels, train_pixels
from core.assist.regions import propose_region
from core.types import Image, ImageInfo
from tests.bench._scribbles import CLICKS_PER_PART, Task, dice, tasks

Method = Callable[[Task], np.ndarray]


def _image(task: Task) -> Image:
    return Image(task.image, ImageInfo("yx", task.image.shape, "float32"))


def _classifier(task: Task) -> np.ndarray:
    levels = measure_levels(_image(task))
    features, places = pixel_features(task.image, levels), task.scribbles.places
    options = ClassifierOptions()
    classifier = train_pixels(Samples(features[places[:, 0], places[:, 1]], task.scribbles.labels), options)
    return propose_labels(classifier, features, to_grey(task.image, levels), task.sheet, options).labels == 1


def _raw_forest(task: Task) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier

    marked = task.sheet >= 0
    forest = RandomForestClassifier(100, class_weight="balanced", random_state=0, n_jobs=2)
    forest.fit(task.image[marked][:, None], task.sheet[marked])
    found = forest.predict(task.image.reshape(-1, 1)).reshape(task.image.shape)
    return np.where(marked, task.sheet, found) == 1


def _one_click_each(task: Task) -> np.ndarray:
    return propose_region(task.image, measure_levels(_image(task)), task.clicks()).labels > 0


def _clicks_along(task: Task) -> np.ndarray:
    return propose_region(task.image, measure_levels(_image(task)), task.clicks(CLICKS_PER_PART)).labels > 0


def _clicks_in_box(task: Task) -> np.ndarray:
    clicks = task.clicks(CLICKS_PER_PART)
    boxed = Clicks(clicks.points_yx, clicks.positive, task.box)
    return propose_region(task.image, measure_levels(_image(task)), boxed).labels > 0


def _grabcut(task: Task) -> np.ndarray:
    top, left, bottom, right = task.box
    rgb = to_rgb_bytes(task.image, measure_levels(_image(task)))
    mask = np.zeros(task.image.shape, np.uint8)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(rgb, mask, (left, top, right - left, bottom - top), *models, 5, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # a box around everything leaves no background: the box is all there is to say
        mask[top:bottom, left:right] = cv2.GC_FGD
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


METHODS: dict[str, Method] = {
    "classifier": _classifier,
    "raw forest": _raw_forest,
    "click": _one_click_each,
    "clicks": _clicks_along,
    "clicks+box": _clicks_in_box,
    "grabcut": _grabcut,
}
PAIRS = (("classifier", "raw forest"), ("clicks", "grabcut"), ("clicks+box", "grabcut"))


def measure() -> list[dict[str, Any]]:
    """Return one row per picture and annotator: Dice and milliseconds of every method."""
    found = []
    for task in tasks():
        row: dict[str, Any] = {"source": task.source, "annotator": task.annotator}
        for name, method in METHODS.items():
            begun = time.perf_counter()
            mask = method(task)
            row[f"{name} ms"] = 1000 * (time.perf_counter() - begun)
            row[name] = dice(mask, task.truth)
        found.append(row)
    return found


def rows() -> list[dict[str, Any]]:
    """Return mean Dice of our methods beside the naive ones."""
    found = measure()
    mean = {name: float(np.mean([row[name] for row in found])) for name in METHODS}
    return [
        {
            "name": f"assist-dice-{ours}", "ours": mean[ours], "peer": mean[peer], "peer_name": peer,
            "ratio": mean[ours] / mean[peer], "goal": 1.0, "unit": "Dice", "device": "cpu",
        }
        for ours, peer in PAIRS
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    found = measure()
    print("source    annotator  " + "  ".join(name.rjust(12) for name in METHODS))
    for row in found:
        cells = "  ".join(f"{row[name]:.3f} {row[name + ' ms']:4.0f}ms".rjust(12) for name in METHODS)
        print(f"{row['source']:9} {row['annotator']:9}  {cells}")
    means = "  ".join(
        f"{np.mean([row[name] for row in found]):.3f} {np.median([row[name + ' ms'] for row in found]):4.0f}ms".rjust(
            12
        )
        for name in METHODS
    )
    print(f"mean, median ms      {means}")
    for source in sorted({row["source"] for row in found}):
        part = [row for row in found if row["source"] == source]
        print(
            f"{source:19}  "
            + "  ".join(f"{np.mean([row[name] for row in part]):.3f}".rjust(12) for name in METHODS)
        )


if __name__ == "__main__":
    main()
