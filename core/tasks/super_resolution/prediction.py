"""From an image to one with finer pixels: tiles, mirrored looks, blended weights, agreement with the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor

from core.errors import WeightsError
from core.imaging.computed import computed_by, mark_computed
from core.imaging.geometry import finer_info
from core.imaging.resample import FloatArray
from core.learning.devices import autocast_for, memory_format_of
from core.learning.package import load_weights, read_card
from core.learning.sliding_window import Windows, blend_windows
from core.readings.reading import RestoredImage
from core.tasks.super_resolution.agreement import agree, rms_error
from core.tasks.super_resolution.degradation import Agreement
from core.tasks.super_resolution.networks import build_network, receptive_radius
from core.tasks.super_resolution.scaling import (
    ValueScale,
    image_factors,
    measure_scale,
    plane_at,
    plane_count,
    to_dtype,
)
from core.tasks.super_resolution.spec import Axes, Degradation, NetworkSpec, Scaling
from core.tasks.task import PredictOptions
from core.types import Array, Image

TILE = {"cpu": 192, "cuda": 384}  # coarse pixels
MOST_MARGIN = 24  # what lies farther away than this changes nothing that can be seen
FIDELITY, ADVERSARIAL = (
    "fidelity.",
    "adversarial.",
)  # before the names of the two sets of weights in a package
Turn = tuple[int, bool]  # quarter turns, then a flip left-right


@dataclass(frozen=True)
class Recipe:
    """How a model makes images finer; from its card.

    Attributes:
        spec: the network.
        scaling: how values are fed.
        degradation: how its training pairs were made.
        axes: which planes it sees.
        mirrored, turned: whether it was trained on mirrored and on turned patches.
        model: its name and the beginning of its weights' hash.
    """

    spec: NetworkSpec
    scaling: Scaling
    degradation: Degradation
    axes: Axes = "in_plane"
    mirrored: bool = True
    turned: bool = True
    model: str = ""

    @property
    def agreement(self) -> Agreement:
        """By what results are held against their input."""
        return Agreement.of(self.degradation, self.spec.factors)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The looks that are averaged: the plane as it is, mirrored, turned."""
        if not self.mirrored:
            return ((0, False),)
        square = self.turned and self.spec.factors[0] == self.spec.factors[1]
        quarters = (0, 1, 2, 3) if square else (0, 2)
        return tuple((turns, flip) for flip in (False, True) for turns in quarters)

    @property
    def how(self) -> str:
        """Say what computed an image."""
        through = " through plane" if self.axes == "through_plane" else ""
        return f"super-resolution x{max(self.spec.factors)}{through} by {self.model}"


def load_predictor(package_dir: Path, device: str = "cpu") -> SuperResolver:
    """Check a model package, build its network and load its weights.

    Raises:
        WeightsError: when the package is damaged, foreign or for another task.
    """
    card = read_card(package_dir, "super_resolution")
    state = load_weights(package_dir)
    try:
        recipe = recipe_from(card)
        sets = {prefix: _part(state, prefix) for prefix in (FIDELITY, ADVERSARIAL)}
        network = build_network(recipe.spec)
        for part in sets.values():
            if part:
                network.load_state_dict(part)
        if not sets[FIDELITY] and any(True for _ in network.parameters()):
            raise ValueError("no weights of the first stage")
    except (ValidationError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"The card of model {Path(package_dir).name!r} does not fit its weights; "
            "export or train the model again."
        ) from error
    return SuperResolver(recipe, sets[FIDELITY], sets[ADVERSARIAL] or None, device)


def recipe_from(card: Mapping[str, Any]) -> Recipe:
    """Read how a model works from its card.

    Raises:
        ValueError, KeyError: when something is missing or wrong.
    """
    told = card["preprocessing"]
    inference = card["inference"]
    return Recipe(
        spec=NetworkSpec.model_validate(card["spec"]),
        scaling=Scaling.model_validate(told["scaling"]),
        degradation=Degradation.model_validate(card["degradation"]),
        axes="through_plane" if told["axes"] == "through_plane" else "in_plane",
        mirrored=bool(inference["mirrored"]),
        turned=bool(inference["turned"]),
        model=f"{card['name']} ({str(card['weights_sha256'])[:8]})",
    )


