"""The training loop, written out in plain torch: read ``train`` from top to bottom.

The loop knows nothing of jobs, pages or the store; news leaves through ``on_event``. With a budget of epochs a
training that was killed and resumed on a CPU ends with the same weights as one that never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from core.errors import TrainingError
from core.learning.course import Course, Pace
from core.learning.devices import memory_format_of, seed_everything
from core.learning.ema import WeightAverage
from core.learning.feed import Feed, choose_workers
from core.learning.optimiser import build_optimiser, precision_for, set_learning_rate
from core.learning.package import write_package
from core.learning.sampling import HardCaseSampler, sample_seed
from core.learning.state import keep_weights
from core.learning.weights import WeightsReport, load_initial_weights
from core.tasks.segmentation.augmentation import build_augmentation
from core.tasks.segmentation.card import make_card, metrics_of
from core.tasks.segmentation.data import (
    Batch,
    PlaneCache,
    SampleKey,
    SampleMaker,
    crops_per_plane,
    open_cache,
)
from core.tasks.segmentation.losses import build_loss
from core.tasks.segmentation.networks import build_network, freeze_encoder, unfreeze_encoder
from core.tasks.segmentation.planning import Plan, make_plan
from core.tasks.segmentation.run import Run, plan_event
from core.tasks.segmentation.settings import SegmentationSettings
from core.tasks.segmentation.validation import ValidationData, ValidationScores, validate
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest, TrainingResult
from core.types import Split


class _Stopped(Exception):
    """Leaves the loops."""


def train(request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop) -> TrainingResult:
    """Train or resume until the budget is used or somebody stops it; write the model package at the end.

    Raises:
        TrainingError: when data, settings or memory do not allow it.
        WeightsError: when the initial weights do not fit.
        StorageError: when the disk is full.
    """
    started = time.perf_counter()
    run: Run | None = None
    try:
        run = prepare(request, on_event, should_stop, started)
        if run.resume():
            on_event({"kind": "note", "message": f"Resumed in epoch {run.course.progress.epoch + 1}."})
        reason = ""
        while not reason:
            train_epoch(run)
            reason = _end_epoch(run)
        return _finish(run, reason)
    except _Stopped:
        if run is None or run.course.progress.step == 0:
            return TrainingResult({}, 0, time.perf_counter() - started, stopped=True, reason="stopped")
        run.save()
        return TrainingResult(
            {}, run.course.progress.epoch, run.course.seconds, stopped=True, reason="stopped"
        )
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            "The GPU has too little memory for these settings; choose a smaller batch_size, input_size or encoder."
        ) from error
    finally:
        if run is not None:
            run.feed.close()


def prepare(request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop, started: float) -> Run:
    """Plan, cache the images, build network, loss and optimiser."""
    settings = request.settings
    if not isinstance(settings, SegmentationSettings):
        raise TrainingError(f"Segmentation needs its own settings, got {type(settings).__name__}.")
    plan = make_plan(request.snapshot, settings, request.device)
    seed_everything(settings.seed)
    on_event(plan_event(request, plan))
    on_event({"kind": "note", "message": "Preparing the images."})
    cache, val_cache = (_open_cache(request, plan, split, should_stop) for split in ("train", "val"))
    network, initial = _build(request, settings, plan)
    on_event({"kind": "note", "message": initial.sentence()})
    loss = build_loss(settings.loss, plan.spec.classes).to(request.device)
    maker = SampleMaker(cache, build_augmentation(plan.augmentation), plan.preprocessing.fit == "patch")
    workers = choose_workers(settings.workers, request.device)
    return Run(
        request=request,
        settings=settings,
        plan=plan,
        network=network,
        loss=loss,
        optimiser=build_optimiser(network, settings),
        average=WeightAverage(network, settings.ema_decay) if settings.ema_decay > 0 else None,
        sampler=HardCaseSampler(cache.marked, settings.hard_case_sampling, settings.seed),
        crops=crops_per_plane(cache, plan),
        feed=Feed(maker, workers, pin_memory=request.device.startswith("cuda")),
        validation=ValidationData(
            items=request.snapshot.of_split("val"),
            labels=request.snapshot.labels,
            cache=val_cache,
            plan=plan,
            loss=loss,
            device=request.device,
            precision=partial(precision_for, settings.mixed_precision, request.device),
        ),
        initial=initial,
        on_event=on_event,
        should_stop=should_stop,
        course=Course(settings, len(val_cache), Pace(started)),
    )


def train_epoch(run: Run) -> None:
    """Train on the rest of this epoch's samples, or until the budget is used."""
    progress = run.course.progress
    if progress.position == 0:
        order = run.sampler.order(progress.epoch, at_least=run.plan.batch_size)
        crops = np.repeat(order, run.crops[order])
        run.order = np.random.default_rng((run.settings.seed, progress.epoch)).permutation(crops)
        run.course.samples = len(run.order)
    run.network.train()
    if progress.epoch < run.settings.freeze_encoder_epochs:
        freeze_encoder(run.network)
    else:
        unfreeze_encoder(run.network)
    with run.feed.batches(batch_keys(run)) as batches:
        for batch in batches:
            if run.should_stop():
                raise _Stopped
            if run.course.is_over:
                return
            train_step(run, batch)
            _tell_step(run)
            if run.course.is_checkpoint_due() and progress.step > 1:
                run.save()
    progress.position = len(run.order)


