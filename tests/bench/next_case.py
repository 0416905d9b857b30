"""Does the next case that Sightline suggests teach more than one by chance? Simulated on seg_nuclei_dsb2018.

``python -m tests.bench.next_case [SEEDS] [ORDER]...`` (5 seeds and all orders unless given). Each seed draws a pool of
100 of the 133 training images. The first few images are the same for all orders, drawn by chance, but for
``suggested``: that is asked from the first image on, as a person would. ``continued`` is asked from then on, and
``uncertainty`` takes what the network is most unsure of, without the page's variety. A small U-Net is trained anew
each round; its probabilities and the images' signatures go through ``core.assist.suggest`` as on the Annotate page;
the first so many are "labelled". Dice is the mean over the 33 validation images, at equal numbers of labelled images.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from scipy import stats
from skimage.io import imread

from core.assist.suggest import Candidate, rank_cases, sign_image, unsureness
from core.learning.devices import autocast_for
from core.readings.reading import Mask
from core.tasks.segmentation.losses import build_loss
from core.tasks.segmentation.networks import build_network
from core.tasks.segmentation.spec import NetworkSpec
from core.types import Image, ImageInfo
from tests.conftest import SHARED_DATA

DATA = SHARED_DATA / "seg_nuclei_dsb2018"
SIDE = 128
POOL = 100  # of the training images, so that an order without chance in it differs between seeds
FIRST, MORE, ROUNDS = 6, 6, 3
STEPS, BATCH = 240, 8  # fewer, and what a network learns hangs on chance more than on its images
ORDERS = ("suggested", "continued", "uncertainty", "chance")
SAY = {
    "suggested": 0,
    "continued": 1,
    "uncertainty": 1,
}  # the first round in which an order has chosen what is labelled
SEEDS = 5


@dataclass(frozen=True)
class Picture:
    """One image at the size the network reads, its mask, and what it looks like."""

    pixels: np.ndarray
    mask: np.ndarray
    signature: np.ndarray


def _load(split: str) -> list[Picture]:
    with open(DATA / "index.csv", encoding="utf-8") as file:
        names = [row["id"] for row in csv.DictReader(file) if row["split"] == split]
    return [_picture(name) for name in sorted(names)]


def _picture(name: str) -> Picture:
    rgb = imread(DATA / "images" / f"{name}.png")[..., :3]
    labels = imread(DATA / "labels" / f"{name}.png")
    signature = sign_image(Image(rgb, ImageInfo("yxc", rgb.shape, "uint8")))
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = (small - small.mean()) / (small.std() + 1)
    mask = cv2.resize((labels > 0).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return Picture(small.transpose(2, 0, 1), mask.astype(np.int64), signature)


def _train(pictures: list[Picture], seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    spec = NetworkSpec(architecture="classic_unet", in_channels=3, classes=2, levels=3, base_features=16)
    network, loss = build_network(spec).to(memory_format=torch.channels_last), build_loss("dice_ce", 2)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = [pictures[number] for number in random.integers(0, len(pictures), BATCH)]
        turns = [(int(random.integers(0, 4)), bool(random.integers(0, 2))) for _ in chosen]
        images = np.stack([_turned(one.pixels, turn) for one, turn in zip(chosen, turns, strict=True)])
        targets = np.stack([_turned(one.mask, turn) for one, turn in zip(chosen, turns, strict=True)])
        optimizer.zero_grad()
        with autocast_for("cpu"):
            logits = network(torch.from_numpy(images).to(memory_format=torch.channels_last))
        loss(logits.float(), torch.from_numpy(targets)).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _turned(array: np.ndarray, turn: tuple[int, bool]) -> np.ndarray:
    turned = np.rot90(array, turn[0], (-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if turn[1] else turned)


def _probabilities(network: torch.nn.Module, pictures: list[Picture]) -> np.ndarray:
    """Return the foreground's probability of every picture."""
    parts = []
    with torch.inference_mode(), autocast_for("cpu"):
        for first in range(0, len(pictures), 16):
            batch = torch.from_numpy(np.stack([one.pixels for one in pictures[first : first + 16]]))
            logits = network(batch.to(memory_format=torch.channels_last))
            parts.append(logits.float().softmax(1)[:, 1].numpy())
    return np.concatenate(parts)


