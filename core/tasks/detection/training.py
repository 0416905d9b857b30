"""The training loop, written out in plain torch: read ``train`` from top to bottom.

The loop knows nothing of jobs, pages or the store; news leaves through ``on_event``. With a budget of epochs a
training that was killed and resumed on a CPU ends with the same weights as one that never stopped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
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
from core.learning.weights import WeightsReport, load_initial_weights, read_first_weights
from core.tasks.detection.card import make_card, rule_of
from core.tasks.detection.data import (
    Batch,
    BoxCache,
    SampleKey,
    SampleMaker,
    crops_per_plane,
    open_cache,
    rarity,
)
from core.tasks.detection.networks import Detector, build_network
from core.tasks.detection.planning import Plan, make_plan
from core.tasks.detection.run import Run, plan_event
from core.tasks.detection.scores import Scores, describe_readings
from core.tasks.detection.settings import DetectionSettings
from core.tasks.detection.spec import Norm
from core.tasks.detection.validation import ValidationData, draw_samples, validate
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest, TrainingResult
from core.types import Split

KEPT_SAMPLES = 3  # validations whose pictures stay: a page may still show those before the last


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
    """Plan, cache the images, build network and optimiser."""
    settings = request.settings
    if not isinstance(settings, DetectionSettings):
        raise TrainingError(f"Detection needs its own settings, got {type(settings).__name__}.")
    plan = make_plan(request.snapshot, settings, request.device, _norm_of_weights(request, settings))
    seed_everything(settings.seed)
    on_event(plan_event(request, plan))
    on_event({"kind": "note", "message": "Preparing the images."})
    cache, val_cache = (_open_cache(request, plan, split, should_stop) for split in ("train", "val"))
    network, initial = _build(request, settings, plan)
    on_event({"kind": "note", "message": initial.sentence()})
    rule = rule_of(plan)
    course = Course(settings, len(val_cache), Pace(started))
    course.closing_validations = 1.0 + 2 ** len(
        rule.mirror_axes
    )  # the last one looks at mirrored images, too
    workers = choose_workers(settings.workers, request.device)
    maker = SampleMaker(cache, plan)
    return Run(
        request=request,
        settings=settings,
        plan=plan,
        network=network,
        optimiser=build_optimiser(network, settings),
        average=WeightAverage(network, settings.ema_decay) if settings.ema_decay > 0 else None,
        sampler=HardCaseSampler(cache.marked, settings.hard_case_sampling, settings.seed),
        crops=_samples_per_plane(cache, plan, settings),
        feed=Feed(maker, workers, pin_memory=request.device.startswith("cuda")),
        validation=ValidationData(
            items=request.snapshot.of_split("val"),
            labels=request.snapshot.labels,
            cache=val_cache,
            plan=plan,
            device=request.device,
            rule=rule,
            samples=settings.samples,
        ),
        initial=initial,
        on_event=on_event,
        should_stop=should_stop,
        course=course,
    )


def train_epoch(run: Run) -> None:
    """Train on the rest of this epoch's samples, or until the budget is used."""
    course, progress = run.course, run.course.progress
    if progress.position == 0:
        order = run.sampler.order(progress.epoch, at_least=run.plan.batch_size)
        samples = np.repeat(order, run.crops[order])
        run.order = np.random.default_rng((run.settings.seed, progress.epoch)).permutation(samples)
        course.samples = len(run.order)
    run.network.freeze_encoder(progress.epoch < run.settings.freeze_encoder_epochs)
    run.network.train()
    with run.feed.batches(batch_keys(run)) as batches:
        for batch in batches:
            if run.should_stop():
                raise _Stopped
            if course.is_over:
                return
            train_step(run, batch)
            _tell_step(run)
            if course.is_checkpoint_due() and progress.step > 1:
                run.save()
    progress.position = len(run.order)


def batch_keys(run: Run) -> Iterator[list[SampleKey]]:
    """Yield what each batch consists of; asked for some batches ahead of the network."""
    progress, size, order = run.course.progress, run.plan.batch_size, run.order
    epoch, budget = progress.epoch, run.course.budget
    for first in range(progress.position, len(order), size):
        places = range(first, min(first + size, len(order)))
        if len(places) == 1 and first > 0:
            return  # batch norm cannot learn from a single sample
        done = budget.progress(epoch + first / len(order), run.course.seconds)
        height, width = run.plan.input_shape(done)
        is_calm = done >= run.plan.calm_from
        yield [
            SampleKey(int(order[place]), sample_seed(run.settings.seed, epoch, place), height, width, is_calm)
            for place in places
        ]


def train_step(run: Run, batch: Batch) -> None:
    """Take one step: forward with losses, backward, clip, move the weights, average them."""
    begun = time.perf_counter()
    settings, device = run.settings, run.request.device
    set_learning_rate(run.optimiser, run.course.learning_rate)
    images = batch.images.to(device, non_blocking=True)
    targets = [{name: value.to(device) for name, value in one.items()} for one in batch.targets]
    with precision_for(settings.mixed_precision, device):
        losses, _ = run.network(images, targets)
    total = torch.stack([value.float() for value in losses.values()]).sum()
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()
    if settings.grad_clip > 0:
        nn.utils.clip_grad_norm_(run.network.parameters(), settings.grad_clip)
    run.optimiser.step()
    if run.average is not None:
        run.average.update(run.network)
    run.seen.append((batch.planes, {name: value.detach() for name, value in losses.items()}))
    run.course.progress.position += len(images)
    run.course.progress.step += 1
    height, width = run.plan.input_size
    full = height * width / (images.shape[2] * images.shape[3])
    run.course.note_sample_seconds((time.perf_counter() - begun) / len(images) * full)


