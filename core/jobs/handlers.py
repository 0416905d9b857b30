"""Which function does which kind of job. Heavy libraries are imported when a job of that kind runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from core.jobs.context import JobContext

Handler = Callable[[JobContext], dict[str, Any]]


def _late(module: str, function: str) -> Handler:
    """Return a handler whose module is imported when it is first called."""

    def handle(context: JobContext) -> dict[str, Any]:
        result: dict[str, Any] = getattr(import_module(module), function)(context)
        return result

    return handle


HANDLERS: dict[str, Handler] = {
    "import": _late("core.jobs.importing", "run_import"),
    "train": _late("core.jobs.training", "run_training"),
    "predict": _late("core.jobs.predicting", "run_prediction"),
    "evaluate": _late("core.jobs.evaluating", "run_evaluation"),
    "export": _late("core.jobs.exporting", "run_export"),
    "look": _late("core.jobs.looking", "run_look"),
    "preview": _late("core.jobs.previewing", "run_preview"),
    "prompt": _late("core.jobs.prompting", "run_prompt_training"),
    "demo": _late("core.jobs.demo", "run_demo"),
}
