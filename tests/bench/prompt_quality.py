"""A small promptable network, trained on nuclei for some minutes, beside the click tool without a network.

``python -m tests.bench.prompt_quality --minutes 5``: on the validation images, objects chosen by chance are clicked on
once in their middle, or framed; both tools answer on the whole image. Dice of each object, and milliseconds a click.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.assist.levels import Levels, measure_levels, to_rgb_bytes
from core.assist.marks import Clicks, Proposal
from core.assist.promptables import checked_files
from core.assist.prompting import Encoding, PromptNetwork, keep_promptable, propose_prompted
from core.assist.regions import propose_region
from core.assist.tiles import Region
from core.imaging.stored import read_image
from core.readings.stored import read_reading
from tests.bench._plain_files import nuclei_snapshot
from tests.conftest import SHARED_DATA

NAME = "nuclei"
MOST_OBJECTS = 4  # of one image
LEAST_AREA = 20
Propose = Callable[[Clicks], Proposal]


def rows() -> list[dict[str, Any]]:
    """Return the rows of ``make bench``: three minutes of training."""
    return run(3.0)


def run(minutes: float) -> list[dict[str, Any]]:
    """Train, then click; one row for clicks and one for boxes."""
    data = SHARED_DATA / "seg_nuclei_dsb2018"
    if not data.is_dir():
        return []
    from core.assist.prompt_network import to_onnx
    from core.assist.prompt_samples import planes_of
    from core.assist.prompt_training import PromptTraining, card_of, train_promptable

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        snapshot = nuclei_snapshot(data, home / "files")
        read = (
            (read_image(item.image_path, item.info), read_reading(item.reading_path))
            for item in snapshot.of_split("train")
        )
        planes = planes_of(read, np.random.default_rng(0))
        model, _ = train_promptable(PromptTraining(planes, [], minutes), lambda event: None, lambda: False)
        keep_promptable(home, card_of(NAME, {}), *to_onnx(model))
        network = PromptNetwork(*checked_files(home, NAME))
        scores, ms = _score(network, snapshot.of_split("val"))
    return [
        {
            "name": f"prompt-{kind}-{minutes:g}min", "ours": np.mean(scores["network", kind]),
            "peer": np.mean(scores["image", kind]), "peer_name": "click tool without a network",
            "ratio": np.mean(scores["network", kind]) / np.mean(scores["image", kind]), "goal": 1.0, "unit": "Dice",
            "device": "cpu", "objects": len(scores["network", kind]), "ms": float(np.median(ms)),
        }
        for kind in ("click", "box")
    ]  # fmt: skip


def _score(network: PromptNetwork, items: Any) -> tuple[dict[tuple[str, str], list[float]], list[float]]:
    rng = np.random.default_rng(0)
    scores: dict[tuple[str, str], list[float]] = {
        (tool, kind): [] for tool in ("network", "image") for kind in ("click", "box")
    }
    ms: list[float] = []
    for item in items:
        image, reference = read_image(item.image_path, item.info), read_reading(item.reading_path)
        plane, levels = image.plane(0), measure_levels(image)
        rgb = to_rgb_bytes(plane, levels)
        tools = {"network": _prompted(network, rgb), "image": _by_image(plane, levels)}
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((reference.array > 0).astype(np.uint8))
        large = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= LEAST_AREA]
        for number in rng.permutation(large)[:MOST_OBJECTS]:
            target = pieces == number
            for kind, clicks in _prompts(target).items():
                for tool, propose in tools.items():
                    if tool == "network":
                        propose(clicks)  # as on the page: where one has clicked before, the encoding is there
                    begun = time.perf_counter()
                    found = propose(clicks).labels > 0
                    if tool == "network":
                        ms.append(1000 * (time.perf_counter() - begun))
                    total = int(found.sum() + target.sum())
                    scores[tool, kind].append(2 * int((found & target).sum()) / total)
    return scores, ms


def _prompted(network: PromptNetwork, rgb: np.ndarray) -> Propose:
    @cache
    def encode(region: Region) -> Encoding:
        return network.encode(rgb[region.slices])

    return lambda clicks: propose_prompted(rgb.shape[:2], clicks, network, encode)


def _by_image(plane: np.ndarray, levels: Levels) -> Propose:
    return lambda clicks: propose_region(plane, levels, clicks)


def _prompts(target: np.ndarray) -> dict[str, Clicks]:
    depth = cv2.distanceTransform(np.pad(target, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    middle = np.array([np.unravel_index(int(depth.argmax()), depth.shape)], np.int32)
    rows, columns = np.nonzero(target)
    box = int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
    nothing = np.zeros((0, 2), np.int32), np.zeros(0, np.bool_)
    return {"click": Clicks(middle, np.array([True])), "box": Clicks(*nothing, box)}


def main() -> None:
    """Print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    for row in run(parser.parse_args().minutes):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
