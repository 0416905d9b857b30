"""One training while it runs: its parts, its two stages, where it stands, and how that is kept in a checkpoint."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from core.learning.checkpoint import read_checkpoint, restore_random_state, write_checkpoint
from core.learning.course import CHECKPOINT_FILE, Course, Pace
from core.learning.ema import WeightAverage
from core.learning.features import Features
from core.learning.feed import Feed
from core.learning.optimiser import build_optimiser
from core.learning.weights import WeightsReport
from core.tasks.super_resolution.data import Batch, PlaneTable, SampleKey
from core.tasks.super_resolution.discriminators import build_discriminator
from core.tasks.super_resolution.losses import FeatureDistance
from core.tasks.super_resolution.planning import Plan
from core.tasks.super_resolution.settings import SuperResolutionSettings
from core.tasks.super_resolution.validation import ValidationData, ValidationScores
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest

FIRST, SECOND = 1, 2  # the stages: true pixels; looking real besides


@dataclass
class Judge:
    """What the second stage adds: the discriminator, its optimiser, and the features that are compared."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    perceptual: FeatureDistance | None
    source: str

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


@dataclass
class Stand:
    """What a checkpoint keeps of earlier stages, besides weights."""

    stage: int = FIRST
    epochs: int = 0  # of finished stages
    seconds: float = 0.0  # of finished stages
    loss_parts: dict[str, float] = field(default_factory=dict)  # sums over this epoch's samples


