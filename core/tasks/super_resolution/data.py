"""Training samples: patches of fine planes and of the coarse ones made from them, drawn anew in every epoch.

Fine pixels are read from the store as touched. Where every image is made coarse in the same way, the coarse planes
are made once and kept on disk; else each patch is made coarse by itself, with its surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from core.errors import TrainingError
from core.imaging.resample import FloatArray, reduce
from core.imaging.stored import read_array
from core.learning import plane_cache
from core.learning.plane_cache import OnItem, read_training_image
from core.learning.snapshot import Snapshot, SnapshotItem, reading_path_of
from core.readings.reading import RestoredImage
from core.readings.stored import read_reading
from core.tasks.super_resolution.degradation import crop_to_multiple, degrade, disturb
from core.tasks.super_resolution.planning import Plan, usable_items
from core.tasks.super_resolution.scaling import (
    ValueScale,
    image_factors,
    measure_scale,
    plane_at,
    plane_count,
)
from core.tasks.super_resolution.settings import SuperResolutionSettings
from core.types import Array, ImageInfo, Split, info_from_json, info_to_json

FORMAT = "sightline-coarse/1"
MOST_PATCHES = 64  # of one plane in an epoch
MOST_SAMPLES = 8192  # in an epoch
SURROUNDINGS = 8  # coarse pixels around a patch that is made coarse by itself
TRIES, FLAT = 4, 0.005  # places looked at for a patch that is not flat; deviation on the network's scale


@dataclass(frozen=True)
class Source:
    """One case to draw patches from.

    Attributes:
        name: the case's.
        patient: whose it is.
        fine: true pixels, in the layout of ``info``.
        info: description of ``fine``.
        scale: its value scale.
        coarse: float32 (planes, h, w, channels) on the network's scale before noise; None where patches are made
            coarse one by one.
    """

    name: str
    patient: str
    fine: Array
    info: ImageInfo
    scale: ValueScale
    coarse: Array | None


class SampleKey(NamedTuple):
    """Everything a sample depends on."""

    source: int
    plane: int
    seed: int


class Batch(NamedTuple):
    """A step's pairs, float32 (N, C, H, W) on the network's scale, channels last in memory."""

    coarse: torch.Tensor
    fine: torch.Tensor


@dataclass(frozen=True)
class PlaneTable:
    """All planes to draw from, and how many patches each gives in an epoch."""

    sources: npt.NDArray[np.int64]
    planes: npt.NDArray[np.int64]
    patches: npt.NDArray[np.int64]

    def order(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return an epoch's samples as rows of this table, each row as often as it gives patches."""
        rows = np.repeat(np.arange(len(self.planes)), self.patches)
        return np.random.default_rng((seed, epoch)).permutation(rows)[:MOST_SAMPLES]


def open_sources(
    snapshot: Snapshot,
    settings: SuperResolutionSettings,
    plan: Plan,
    split: Split,
    folder: Path,
    on_item: OnItem,
) -> tuple[list[Source], list[str]]:
    """Open the cases of a split, making what is kept on disk when it is not there; also return what to say.

    Raises:
        TrainingError: when no case can be used, or pairs do not have the model's scale.
        StorageError: when the disk is full.
    """
    items = [item for item in usable_items(snapshot, settings) if item.split == split]
    identity = f"{FORMAT} {snapshot.sha256} {split} {plan.scaling} {plan.degradation} {plan.axes} {plan.spec.factors}"

    def build(empty: Path) -> plane_cache.Index:
        entries = []
        for done, item in enumerate(items, start=1):
            entries.append(_prepare(item, plan, empty / f"{done - 1}.npy"))
            on_item(done, len(items))
        return {"entries": entries}

    entries: list[dict[str, Any]] = plane_cache.open_cache(folder, identity, build)["entries"]
    notes = [f"{item.case_name} is left out: {entry['refused']}" for item, entry in zip(items, entries, strict=True)
             if entry.get("refused")]  # fmt: skip
    sources = [
        _open(item, plan, entry, folder / f"{number}.npy")
        for number, (item, entry) in enumerate(zip(items, entries, strict=True))
        if not entry.get("refused")
    ]
    if not sources:
        raise TrainingError(f"No {split} image can be used. {notes[0]}")
    return sources, notes


