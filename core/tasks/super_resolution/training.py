"""The training loops, written out in plain torch: read ``train`` from top to bottom.

First stage: pixels near the true ones. Second stage, as a choice: looking real besides, judged by a discriminator.
The loops know nothing of jobs, pages or the store; news leaves through ``on_event``. With a budget of epochs a
training that was killed and resumed on a CPU ends with the same weights as one that never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import TrainingError
from core.learning.course import Course, Pace
from core.learning.devices import memory_format_of, seed_everything
from core.learning.ema import WeightAverage
from core.learning.features import find_features
from core.learning.feed import Feed, choose_workers
from core.learning.optimiser import build_optimiser, precision_for, set_learning_rate
from core.learning.package import write_package
from core.learning.sampling import sample_seed
from core.learning.snapshot import Snapshot
from core.learning.weights import WeightsReport, apply_weights, read_first_weights
from core.tasks.super_resolution.card import make_card, metrics_of
from core.tasks.super_resolution.data import Batch, SampleKey, SampleMaker, Source, open_sources, plane_table
from core.tasks.super_resolution.discriminators import MULTIPLE
from core.tasks.super_resolution.losses import FidelityLoss, pixel_distance, relativistic_losses
from core.tasks.super_resolution.networks import Bicubic, build_network, split_bands
from core.tasks.super_resolution.planning import Plan, make_plan
from core.tasks.super_resolution.prediction import ADVERSARIAL, FIDELITY
from core.tasks.super_resolution.run import FIRST, SECOND, Judge, Run, plan_event, stage_settings
from core.tasks.super_resolution.settings import SuperResolutionSettings
from core.tasks.super_resolution.validation import (
    ValidationData,
    ValidationScores,
    choose_planes,
    score,
    validate,
)
from core.tasks.task import OnEvent, ShouldStop, TrainingRequest, TrainingResult
from core.types import Split

PREFIXES = {FIRST: FIDELITY, SECOND: ADVERSARIAL}


class _Stopped(Exception):
    """Leaves the loops."""


def train(request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop) -> TrainingResult:
    """Train or resume until the budget is used or somebody stops it; write the model package at the end.

    Raises:
        TrainingError: when data, settings or memory do not allow it.
        WeightsError: when the initial weights or features do not fit or are not there.
        StorageError: when the disk is full.
    """
    started = time.perf_counter()
    run: Run | None = None
    try:
        run = prepare(request, on_event, should_stop, started)
        if run.plan.spec.architecture == "bicubic":
            run.keep_weights(run.baseline)
            return _finish(run, "bicubic enlargement has nothing to learn")
        if run.resume():
            on_event({"kind": "note", "message": f"Resumed in epoch {run.epochs + 1}."})
        reason = train_stage(run)
        if run.stand.stage < run.stages:
            run.begin_second_stage()
            on_event({"kind": "note", "message": _second_stage_words(run)})
            reason = train_stage(run)
        return _finish(run, reason)
    except _Stopped:
        if run is None or run.course.progress.step == 0:
            return TrainingResult({}, 0, time.perf_counter() - started, stopped=True, reason="stopped")
        run.save()
        return TrainingResult({}, run.epochs, run.seconds, stopped=True, reason="stopped")
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            "The GPU has too little memory for these settings; choose a smaller batch_size, patch or network."
        ) from error
    finally:
        if run is not None:
            run.feed.close()


def prepare(request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop, started: float) -> Run:
    """Plan, open the images, build network, loss and optimiser."""
    settings = request.settings
    if not isinstance(settings, SuperResolutionSettings):
        raise TrainingError(f"Super-resolution needs its own settings, got {type(settings).__name__}.")
    state = _first_weights(request, settings)
    with_bands = state is None or _splits_bands(state, request.snapshot)
    plan = make_plan(request.snapshot, settings, request.device, with_bands)
    seed_everything(settings.seed)
    on_event(plan_event(request, plan))
    on_event({"kind": "note", "message": "Preparing the images."})
    sources, val_sources = (_open(request, plan, split, on_event, should_stop) for split in ("train", "val"))
    network, initial = _build(request, settings, plan, state)
    on_event({"kind": "note", "message": initial.sentence()})
    features = find_features(settings.perceptual, request.other_models) if settings.adversarial else None
    validation = ValidationData(
        sources=val_sources,
        planes=choose_planes(val_sources, plan, settings),
        factors=plan.spec.factors,
        loss=FidelityLoss(settings.loss, settings.ssim_weight, settings.frequency_weight),
        device=request.device,
        precision=partial(precision_for, settings.mixed_precision, request.device),
    )
    maker = SampleMaker(sources, plan, settings.flips, settings.rotate90)
    first = stage_settings(settings, FIRST)
    return Run(
        request=request,
        settings=settings,
        plan=plan,
        network=network,
        optimiser=build_optimiser(network, first) if plan.spec.architecture != "bicubic" else _no_optimiser(),
        average=WeightAverage(network, settings.ema_decay) if settings.ema_decay > 0 else None,
        feed=Feed(maker, choose_workers(settings.workers, request.device), request.device.startswith("cuda")),
        table=plane_table(sources, plan),
        validation=validation,
        baseline=validate(Bicubic(plan.spec.factors), validation, partial(_go_on, should_stop)),
        initial=initial,
        features=features,
        on_event=on_event,
        should_stop=should_stop,
        course=Course(first, _validation_samples(validation, plan), Pace(started)),
    )


def train_stage(run: Run) -> str:
    """Train until this stage's budget is used; return why it ended."""
    reason = ""
    while not reason:
        train_epoch(run)
        reason = _end_epoch(run)
    return reason