class SuperResolver:
    """A network with all that is needed to make images finer with it."""

    def __init__(
        self,
        recipe: Recipe,
        fidelity: Mapping[str, Tensor],
        adversarial: Mapping[str, Tensor] | None = None,
        device: str = "cpu",
    ) -> None:
        """Keep the weights of one stage or of two.

        Args:
            recipe: how the model works.
            fidelity: weights trained for true pixels.
            adversarial: weights trained to look real besides; None where there was no such stage.
            device: "cpu" or "cuda:N".
        """
        self.recipe = recipe
        self.device = device
        self._fidelity = dict(fidelity)
        self._adversarial = None if adversarial is None else dict(adversarial)
        self._network = build_network(recipe.spec)
        self._network.to(device=device, memory_format=memory_format_of(device))  # type: ignore[call-overload]
        self._network.eval()
        self._blend = -1.0

    @property
    def can_blend(self) -> bool:
        """True when there are two sets of weights."""
        return self._adversarial is not None

    def predict(self, image: Image, options: PredictOptions) -> RestoredImage:
        """Return the image with finer pixels, in its own units and type, marked as computed.

        Raises:
            WeightsError: when the image does not fit the model, or there is nothing to blend.
        """
        array, spread = self.restore(image, options, image.array.dtype)
        info = mark_computed(finer_info(image.info, self.factors_of(image)), self._how(options))
        return RestoredImage(array, info, spread, self._facts(array, image, options))

    def restore(
        self, image: Image, options: PredictOptions, dtype: np.dtype
    ) -> tuple[Array, npt.NDArray[np.float16] | None]:
        """Return the finer array in a type, and how far the looks disagree (float16) where that is asked for.

        Raises:
            WeightsError: when the image does not fit the model, or there is nothing to blend.
        """
        scale = self.check(image)
        self._set_blend(options.blend or 0.0)
        recipe, count = self.recipe, plane_count(image.info, self.recipe.axes)
        shape = finer_info(image.info, self.factors_of(image)).shape
        spatial = shape[:-1] if image.info.layout[-1] == "c" else shape
        out = np.zeros(shape, dtype)
        turns = recipe.turns if options.flips else recipe.turns[:1]
        wants_spread = options.keep_probabilities and len(turns) > 1
        spread = np.zeros(spatial, np.float16) if wants_spread else None
        for index in range(count):
            coarse = scale.to_network(plane_at(image.array, image.info, recipe.axes, index))
            sheet = plane_at(out, image.info, recipe.axes, index)
            blur = None if spread is None else plane_at(spread, image.info, recipe.axes, index)
            for top, band in self._bands(coarse, turns, wants_spread):
                rows = slice(top, top + band.shape[1])
                values = band[: recipe.spec.channels].transpose(1, 2, 0)
                sheet[rows] = to_dtype(scale.from_network(values), out.dtype)
                if blur is not None:
                    blur[rows, :, 0] = band[-1] * (scale.high - scale.low)
            if self._is_projected(options):
                agree(sheet, coarse, scale, recipe.agreement)
        return out, spread

    def restore_plane(self, coarse: FloatArray, options: PredictOptions) -> FloatArray:
        """Return the fine plane (H, W, channels) of one coarse plane, both on the network's scale."""
        self._set_blend(options.blend or 0.0)
        turns = self.recipe.turns if options.flips else self.recipe.turns[:1]
        bands = [band.transpose(1, 2, 0) for _, band in self._bands(coarse, turns, with_spread=False)]
        made: FloatArray = np.ascontiguousarray(np.concatenate(bands))
        if self._is_projected(options):
            agree(made, coarse, ValueScale(0.0, 1.0), self.recipe.agreement)
        return made

    def factors_of(self, image: Image) -> tuple[int, ...]:
        """Return how many times finer each spatial axis of an image becomes."""
        return image_factors(image.info, self.recipe.spec.factors, self.recipe.axes)

    def run(self, planes: FloatArray, turns: tuple[Turn, ...], with_spread: bool = False) -> FloatArray:
        """Run the network on planes (N, H, W, channels) of its scale.

        Returns:
            (N, channels, H x fy, W x fx): the mean over the looks; with their deviation as one more channel.
        """
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(planes)).permute(0, 3, 1, 2)
            given = given.to(self.device, non_blocking=True)
            total = squares = None
            for turn in turns:
                with autocast_for(self.device):
                    made = self._network(_turned(given, turn))
                seen = _turned_back(made.float(), turn)
                total = seen if total is None else total + seen
                if with_spread:
                    squares = seen * seen if squares is None else squares + seen * seen
            assert total is not None  # noqa: S101 - there is always one look
            mean = total / len(turns)
            if squares is not None:
                variance = (squares / len(turns) - mean * mean).clamp_min(0).mean(dim=1, keepdim=True)
                mean = torch.cat([mean, variance.sqrt()], dim=1)
            result: FloatArray = mean.cpu().numpy()
        return result

    def _bands(self, coarse: FloatArray, turns: tuple[Turn, ...], with_spread: bool) -> Any:
        """Yield (first fine row, (maps, rows, width)) of a plane; memory is a row of tiles."""
        tile = TILE[self.device.partition(":")[0]]
        margin = min(receptive_radius(self.recipe.spec), MOST_MARGIN)
        size = (min(tile, coarse.shape[0]), min(tile, coarse.shape[1]))
        windows = Windows(
            (coarse.shape[0], coarse.shape[1]),
            size,
            batch=max(1, tile * tile // (size[0] * size[1])),
            factors=self.recipe.spec.factors,
            margin=margin,
        )
        return blend_windows(
            lambda top, end: coarse[top:end], lambda planes: self.run(planes, turns, with_spread), windows
        )

    def check(self, image: Image) -> ValueScale:
        """Check that an image fits, and measure its scale.

        Raises:
            WeightsError: when it does not fit.
        """
        channels = self.recipe.spec.channels
        if image.info.channels != channels:
            kinds = {1: "grey images", 3: "colour images"}
            wanted = kinds.get(channels, f"images of {channels} channels")
            raise WeightsError(
                f"The model makes {wanted} finer, this one has {image.info.channels} channels; choose another model "
                "or convert the image."
            )
        if self.recipe.axes == "through_plane" and not image.info.is_volume:
            raise WeightsError(
                "The model makes more slices of a volume, this image is none; choose another model."
            )
        if how := computed_by(image.info):
            raise WeightsError(
                f"This image was computed already ({how}); make the acquired one finer instead."
            )
        try:
            scale = measure_scale(image.array, self.recipe.scaling)
        except ValueError as error:
            raise WeightsError(f"The image cannot be made finer: {error}") from error
        return scale

    def _is_projected(self, options: PredictOptions) -> bool:
        """Tell whether results are made to agree with their input: asked for, or the degradation has no chance."""
        return not self.recipe.degradation.is_noisy if options.consistent is None else options.consistent

    def _set_blend(self, blend: float) -> None:
        """Load the weights, mixed from both stages: 0 is the first stage's, 1 the second's.

        Source: Wang et al., ESRGAN (2018), network interpolation.
        """
        if not 0 <= blend <= 1:
            raise WeightsError(f"blend must lie between 0 and 1, got {blend:g}.")
        if blend > 0 and self._adversarial is None:
            raise WeightsError("This model has no second stage to blend in; train one with adversarial on.")
        if blend == self._blend:
            return
        self._network.load_state_dict(blend_weights(self._fidelity, self._adversarial or {}, blend))
        self._blend = blend

    def _how(self, options: PredictOptions) -> str:
        share = f", {options.blend:.0%} of its adversarial stage" if options.blend else ""
        return self.recipe.how + share

    def _facts(self, array: Array, image: Image, options: PredictOptions) -> dict[str, float]:
        """Say how well the result agrees with its input: root mean square in units, and in dB of the range."""
        scale = measure_scale(image.array, self.recipe.scaling)
        count = plane_count(image.info, self.recipe.axes)
        total = 0.0
        for index in range(count):
            coarse = scale.to_network(plane_at(image.array, image.info, self.recipe.axes, index))
            total += (
                rms_error(
                    plane_at(array, image.info, self.recipe.axes, index), coarse, scale, self.recipe.agreement
                )
                ** 2
            )
        rms = sqrt(total / count)
        facts = {"consistency_rms": rms * (scale.high - scale.low), "blend": float(options.blend or 0.0)}
        return facts | ({"consistency_db": -20 * log10(rms)} if rms > 0 else {})


def blend_weights(
    fidelity: Mapping[str, Tensor], adversarial: Mapping[str, Tensor], blend: float
) -> dict[str, Tensor]:
    """Return the weights between two networks of one build; counters stay the first's."""
    if blend == 0:
        return dict(fidelity)
    return {
        name: torch.lerp(value.float(), adversarial[name].float(), blend).to(value.dtype)
        if value.dtype.is_floating_point
        else value
        for name, value in fidelity.items()
    }


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _turned(planes: Tensor, turn: Turn) -> Tensor:
    turned = torch.rot90(planes, turn[0], (2, 3))
    return turned.flip(3) if turn[1] else turned


def _turned_back(planes: Tensor, turn: Turn) -> Tensor:
    flipped = planes.flip(3) if turn[1] else planes
    return torch.rot90(flipped, -turn[0], (2, 3))
