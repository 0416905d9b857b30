"""Put work in the queue: one function for pages and terminal, so that both ask for the same thing."""

from __future__ import annotations

from core.jobs.payloads import (
    DemoPayload,
    EvaluatePayload,
    ExportPayload,
    ImportPayload,
    LookPayload,
    Payload,
    PredictPayload,
    PreviewPayload,
    PromptPayload,
    TrainPayload,
)
from core.jobs.queue import JobQueue
from core.settings import load_settings
from core.workspace.records import Job

KINDS: dict[type[Payload], str] = {
    ImportPayload: "import",
    TrainPayload: "train",
    PredictPayload: "predict",
    EvaluatePayload: "evaluate",
    ExportPayload: "export",
    PreviewPayload: "preview",
    LookPayload: "look",
    PromptPayload: "prompt",
    DemoPayload: "demo",
}
DEVICE_KINDS = ("train", "predict", "prompt")
IO_QUEUE = "io"


def submit(queue: JobQueue, payload: Payload, title: str) -> Job:
    """Queue a piece of work and return its job.

    Training and prediction wait in the queue of the installation's device (one at a time); everything else
    goes to the "io" queue, so that an import need not wait for a training.

    Args:
        queue: the workspace's queue.
        payload: what to do.
        title: what a person sees in the list of jobs.
    """
    kind = KINDS[type(payload)]
    place = load_settings().device if kind in DEVICE_KINDS else IO_QUEUE
    project_id = getattr(payload, "project", None)
    return queue.enqueue(
        kind, payload.model_dump(mode="json"), queue=place, project_id=project_id, title=title
    )
