"""From an image to a mask on its own grid: whole planes or sliding windows, flip averaging, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from core.errors import WeightsError
from core.learning.devices import autocast_for, memory_format_of
from core.learning.package import load_weights, read_card
from core.learning.planes import (
    FloatArray,
    IntensityScale,
    channels_message,
    fit_to_grid,
    grid_shape,
    measure_scale,
    pad_to_window,
    prepare_plane,
    undo_fit_rows,
)
from core.learning.preprocessing import Preprocessing
from core.learning.sliding_window import Windows, blend_windows
from core.readings.reading import Mask
from core.tasks.segmentation.networks import build_network
from core.tasks.segmentation.spec import NetworkSpec, check_input_size
from core.tasks.task import PredictOptions
from core.types import Array, Image

# Pixels given to the network at once: enough to keep the device busy, little enough for any memory.
_BATCH_PIXELS = {"cpu": 2**19, "cuda": 2**22}
_DIMENSIONS = {"x": 3, "y": 2}  # of (N, C, H, W)
# Largest part of a plane for which float probabilities exist at once.
_BAND_PIXELS = 2**24
DEFAULT_OVERLAP = 0.5


def load_predictor(package_dir: Path, device: str = "cpu") -> SegmentationPredictor:
    """Check a model package, build its network and load its weights.

    Raises:
        WeightsError: when the package is damaged, foreign or for another task.
    """
    card = read_card(package_dir, "segmentation")
    state = load_weights(package_dir)
    try:
        spec = NetworkSpec.model_validate(card["spec"])
        preprocessing = Preprocessing.model_validate(card["preprocessing"])
        check_input_size(spec, preprocessing)
        values = [int(label["value"]) for label in card["labels"]]
        mirror_axes = [str(axis) for axis in card["inference"]["mirror_axes"]]
        network = build_network(spec)
        network.load_state_dict(state)
        if len(values) + 1 != spec.classes:
            raise ValueError(f"{len(values)} labels for {spec.classes} classes")
    except (ValidationError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"The card of model {Path(package_dir).name!r} does not fit its weights; "
            "export or train the model again."
        ) from error
    network.to(device=device, memory_format=memory_format_of(device))  # type: ignore[call-overload]
    return SegmentationPredictor(network, preprocessing, values, device, mirror_axes)


class SegmentationPredictor:
    """A network with all that is needed to read images with it."""

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        label_values: Sequence[int],
        device: str = "cpu",
        mirror_axes: Sequence[str] = ("x", "y"),
    ) -> None:
        """Keep the network, moved to the device.

        Args:
            network: gives one logit per class, background first.
            preprocessing: how images become its input.
            label_values: label map value of each class after the background, in the order of the outputs.
            device: "cpu" or "cuda:N".
            mirror_axes: "x" and "y" as far as the network was trained on mirrored images; flip averaging over
                an axis it never saw mirrored would spoil the result.
        """
        self._turns: list[tuple[int, ...]] = [()]
        for axis in mirror_axes:
            self._turns += [(*turn, _DIMENSIONS[axis]) for turn in self._turns]
        self.network = network.to(device)
        self.preprocessing = preprocessing
        self.device = device
        dtype = np.uint8 if max(label_values) <= 255 else np.uint16
        self.values = np.array((0, *label_values), dtype=dtype)

    def predict(self, image: Image, options: PredictOptions) -> Mask:
        """Return the mask of one image on its own grid; volumes and frames plane by plane.

        Raises:
            WeightsError: when the image's channels do not fit the model.
        """
        problem = channels_message(image.info.channels, self.preprocessing.channels)
        if problem is not None:
            raise WeightsError(problem)
        sheets = _Sheets.for_image(image, self.values, options)
        training = self.network.training
        self.network.eval()
        try:
            scale = measure_scale(image, self.preprocessing)
            grid = grid_shape(_plane_shape(image), image.info, self.preprocessing)
            if grid[0] <= self._window[0] and grid[1] <= self._window[1]:
                self._read_whole_planes(image, scale, grid, options, sheets)
            else:
                for index in range(image.info.slices):
                    self._read_by_windows(image, index, scale, options, sheets)
        finally:
            self.network.train(training)
        return sheets.to_mask(image)

    def probabilities(self, inputs: FloatArray, flips: bool) -> FloatArray:
        """Return softmax probabilities (N, classes, H, W) for inputs (N, H, W, channels) of the input size.

        With ``flips`` the mean over the input and its mirror images (along the axes trained on).
        """
        with torch.inference_mode():
            # Channels last at rest is torch's channels_last layout: no copy is made.
            images = torch.from_numpy(inputs).permute(0, 3, 1, 2).to(self.device, non_blocking=True)
            turns = self._turns if flips else self._turns[:1]
            total: torch.Tensor | None = None
            for axes in turns:
                with autocast_for(self.device):
                    logits = self.network(images.flip(axes) if axes else images)
                seen = logits.float().softmax(dim=1)
                seen = seen.flip(axes) if axes else seen
                total = seen if total is None else total + seen
            assert total is not None  # noqa: S101 - there is always the identity
            result: FloatArray = (total / len(turns)).cpu().numpy()
        return result

    @property
    def _window(self) -> tuple[int, int]:
        return self.preprocessing.input_height, self.preprocessing.input_width

    @property
    def _batch(self) -> int:
        """Inputs given to the network at once."""
        pixels = _BATCH_PIXELS[self.device.partition(":")[0]]
        return max(1, pixels // (self._window[0] * self._window[1]))

    def _read_whole_planes(
        self,
        image: Image,
        scale: IntensityScale,
        grid: tuple[int, int],
        options: PredictOptions,
        sheets: _Sheets,
    ) -> None:
        """Read planes that fit one input each, several at a time."""
        for first in range(0, image.info.slices, self._batch):
            indices = range(first, min(first + self._batch, image.info.slices))
            inputs, corner = [], (0, 0)
            for index in indices:
                plane = prepare_plane(image.plane(index), image.info, self.preprocessing, scale)
                padded, corner = pad_to_window(fit_to_grid(plane, grid), self.preprocessing)
                inputs.append(padded)
            seen = self.probabilities(np.stack(inputs), options.flips)
            seen = seen[:, :, corner[0] : corner[0] + grid[0], corner[1] : corner[1] + grid[1]]
            for index, one in zip(indices, seen, strict=True):
                sheets.write_from_grid(index, one)

    def _read_by_windows(
        self, image: Image, index: int, scale: IntensityScale, options: PredictOptions, sheets: _Sheets
    ) -> None:
        """Read one large plane through windows; at native resolution only a band of it is held as floats."""
        info, plane = image.info, image.plane(index)
        shape = _plane_shape(image)
        grid = grid_shape(shape, info, self.preprocessing)
        thin = grid[0] < self._window[0] or grid[1] < self._window[1]
        if grid == shape and not thin:
            windows = Windows(grid, self._window, _overlap_of(options), self._batch)
            bands = blend_windows(
                lambda top, end: prepare_plane(plane[top:end], info, self.preprocessing, scale),
                lambda inputs: self.probabilities(inputs, options.flips),
                windows,
            )
            for top, band in bands:
                sheets.write(index, top, band)
            return
        fitted = fit_to_grid(prepare_plane(plane, info, self.preprocessing, scale), grid)
        padded, (above, left) = pad_to_window(fitted, self.preprocessing)
        bands = blend_windows(
            lambda top, end: padded[top:end],
            lambda inputs: self.probabilities(inputs, options.flips),
            Windows((padded.shape[0], padded.shape[1]), self._window, _overlap_of(options), self._batch),
        )
        whole = np.concatenate([band for _, band in bands], axis=1)
        sheets.write_from_grid(index, whole[:, above : above + grid[0], left : left + grid[1]])


@dataclass(frozen=True)
class _Sheets:
    """The result while it is written, plane by plane and band by band.

    Attributes:
        labels: (planes, height, width), label map values.
        probabilities: uint8 (classes, planes, height, width), or None when nobody wants them.
        values: class number -> label map value.
        threshold: foreground probability from which a pixel is foreground; None takes the likeliest class.
    """

    labels: Array
    probabilities: Array | None
    values: Array
    threshold: float | None

    @classmethod
    def for_image(cls, image: Image, values: Array, options: PredictOptions) -> _Sheets:
        """Make empty sheets of the image's size."""
        if options.threshold is not None and not 0 <= options.threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {options.threshold}.")
        shape = (image.info.slices, *_plane_shape(image))
        kept = np.zeros((len(values), *shape), dtype=np.uint8) if options.keep_probabilities else None
        return cls(np.zeros(shape, dtype=values.dtype), kept, values, options.threshold)

    def write_from_grid(self, index: int, probabilities: FloatArray) -> None:
        """Bring a plane's probabilities (classes, h, w) back to the image's grid and write them."""
        height, width = self.labels.shape[1:]
        rows = max(1, _BAND_PIXELS // (width * len(self.values)))
        for top in range(0, height, rows):
            band = undo_fit_rows(probabilities, (height, width), top, min(top + rows, height))
            self.write(index, top, band)

    def write(self, index: int, top: int, band: FloatArray) -> None:
        """Write rows of a plane: label values and, when wanted, probabilities as 0 to 255."""
        rows = slice(top, top + band.shape[1])
        classes = band.argmax(axis=0)
        if self.probabilities is None and self.threshold is None:
            self.labels[index, rows] = self.values[classes]
            return
        rounded = np.rint(band * 255).astype(np.uint8)
        if self.probabilities is not None:
            self.probabilities[:, index, rows] = rounded
        if self.threshold is not None:
            # The rule of stored readings on the stored numbers: a page shows the same at this threshold.
            classes = Mask(classes.astype(np.uint16), rounded).at_threshold(self.threshold)
        self.labels[index, rows] = self.values[classes]

    def to_mask(self, image: Image) -> Mask:
        """Return the mask in the image's spatial shape."""
        shape = image.info.spatial_shape
        kept = self.probabilities
        return Mask(self.labels.reshape(shape), None if kept is None else kept.reshape(kept.shape[0], *shape))


def _overlap_of(options: PredictOptions) -> float:
    return DEFAULT_OVERLAP if options.overlap is None else options.overlap


def _plane_shape(image: Image) -> tuple[int, int]:
    height, width = image.info.spatial_shape[-2:]
    return height, width
