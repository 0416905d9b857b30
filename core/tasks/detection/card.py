"""What a trained detector says about itself: numbers, how to use it, and limits in sentences."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from core.learning.snapshot import Snapshot
from core.tasks.detection.planning import Plan
from core.tasks.detection.prediction import DEFAULT_OVERLAP, Rule
from core.tasks.detection.run import Run
from core.tasks.detection.scores import Scores

MOST_OVERLAP = 0.5
FEW_OBJECTS = 20


def rule_of(plan: Plan) -> Rule:
    """Return how the model will be used; the threshold is only known when training ends.

    The network is shown mirrored copies only along the axes it was trained on mirrored. Tiles overlap so far that
    the largest objects are whole in one of them.
    """
    flips = (("x", plan.augmentation.flip_x), ("y", plan.augmentation.flip_y))
    large = plan.fingerprint.large_side * plan.framing.scale / min(plan.input_size)
    return Rule(
        mirror_axes=tuple(name for name, mirrored in flips if mirrored),
        overlap=float(np.clip(round(large, 3), DEFAULT_OVERLAP, MOST_OVERLAP)),
    )


def make_card(run: Run, scores: Scores, described: dict[str, Any]) -> dict[str, Any]:
    """Describe the model of a finished training as plain JSON values.

    Args:
        run: the training.
        scores: of the kept weights on validation.
        described: the same with intervals.
    """
    snapshot, plan = run.request.snapshot, run.plan
    rule, threshold = run.validation.rule, scores["threshold"]
    return {
        "task": snapshot.task,
        "name": f"{plan.spec.architecture} {plan.spec.encoder}",
        "labels": [
            {"value": label.value, "name": label.name, "color": label.color} for label in snapshot.labels
        ],
        "spec": plan.spec.model_dump(mode="json"),
        "preprocessing": plan.preprocessing.model_dump(mode="json"),
        "framing": plan.framing.model_dump(mode="json"),
        "inference": {
            "rule": f"score of at least {threshold:g}, where F1 on validation was best ({scores['f1']:.3f})",
            "threshold": threshold,
            "mirror_axes": list(rule.mirror_axes),
            "overlap": rule.overlap,
        },
        "training": _describe_training(run),
        "metrics": described,
        "limits": _limits(run, snapshot),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _describe_training(run: Run) -> dict[str, Any]:
    progress = run.course.progress
    return {
        "settings": run.settings.model_dump(mode="json"),
        "snapshot_sha256": run.request.snapshot.sha256,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "steps": progress.step,
        "seconds": round(run.course.seconds, 1),
        "device": run.request.device,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "weights_source": run.initial.sentence(),
        "train_cases": len(run.request.snapshot.of_split("train")),
        "modalities": list(run.plan.fingerprint.modalities),
    }


def _limits(run: Run, snapshot: Snapshot) -> list[str]:
    """Say in sentences what the model should not be trusted with."""
    seen, framing = run.plan.fingerprint, run.plan.framing
    train, val = snapshot.of_split("train"), snapshot.of_split("val")
    limits = [
        "Not for diagnosis: made for research and teaching.",
        f"Trained on {len(train)} cases of {seen.patients} patients, modality {', '.join(seen.modalities)}; "
        "other devices, body parts and patients were not seen.",
        f"The weights and the threshold were chosen by the same {len(val)} validation cases that the metrics are "
        "from, so the metrics are somewhat too good; evaluate on a test split.",
    ]
    if len({item.patient_key for item in val}) < 10:
        limits.append("Fewer than 10 validation patients: the numbers are uncertain.")
    few = [label.name for label in snapshot.labels if seen.objects[label.value] < FEW_OBJECTS]
    if few:
        limits.append(f"Fewer than {FEW_OBJECTS} training objects of {', '.join(few)}: hardly learned.")
    if snapshot.items[0].info.is_volume:
        limits.append("Volumes are read slice by slice; neighbouring slices do not inform each other.")
    small = seen.small_side * framing.scale
    limits.append(
        f"Small objects are about {small:.0f} pixels wide in the network's input; much smaller ones get lost."
    )
    if run.plan.spec.has_masks:
        limits.append("Where objects overlap, a pixel counted for one of them only in training.")
    return limits
