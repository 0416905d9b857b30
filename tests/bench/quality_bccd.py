"""Preset ``balanced`` against torchvision's stock Faster R-CNN at equal wall time: blood cells, from scratch, a CPU.

The stock peer: ``fasterrcnn_resnet50_fpn`` with its own defaults (800-pixel inputs, batch norm, anchors of COCO) and
the recipe of torchvision's reference (SGD 0.02 / 8 a image, momentum 0.9, weight decay 1e-4, linear warm-up, steps down
at 16/26 and 22/26, batch 2, horizontal flips), fp32, the last weights. Both clocks run from the call of the training to
its return; libraries are imported before. Both are scored on the validation images by faster-coco-eval as COCO does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.imaging.stored import read_image
from core.learning.snapshot import Snapshot, SnapshotItem
from core.readings.stored import read_reading
from core.types import Array
from tests.bench._plain_files import cells_snapshot
from tests.conftest import SHARED_DATA


class Seen(NamedTuple):
    """Boxes (n, 4), scores and label values of one image."""

    box_xyxy: Array
    scores: Array
    labels: Array


Predict = Callable[[SnapshotItem], Seen]


@dataclass(frozen=True)
class Options:
    """What to run: minutes of each training, threads of torch, the preset of ours, and whom."""

    minutes: tuple[float, ...] = (5.0,)
    threads: int = 2
    preset: str = "balanced"
    runs: tuple[str, ...] = ("ours", "stock")
    settings: tuple[str, ...] = ()
    keep: Path | None = None


def rows() -> list[dict[str, Any]]:
    """Return the rows of ``make bench``: 5 minutes each. For the curve, run this module."""
    return run(Options())


def run(options: Options) -> list[dict[str, Any]]:
    """Train for each budget; return a row for each of both averages."""
    if not (SHARED_DATA / "det_bccd").is_dir():
        return []
    import segmentation_models_pytorch  # noqa: F401 - imported before the clocks start
    import torch
    import torchvision  # noqa: F401

    torch.set_num_threads(options.threads)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        snapshot = cells_snapshot(SHARED_DATA / "det_bccd", Path(folder) / "files")
        for minutes in options.minutes:
            scores = {
                name: _measure(name, snapshot, minutes, options, Path(folder) / f"{minutes}-{name}")
                for name in options.runs
            }
            for key, goal in (("map50", {15.0: 0.92, 45.0: 0.93}.get(minutes)), ("map", 0.62)):
                ours, peer = (scores.get(name, {}).get(key) for name in ("ours", "stock"))
                results.append(
                    {
                        "name": f"quality_bccd_{minutes:g}min_{key}",
                        "ours": ours,
                        "peer": peer,
                        "peer_name": "stock fasterrcnn_resnet50_fpn",
                        "ratio": round(ours / peer, 3) if ours and peer else None,
                        "goal": goal,
                        "unit": key,
                        "device": f"cpu x{options.threads}",
                    }
                )
    return results


def _measure(
    name: str, snapshot: Snapshot, minutes: float, options: Options, folder: Path
) -> dict[str, float]:
    folder.mkdir(parents=True)
    begun = time.perf_counter()
    is_ours = name == "ours"
    predict = (
        train_ours(snapshot, minutes, options, folder) if is_ours else train_stock(snapshot, minutes * 60)
    )
    seconds = time.perf_counter() - begun
    scores = score(predict, snapshot.of_split("val"))
    print(f"{name} {minutes:g} min: {seconds:.0f} s, {scores}", flush=True)
    return scores


def train_ours(snapshot: Snapshot, minutes: float, options: Options, folder: Path) -> Predict:
    """Train through the public task API; the package is loaded and used as any user of it would."""
    from core.tasks.detection import DETECTION
    from core.tasks.task import PredictOptions, TrainingRequest

    settings = DETECTION.settings_from_text(options.preset, [f"minutes={minutes}", *options.settings])
    request = TrainingRequest(snapshot, settings, folder, (options.keep or folder) / "model")
    DETECTION.train(request, _tell, lambda: False)
    predictor = DETECTION.load(request.out_dir, "cpu")

    def predict(item: SnapshotItem) -> Seen:
        boxes = predictor.predict(read_image(item.image_path, item.info), PredictOptions())
        return Seen(boxes.box_xyxy, boxes.scores, boxes.labels)

    return predict


def _tell(event: dict[str, Any]) -> None:
    if "val_map50" in event:
        print(
            f"  epoch {event['epoch']} {event['seconds']:.0f} s loss {event['train_loss']:.3f} "
            f"map50 {event['val_map50']:.4f} map {event['val_map']:.4f}",
            flush=True,
        )


def train_stock(
    snapshot: Snapshot, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Predict:
    """Train torchvision's model by torchvision's recipe until the time is over."""
    import torch
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    begun = clock()
    torch.manual_seed(0)
    order = np.random.default_rng(0)
    network = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=len(snapshot.labels) + 1
    )
    optimiser = torch.optim.SGD(network.parameters(), 0.02 / 8, momentum=0.9, weight_decay=1e-4)
    items = snapshot.of_split("train")
    network.train()
    step = 0
    while clock() - begun < seconds:
        for places in np.array_split(order.permutation(len(items)), len(items) // 2):
            done = (clock() - begun) / seconds
            rate = 0.02 / 8 * (0.1 if done > 16 / 26 else 1) * (0.1 if done > 22 / 26 else 1)
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / len(items) * 2 + 1e-3)
            samples = [_stock_sample(items[place], order.random() < 0.5) for place in places]
            losses = network([image for image, _ in samples], [target for _, target in samples])
            total = sum(losses.values())
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            step += 1
            if clock() - begun >= seconds:
                break
    network.eval()
    print(f"  stock: {step} steps of 2", flush=True)

    def predict(item: SnapshotItem) -> Seen:
        with torch.inference_mode():
            found = network([_stock_image(item)])[0]
        return Seen(*(found[name].numpy() for name in ("boxes", "scores", "labels")))

    return predict


def score(predict: Predict, items: tuple[SnapshotItem, ...]) -> dict[str, float]:
    """Return COCO's mAP@0.5 and mAP@[.5:.95] over the images, as faster-coco-eval computes them."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, item in enumerate(items, start=1):
        reference = read_reading(item.reading_path)
        for box, label in zip(reference.box_xyxy.tolist(), reference.labels.tolist(), strict=True):
            row = {"id": len(truth) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
            truth.append(row | {"bbox": _wh(box), "area": (box[2] - box[0]) * (box[3] - box[1])})
        seen = predict(item)
        for box, one, label in zip(*(column.tolist() for column in seen), strict=True):
            found.append({"image_id": number, "category_id": int(label), "bbox": _wh(box), "score": one})
    labels = sorted({row["category_id"] for row in truth})
    images = [{"id": number} for number in range(1, len(items) + 1)]
    names = [{"id": label, "name": str(label)} for label in labels]
    if not found:
        return {"map50": 0.0, "map": 0.0}
    reference = COCO({"images": images, "annotations": truth, "categories": names})
    scorer = COCOeval_faster(reference, reference.loadRes(found), "bbox", print_function=lambda *words: None)
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    return {"map50": round(float(scorer.stats[1]), 4), "map": round(float(scorer.stats[0]), 4)}


def _wh(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _stock_image(item: SnapshotItem) -> Any:
    import torch

    picture = np.asarray(read_image(item.image_path, item.info).array, dtype=np.float32) / 255
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())


def _stock_sample(item: SnapshotItem, flip: bool) -> tuple[Any, dict[str, Any]]:
    import torch

    image, reading = _stock_image(item), read_reading(item.reading_path)
    boxes = torch.from_numpy(reading.box_xyxy.copy())
    if flip:
        image = image.flip(2)
        boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
    return image, {"boxes": boxes, "labels": torch.from_numpy(reading.labels.astype(np.int64))}


def main() -> None:
    """Run with options from the command line; print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--runs", nargs="+", default=["ours", "stock"])
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE over the preset")
    parser.add_argument("--keep", type=Path, help="folder for the model of ours")
    given = parser.parse_args()
    options = Options(
        tuple(given.minutes), given.threads, given.preset, tuple(given.runs), tuple(given.set), given.keep
    )
    for row in run(options):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
