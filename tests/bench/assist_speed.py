"""Milliseconds for one interaction at 512 x 512 once warm, through the warm process as the server asks it, beside the
recipes that scikit-image's gallery gives for the same (trainable segmentation, random walker), in the same run.

The goal is 300 ms on two cores; ratio is peer by ours.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.assist.prompt_network import PromptModel, to_onnx
from core.assist.prompt_training import card_of
from core.assist.prompting import keep_promptable
from core.jobs.warm import Message, WarmProcess
from core.readings.runs import encode_runs
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import NewCase
from core.workspace.workspace import Workspace

SHAPE = (512, 512)
REPEATS = 9
NETWORK = "small"


def _volume() -> tuple[np.ndarray, np.ndarray]:
    """Return slices of a blob in textured surroundings, and the blob."""
    rng = np.random.default_rng(0)
    y, x = np.indices(SHAPE)
    thing = ((y - 250) / 70) ** 2 + ((x - 260) / 90) ** 2 < 1
    array = np.stack([np.where(thing, 150, 90) + rng.normal(0, 18, SHAPE) for _ in range(12)])
    return array.clip(0, 255).astype(np.uint8), thing


def _gallery_scribbles(plane: np.ndarray, sheet: np.ndarray) -> None:
    from skimage import feature, future
    from sklearn.ensemble import RandomForestClassifier

    features = feature.multiscale_basic_features(plane, sigma_min=1, sigma_max=16)
    forest = RandomForestClassifier(n_estimators=50, n_jobs=-1, max_depth=10, max_samples=0.05)
    future.predict_segmenter(features, future.fit_segmenter(sheet + 1, features, forest))


def _gallery_walker(plane: np.ndarray, seeds: np.ndarray) -> None:
    from skimage.segmentation import random_walker

    random_walker(plane / 255.0, seeds, beta=130, mode="cg_j")


def _gallery_grabcut(plane: np.ndarray) -> None:
    import cv2

    mask, models = np.zeros(SHAPE, np.uint8), (np.zeros((1, 65)), np.zeros((1, 65)))
    rgb = np.repeat(plane[..., None], 3, axis=2)
    cv2.grabCut(rgb, mask, (160, 170, 200, 160), *models, 5, cv2.GC_INIT_WITH_RECT)


def _median_ms(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    function()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times))


def rows() -> list[dict[str, Any]]:
    """Return one row per tool: the median of nine interactions after the first."""
    array, thing = _volume()
    strokes = [
        {"plane": 5, "label": 1, "size": 8, "points": [[220, 250], [300, 250]]},
        {"plane": 5, "label": 0, "size": 8, "points": [[50, 50], [450, 50], [450, 450]]},
    ]
    sheet = np.full(SHAPE, -1, np.int32)
    sheet[246:254, 220:300], sheet[46:54, 50:450], sheet[50:450, 446:454] = 1, 0, 0
    seeds = np.zeros(SHAPE, np.uint8)
    seeds[248:253, 258:263], seeds[0], seeds[-1] = 1, 2, 2
    asked = {
        "scribble": {"tool": "scribble", "plane": 5, "strokes": strokes},
        "click": {"tool": "click", "plane": 5, "points": [[260, 250, True]]},
        "clicks": {"tool": "click", "plane": 5, "points": [[260, 250, True], [100, 100, False]]},
        "box": {"tool": "click", "plane": 5, "points": [], "box": [160, 170, 360, 330]},
        "click network": {"tool": "click", "plane": 5, "points": [[260, 250, True]], "network": NETWORK},
        "grow 10 slices": {
            "tool": "grow", "plane": 5, "runs": encode_runs(thing.astype(np.uint8)).ravel().tolist(), "most": 5,
        },
    }  # fmt: skip
    walker = partial(_gallery_walker, array[5], seeds)
    peers: dict[str, tuple[str, Callable[[], Any]]] = {
        "scribble": ("scikit-image trainable segm.", partial(_gallery_scribbles, array[5], sheet)),
        "click": ("scikit-image random walker", walker),
        "clicks": ("scikit-image random walker", walker),
        "box": ("OpenCV GrabCut, whole plane", partial(_gallery_grabcut, array[5])),
        "click network": ("scikit-image random walker", walker),
        "grow 10 slices": ("random walker, each slice", lambda: [walker() for _ in range(10)]),
    }
    found = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with Workspace.open(home) as store:
            project = store.create_project("speed", "segmentation", make_labels(["a"]))
            image = Image(array, ImageInfo("zyx", array.shape, "uint8"))
            case = store.add_case(project.id, NewCase("volume", image, "volume"))
        keep_promptable(home, card_of(NETWORK, {}), *to_onnx(PromptModel()))
        warm = WarmProcess(home)
        for name, request in asked.items():
            message = Message({"case": case.id, "asked": {"label": 1, **request}})
            ours = _median_ms(lambda message=message: warm.call("assist", message))
            peer_name, peer = peers[name]
            theirs = _median_ms(peer, 3)
            found.append(
                {
                    "name": f"assist-{name.replace(' ', '-')}-512", "ours": ours, "peer": theirs,
                    "peer_name": peer_name,
                    "ratio": theirs / ours, "goal": theirs / 300, "unit": "ms", "device": "cpu",
                }
            )  # fmt: skip
        warm.close()
    return found


if __name__ == "__main__":
    for row in rows():
        print(row)
