"""Does the data keep up? The training loop's speed against the same steps on ready tensors.

Same network, batches, optimiser and bookkeeping; the peer's batches are made before its clock starts. A ratio of 1
means that making samples costs nothing; the goal is 0.9. On a GPU samples come from worker processes, on a CPU from
a thread.
"""

from __future__ import annotations

import tempfile
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from core.learning.snapshot import Snapshot
from core.readings.reading import Boxes
from core.types import make_labels
from tests.bench._plain_files import make_item

SIDE = 256
IMAGES = 64
ROUNDS = 3  # of each, one after the other, so that a busy machine hits both
SETTINGS = {
    "cpu": {"batch_size": 8, "augmentation": "medium", "input_size": SIDE},
    "cuda": {"batch_size": 32, "augmentation": "medium", "input_size": SIDE},
}
STEPS = {"cpu": 6, "cuda": 60}


TASKS = ("segmentation", "detection")


def rows() -> list[dict[str, Any]]:
    """Return one row a task for the CPU, and one for a GPU where there is one."""
    import torch

    devices = ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]
    return [_row(task, device) for device in devices for task in TASKS]


def _row(task: str, device: str) -> dict[str, Any]:
    kind = device.partition(":")[0]
    loop_of = import_module(f"core.tasks.{task}.training")
    with tempfile.TemporaryDirectory() as folder:
        run = _prepare(task, Path(folder), device)
        _train(loop_of, run, STEPS[kind])  # warm-up: threads, worker processes, memory
        loop, ready = [], []
        for _ in range(ROUNDS):
            loop.append(_train(loop_of, run, STEPS[kind]))
            ready.append(_train_on_ready(loop_of, run, STEPS[kind]))
        run.feed.close()
    ours, peer = float(np.median(loop)), float(np.median(ready))
    return {
        "name": f"data_starvation_{task}",
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "peer_name": "same loop on ready tensors",
        "ratio": round(ours / peer, 3),
        "goal": 0.9,
        "unit": "images/s",
        "device": device,
    }


def _prepare(task: str, folder: Path, device: str) -> Any:
    """Build a run on random colour pictures of the kind ``make bench`` can always make."""
    from core.tasks import TASKS as ALL
    from core.tasks.task import TrainingRequest

    rng = np.random.default_rng(0)
    items = []
    for number in range(IMAGES + 2):
        image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        split = "train" if number < IMAGES else "val"
        items.append(make_item(folder, number, str(number), split, image, _truth(task)))
    snapshot = Snapshot(task, make_labels(["square"]), tuple(items))
    values = {**SETTINGS[device.partition(":")[0]], "epochs": 1000, "ema_decay": 0.99}
    settings = ALL[task].settings_type.model_validate(values)
    request = TrainingRequest(snapshot, settings, folder, folder / "model", device)
    prepare = import_module(f"core.tasks.{task}.training").prepare
    run = prepare(request, lambda event: None, lambda: False, time.perf_counter())
    run.network.train()
    return run


def _truth(task: str) -> Any:
    """Return what is marked in each picture: one square, or 12 boxes."""
    if task == "segmentation":
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[60:180, 60:180] = 1
        return mask
    low = np.array([(x, y) for x in range(10, 210, 60) for y in range(10, 190, 70)], np.float32)
    return Boxes(np.hstack([low, low + 30]), np.ones(len(low), np.uint16), np.zeros(len(low), np.int32))


def _keys(loop_of: ModuleType, run: Any, steps: int) -> list[Any]:
    """Return the keys of so many batches, over as many epochs as it takes."""
    keys: list[Any] = []
    while len(keys) < steps:
        run.order, run.course.progress.position = run.sampler.order(run.course.progress.epoch), 0
        keys += list(loop_of.batch_keys(run))
        run.course.progress.epoch += 1
    return keys[:steps]


def _train(loop_of: ModuleType, run: Any, steps: int) -> float:
    """Return images per second of the loop as it is."""
    keys = _keys(loop_of, run, steps)
    begun = time.perf_counter()
    with run.feed.batches(iter(keys)) as batches:
        return _steps(loop_of, run, batches, begun)


def _train_on_ready(loop_of: ModuleType, run: Any, steps: int) -> float:
    """Return images per second on batches that lie ready on the device."""
    import torch

    ready = []
    with run.feed.batches(iter(_keys(loop_of, run, steps))) as batches:
        for batch in batches:
            ready.append(batch._replace(images=batch.images.to(run.request.device)))
    if run.request.device.startswith("cuda"):
        torch.cuda.synchronize()
    return _steps(loop_of, run, ready, time.perf_counter())


def _steps(loop_of: ModuleType, run: Any, batches: Any, begun: float) -> float:
    images = 0
    for batch in batches:
        loop_of.train_step(run, batch)
        images += len(batch.images)
    run.collect_losses()  # waits for the device
    return images / (time.perf_counter() - begun)