def _dice(network: torch.nn.Module, pictures: list[Picture]) -> float:
    found = _probabilities(network, pictures) > 0.5
    pairs = [(a, one.mask > 0) for a, one in zip(found, pictures, strict=True)]
    return float(np.mean([2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in pairs]))


def _choose(
    order: str, pool: list[Picture], left: list[int], known: list[int], network: torch.nn.Module
) -> list[int]:
    """Return the numbers of the next pictures to label, by what a network is unsure of."""
    foreground = np.rint(_probabilities(network, [pool[number] for number in left]) * 255).astype(np.uint8)
    unsure = [
        unsureness(Mask((one > 127).astype(np.uint8), np.stack([255 - one, one]))) for one in foreground
    ]
    if order == "uncertainty":
        return [left[place] for place in np.argsort([-(value or 0) for value in unsure])[:MORE]]
    candidates = [
        Candidate(number, pool[number].signature, value) for number, value in zip(left, unsure, strict=True)
    ]
    return _first_of(candidates, [pool[number].signature for number in known], MORE)


def _first_of(candidates: list[Candidate], read: list[np.ndarray], count: int) -> list[int]:
    return [one.case_id for one in rank_cases(candidates, read)[:count]]


def curve(order: str, seed: int, pool: list[Picture], judged: list[Picture]) -> list[float]:
    """Return Dice after each round."""
    random = np.random.default_rng(seed)
    pool = [pool[number] for number in random.permutation(len(pool))[:POOL]]
    known = random.permutation(len(pool))[:FIRST].tolist()
    if order == "suggested":
        known = _first_of([Candidate(place, one.signature) for place, one in enumerate(pool)], [], FIRST)
    found = []
    for number in range(ROUNDS + 1):
        network = _train([pool[one] for one in known], 100 * seed + number)
        found.append(_dice(network, judged))
        left = [one for one in range(len(pool)) if one not in known]
        chance = random.permutation(left)[:MORE].tolist()
        known += chance if order == "chance" else _choose(order, pool, left, known, network)
    return found


def measure(seeds: int, orders: Sequence[str] = ORDERS) -> dict[str, np.ndarray]:
    """Return Dice by order: (seeds, rounds)."""
    pool, judged = _load("train"), _load("val")
    found: dict[str, list[list[float]]] = {order: [] for order in orders}
    for seed in range(seeds):
        for order in orders:
            found[order].append(curve(order, seed, pool, judged))
            print(seed, order.ljust(12), " ".join(f"{value:.3f}" for value in found[order][-1]), flush=True)
    return {order: np.array(values) for order, values in found.items()}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % interval (Student's t) over seeds."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def rows(seeds: int = SEEDS) -> list[dict[str, Any]]:
    """Return the mean Dice over all rounds that an order had a say in, beside chance's."""
    found = measure(seeds)
    means = {order: {name: float(values[:, SAY[order]:].mean()) for name, values in found.items()}
             for order in SAY}  # fmt: skip
    return [
        {
            "name": f"next-case-{order}", "ours": means[order][order], "peer": means[order]["chance"],
            "peer_name": "chance", "ratio": means[order][order] / means[order]["chance"], "goal": 1.0,
            "unit": "Dice", "device": "cpu",
        }
        for order in SAY
    ]  # fmt: skip


def main() -> None:
    """Print curves, means with intervals, and the paired differences to chance."""
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS, sys.argv[2:] or ORDERS)
    print("labelled    ", "  ".join(f"{FIRST + MORE * number:22d}" for number in range(ROUNDS + 1)))
    for order, values in found.items():
        cells = (interval(column) for column in values.T)
        print(order.ljust(12), "  ".join(f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in cells))
    for order in set(found) - {"chance"} if "chance" in found else ():
        mean, low, high = interval((found[order] - found["chance"])[:, SAY[order] :].mean(axis=1))
        print(f"{order} - chance, mean over rounds: {mean:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
