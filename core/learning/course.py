"""The course of one training: where it stands, how its time is used, and what is due next."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from core.errors import TrainingError
from core.learning.schedule import Budget, ScheduleName, learning_rate_share

CHECKPOINT_FILE = "checkpoint.pt"
CHECKPOINT_SECONDS = 20.0  # at most one checkpoint in this time, and ...
CHECKPOINT_SHARE = 0.03  # ... at most this share of the time for writing them
VALIDATION_SHARE = 0.05  # share of the time that validation may take when settings leave it open
VALIDATIONS_BY_EPOCH = 25  # validations in a training whose budget is epochs
FORWARD_SHARE = 0.4  # of a training step, until the first validation was timed
GUESS_CAP = 0.1  # of the minutes; small inputs cost more a pixel, which makes the guess too high
CLOSING_SECONDS = 1.0  # for writing the model
EVENT_SECONDS = 0.5


class CourseSettings(Protocol):
    """What is asked of a task's settings."""

    @property
    def epochs(self) -> int:
        """Rounds through the samples; 0 sets no limit."""
        ...

    @property
    def minutes(self) -> float:
        """Minutes of training; 0 sets no limit."""
        ...

    @property
    def val_every(self) -> int:
        """Epochs between validations; 0 chooses by time."""
        ...

    @property
    def learning_rate(self) -> float:
        """Largest step size."""
        ...

    @property
    def schedule(self) -> ScheduleName:
        """How the step size falls."""
        ...

    @property
    def warmup(self) -> float:
        """Share of the training over which the step size rises."""
        ...

    @property
    def early_stopping_patience(self) -> int:
        """Validations without gain after which training ends; 0 never."""
        ...


@dataclass
class Progress:
    """Where a training stands; all of it goes into the checkpoint."""

    epoch: int = 0
    position: int = 0  # samples of this epoch that were trained on
    step: int = 0
    seconds: float = 0.0  # of earlier attempts
    loss_sum: float = 0.0  # over this epoch's samples
    loss_count: int = 0
    best_score: float = -1.0
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
class Course:
    """One training's budget and progress.

    Attributes:
        settings: the budget and the schedule.
        val_samples: planes that a validation looks at.
        pace: measured times.
        progress: where training stands.
        samples: of the epoch that is being trained; 0 before the first.
        closing_validations: validations, counted in the length of one, that come after the last step.
    """

    settings: CourseSettings
    val_samples: int
    pace: Pace
    progress: Progress = field(default_factory=Progress)
    samples: int = 0
    closing_validations: float = 1.0

    @property
    def seconds(self) -> float:
        """Seconds of training over all attempts."""
        return self.progress.seconds + time.perf_counter() - self.pace.started

    @property
    def epochs_done(self) -> float:
        """Epochs with the started one as a fraction."""
        return self.progress.epoch + (self.progress.position / self.samples if self.samples else 0.0)

    @property
    def budget(self) -> Budget:
        """What may be used before the closing validation and the writing of the model."""
        limit = self.settings.minutes * 60
        closing = self.closing_validations * self.validation_estimate() + CLOSING_SECONDS
        return Budget(self.settings.epochs, max(limit - closing, limit / 2))

    @property
    def share_done(self) -> float:
        """Used share of the budget, 0 to 1."""
        return self.budget.progress(self.epochs_done, self.seconds)

    @property
    def is_over(self) -> bool:
        """True when the budget is used; one step is always taken."""
        return self.progress.step > 0 and self.share_done >= 1

    @property
    def learning_rate(self) -> float:
        """The step size now."""
        settings = self.settings
        return settings.learning_rate * learning_rate_share(
            settings.schedule, self.share_done, settings.warmup
        )

    @property
    def mean_loss(self) -> float:
        """Mean loss over this epoch's samples so far."""
        return self.progress.loss_sum / max(1, self.progress.loss_count)

    def validation_estimate(self) -> float:
        """Return the seconds a validation takes: the last one's, or a guess from the steps so far."""
        if self.progress.validation_seconds > 0:
            return self.progress.validation_seconds
        guess = self.pace.sample_seconds * FORWARD_SHARE * self.val_samples
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

    def is_telling_due(self) -> bool:
        """Tell, at most twice a second, that the step should be reported; the answer counts as done."""
        now = time.perf_counter()
        if now - self.pace.told_at < EVENT_SECONDS:
            return False
        self.pace.told_at = now
        return True

    def note_sample_seconds(self, seconds: float) -> None:
        """Smooth the time of one sample, scaled to the full input size."""
        known = self.pace.sample_seconds
        self.pace.sample_seconds = 0.8 * known + 0.2 * seconds if known else seconds

    def note_validation(self, begun: float) -> None:
        """Note that a validation begun at this ``time.perf_counter()`` ends now."""
        self.progress.validation_seconds = time.perf_counter() - begun
        self.progress.validated_at = self.seconds

    def note_score(self, score: float) -> bool:
        """Note a validation's score; True when it is the best so far."""
        progress = self.progress
        if progress.best_epoch > 0 and score <= progress.best_score:
            progress.validations_without_gain += 1
            return False
        progress.best_score, progress.best_epoch = score, progress.epoch
        progress.validations_without_gain = 0
        return True

    def end_epoch(self) -> None:
        """Go on to the next epoch."""
        self.progress.epoch, self.progress.position = self.progress.epoch + 1, 0
        self.progress.loss_sum, self.progress.loss_count = 0.0, 0

    def reason_to_end(self, over: bool) -> str:
        """Return why training ends after this epoch, or nothing."""
        patience = self.settings.early_stopping_patience
        if over:
            return "budget used"
        if 0 < patience <= self.progress.validations_without_gain:
            return f"no gain in {patience} validations"
        return ""

    def check_loss(self) -> None:
        """Check that the mean loss is a number.

        Raises:
            TrainingError: when it is none.
        """
        if not math.isfinite(self.mean_loss):
            raise TrainingError(
                f"The loss is no number any more in epoch {self.progress.epoch + 1}; choose a smaller learning_rate."
            )

    def step_event(self, batch_size: int) -> dict[str, Any]:
        """Return the event that reports a step."""
        progress, done = self.progress, self.share_done
        per_epoch = math.ceil(self.samples / batch_size)
        by_epochs = self.settings.epochs * per_epoch if self.settings.epochs else math.inf
        by_time = progress.step / done if self.settings.minutes and done > 0 else math.inf
        steps = min(by_epochs, by_time)
        return {
            "kind": "step",
            "step": progress.step,
            "steps": progress.step if math.isinf(steps) else max(progress.step, round(steps)),
            "epoch": progress.epoch + 1,
            "loss": self.mean_loss,
            "lr": self.learning_rate,
            "progress": done,
            "eta_seconds": self.budget.eta_seconds(self.epochs_done, self.seconds),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return asdict(self.progress) | {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.progress = Progress(**state)