def train_epoch(run: Run) -> None:
    """Train on the rest of this epoch's samples, or until the budget is used."""
    course = run.course
    if course.progress.position == 0:
        run.order = run.table.order(run.settings.seed, run.epochs)
        course.samples = len(run.order)
    run.network.train()
    with run.feed.batches(batch_keys(run)) as batches:
        for batch in batches:
            _go_on(run.should_stop)
            if course.is_over:
                return
            begun = time.perf_counter()
            set_learning_rate(run.optimiser, course.learning_rate)
            parts = (
                fidelity_step(run, batch) if run.judge is None else adversarial_step(run, run.judge, batch)
            )
            run.seen.append((len(batch.coarse), parts))
            course.progress.position += len(batch.coarse)
            course.progress.step += 1
            course.note_sample_seconds((time.perf_counter() - begun) / len(batch.coarse))
            _tell_step(run)
            if course.is_checkpoint_due() and course.progress.step > 1:
                run.save()
    course.progress.position = len(run.order)


def batch_keys(run: Run) -> Iterator[list[SampleKey]]:
    """Yield what each batch consists of; asked for some batches ahead of the network."""
    epoch, size, order = run.epochs, run.plan.batch_size, run.order
    for first in range(run.course.progress.position, len(order), size):
        yield [
            SampleKey(
                int(run.table.sources[order[place]]),
                int(run.table.planes[order[place]]),
                sample_seed(run.settings.seed, epoch, place),
            )
            for place in range(first, min(first + size, len(order)))
        ]


def fidelity_step(run: Run, batch: Batch) -> dict[str, Tensor]:
    """Take one step of the first stage: forward, distance to the true pixels, backward, move the weights."""
    coarse, fine = _on_device(run, batch)
    with precision_for(run.settings.mixed_precision, run.request.device):
        made = run.network(coarse)
    loss = run.validation.loss(made, fine)
    _move(run, loss)
    return {"train_loss": loss.detach()}


