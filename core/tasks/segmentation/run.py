"""One training while it runs: its parts, where it stands, and how that is kept in a checkpoint."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.learning.checkpoint import read_checkpoint, restore_random_state, write_checkpoint
from core.learning.course import CHECKPOINT_FILE, Course
from core.learning.ema import WeightAverage
from core.learning.feed import Feed
from core.learning.sampling import HardCaseSampler
from core.learning.weights import WeightsReport
from core.tasks.segmentation.data import Batch, SampleKey
from core.tasks.segmentation.planning import Plan
from core.tasks.segmentation.settings import SegmentationSettings
from core.tasks.segmentation.validation import ValidationData, ValidationScores
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest


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
    course: Course
    order: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best_scores: ValidationScores | None = None

    def collect_losses(self) -> None:
        """Fetch losses from the device and hand them to the sampler. Rarely, because it waits for the device."""
        for planes, difficulty, loss in self.seen:
            self.course.progress.loss_sum += float(loss) * len(planes)
            self.course.progress.loss_count += len(planes)
            self.sampler.learn(planes.numpy(), difficulty.double().cpu().numpy())
        self.seen.clear()

    def save(self) -> None:
        """Write the checkpoint."""
        begun = time.perf_counter()
        self.collect_losses()
        scores = self.best_scores
        state = {
            "progress": self.course.state_dict(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "difficulty": torch.from_numpy(self.sampler.difficulty.copy()),
            "order": torch.from_numpy(self.order),
            "best_weights": self.best_weights,
            "best_scores": None if scores is None else [scores.loss, torch.from_numpy(scores.dice)],
        }
        write_checkpoint(self._checkpoint_path, state, self._identity())
        self.course.pace.saved_at = time.perf_counter()
        self.course.pace.save_seconds = self.course.pace.saved_at - begun

    def resume(self) -> bool:
        """Go on from the checkpoint in the work folder; False when there is none."""
        state = read_checkpoint(self._checkpoint_path, self._identity())
        if state is None:
            return False
        self.course.load_state_dict(state["progress"])
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.sampler.difficulty[:] = state["difficulty"].numpy()
        self.order = state["order"].numpy()
        self.course.samples = len(self.order)
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
