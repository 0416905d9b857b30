"""One training while it runs: its parts, where it stands, and how that is kept in a checkpoint."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.learning.checkpoint import read_checkpoint, restore_random_state, write_checkpoint
from core.learning.ema import WeightAverage
from core.learning.feed import Feed
from core.learning.sampling import HardCaseSampler
from core.learning.schedule import Budget
from core.learning.weights import WeightsReport
from core.tasks.segmentation.data import Batch, SampleKey
from core.tasks.segmentation.planning import Plan
from core.tasks.segmentation.settings import SegmentationSettings
from core.tasks.segmentation.validation import ValidationData, ValidationScores
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest

CHECKPOINT_FILE = "checkpoint.pt"
CHECKPOINT_SECONDS = 20.0  # at most one checkpoint in this time, and ...
CHECKPOINT_SHARE = 0.03  # ... at most this share of the time for writing them
VALIDATION_SHARE = 0.05  # share of the time that validation may take when settings leave it open
VALIDATIONS_BY_EPOCH = 25  # validations in a training whose budget is epochs
FORWARD_SHARE = 0.4  # of a training step, until the first validation was timed
GUESS_CAP = 0.1  # of the minutes; small inputs cost more a pixel, which makes the guess too high
CLOSING_SECONDS = 1.0  # for writing the model


@dataclass
class Progress:
    """Where a training stands; all of it goes into the checkpoint."""

    epoch: int = 0
    position: int = 0  # samples of this epoch that were trained on
    step: int = 0
    seconds: float = 0.0  # of earlier attempts
    loss_sum: float = 0.0  # over this epoch's samples
    loss_count: int = 0
    best_dice: float = -1.0
    best_epoch: int = 0
    validations_without_gain: int = 0
    validated_at: float = 0.0  # seconds of training at the end of the last validation
    validation_seconds: float = 0.0  # length of the last validation


@dataclass
class Pace:
    """Times that are measured on the way and not kept."""

    started: float
    told_at: float = 0.0
    saved_at: float = 0.0
    save_seconds: float = 0.0
    sample_seconds: float = 0.0  # of training on one sample at full input size, smoothed


@dataclass
class Run:
    """The parts of one training. ``seen`` holds what the device has not yet handed over."""

    request: TrainingRequest
    settings: SegmentationSettings
    plan: Plan
    network: nn.Module
    loss: nn.Module
    optimiser: torch.optim.Optimizer
    average: WeightAverage | None
    sampler: HardCaseSampler
    crops: npt.NDArray[np.int64]
    feed: Feed[list[SampleKey], Batch]
    validation: ValidationData
    initial: WeightsReport
    on_event: OnEvent
    should_stop: ShouldStop
    pace: Pace
    progress: Progress = field(default_factory=Progress)
    order: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best_scores: ValidationScores | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training over all attempts."""
        return self.progress.seconds + time.perf_counter() - self.pace.started

    @property
    def epochs_done(self) -> float:
        """Epochs with the started one as a fraction."""
        return self.progress.epoch + (self.progress.position / len(self.order) if len(self.order) else 0.0)

    @property
    def budget(self) -> Budget:
        """What may be used before the closing validation and the writing of the model."""
        limit = self.settings.minutes * 60
        closing = self.validation_estimate() + CLOSING_SECONDS
        return Budget(self.settings.epochs, max(limit - closing, limit / 2))

    @property
    def share_done(self) -> float:
        """Used share of the budget, 0 to 1."""
        return self.budget.progress(self.epochs_done, self.seconds)

    @property
    def is_over(self) -> bool:
        """True when the budget is used; one step is always taken."""
        return self.progress.step > 0 and self.share_done >= 1

    def validation_estimate(self) -> float:
        """Return the seconds a validation takes: the last one's, or a guess from the steps so far."""
        if self.progress.validation_seconds > 0:
            return self.progress.validation_seconds
        guess = self.pace.sample_seconds * FORWARD_SHARE * len(self.validation.cache)
        return min(guess, GUESS_CAP * self.settings.minutes * 60) if self.settings.minutes else guess

    def is_validation_due(self) -> bool:
        """Tell whether to validate at the end of this epoch."""
        settings, finished = self.settings, self.progress.epoch + 1
        if self.is_over:
            return True
        if settings.val_every > 0:
            return finished % settings.val_every == 0
        if settings.minutes == 0:
            return finished % math.ceil(settings.epochs / VALIDATIONS_BY_EPOCH) == 0
        return (self.seconds - self.progress.validated_at) * VALIDATION_SHARE >= self.validation_estimate()

    def is_checkpoint_due(self) -> bool:
        """Tell whether the last checkpoint is old enough, so that writing them costs little."""
        wait = max(CHECKPOINT_SECONDS, self.pace.save_seconds / CHECKPOINT_SHARE)
        return time.perf_counter() - self.pace.saved_at >= wait

    def collect_losses(self) -> None:
        """Fetch losses from the device and hand them to the sampler. Rarely, because it waits for the device."""
        for planes, difficulty, loss in self.seen:
            self.progress.loss_sum += float(loss) * len(planes)
            self.progress.loss_count += len(planes)
            self.sampler.learn(planes.numpy(), difficulty.double().cpu().numpy())
        self.seen.clear()

    def save(self) -> None:
        """Write the checkpoint."""
        begun = time.perf_counter()
        self.collect_losses()
        progress = asdict(self.progress) | {"seconds": self.seconds}
        scores = self.best_scores
        state = {
            "progress": progress,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "difficulty": torch.from_numpy(self.sampler.difficulty.copy()),
            "order": torch.from_numpy(self.order),
            "best_weights": self.best_weights,
            "best_scores": None if scores is None else [scores.loss, torch.from_numpy(scores.dice)],
        }
        write_checkpoint(self._checkpoint_path, state, self._identity())
        self.pace.saved_at = time.perf_counter()
        self.pace.save_seconds = self.pace.saved_at - begun

    def resume(self) -> bool:
        """Go on from the checkpoint in the work folder; False when there is none."""
        state = read_checkpoint(self._checkpoint_path, self._identity())
        if state is None:
            return False
        self.progress = Progress(**state["progress"])
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.sampler.difficulty[:] = state["difficulty"].numpy()
        self.order = state["order"].numpy()
        self.best_weights = state["best_weights"]
        if state["best_scores"] is not None:
            self.best_scores = ValidationScores(state["best_scores"][0], state["best_scores"][1].numpy())
        restore_random_state(state["random"])
        return True

    @property
    def _checkpoint_path(self) -> Path:
        return self.request.work_dir / CHECKPOINT_FILE

    def _identity(self) -> dict[str, str]:
        """Return hashes of what must stay the same between attempts."""
        settings = self.settings.model_dump_json().encode()
        return {
            "training data": self.request.snapshot.sha256,
            "settings": hashlib.sha256(settings).hexdigest(),
        }


def plan_event(run_request: TrainingRequest, plan: Plan) -> dict[str, Any]:
    """Return the first event: what was decided, as plain JSON values."""
    snapshot = run_request.snapshot
    return {
        "kind": "plan",
        "spec": plan.spec.model_dump(mode="json"),
        "preprocessing": plan.preprocessing.model_dump(mode="json"),
        "augmentation": asdict(plan.augmentation),
        "batch_size": plan.batch_size,
        "sizes": [list(size) for size in plan.sizes],
        "fingerprint": asdict(plan.fingerprint)
        | {"label_share": {str(value): share for value, share in plan.fingerprint.label_share.items()}},
        "train_cases": len(snapshot.of_split("train")),
        "val_cases": len(snapshot.of_split("val")),
        "device": run_request.device,
    }
