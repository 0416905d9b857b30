"""Training of the small promptable network on objects that people have marked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.assist.prompt_network import IMAGE_PX, PromptModel
from core.assist.prompt_samples import Plane, Prompt, Sample, correction, cut_sample, first_prompt, vary
from core.assist.promptables import PromptCard
from core.errors import JobStopped, TrainingError
from core.learning.devices import autocast_for, seed_everything
from core.learning.ema import WeightAverage

# (from this progress on, side of the pictures): small ones first, for more steps in the same time.
SIDES = ((0.0, IMAGE_PX // 2), (0.6, IMAGE_PX))
IMAGES, OBJECTS = 4, 2  # a step looks at so many pictures, and at so many objects on each
LEARNING_RATE = 2e-3
WARMUP_STEPS = 30
EMA_DECAY = 0.99
VALIDATION_OBJECTS = 120
MEAN, STD = (127.5,) * 3, (64.0,) * 3
REPORT_SECONDS = 2.0


@dataclass(frozen=True)
class PromptTraining:
    """What to train on, for how long.

    Attributes:
        train, val: planes with objects; ``val`` may be empty.
        minutes: of training.
        device: "cpu" or "cuda:N".
        seed: of everything by chance.
    """

    train: Sequence[Plane]
    val: Sequence[Plane]
    minutes: float
    device: str = "cpu"
    seed: int = 0


def train_promptable(
    request: PromptTraining, on_event: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
) -> tuple[PromptModel, dict[str, float]]:
    """Train until the time is over.

    Returns:
        The network with its averaged weights, on the CPU, and Dice on ``val`` after one click, a box, and three
        clicks; no numbers where ``val`` is empty.

    Raises:
        TrainingError: when there is no object to learn from.
        JobStopped: when asked to stop.
    """
    if not request.train:
        raise TrainingError(
            "No marked object was found to learn from: a promptable network needs masks, or boxes with masks."
        )
    seed_everything(request.seed)
    rng = np.random.default_rng(request.seed)
    model = PromptModel().to(request.device)
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-2)
    average = WeightAverage(model, EMA_DECAY)
    begun = told = time.monotonic()
    step, mean_loss = 0, 0.0
    while (done := (time.monotonic() - begun) / (60 * request.minutes)) < 1 or step == 0:
        if should_stop():
            raise JobStopped("The training was stopped; nothing of it is kept.")
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm * 0.5 * (1 + np.cos(np.pi * min(1.0, done)))
        side = next(side for start, side in reversed(SIDES) if done >= start)
        loss = _step(model, _draw(request.train, side, rng), rng, request.device)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        mean_loss = float(loss.detach()) if step == 1 else 0.95 * mean_loss + 0.05 * float(loss.detach())
        if time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            on_event({"kind": "step", "step": step, "train_loss": mean_loss, "progress": min(1.0, done)})
    model.load_state_dict(average.average)
    model = model.eval().to("cpu")
    return model, validate(model, request.val, request.seed) | {"steps": float(step)}


def card_of(name: str, facts: dict[str, Any]) -> PromptCard:
    """Return the card of a network trained here."""
    return PromptCard(name, IMAGE_PX, MEAN, STD, facts=facts)


def _draw(planes: Sequence[Plane], side: int, rng: np.random.Generator) -> list[Sample]:
    samples: list[Sample] = []
    for _ in range(200 * IMAGES):
        sample = cut_sample(planes[int(rng.integers(len(planes)))], side, OBJECTS, rng)
        if sample is not None:
            samples.append(vary(sample, rng))
        if len(samples) == IMAGES:
            return samples
    raise TrainingError(
        "The marked objects are too small to learn from; mark larger ones, or enlarge the images."
    )


def _pictures(samples: Sequence[Sample], device: str) -> Tensor:
    stack = np.stack([sample.picture for sample in samples]).astype(np.float32)
    stack = ((stack - np.array(MEAN)) / np.array(STD)).astype(np.float32)
    return torch.from_numpy(stack.transpose(0, 3, 1, 2)).to(device, memory_format=torch.channels_last)


def _points(prompts: Sequence[Prompt], device: str) -> tuple[Tensor, Tensor]:
    coords = torch.from_numpy(np.stack([prompt.coords for prompt in prompts])).to(device)
    return coords, torch.from_numpy(np.stack([prompt.labels for prompt in prompts])).to(device)


def _step(model: PromptModel, samples: Sequence[Sample], rng: np.random.Generator, device: str) -> Tensor:
    """Return the loss of first prompts and of prompts with a correction."""
    targets = np.concatenate([sample.targets for sample in samples])
    of_picture = torch.tensor(
        [at for at, sample in enumerate(samples) for _ in sample.targets], device=device
    )
    truth = torch.from_numpy(targets).to(device)[:, None].float()
    prompts = [first_prompt(target, rng) for target in targets]
    with autocast_for(device):
        features, fine = model.encoder(_pictures(samples, device))
        features, fine = features[of_picture], fine[of_picture]
        first = model.decoder(features, fine, *_points(prompts, device)).float()
    found = (first.detach() > 0).cpu().numpy()[:, 0]
    prompts = [correction(*row) for row in zip(prompts, found, targets, strict=True)]
    with autocast_for(device):
        second = model.decoder(features, fine, *_points(prompts, device)).float()
    return (_loss(first, truth) + _loss(second, truth)) / 2


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return cross-entropy (objects weigh as much as the rest near them) plus 1 - Dice of each object."""
    shares = torch.sigmoid(logits)
    both = (shares * truth).sum((1, 2, 3))
    dice = (2 * both + 1) / (shares.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum((1, 2, 3))
    return (1 - dice).mean() + (entropy / (4 * truth.sum((1, 2, 3)) + 64)).mean()


@torch.inference_mode()
def validate(model: PromptModel, planes: Sequence[Plane], seed: int) -> dict[str, float]:
    """Return mean Dice of objects on planes after one click, a box, and three clicks (two of them corrections)."""
    rng = np.random.default_rng(seed + 1)
    scores: dict[str, list[float]] = {"dice_1_click": [], "dice_box": [], "dice_3_clicks": []}
    for number in range(min(VALIDATION_OBJECTS, OBJECTS * len(planes))):
        sample = cut_sample(planes[number % len(planes)], IMAGE_PX, 1, rng)
        if sample is None:
            continue
        target = sample.targets[0]
        features, fine = model.encoder(_pictures([sample], "cpu"))

        def answer(prompt: Prompt, features: Tensor = features, fine: Tensor = fine) -> np.ndarray:
            return (model.decoder(features, fine, *_points([prompt], "cpu")) > 0).numpy()[0, 0]

        prompt = first_prompt(target, rng, box=False)
        scores["dice_1_click"].append(_dice(answer(prompt), target))
        scores["dice_box"].append(_dice(answer(first_prompt(target, rng, box=True)), target))
        for _ in range(2):
            prompt = correction(prompt, answer(prompt), target)
        scores["dice_3_clicks"].append(_dice(answer(prompt), target))
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


def _dice(found: np.ndarray, target: np.ndarray) -> float:
    return float(2 * (found & target).sum() / max(1, found.sum() + target.sum()))
