"""What a trained super-resolver says about itself: scores beside bicubic with intervals, and limits in sentences."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from core.evaluation.compare import summarise
from core.evaluation.image_scores import SCORES
from core.learning.snapshot import Snapshot
from core.tasks.super_resolution.run import FIRST, SECOND, Run

CaseScores = Sequence[Mapping[str, Any]]  # rows of core.evaluation.compare.CaseRow


def metrics_of(rows: CaseScores) -> dict[str, float]:
    """Return the means over cases by name, with "gain" over bicubic in dB, "n_cases" and "n_patients"."""
    summary = summarise(rows, "psnr")  # type: ignore[arg-type]
    means = {key: entry["value"] for key, entry in summary["metrics"].items() if entry["value"] is not None}
    if "psnr" in means and "psnr_bicubic" in means:
        means["gain"] = means["psnr"] - means["psnr_bicubic"]
    return means | {"n_cases": float(summary["n_cases"]), "n_patients": float(summary["n_patients"])}


def make_card(run: Run, tables: Mapping[int, CaseScores]) -> dict[str, Any]:
    """Describe the model of a finished training as plain JSON values; ``tables`` holds each stage's scores."""
    plan, settings = run.plan, run.settings
    return {
        "task": run.request.snapshot.task,
        "name": plan.spec.architecture,
        "labels": [],
        "spec": plan.spec.model_dump(mode="json"),
        "preprocessing": {"scaling": plan.scaling.model_dump(mode="json"), "axes": plan.axes},
        "degradation": plan.degradation.model_dump(mode="json"),
        "degradation_words": plan.degradation.in_words(),
        "inference": {
            "rule": "mean over mirrored looks",
            "mirrored": settings.flips,
            "turned": settings.rotate90,
            "consistent": not plan.degradation.is_noisy,
            "blendable": SECOND in run.kept,
        },
        "scoring": {"border": settings.border, "data_range": settings.data_range},
        "training": _describe_training(run),
        "metrics": _with_intervals(tables[FIRST])
        | ({"adversarial": _with_intervals(tables[SECOND])} if SECOND in tables else {}),
        "limits": _limits(run, run.request.snapshot),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _describe_training(run: Run) -> dict[str, Any]:
    return {
        "settings": run.settings.model_dump(mode="json"),
        "snapshot_sha256": run.request.snapshot.sha256,
        "epochs": run.epochs,
        "steps": run.course.progress.step,
        "seconds": round(run.seconds, 1),
        "patch": list(run.plan.patch),
        "batch_size": run.plan.batch_size,
        "device": run.request.device,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "weights_source": run.initial.sentence(),
        "perceptual_source": "" if run.judge is None else run.judge.source,
        "train_cases": len(run.request.snapshot.of_split("train")),
        "modalities": sorted({item.info.modality for item in run.request.snapshot.of_split("train")}),
    }


def _with_intervals(rows: CaseScores) -> dict[str, Any]:
    """Return each score with its 95 % interval by patient, and n; what is not defined is left out."""
    summary = summarise(rows, "psnr")  # type: ignore[arg-type]
    metrics: dict[str, Any] = {
        "split": "val", "n_cases": summary["n_cases"], "n_patients": summary["n_patients"],
    }  # fmt: skip
    for name in SCORES:
        for key in (name, f"{name}_bicubic"):
            entry = summary["metrics"].get(key)
            if entry is not None and entry["value"] is not None and math.isfinite(entry["value"]):
                metrics[key] = {"value": entry["value"], "ci95": entry["ci95"], "n": entry["n"]}
    return metrics


def _limits(run: Run, snapshot: Snapshot) -> list[str]:
    """Say in sentences what the model should not be trusted with."""
    train, val = snapshot.of_split("train"), snapshot.of_split("val")
    modalities = ", ".join(sorted({item.info.modality for item in train}))
    limits = [
        "Not for diagnosis: made for research and teaching.",
        "Fine detail in its results is computed, not acquired: it may be invented or missing, so nothing should be "
        "measured or read from it alone.",
        f"It undoes this degradation: {run.plan.degradation.in_words()}; images made coarse in another way come out "
        "less true.",
        f"Trained on {len(train)} cases of {len({item.patient_key for item in train})} patients, modality "
        f"{modalities}; other devices, body parts and patients were not seen.",
        f"The weights were chosen by the same {len(val)} validation cases that the metrics are from, "
        "so the metrics are somewhat too good; evaluate on a test split.",
    ]
    if SECOND in run.kept:
        limits.append("Its second stage makes images look sharper and be less true; blend 0 leaves it out.")
    if snapshot.items[0].info.is_volume and run.plan.axes == "in_plane":
        limits.append("Volumes are made finer slice by slice; neighbouring slices do not inform each other.")
    return limits
