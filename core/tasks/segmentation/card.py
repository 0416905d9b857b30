"""What a trained segmentation model says about itself: numbers with intervals, and limits in sentences."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

import torch

from core.learning.snapshot import Snapshot
from core.tasks.segmentation.planning import Plan
from core.tasks.segmentation.prediction import DEFAULT_OVERLAP
from core.tasks.segmentation.run import Run
from core.tasks.segmentation.validation import ValidationScores


def metrics_of(scores: ValidationScores, snapshot: Snapshot) -> dict[str, float]:
    """Return validation numbers by name: "dice", "dice/<label>", "loss", "n_cases", "n_patients"."""
    items = snapshot.of_split("val")
    by_label = scores.dice.mean(axis=0)
    named = {f"dice/{label.name}": float(by_label[place]) for place, label in enumerate(snapshot.labels)}
    return {
        "dice": scores.mean_dice,
        **named,
        "loss": scores.loss,
        "n_cases": float(len(items)),
        "n_patients": float(len({item.patient_key for item in items})),
    }


def make_card(run: Run, scores: ValidationScores) -> dict[str, Any]:
    """Describe the model of a finished training as plain JSON values."""
    snapshot, plan = run.request.snapshot, run.plan
    named: str = plan.spec.architecture
    if plan.spec.architecture != "classic_unet":
        named += f" {plan.spec.encoder}"
    return {
        "task": snapshot.task,
        "name": named,
        "labels": [
            {"value": label.value, "name": label.name, "color": label.color} for label in snapshot.labels
        ],
        "spec": plan.spec.model_dump(mode="json"),
        "preprocessing": plan.preprocessing.model_dump(mode="json"),
        "inference": {
            "rule": "likeliest class",
            "mirror_axes": _mirror_axes(plan),
            "overlap": DEFAULT_OVERLAP,
        },
        "training": _describe_training(run),
        "metrics": _with_intervals(scores, snapshot),
        "limits": _limits(run, snapshot),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _mirror_axes(plan: Plan) -> list[str]:
    """Return the axes a network may be shown mirrored: those it was trained on mirrored, and no others."""
    augmentation = plan.augmentation
    return [name for name, mirrored in (("x", augmentation.flip_x), ("y", augmentation.flip_y)) if mirrored]


def _describe_training(run: Run) -> dict[str, Any]:
    return {
        "settings": run.settings.model_dump(mode="json"),
        "snapshot_sha256": run.request.snapshot.sha256,
        "epochs": run.course.progress.epoch,
        "best_epoch": run.course.progress.best_epoch,
        "steps": run.course.progress.step,
        "seconds": round(run.course.seconds, 1),
        "device": run.request.device,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "weights_source": run.initial.sentence(),
        "train_cases": len(run.request.snapshot.of_split("train")),
        "modalities": list(run.plan.fingerprint.modalities),
    }


def _with_intervals(scores: ValidationScores, snapshot: Snapshot) -> dict[str, Any]:
    """Return each metric with its 95 % interval by patient, and n."""
    from core.evaluation.intervals import patient_bootstrap_ci

    items = snapshot.of_split("val")
    patients = [item.patient_key for item in items]
    columns = {"dice": scores.dice.mean(axis=1)}
    columns |= {f"dice/{label.name}": scores.dice[:, place] for place, label in enumerate(snapshot.labels)}
    metrics: dict[str, Any] = {"split": "val", "n_cases": len(items), "n_patients": len(set(patients))}
    for name, values in columns.items():
        interval = patient_bootstrap_ci([float(value) for value in values], patients)
        ends = None if interval.lo is None else [interval.lo, interval.hi]
        metrics[name] = {"value": interval.mean, "ci95": ends, "n": interval.n_cases}
    return metrics


def _limits(run: Run, snapshot: Snapshot) -> list[str]:
    """Say in sentences what the model should not be trusted with."""
    seen = run.plan.fingerprint
    train, val = snapshot.of_split("train"), snapshot.of_split("val")
    limits = [
        "Not for diagnosis: made for research and teaching.",
        f"Trained on {len(train)} cases of {seen.patients} patients, modality {', '.join(seen.modalities)}; "
        "other devices, body parts and patients were not seen.",
        f"The weights were chosen by the same {len(val)} validation cases that the metrics are from, "
        "so the metrics are somewhat too good; evaluate on a test split.",
    ]
    if len({item.patient_key for item in val}) < 10:
        limits.append("Fewer than 10 validation patients: the numbers are uncertain beyond their intervals.")
    if snapshot.items[0].info.is_volume:
        limits.append("Volumes are read slice by slice; neighbouring slices do not inform each other.")
    if run.plan.preprocessing.fit == "resize":
        size = f"{run.plan.preprocessing.input_height} x {run.plan.preprocessing.input_width}"
        limits.append(
            f"Images are resized to {size} pixels; structures of a pixel or two at that size get lost."
        )
    return limits
