"""One training while it runs: its parts, where it stands, and how that is kept in a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core.learning.course import Course
from core.learning.ema import WeightAverage
from core.learning.feed import Feed
from core.learning.sampling import HardCaseSampler
from core.learning.state import identity_of, resume_training, save_training
from core.learning.weights import WeightsReport
from core.tasks.detection.data import Batch, SampleKey
from core.tasks.detection.networks import Detector
from core.tasks.detection.planning import Plan
from core.tasks.detection.scores import Scores
from core.tasks.detection.settings import DetectionSettings
from core.tasks.detection.validation import ValidationData
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest


@dataclass
class Run:
    """The parts of one training.

    Attributes:
        seen: planes and losses of steps that the device has not yet handed over.
        parts: sums over this epoch's samples of the loss's parts.
    """

    request: TrainingRequest
    settings: DetectionSettings
    plan: Plan
    network: Detector
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
    seen: list[tuple[torch.Tensor, dict[str, torch.Tensor]]] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best_scores: Scores | None = None

    def collect_losses(self) -> None:
        """Fetch losses from the device. Rarely, because it waits for the device."""
        progress = self.course.progress
        for planes, losses in self.seen:
            total = 0.0
            for name, value in losses.items():
                part = float(value)
                self.parts[name] = self.parts.get(name, 0.0) + part * len(planes)
                total += part
            progress.loss_sum += total * len(planes)
            progress.loss_count += len(planes)
            self.sampler.learn(planes.numpy(), np.full(len(planes), total))
        self.seen.clear()

    def mean_parts(self) -> dict[str, float]:
        """Return the mean of each part of the loss over this epoch's samples so far."""
        count = max(1, self.course.progress.loss_count)
        return {name: total / count for name, total in self.parts.items()}

    def save(self) -> None:
        """Write the checkpoint."""
        self.collect_losses()
        scores = {"parts": self.parts, "best": self.best_scores}
        save_training(self, self.request.work_dir, self._identity(), scores)

    def resume(self) -> bool:
        """Go on from the checkpoint in the work folder; False when there is none."""
        state = resume_training(self, self.request.work_dir, self._identity())
        if state is None:
            return False
        self.parts, self.best_scores = state["best_scores"]["parts"], state["best_scores"]["best"]
        return True

    def _identity(self) -> dict[str, str]:
        return identity_of(self.request.snapshot, self.settings)


def plan_event(request: TrainingRequest, plan: Plan) -> dict[str, Any]:
    """Return the first event: what was decided, as plain JSON values."""
    snapshot, seen = request.snapshot, plan.fingerprint
    return {
        "kind": "plan",
        "spec": plan.spec.model_dump(mode="json"),
        "preprocessing": plan.preprocessing.model_dump(mode="json"),
        "framing": plan.framing.model_dump(mode="json"),
        "augmentation": asdict(plan.augmentation) | {"mosaic": plan.mosaic, "calm_from": plan.calm_from},
        "batch_size": plan.batch_size,
        "sizes": [list(size) for size in plan.sizes],
        "anchor_overlap": round(plan.anchor_overlap, 3),
        "fingerprint": asdict(seen)
        | {"objects": {str(value): count for value, count in seen.objects.items()}},
        "train_cases": len(snapshot.of_split("train")),
        "val_cases": len(snapshot.of_split("val")),
        "device": request.device,
    }