def adversarial_step(run: Run, judge: Judge, batch: Batch) -> dict[str, Tensor]:
    """Take one step of the second stage: the generator's, then the judge's.

    Source: Wang et al., ESRGAN (2018).
    """
    settings, device = run.settings, run.request.device
    coarse, fine = _on_device(run, batch)
    judge.network.requires_grad_(False)
    with precision_for(settings.mixed_precision, device):
        made = run.network(coarse)
        logits_made, logits_true = judge.network(_judged(made)), judge.network(_judged(fine))
    _, looks_real = relativistic_losses(logits_true.float(), logits_made.float())
    pixels = pixel_distance(made, fine, settings.loss)
    loss = pixels + settings.adversarial_weight * looks_real
    parts = {"real_loss": looks_real.detach(), "pixel_loss": pixels.detach()}
    if judge.perceptual is not None and settings.perceptual_weight > 0:
        with precision_for(settings.mixed_precision, device):
            perceptual = judge.perceptual(made, fine)
        loss = loss + settings.perceptual_weight * perceptual
        parts["perceptual_loss"] = perceptual.detach()
    _move(run, loss)
    judge.network.requires_grad_(True)
    with precision_for(settings.mixed_precision, device):
        logits_made, logits_true = judge.network(_judged(made.detach())), judge.network(_judged(fine))
    judged, _ = relativistic_losses(logits_true.float(), logits_made.float())
    set_learning_rate(judge.optimiser, run.course.learning_rate)
    judge.optimiser.zero_grad(set_to_none=True)
    judged.backward()
    judge.optimiser.step()
    return parts | {"train_loss": loss.detach(), "judge_loss": judged.detach()}


def _move(run: Run, loss: Tensor) -> None:
    """Move the generator's weights against the loss, and their average after them."""
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if run.settings.grad_clip > 0:
        nn.utils.clip_grad_norm_(run.network.parameters(), run.settings.grad_clip)
    run.optimiser.step()
    if run.average is not None:
        run.average.update(run.network)