def batch_keys(run: Run) -> Iterator[list[SampleKey]]:
    """Yield what each batch consists of; asked for some batches ahead of the network."""
    epoch, size, order, budget = run.course.progress.epoch, run.plan.batch_size, run.order, run.course.budget
    for first in range(run.course.progress.position, len(order), size):
        places = range(first, min(first + size, len(order)))
        if len(places) == 1 and first > 0:
            return  # batch norm cannot learn from a single sample
        height, width = run.plan.input_shape(budget.progress(epoch + first / len(order), run.course.seconds))
        yield [
            SampleKey(int(order[place]), sample_seed(run.settings.seed, epoch, place), height, width)
            for place in places
        ]


def train_step(run: Run, batch: Batch) -> None:
    """Take one step: forward, loss, backward, clip, move the weights, average them."""
    begun = time.perf_counter()
    settings, device = run.settings, run.request.device
    set_learning_rate(run.optimiser, run.course.learning_rate)
    images, targets = (one.to(device, non_blocking=True) for one in (batch.images, batch.targets))
    with precision_for(settings.mixed_precision, device):
        logits = run.network(images)
    loss = run.loss(logits, targets)
    total = loss + settings.l1 * _absolute_sum(run.optimiser) if settings.l1 > 0 else loss
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()
    if settings.grad_clip > 0:
        nn.utils.clip_grad_norm_(run.network.parameters(), settings.grad_clip)
    run.optimiser.step()
    if run.average is not None:
        run.average.update(run.network)
    run.seen.append((batch.planes, _difficulty(logits.detach(), targets), loss.detach()))
    run.course.progress.position += len(images)
    run.course.progress.step += 1
    _note_pace(run, time.perf_counter() - begun, images)


def _open_cache(request: TrainingRequest, plan: Plan, split: Split, should_stop: ShouldStop) -> PlaneCache:
    def on_item(done: int, items: int) -> None:
        if should_stop():
            raise _Stopped

    return open_cache(request.snapshot, split, plan, request.work_dir / f"planes-{split}", on_item)


def _build(
    request: TrainingRequest, settings: SegmentationSettings, plan: Plan
) -> tuple[nn.Module, WeightsReport]:
    """Build the network on the device, with its first weights."""
    try:
        network = build_network(plan.spec)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    encoder = "" if plan.spec.architecture == "classic_unet" else plan.spec.encoder
    report = load_initial_weights(network, settings.weights, request.initial_weights, encoder)
    layout = memory_format_of(request.device)
    network.to(device=request.device, memory_format=layout)  # type: ignore[call-overload]
    return network, report


