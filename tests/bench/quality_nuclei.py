"""Mask R-CNN of this project on nuclei as objects: average precision of boxes and masks, from scratch, on a CPU.

There is no peer in this bench: the numbers go with those of ``quality_bccd``. Scored by faster-coco-eval through
``core.evaluation.box_scores``, without a cap on objects per image (some images have 375 nuclei).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from core.imaging.stored import read_image
from core.readings.reading import Boxes
from core.readings.stored import read_reading
from tests.bench._plain_files import nuclei_instances
from tests.conftest import SHARED_DATA

KEYS = ("map50", "map", "segm_map50", "segm_map")


def rows() -> list[dict[str, Any]]:
    """Return the rows of ``make bench``: 10 minutes."""
    return run(10.0, 2, [])


def run(minutes: float, threads: int, settings: list[str]) -> list[dict[str, Any]]:
    """Train through the public task API, read the validation images, score."""
    if not (SHARED_DATA / "seg_nuclei_dsb2018").is_dir():
        return []
    import torch

    from core.evaluation.box_scores import score_boxes
    from core.evaluation.box_tables import BoxPair
    from core.tasks.detection import DETECTION
    from core.tasks.task import PredictOptions, TrainingRequest

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        snapshot = nuclei_instances(SHARED_DATA / "seg_nuclei_dsb2018", folder / "files")
        chosen = ["architecture=mask_rcnn", f"minutes={minutes}", *settings]
        request = TrainingRequest(
            snapshot, DETECTION.settings_from_text("balanced", chosen), folder, folder / "model"
        )
        DETECTION.train(request, lambda event: None, lambda: False)
        predictor = DETECTION.load(request.out_dir, "cpu")
        pairs = []
        for item in snapshot.of_split("val"):
            found = predictor.predict(read_image(item.image_path, item.info), PredictOptions())
            truth = read_reading(item.reading_path)
            if isinstance(found, Boxes) and isinstance(truth, Boxes):
                pairs.append(BoxPair(item.case_name, item.patient_key, item.info, found, truth))
        metrics = score_boxes(pairs, snapshot.labels)["metrics"]
    return [
        {
            "name": f"quality_nuclei_{minutes:g}min_{key}", "ours": metrics[key]["value"], "ci95": metrics[key]["ci95"],
            "peer": None, "peer_name": "none", "ratio": None, "goal": None, "unit": key, "device": f"cpu x{threads}",
        }
        for key in KEYS
    ]  # fmt: skip


def main() -> None:
    """Run with options from the command line; print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE over the preset")
    given = parser.parse_args()
    for row in run(given.minutes, given.threads, given.set):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
