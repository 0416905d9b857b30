"""CPU inference of a trained detector against torchvision's stock Faster R-CNN in fp32, on 480 x 640 images.

Ours is used as any user of it would: from the image in memory to boxes, in the CPU's best precision, without flip
averaging (the peer has none). Its mean average precision in that precision and in fp32 is compared, too. The peer's
weights are random; it looks at its best 1000 proposals whatever their score, so that its time does not depend on them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from core.types import Image
from tests.bench.quality_bccd import Options as TrainingOptions
from tests.bench.quality_bccd import score
from tests.conftest import SHARED_DATA

DATA = SHARED_DATA / "det_bccd"

ROUNDS = 5
MINUTES = 2.0  # of training, so that ours finds something


def rows() -> list[dict[str, Any]]:
    """Train ours shortly on blood cells, then measure; nothing without the shared data."""
    if not DATA.is_dir():
        return []
    from tests.bench._plain_files import cells_snapshot
    from tests.bench.quality_bccd import train_ours

    with tempfile.TemporaryDirectory() as folder:
        snapshot = cells_snapshot(DATA, Path(folder) / "files")
        options = TrainingOptions(keep=Path(folder))
        (Path(folder) / "run").mkdir()
        train_ours(snapshot, MINUTES, options, Path(folder) / "run")
        return measure(Path(folder) / "model", snapshot)


def measure(package: Path, snapshot: Any) -> list[dict[str, Any]]:
    """Return the rows for a model package."""
    import torch
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    from core.imaging.stored import read_image
    from core.tasks.detection import DETECTION
    from core.tasks.detection import prediction as module
    from core.tasks.task import PredictOptions
    from tests.bench.quality_bccd import Seen

    predictor = DETECTION.load(package, "cpu")
    plain = PredictOptions(flips=False)
    items = snapshot.of_split("val")
    images = [read_image(item.image_path, item.info) for item in items[:4]]
    stock = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4).eval()

    def run_stock(image: Image) -> None:
        picture = np.asarray(image.array, dtype=np.float32) / 255
        with torch.inference_mode():
            stock([torch.from_numpy(picture.transpose(2, 0, 1).copy())])

    ours = _median_seconds(lambda image: predictor.predict(image, plain), images)
    peer = _median_seconds(run_stock, images)

    def seen(item: Any) -> Seen:
        boxes = predictor.predict(read_image(item.image_path, item.info), plain)
        return Seen(boxes.box_xyxy, boxes.scores, boxes.labels)

    fast = score(seen, items)
    with patch.object(module, "autocast_for", lambda device: nullcontext()):
        full = score(seen, items)
    shared = {"device": "cpu", "unit": "images/s"}
    return [
        {
            "name": "detection_speed_480x640", "ours": round(1 / ours, 2), "peer": round(1 / peer, 2),
            "peer_name": "stock fasterrcnn_resnet50_fpn", "ratio": round(peer / ours, 2), "goal": 3.0, **shared,
        },
        {
            "name": "detection_speed_same_map", "ours": fast["map"], "peer": full["map"],
            "peer_name": "ours in fp32", "ratio": round(fast["map"] / max(full["map"], 1e-9), 4), "goal": None,
            **shared, "unit": "mAP",
        },
    ]  # fmt: skip


def _median_seconds(run: Callable[[Image], Any], images: list[Image]) -> float:
    run(images[0])  # warm-up
    seconds = []
    for _ in range(ROUNDS):
        for image in images:
            begun = time.perf_counter()
            run(image)
            seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))
