"""Promptable networks in jobs and in the warm process: training a small one on a project, taking one in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.assist.promptables import check_new
from core.jobs.context import JobContext
from core.jobs.payloads import PromptPayload
from core.jobs.warm import Message
from core.settings import load_settings

SEED = 0


def run_prompt_training(context: JobContext) -> dict[str, Any]:
    """Train the small network on the reference's objects in train, try it on those in val, and keep it."""
    from core.assist.prompt_network import to_onnx
    from core.assist.prompt_samples import planes_of
    from core.assist.prompt_training import PromptTraining, card_of, train_promptable
    from core.assist.prompting import keep_promptable
    from core.learning.devices import pick_device

    payload = PromptPayload.model_validate(context.job.payload)
    home = context.workspace.home
    check_new(home, payload.name)
    snapshot = context.workspace.make_snapshot(payload.project, payload.reader, True)
    rng = np.random.default_rng(SEED)
    context.progress(0.0, "Collecting objects")
    train, val = (planes_of(_read(context, snapshot.of_split(split)), rng) for split in ("train", "val"))
    request = PromptTraining(train, val, payload.minutes, pick_device(load_settings().device), SEED)

    def tell(event: dict[str, Any]) -> None:
        left = 60 * payload.minutes * (1 - float(event["progress"]))
        context.progress(float(event["progress"]), f"Step {event['step']}", left)
        context.event(event)

    model, metrics = train_promptable(request, tell, context.should_stop)
    facts = {
        "trained_on": context.workspace.get_project(payload.project).name,
        "snapshot_sha256": snapshot.sha256,
        "objects": sum(len(plane.numbers) for plane in train),
        "minutes": payload.minutes,
        "metrics": metrics,
    }
    card = keep_promptable(home, card_of(payload.name, facts), *to_onnx(model))
    return {"network": card.name, "metrics": metrics}


def _read(context: JobContext, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    from core.imaging.stored import read_image
    from core.readings.stored import read_reading

    for item in items:
        context.raise_if_stopped()
        yield read_image(item.image_path, item.info), read_reading(item.reading_path)


def take_in(message: Message) -> Message:
    """Take in the zip file at ``path`` under ``name``, in the warm process: it is a stranger's."""
    from core.assist.prompting import add_promptable

    values = message.values
    card = add_promptable(Path(str(values["path"])), load_settings().home_path, str(values["name"]))
    return Message({"name": card.name})
