"""What several pages say about a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.tasks import TASKS

if TYPE_CHECKING:
    from core.workspace.records import Model


def headline_title(task_name: str) -> str:
    """Return the name of a task's first metric, such as "Dice"."""
    task = TASKS[task_name]
    return next(metric.title for metric in task.metrics if metric.key == task.headline_metric)


def headline_of(model: Model) -> tuple[str, float] | None:
    """Return (name, value) of the metric a model's card puts first; None when the card has none."""
    value = model.card.get("metrics", {}).get(TASKS[model.task].headline_metric)
    if isinstance(value, dict):
        value = value.get("value")
    return (headline_title(model.task), float(value)) if isinstance(value, (int, float)) else None
