"""What a checkpoint keeps of a training and how it comes back, the same for every task."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from torch import nn

from core.learning.checkpoint import read_checkpoint, restore_random_state, write_checkpoint
from core.learning.course import CHECKPOINT_FILE, Course
from core.learning.ema import WeightAverage
from core.learning.sampling import HardCaseSampler
from core.learning.snapshot import Snapshot


class Trained(Protocol):
    """The parts of a running training that a checkpoint keeps."""

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        ...

    optimiser: torch.optim.Optimizer
    average: WeightAverage | None
    sampler: HardCaseSampler
    course: Course
    order: npt.NDArray[np.int64]
    best_weights: dict[str, torch.Tensor]


def save_training(
    run: Trained, work_dir: Path, belongs_to: dict[str, str], best_scores: dict[str, Any] | None
) -> None:
    """Write the checkpoint.

    Args:
        run: the training.
        work_dir: where its checkpoint lies.
        belongs_to: see ``identity_of``.
        best_scores: the task's scores of the best weights, as plain values and tensors.
    """
    begun = time.perf_counter()
    state = {
        "progress": run.course.state_dict(),
        "network": run.network.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "average": None if run.average is None else run.average.state_dict(),
        "difficulty": torch.from_numpy(run.sampler.difficulty.copy()),
        "order": torch.from_numpy(run.order),
        "best_weights": run.best_weights,
        "best_scores": best_scores,
    }
    write_checkpoint(work_dir / CHECKPOINT_FILE, state, belongs_to)
    run.course.pace.saved_at = time.perf_counter()
    run.course.pace.save_seconds = run.course.pace.saved_at - begun


def resume_training(run: Trained, work_dir: Path, belongs_to: dict[str, str]) -> dict[str, Any] | None:
    """Go on from the checkpoint in the work folder; return its state, or None when there is none."""
    state = read_checkpoint(work_dir / CHECKPOINT_FILE, belongs_to)
    if state is None:
        return None
    run.course.load_state_dict(state["progress"])
    run.network.load_state_dict(state["network"])
    run.optimiser.load_state_dict(state["optimiser"])
    if run.average is not None:
        run.average.load_state_dict(state["average"])
    run.sampler.difficulty[:] = state["difficulty"].numpy()
    run.order = state["order"].numpy()
    run.course.samples = len(run.order)
    run.best_weights = state["best_weights"]
    restore_random_state(state["random"])
    return state


def keep_weights(run: Trained) -> None:
    """Keep a copy of the averaged weights, where there are any, else of the present ones, as the best so far."""
    weights = run.network.state_dict() if run.average is None else run.average.average
    run.best_weights = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}


def identity_of(snapshot: Snapshot, settings: BaseModel) -> dict[str, str]:
    """Return hashes of what must stay the same between attempts."""
    return {
        "training data": snapshot.sha256,
        "settings": hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
    }