def _absolute_sum(optimiser: torch.optim.Optimizer) -> torch.Tensor:
    """Return the sum of the absolute weights, without biases and norms."""
    return torch.stack([value.abs().sum() for value in optimiser.param_groups[0]["params"]]).sum()


def _difficulty(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how badly each sample went, 0 to 1: one minus the soft Dice over all foreground."""
    probabilities = logits.float().softmax(dim=1)
    foreground = targets > 0
    hit = (probabilities.gather(1, targets[:, None])[:, 0] * foreground).sum(dim=(1, 2))
    sizes = (1 - probabilities[:, 0]).sum(dim=(1, 2)) + foreground.sum(dim=(1, 2))
    return 1 - (2 * hit + 1) / (sizes + 1)


def _note_pace(run: Run, seconds: float, images: torch.Tensor) -> None:
    """Note the time of one sample, scaled to the full input size."""
    full = run.plan.preprocessing.input_height * run.plan.preprocessing.input_width
    sample = seconds / len(images) * full / (images.shape[2] * images.shape[3])
    run.course.note_sample_seconds(sample)


def _tell_step(run: Run) -> None:
    """Report the step, at most twice a second; stop when the loss is no number."""
    if not run.course.is_telling_due():
        return
    run.collect_losses()
    run.course.check_loss()
    run.on_event(run.course.step_event(run.plan.batch_size))


def _end_epoch(run: Run) -> str:
    """Validate when due, keep the best weights, report, save; return why training ends, or nothing."""
    course = run.course
    run.collect_losses()
    course.check_loss()
    loss, over = course.mean_loss, course.is_over
    scores = _validate(run) if over or course.is_validation_due() else None
    course.end_epoch()
    if scores is not None:
        _keep_best(run, scores)
    _tell_epoch(run, loss, scores)
    reason = course.reason_to_end(over)
    if not reason and (course.progress.epoch == 1 or course.is_checkpoint_due()):
        run.save()
    return reason


def _validate(run: Run) -> ValidationScores:
    """Validate the averaged weights where there are any, else the present ones."""

    def keep_going() -> None:
        if run.should_stop():
            raise _Stopped

    begun = time.perf_counter()
    with nullcontext() if run.average is None else run.average.applied_to(run.network):
        scores = validate(run.network, run.validation, keep_going)
    run.course.note_validation(begun)
    return scores


def _keep_best(run: Run, scores: ValidationScores) -> None:
    """Keep a copy of the weights when their mean Dice is the best so far."""
    if not run.course.note_score(scores.mean_dice):
        return
    keep_weights(run)
    run.best_scores = scores


def _tell_epoch(run: Run, loss: float, scores: ValidationScores | None) -> None:
    event: dict[str, Any] = {
        "kind": "epoch",
        "epoch": run.course.progress.epoch,
        "train_loss": loss,
        "lr": run.optimiser.param_groups[0]["lr"],
        "seconds": round(run.course.seconds, 2),
        "progress": run.course.share_done,
    }
    if scores is not None:
        event |= {"val_loss": scores.loss, "val_dice": scores.mean_dice}
        by_label = scores.dice.mean(axis=0)
        for place, label in enumerate(run.request.snapshot.labels):
            event[f"val_dice/{label.name}"] = float(by_label[place])
    run.on_event(event)


def _finish(run: Run, reason: str) -> TrainingResult:
    """Write the package with the best weights."""
    if run.best_scores is None:  # the last epoch validates, or early stopping has; kept for the type checker
        raise TrainingError("Training ended before its first validation; give it more time.")
    write_package(run.request.out_dir, run.best_weights, make_card(run, run.best_scores))
    metrics = metrics_of(run.best_scores, run.request.snapshot)
    return TrainingResult(metrics, run.course.progress.epoch, run.course.seconds, reason=reason)
