"""One training while it runs: its parts, where it stands, and how that is kept in a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.learning.course import Course
from core.learning.ema import WeightAverage
from core.learning.feed import Feed
from core.learning.sampling import HardCaseSampler
from core.learning.state import identity_of, resume_training, save_training
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
        self.collect_losses()
        best = self.best_scores
        scores = None if best is None else {"loss": best.loss, "dice": torch.from_numpy(best.dice)}
        save_training(self, self.request.work_dir, self._identity(), scores)

    def resume(self) -> bool:
        """Go on from the checkpoint in the work folder; False when there is none."""
        state = resume_training(self, self.request.work_dir, self._identity())
        if state is None:
            return False
        if state["best_scores"] is not None:
            best = state["best_scores"]
            self.best_scores = ValidationScores(best["loss"], best["dice"].numpy())
        return True

    def _identity(self) -> dict[str, str]:
        return identity_of(self.request.snapshot, self.settings)


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