def _on_device(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    device = run.request.device
    return batch.coarse.to(device, non_blocking=True), batch.fine.to(device, non_blocking=True)


def _judged(planes: Tensor) -> Tensor:
    """Cut planes to sides that a U-Net can halve three times, short ones repeated outwards; split their bands."""
    height, width = planes.shape[2:]
    if height < MULTIPLE or width < MULTIPLE:
        missing = (0, max(0, MULTIPLE - width), 0, max(0, MULTIPLE - height))
        planes = nn.functional.pad(planes, missing, mode="replicate")
        height, width = planes.shape[2:]
    return split_bands(planes[:, :, : height // MULTIPLE * MULTIPLE, : width // MULTIPLE * MULTIPLE])


def _go_on(should_stop: ShouldStop) -> None:
    if should_stop():
        raise _Stopped


def _open(
    request: TrainingRequest, plan: Plan, split: Split, on_event: OnEvent, should_stop: ShouldStop
) -> Sequence[Source]:
    settings = request.settings
    if not isinstance(settings, SuperResolutionSettings):
        raise TrainingError(f"Super-resolution needs its own settings, got {type(settings).__name__}.")
    sources, notes = open_sources(
        request.snapshot, settings, plan, split, request.work_dir / f"coarse-{split}",
        lambda done, items: _go_on(should_stop),
    )  # fmt: skip
    for note in notes:
        on_event({"kind": "note", "message": note})
    return sources


def _first_weights(request: TrainingRequest, settings: SuperResolutionSettings) -> dict[str, Tensor] | None:
    """Read the weights to begin with, of a model those of its first stage; None from scratch."""
    if settings.weights == "scratch" or settings.architecture == "bicubic":
        return None
    state = read_first_weights(settings.weights, request.initial_weights)
    first = {name.removeprefix(FIDELITY): value for name, value in state.items() if name.startswith(FIDELITY)}
    return first or state


def _splits_bands(state: dict[str, Tensor], snapshot: Snapshot) -> bool:
    """Tell from weights how their network was shown planes: detail and mean make two of each channel.

    Published weights, which take planes as they are, are of 1 or 3 channels.
    """
    taken = [value.shape[1] for name, value in state.items() if name.endswith("conv_first.weight")]
    own = {item.info.channels for item in snapshot.items}
    return bool(taken) and taken[0] % 2 == 0 and taken[0] not in own


def _build(
    request: TrainingRequest, settings: SuperResolutionSettings, plan: Plan, state: dict[str, Tensor] | None
) -> tuple[nn.Module, WeightsReport]:
    """Build the network on the device and give it its first weights, random ones where there are none."""
    network = build_network(plan.spec)
    if plan.spec.architecture == "bicubic":
        return network, WeightsReport("scratch")
    report = WeightsReport("scratch") if state is None else apply_weights(network, state, settings.weights)
    network.to(device=request.device, memory_format=memory_format_of(request.device))  # type: ignore[call-overload]
    return network, report


def _no_optimiser() -> torch.optim.Optimizer:
    """Return an optimiser of nothing, for bicubic enlargement."""
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)


def _validation_samples(validation: ValidationData, plan: Plan) -> int:
    """Return how many patches' worth of pixels a validation looks at."""
    pixels = sum(plane.coarse.shape[0] * plane.coarse.shape[1] for plane in validation.planes)
    return max(1, math.ceil(pixels / (plan.patch[0] * plan.patch[1])))


def _tell_step(run: Run) -> None:
    """Report the step, at most twice a second; stop when the loss is no number."""
    if not run.course.is_telling_due():
        return
    run.collect_losses()
    run.course.check_loss()
    event = run.course.step_event(run.plan.batch_size)
    later = (
        run.settings.minutes * 60 * run.settings.adversarial_share if run.stand.stage < run.stages else 0.0
    )
    eta = event["eta_seconds"]
    run.on_event(
        event
        | {
            "epoch": run.epochs + 1,
            "stage": run.stand.stage,
            "progress": run.note_progress(),
            "eta_seconds": None if eta is None else eta + later,
        }
    )


def _end_epoch(run: Run) -> str:
    """Validate when due, keep weights, report, save; return why the stage ends, or nothing."""
    course = run.course
    run.collect_losses()
    course.check_loss()
    losses = {
        name: total / max(1, course.progress.loss_count) for name, total in run.stand.loss_parts.items()
    }
    over = course.is_over
    scores = _validate(run) if over or course.is_validation_due() else None
    course.end_epoch()
    run.stand.loss_parts = {}
    if scores is not None and (course.note_score(scores.mean_psnr) or run.stand.stage == SECOND):
        run.keep_weights(scores)  # of the second stage the last ones: PSNR does not say how real they look
    _tell_epoch(run, losses, scores)
    reason = course.reason_to_end(over)
    if not reason and (course.progress.epoch == 1 or course.is_checkpoint_due()):
        run.save()
    return reason


def _validate(run: Run) -> ValidationScores:
    """Validate the averaged weights where there are any, else the present ones."""
    begun = time.perf_counter()
    with nullcontext() if run.average is None else run.average.applied_to(run.network):
        scores = validate(run.network, run.validation, partial(_go_on, run.should_stop))
    run.course.note_validation(begun)
    return scores


def _tell_epoch(run: Run, losses: dict[str, float], scores: ValidationScores | None) -> None:
    event: dict[str, Any] = {
        "kind": "epoch",
        "epoch": run.epochs,
        "stage": run.stand.stage,
        **losses,
        "lr": run.optimiser.param_groups[0]["lr"],
        "seconds": round(run.seconds, 2),
        "progress": run.note_progress(),
    }
    if scores is not None:
        baseline = run.baseline.mean_psnr
        event |= {"val_loss": scores.loss, "val_psnr": scores.mean_psnr, "val_psnr_bicubic": baseline}
    run.on_event(event)


def _second_stage_words(run: Run) -> str:
    source = "no features" if run.judge is None else run.judge.source
    return (
        f"Second stage: looking real, judged by a {run.settings.discriminator} discriminator; "
        f"features are compared by {source}."
    )


def _finish(run: Run, reason: str) -> TrainingResult:
    """Score the kept weights and write the package with the weights of both stages."""
    if FIRST not in run.kept:  # the last epoch validates, or early stopping has; kept for the type checker
        raise TrainingError("Training ended before its first validation; give it more time.")
    tables = {}
    for stage, weights in run.kept.items():
        run.network.load_state_dict(weights)
        tables[stage] = score(run.network, run.validation, partial(_go_on, run.should_stop))
    state = {
        f"{PREFIXES[stage]}{name}": value
        for stage, weights in run.kept.items()
        for name, value in weights.items()
    }
    write_package(run.request.out_dir, state, make_card(run, tables))
    return TrainingResult(metrics_of(tables[FIRST]), run.epochs, run.seconds, reason=reason)