@dataclass
class Run:
    """The parts of one training.

    Attributes:
        kept: stage -> the weights that go into the package.
        scores: stage -> their validation scores.
        furthest: progress that was told last.
        seen: losses that the device has not yet handed over, with their number of samples.
    """

    request: TrainingRequest
    settings: SuperResolutionSettings
    plan: Plan
    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: WeightAverage | None
    feed: Feed[list[SampleKey], Batch]
    table: PlaneTable
    validation: ValidationData
    baseline: ValidationScores
    initial: WeightsReport
    features: Features | None
    on_event: OnEvent
    should_stop: ShouldStop
    course: Course
    judge: Judge | None = None
    furthest: float = 0.0
    stand: Stand = field(default_factory=Stand)
    order: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    seen: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    kept: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    scores: dict[int, ValidationScores] = field(default_factory=dict)

    @property
    def stages(self) -> int:
        """How many stages this training has."""
        return SECOND if self.settings.adversarial else FIRST

    @property
    def epochs(self) -> int:
        """Finished epochs of all stages."""
        return self.stand.epochs + self.course.progress.epoch

    @property
    def seconds(self) -> float:
        """Seconds of all stages and attempts."""
        return self.stand.seconds + self.course.seconds

    def note_progress(self) -> float:
        """Return the used share of the whole training; it never falls when a guess of the time left changes."""
        done = self.course.share_done
        if self.stages == SECOND:
            share = self.settings.adversarial_share
            done = done * (1 - share) if self.stand.stage == FIRST else 1 - share + done * share
        self.furthest = max(self.furthest, done)
        return self.furthest

    @property
    def weights(self) -> dict[str, Tensor]:
        """The averaged weights where there are any, else the present ones."""
        return self.network.state_dict() if self.average is None else self.average.average

    def keep_weights(self, scores: ValidationScores) -> None:
        """Keep a copy of the weights for the package."""
        self.kept[self.stand.stage] = {
            name: value.detach().to("cpu", copy=True) for name, value in self.weights.items()
        }
        self.scores[self.stand.stage] = scores

    def collect_losses(self) -> None:
        """Fetch losses from the device. Rarely, because it waits for the device."""
        for count, parts in self.seen:
            for name, loss in parts.items():
                self.stand.loss_parts[name] = self.stand.loss_parts.get(name, 0.0) + float(loss) * count
            self.course.progress.loss_sum += float(parts["train_loss"]) * count
            self.course.progress.loss_count += count
        self.seen.clear()

    def begin_second_stage(self) -> None:
        """Go on from the first stage's kept weights, with a judge and a new course."""
        stand = Stand(SECOND, self.epochs, self.seconds)
        self.network.load_state_dict(self.kept[FIRST])
        self._enter(stand, Pace(time.perf_counter()))

    def _enter(self, stand: Stand, pace: Pace) -> None:
        """Set up what a stage needs: settings of its own, optimiser, average, judge."""
        settings = stage_settings(self.settings, stand.stage)
        self.stand = stand
        self.course = Course(settings, self.course.val_samples, pace)
        self.optimiser = build_optimiser(self.network, settings)
        self.average = WeightAverage(self.network, settings.ema_decay) if settings.ema_decay > 0 else None
        self.order = np.zeros(0, np.int64)
        if stand.stage == SECOND:
            self.judge = self._build_judge(settings)

    def _build_judge(self, settings: SuperResolutionSettings) -> Judge:
        # It is shown detail and mean of each channel apart: at the precision of bf16 it would see no detail.
        bands = 2 * self.plan.spec.channels
        network = build_discriminator(settings.discriminator, bands, settings.discriminator_features).to(
            self.request.device
        )
        perceptual = None
        if self.features is not None:
            perceptual = FeatureDistance(self.features.network, self.features.channels).to(
                self.request.device
            )
        source = "no features" if self.features is None else self.features.source
        return Judge(network, build_optimiser(network, settings), perceptual, source)

    def save(self) -> None:
        """Write the checkpoint."""
        begun = time.perf_counter()
        self.collect_losses()
        state = {
            "stand": asdict(self.stand),
            "progress": self.course.state_dict(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "judge": None if self.judge is None else self.judge.state_dict(),
            "order": torch.from_numpy(self.order),
            "kept": self.kept,
            "scores": {stage: [one.loss, torch.from_numpy(one.psnr)] for stage, one in self.scores.items()},
        }
        write_checkpoint(self._checkpoint_path, state, self._identity())
        self.course.pace.saved_at = time.perf_counter()
        self.course.pace.save_seconds = self.course.pace.saved_at - begun

    def resume(self) -> bool:
        """Go on from the checkpoint in the work folder; False when there is none."""
        state = read_checkpoint(self._checkpoint_path, self._identity())
        if state is None:
            return False
        self._enter(Stand(**state["stand"]), self.course.pace)
        self.course.load_state_dict(state["progress"])
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.judge is not None:
            self.judge.load_state_dict(state["judge"])
        self.order = state["order"].numpy()
        self.course.samples = len(self.order)
        self.kept = state["kept"]
        self.scores = {
            stage: ValidationScores(loss, psnr.numpy()) for stage, (loss, psnr) in state["scores"].items()
        }
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


def stage_settings(settings: SuperResolutionSettings, stage: int) -> SuperResolutionSettings:
    """Return the settings of one stage: its share of the budget, its step size."""
    if not settings.adversarial:
        return settings
    share = settings.adversarial_share
    second = max(1, min(settings.epochs - 1, round(settings.epochs * share))) if settings.epochs else 0
    if stage == FIRST:
        return settings.model_copy(
            update={"epochs": settings.epochs - second, "minutes": settings.minutes * (1 - share)}
        )
    return settings.model_copy(
        update={
            "epochs": second,
            "minutes": settings.minutes * share,
            "learning_rate": settings.adversarial_rate,
            "early_stopping_patience": 0,
        }
    )


def plan_event(request: TrainingRequest, plan: Plan) -> dict[str, Any]:
    """Return the first event: what was decided, as plain JSON values."""
    snapshot = request.snapshot
    return {
        "kind": "plan",
        "spec": plan.spec.model_dump(mode="json"),
        "scaling": plan.scaling.model_dump(mode="json"),
        "degradation": plan.degradation.model_dump(mode="json"),
        "axes": plan.axes,
        "patch": list(plan.patch),
        "batch_size": plan.batch_size,
        "train_cases": len(snapshot.of_split("train")),
        "val_cases": len(snapshot.of_split("val")),
        "device": request.device,
    }