def _norm_of_weights(request: TrainingRequest, settings: DetectionSettings) -> Norm | None:
    """Return the normalisation that the first weights were trained with; None when there are none."""
    if settings.weights == "scratch" or request.initial_weights is None:
        return "frozen" if settings.weights == "hub" else None
    state = read_first_weights(settings.weights, request.initial_weights)
    return "frozen" if any(name.endswith("running_mean") for name in state) else "group"


def _samples_per_plane(cache: BoxCache, plan: Plan, settings: DetectionSettings) -> Any:
    """Return how many samples each plane gives in an epoch: crops, and more of planes with rare labels."""
    crops = crops_per_plane(cache, plan)
    if settings.rare_label_sampling == 0:
        return crops
    weights = rarity(cache, plan.spec.classes)
    share = settings.rare_label_sampling
    wanted = (1 - share) + share * weights / max(float(weights[weights > 0].mean()), 1e-9)
    return np.maximum(1, np.rint(crops * wanted)).astype(np.int64)


def _open_cache(request: TrainingRequest, plan: Plan, split: Split, should_stop: ShouldStop) -> BoxCache:
    def on_item(done: int, items: int) -> None:
        if should_stop():
            raise _Stopped

    return open_cache(request.snapshot, split, plan, request.work_dir / f"planes-{split}", on_item)


def _build(
    request: TrainingRequest, settings: DetectionSettings, plan: Plan
) -> tuple[Detector, WeightsReport]:
    """Build the network on the device, with its first weights."""
    try:
        network = build_network(plan.spec)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    report = load_initial_weights(network, settings.weights, request.initial_weights, plan.spec.encoder)
    layout = memory_format_of(request.device)
    network.to(device=request.device, memory_format=layout)  # type: ignore[call-overload]
    return network, report


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
    event: dict[str, Any] = {"train_loss": course.mean_loss}
    event |= {f"loss/{name}": value for name, value in run.mean_parts().items()}
    over = course.is_over
    scores = _validate(run) if over or course.is_validation_due() else None
    course.end_epoch()
    run.parts.clear()
    if scores is not None and course.note_score(_worth(scores)):
        keep_weights(run)
        run.best_scores = scores
    _tell_epoch(run, event, scores)
    reason = course.reason_to_end(over)
    if not reason and (course.progress.epoch == 1 or course.is_checkpoint_due()):
        run.save()
    return reason


def _worth(scores: Scores) -> float:
    """Return what the best weights are chosen by: both averages, as one alone is noisy on few images."""
    return (scores["map50"] + scores["map"]) / 2


def _validate(run: Run) -> Scores:
    """Validate the averaged weights where there are any, else the present ones; draw some cases."""
    begun = time.perf_counter()
    with nullcontext() if run.average is None else run.average.applied_to(run.network):
        scores, found = validate(run.network, run.validation, lambda: _keep_going(run))
    if run.settings.samples:
        epoch = run.course.progress.epoch + 1
        folder = run.request.work_dir / "samples"
        files = draw_samples(run.validation, found, scores["threshold"], folder / str(epoch))
        for old in sorted(folder.iterdir(), key=lambda path: int(path.name))[:-KEPT_SAMPLES]:
            shutil.rmtree(old, ignore_errors=True)
        run.on_event({"kind": "samples", "epoch": epoch, "files": files})
    run.course.note_validation(begun)
    return scores


def _keep_going(run: Run) -> None:
    if run.should_stop():
        raise _Stopped


def _tell_epoch(run: Run, event: dict[str, Any], scores: Scores | None) -> None:
    event = {
        "kind": "epoch",
        "epoch": run.course.progress.epoch,
        **event,
        "lr": run.optimiser.param_groups[0]["lr"],
        "seconds": round(run.course.seconds, 2),
        "progress": run.course.share_done,
    }
    if scores is not None:
        event |= {f"val_{name}": value for name, value in scores.items()}
    run.on_event(event)


def _finish(run: Run, reason: str) -> TrainingResult:
    """Look once more with the best weights as prediction will, choose the threshold, write the package."""
    if run.best_scores is None:  # the last epoch validates, or early stopping has; kept for the type checker
        raise TrainingError("Training ended before its first validation; give it more time.")
    run.network.load_state_dict(run.best_weights)
    data = run.validation
    scores, found = validate(run.network, data, lambda: None, flips=True)
    described = describe_readings(data.items, found, data.cache.readings, data.labels, scores["threshold"])
    write_package(run.request.out_dir, run.best_weights, make_card(run, scores, described))
    counts = {name: float(described[name]) for name in ("n_cases", "n_patients")}
    return TrainingResult(scores | counts, run.course.progress.epoch, run.course.seconds, reason=reason)