def plane_table(sources: Sequence[Source], plan: Plan) -> PlaneTable:
    """List all planes; larger ones give more patches, so that all pixels count about alike."""
    rows = []
    for number, source in enumerate(sources):
        first = plane_at(source.fine, source.info, plan.axes, 0)
        area = first.shape[0] // plan.spec.factors[0] * (first.shape[1] // plan.spec.factors[1])
        patches = int(np.clip(area // (plan.patch[0] * plan.patch[1]), 1, MOST_PATCHES))
        rows += [(number, plane, patches) for plane in range(plane_count(source.info, plan.axes))]
    return PlaneTable(*np.array(rows, np.int64).T)


def fine_plane(source: Source, plan: Plan, index: int) -> Array:
    """Return a fine plane (H, W, channels) in the image's units, cropped to whole coarse pixels."""
    return crop_to_multiple(plane_at(source.fine, source.info, plan.axes, index), plan.spec.factors)


def coarse_plane(source: Source, plan: Plan, index: int, random: np.random.Generator) -> FloatArray:
    """Return a whole coarse plane (h, w, channels) on the network's scale, with its noise."""
    if source.coarse is not None:
        return disturb(np.asarray(source.coarse[index]), plan.degradation, random)
    fine = source.scale.to_network(fine_plane(source, plan, index))
    return degrade(fine, plan.spec.factors, plan.degradation, random)


class SampleMaker:
    """Makes batches from keys: cut a pair of patches, mirror and turn them, stack. Same keys, same batch."""

    def __init__(self, sources: Sequence[Source], plan: Plan, flips: bool, rotate90: bool) -> None:
        """Make a maker; ``rotate90`` counts only where the network treats both axes alike."""
        self._sources = sources
        self._plan = plan
        self._flips = flips
        self._turns = (
            rotate90 and plan.spec.factors[0] == plan.spec.factors[1] and plan.patch[0] == plan.patch[1]
        )

    def __call__(self, keys: Sequence[SampleKey]) -> Batch:
        """Return the batch of these keys."""
        pairs = [self._sample(key) for key in keys]
        coarse, fine = (
            torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) for part in zip(*pairs, strict=True)
        )
        return Batch(coarse, fine)

    def _sample(self, key: SampleKey) -> tuple[FloatArray, FloatArray]:
        random = np.random.default_rng(key.seed)
        source = self._sources[key.source]
        fine = fine_plane(source, self._plan, key.plane)
        top, left = self._place(source, fine, key.plane, random)
        coarse_patch, fine_patch = self._cut(source, fine, key.plane, (top, left), random)
        return self._vary(coarse_patch, fine_patch, random)

    def _place(self, source: Source, fine: Array, index: int, random: np.random.Generator) -> tuple[int, int]:
        """Choose where a patch begins, in coarse pixels; flat ones are passed over where there are others."""
        (rows, columns), (height, width) = self._plan.spec.factors, self._plan.patch
        spare = (max(0, fine.shape[0] // rows - height), max(0, fine.shape[1] // columns - width))
        top = left = 0
        for _ in range(TRIES):
            top, left = (int(random.integers(length + 1)) for length in spare)
            window = fine[
                top * rows : (top + height) * rows : rows, left * columns : (left + width) * columns : columns
            ]
            if source.scale.to_network(window).std() > FLAT:
                break
        return top, left

    def _cut(
        self, source: Source, fine: Array, index: int, place: tuple[int, int], random: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Cut both patches; planes smaller than a patch are mirrored outwards."""
        plan, (top, left) = self._plan, place
        rows, columns = plan.spec.factors
        inner = np.s_[
            top * rows : (top + plan.patch[0]) * rows, left * columns : (left + plan.patch[1]) * columns
        ]
        wanted = source.scale.to_network(fine[inner])
        if source.coarse is not None:
            window = np.s_[index, top : top + plan.patch[0], left : left + plan.patch[1]]
            given = disturb(np.asarray(source.coarse[window]), plan.degradation, random)
        else:
            given = self._make_coarse(source, fine, place, random)
        return _mirrored(given, plan.patch), _mirrored(
            wanted, (plan.patch[0] * rows, plan.patch[1] * columns)
        )

    def _make_coarse(
        self, source: Source, fine: Array, place: tuple[int, int], random: np.random.Generator
    ) -> FloatArray:
        """Make a patch coarse together with its surroundings, which are then cut off."""
        cuts, inner = [], []
        for axis, factor in enumerate(self._plan.spec.factors):
            first = max(0, place[axis] - SURROUNDINGS)
            end = min(fine.shape[axis] // factor, place[axis] + self._plan.patch[axis] + SURROUNDINGS)
            cuts.append(slice(first * factor, end * factor))
            inner.append(slice(place[axis] - first, place[axis] - first + self._plan.patch[axis]))
        around = source.scale.to_network(fine[cuts[0], cuts[1]])
        return degrade(around, self._plan.spec.factors, self._plan.degradation, random)[inner[0], inner[1]]

    def _vary(
        self, coarse: FloatArray, fine: FloatArray, random: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        pair = [coarse, fine]
        turns = int(random.integers(4)) if self._turns else 0
        flips = random.integers(2, size=2) if self._flips else (0, 0)
        for number, patch in enumerate(pair):
            patch = np.rot90(patch, turns)
            for axis in range(2):
                patch = np.flip(patch, axis) if flips[axis] else patch
            pair[number] = np.ascontiguousarray(patch)
        return pair[0], pair[1]


def _prepare(item: SnapshotItem, plan: Plan, path: Path) -> dict[str, Any]:
    """Measure a case's scale and write what is kept of it; or say why it cannot be used."""
    fine, info = _true_image(item, plan, path.with_name(f"fine-{path.name}"))
    try:
        scale = measure_scale(fine, plan.scaling)
        for index in range(plane_count(info, plan.axes)):
            _check_finite(plane_at(fine, info, plan.axes, index))
    except ValueError as error:
        return {"refused": str(error)}
    entry: dict[str, Any] = {"low": scale.low, "high": scale.high, "info": info_to_json(info)}
    if plan.degradation.real_pairs:
        coarse_image = read_training_image(item)
        planes = [
            scale.to_network(plane_at(coarse_image.array, item.info, plan.axes, index))
            for index in range(plane_count(item.info, plan.axes))
        ]
        np.save(path, np.stack(planes))
    elif plan.degradation.is_fixed:
        _write_coarse(fine, info, scale, plan, path)
    return entry


def _write_coarse(fine: Array, info: ImageInfo, scale: ValueScale, plan: Plan, path: Path) -> None:
    """Write all planes of a case, reduced but without noise."""
    count, factors = plane_count(info, plan.axes), plan.spec.factors
    first = crop_to_multiple(plane_at(fine, info, plan.axes, 0), factors)
    shape = (count, first.shape[0] // factors[0], first.shape[1] // factors[1], first.shape[2])
    plane_cache.check_space(path.parent, int(np.prod(shape)) * 4)
    out = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for index in range(count):
        plane = scale.to_network(crop_to_multiple(plane_at(fine, info, plan.axes, index), factors))
        out[index] = reduce(plane, factors, plan.degradation.reduction, plan.degradation.mean_blur)
    out.flush()


def _true_image(item: SnapshotItem, plan: Plan, path: Path) -> tuple[Array, ImageInfo]:
    """Return a case's true pixels: its image, or for real pairs the finer image of its reference.

    Raises:
        TrainingError: when a pair has another scale than the model is to learn.
    """
    if not plan.degradation.real_pairs:
        image = read_training_image(item)
        return image.array, image.info
    reading = read_reading(reading_path_of(item), with_probabilities=False)
    if not isinstance(reading, RestoredImage):
        raise TrainingError(
            f"The reference of {item.case_name} is a {reading.kind}, a finer image is needed."
        )
    wanted = image_factors(item.info, plan.spec.factors, plan.axes)
    given = reading.factors(item.info)
    if given != wanted:
        words = " x ".join(map(str, given)) if given else "no whole number of"
        raise TrainingError(
            f"The pair of {item.case_name} is {words} times finer, this training learns "
            f"{' x '.join(map(str, wanted))}; set scale to the pairs' own and keep pairs of one scale in a project."
        )
    np.save(path, reading.array)
    return reading.array, reading.info


def _open(item: SnapshotItem, plan: Plan, entry: dict[str, Any], path: Path) -> Source:
    scale = ValueScale(float(entry["low"]), float(entry["high"]))
    coarse = read_array(path) if path.exists() else None
    if not plan.degradation.real_pairs:
        image = read_training_image(item)
        return Source(item.case_name, item.patient_key, image.array, item.info, scale, coarse)
    fine = read_array(path.with_name(f"fine-{path.name}"))
    return Source(item.case_name, item.patient_key, fine, info_from_json(entry["info"]), scale, coarse)


def _check_finite(plane: Array) -> None:
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise ValueError("some of its values are no numbers (NaN or infinite); repair the image first.")


def _mirrored(patch: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Mirror a patch outwards at its lower and right border until it has this size."""
    missing = [max(0, want - have) for have, want in zip(patch.shape, size, strict=False)]
    if not any(missing):
        return patch
    return np.pad(patch, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")
