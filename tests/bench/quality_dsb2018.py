"""Preset ``balanced`` against the plain public recipe at equal wall time, on nuclei, from scratch, on the CPU.

The plain recipe: SMP U-Net with the same encoder, Dice loss, Adam 1e-3, whole images resized to 256 x 256 (decoded
and resized once), batch 8, no augmentation, fp32, the last weights. Both clocks run from the call of the training
to its return; libraries are imported before. Both are scored alike: one forward pass an image (no flip averaging),
probabilities brought back to the image's size, mean Dice per image over the validation images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.imaging.stored import read_image
from core.learning.snapshot import Snapshot, SnapshotItem
from core.readings.stored import read_reading
from core.types import Array
from tests.bench._plain_files import nuclei_snapshot
from tests.conftest import SHARED_DATA

SIZE, BATCH = 256, 8
Predict = Callable[[SnapshotItem], Array]


@dataclass(frozen=True)
class Options:
    """What to run: minutes of each training, seeds, threads of torch, and the preset of ours."""

    minutes: tuple[float, ...] = (4.0,)
    seeds: tuple[int, ...] = (0,)
    threads: int = 2
    preset: str = "balanced"


def rows() -> list[dict[str, Any]]:
    """Return the rows of ``make bench``: 4 minutes, one seed. For more, run this module."""
    return run(Options())


def run(options: Options) -> list[dict[str, Any]]:
    """Train both for each budget and seed; return one row a budget, with means over seeds."""
    if not (SHARED_DATA / "seg_nuclei_dsb2018").is_dir():
        return []
    import segmentation_models_pytorch  # noqa: F401 - imported before the clocks start
    import torch

    torch.set_num_threads(options.threads)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        snapshot = nuclei_snapshot(SHARED_DATA / "seg_nuclei_dsb2018", Path(folder) / "files")
        for minutes in options.minutes:
            pairs = [
                _pair(snapshot, minutes, seed, options.preset, Path(folder) / f"{minutes}-{seed}")
                for seed in options.seeds
            ]
            ours, peer = np.mean(pairs, axis=0)
            results.append(
                {
                    "name": f"quality_dsb2018_{minutes:g}min",
                    "ours": round(float(ours), 4),
                    "peer": round(float(peer), 4),
                    "peer_name": "plain SMP U-Net recipe",
                    "ratio": round(float(ours / peer), 4),
                    "goal": 1.0,
                    "unit": "mean val Dice",
                    "device": f"cpu x{options.threads}",
                    "per_seed": [[round(float(value), 4) for value in pair] for pair in pairs],
                }
            )
    return results


def _pair(snapshot: Snapshot, minutes: float, seed: int, preset: str, folder: Path) -> tuple[float, float]:
    """Return mean Dice of ours and of the plain recipe; odd seeds start with the plain one."""
    folder.mkdir(parents=True)
    runs = {
        "ours": lambda: train_ours(snapshot, minutes, seed, preset, folder),
        "plain": lambda: train_plain(snapshot, minutes * 60, seed),
    }
    scores = {}
    for name in sorted(runs, reverse=bool(seed % 2)):
        begun = time.perf_counter()
        predict = runs[name]()
        seconds = time.perf_counter() - begun
        dice = per_image_dice(predict, snapshot.of_split("val"))
        scores[name] = float(np.mean(dice))
        print(
            f"{name} seed {seed}: {seconds:.0f} s, mean Dice {np.mean(dice):.4f}, median {np.median(dice):.4f}, "
            f"worst {', '.join(f'{value:.2f}' for value in np.sort(dice)[:6])}",
            flush=True,
        )
    return scores["ours"], scores["plain"]


def train_ours(snapshot: Snapshot, minutes: float, seed: int, preset: str, folder: Path) -> Predict:
    """Train through the public task API; the package is loaded as any user of it would."""
    from core.tasks.segmentation import SEGMENTATION
    from core.tasks.task import PredictOptions, TrainingRequest

    settings = SEGMENTATION.settings_from_text(preset, [f"minutes={minutes}", f"seed={seed}"])
    request = TrainingRequest(snapshot, settings, folder, folder / "model")
    SEGMENTATION.train(request, lambda event: None, lambda: False)
    predictor = SEGMENTATION.load(request.out_dir, "cpu")
    options = PredictOptions(flips=False, keep_probabilities=False)
    return lambda item: predictor.predict(read_image(item.image_path, item.info), options).array


def train_plain(
    snapshot: Snapshot, seconds: float, seed: int, clock: Callable[[], float] = time.perf_counter
) -> Predict:
    """Train the plain recipe until the time is over; ``clock`` gives seconds."""
    import segmentation_models_pytorch as smp
    import torch

    begun = clock()
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    items = snapshot.of_split("train")
    images = torch.from_numpy(np.stack([_plain_input(item) for item in items]))
    masks = torch.from_numpy(np.stack([_plain_mask(item) for item in items]))
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=1)
    loss_of = smp.losses.DiceLoss("binary")
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    network.train()
    while clock() - begun < seconds:
        for places in _batches(order.permutation(len(items))):
            loss = loss_of(network(images[places]), masks[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if clock() - begun >= seconds:
                break
    network.eval()

    def predict(item: SnapshotItem) -> Array:
        with torch.inference_mode():
            logits = network(torch.from_numpy(_plain_input(item))[None])
            size = item.info.spatial_shape
            seen = torch.nn.functional.interpolate(logits.sigmoid(), size=size, mode="bilinear")
        return (seen[0, 0].numpy() > 0.5).astype(np.uint8)

    return predict


def per_image_dice(predict: Predict, items: Iterable[SnapshotItem]) -> Array:
    """Return Dice of every image at its own size; 1 when both masks are empty."""
    scores = []
    for item in items:
        found, truth = predict(item) > 0, read_reading(item.reading_path).array > 0
        total = int(found.sum()) + int(truth.sum())
        scores.append(2 * int((found & truth).sum()) / total if total else 1.0)
    return np.array(scores)


def _batches(order: Array) -> Iterable[Array]:
    return (order[first : first + BATCH] for first in range(0, len(order) - BATCH + 1, BATCH))


def _plain_input(item: SnapshotItem) -> Array:
    import cv2

    picture = cv2.resize(
        np.asarray(read_image(item.image_path, item.info).array), (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )
    return (picture.astype(np.float32) / 255).transpose(2, 0, 1)


def _plain_mask(item: SnapshotItem) -> Array:
    import cv2

    mask = read_reading(item.reading_path).array
    return cv2.resize(mask, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)[None].astype(np.float32)


def main() -> None:
    """Run with options from the command line; print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[4.0])
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="balanced")
    given = parser.parse_args()
    options = Options(tuple(given.minutes), tuple(range(given.seeds)), given.threads, given.preset)
    for row in run(options):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
