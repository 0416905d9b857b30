"""Running a promptable network: the encoder looks at a picture once, the decoder answers each click or box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core.assist.levels import FloatArray
from core.assist.marks import Clicks, Proposal, Shape
from core.assist.promptables import PromptCard, unpack_promptable, write_promptable
from core.assist.tiles import Region, whole_plane
from core.errors import WeightsError
from core.types import Array

POSITIVE, NEGATIVE, TOP_LEFT, BOTTOM_RIGHT, PADDING = 1, 0, 2, 3, -1  # SAM's labels of points
COORDS, LABELS, MASK, HAS_MASK, SIZE = (
    "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size",
)  # fmt: skip
PROMPTS = (COORDS, LABELS, MASK, HAS_MASK, SIZE)
WINDOW = 2  # a plane whose longer side is more than so many times image_px is looked at in windows
MASK_PX = 256  # of SAM's mask_input, where the file does not say
DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """What the encoder made of a picture.

    Attributes:
        outputs: by name.
        size: rows and columns of the picture.
        scaled: rows and columns it had on the encoder's square.
    """

    outputs: dict[str, Array]
    size: Shape
    scaled: Shape


class PromptNetwork:
    """A promptable network, ready to run.

    Args:
        card: what it needs; ``image_px`` and the number of channels follow the encoder where it fixes them.
        encoder: the ONNX file of the encoder; one input of shape (1, 1 or 3, side, side).
        decoder: the ONNX file of the decoder; its inputs are outputs of the encoder by name and prompts as SAM
            names them; its output "masks" or "low_res_masks" (or the first of four dimensions) holds logits.

    Raises:
        WeightsError: when the files are no such networks.
    """

    def __init__(self, card: PromptCard, encoder: bytes, decoder: bytes) -> None:
        self._encoder = _open(encoder, "encoder", card.name)
        self._decoder = _open(decoder, "decoder", card.name)
        self.card = self._fitted(card)
        self._sources = self._pair_up()

    def encode(self, picture: Array) -> Encoding:
        """Look at a picture, uint8 (h, w, 3)."""
        side, (height, width) = self.card.image_px, (picture.shape[0], picture.shape[1])
        scale = side / max(height, width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(picture), (columns, rows), interpolation=how).astype(
            np.float32
        )
        if len(self.card.mean) == 1:
            small = small.mean(axis=2, keepdims=True)
        mean, std = (np.array(values, np.float32) for values in (self.card.mean, self.card.std))
        small = ((small - mean) / std).astype(np.float32)
        square = np.zeros((1, small.shape[2], side, side), np.float32)
        square[0, :, :rows, :columns] = small.transpose(2, 0, 1)
        given = self._encoder.get_inputs()[0]
        outputs = _run(self._encoder, {given.name: square.astype(_dtype(given))})
        return Encoding(outputs, (height, width), (rows, columns))

    def decode(self, encoding: Encoding, clicks: Clicks) -> FloatArray:
        """Return logits (h, w) of the thing meant; above 0 is inside.

        Args:
            encoding: of the picture.
            clicks: in the picture's pixels.
        """
        feed: dict[str, Array] = {
            name: encoding.outputs[source] for name, source in self._sources.items() if source not in PROMPTS
        }
        prompts = self._prompts(encoding, clicks)
        for given in self._decoder.get_inputs():
            if given.name not in feed:
                feed[given.name] = prompts[self._sources[given.name]](given).astype(_dtype(given))
        return self._logits(_run(self._decoder, feed), encoding)

    def try_out(self) -> None:
        """Run once on an empty picture that is not square.

        Raises:
            WeightsError: when something does not fit.
        """
        encoding = self.encode(np.zeros((40, 56, 3), np.uint8))
        click = Clicks(np.array([[20, 20]], np.int32), np.array([True]))
        boxed = Clicks(np.array([[20, 20], [3, 3]], np.int32), np.array([True, False]), (5, 5, 30, 40))
        for clicks in (click, boxed):
            if not np.isfinite(self.decode(encoding, clicks)).all():
                raise WeightsError(f"The network {self.card.name} gives values that are no numbers.")

    def _fitted(self, card: PromptCard) -> PromptCard:
        """Take over what the encoder's input fixes."""
        inputs = self._encoder.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise WeightsError(
                f"The encoder of {card.name} must take one picture of shape (1, 3, side, side), it takes "
                f"{', '.join(str(one.shape) for one in inputs)}; export it that way."
            )
        fixed = [size for size in shape[2:] if isinstance(size, int)]
        if len(set(fixed)) > 1:
            raise WeightsError(
                f"The encoder of {card.name} must take a square picture, it takes {shape[2:]}."
            )
        side, channels = (fixed[0] if fixed else card.image_px), int(shape[1])
        mean, std = (
            values if len(values) == channels else (float(np.mean(values)),) * channels
            for values in (card.mean, card.std)
        )
        return replace(card, image_px=side, mean=mean, std=std)

    def _pair_up(self) -> dict[str, str]:
        """Return where each input of the decoder comes from: an output of the encoder, or a prompt."""
        outputs = [one.name for one in self._encoder.get_outputs()]
        inputs = [one.name for one in self._decoder.get_inputs()]
        sources = {name: name for name in inputs if name in outputs or name in PROMPTS}
        sources |= {name: SIZE for name in inputs if name in ("orig_size", "original_size")}
        left = [name for name in inputs if name not in sources]
        free = [name for name in outputs if name not in sources]
        if len(left) == len(free) == 1:  # embeddings under another name
            sources[left[0]] = free[0]
            left = []
        missing = [name for name in (COORDS, LABELS) if name not in sources]
        if left or missing:
            what = f"takes {left[0]}, which nothing gives" if left else f"takes no {missing[0]}"
            raise WeightsError(
                f"The decoder of {self.card.name} {what}; its inputs must be outputs of the encoder and "
                f"{', '.join(PROMPTS)}."
            )
        return sources

    def _prompts(self, encoding: Encoding, clicks: Clicks) -> dict[str, Callable[[Any], Array]]:
        scale = np.array(encoding.scaled[::-1]) / np.array(encoding.size[::-1])  # of (x, y)
        points = [
            ((x + 0.5, y + 0.5), int(sign))
            for (y, x), sign in zip(clicks.points_yx, clicks.positive, strict=True)
        ]
        if clicks.box_yxyx is None:
            points.append(((0.0, 0.0), PADDING))
        else:
            top, left, bottom, right = clicks.box_yxyx
            points += [((left, top), TOP_LEFT), ((right, bottom), BOTTOM_RIGHT)]
        coords = np.array([place for place, _ in points], np.float32) * scale
        labels = np.array([label for _, label in points])
        return {
            COORDS: lambda given: coords[None],
            LABELS: lambda given: labels[None],
            MASK: lambda given: np.zeros(_fixed(given.shape, (1, 1, MASK_PX, MASK_PX))),
            HAS_MASK: lambda given: np.zeros(1),
            SIZE: lambda given: np.array(encoding.size),
        }  # fmt: skip

    def _logits(self, found: dict[str, Array], encoding: Encoding) -> FloatArray:
        name: str | None = next((one for one in ("masks", "low_res_masks") if one in found), None)
        name = name or next((one for one, array in found.items() if array.ndim == 4), None)
        if name is None or found[name].ndim != 4:
            raise WeightsError(
                f"The decoder of {self.card.name} must give masks of shape (1, n, rows, columns); export it that way."
            )
        masks = found[name][0].astype(np.float32)
        quality = found.get("iou_predictions")
        best = 0 if quality is None or quality.size != len(masks) else int(quality.reshape(-1).argmax())
        mask, (height, width) = masks[best], encoding.size
        if mask.shape != encoding.size:  # of the encoder's square: cut off what was filled up
            side, (rows, columns) = self.card.image_px, encoding.scaled
            mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR)[:rows, :columns]
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(mask, np.float32)


def add_promptable(zip_path: Path, home: Path, name: str) -> PromptCard:
    """Take a network in from a zip file, try it on an empty picture, and keep it.

    Raises:
        WeightsError: when the zip holds no network that can be run here.
        Conflict: when the name is taken.
        StorageError: when the disk cannot take it.
    """
    return keep_promptable(home, *unpack_promptable(zip_path, name))


def keep_promptable(home: Path, card: PromptCard, encoder: bytes, decoder: bytes) -> PromptCard:
    """Try a network on an empty picture and keep it; raises as ``add_promptable``."""
    network = PromptNetwork(card, encoder, decoder)
    network.try_out()
    return write_promptable(home, network.card, encoder, decoder)


def propose_prompted(
    shape: Shape, clicks: Clicks, network: PromptNetwork, encode: Callable[[Region], Encoding]
) -> Proposal:
    """Return the thing that is clicked on or framed, as a promptable network sees it.

    Args:
        shape: rows and columns of the plane.
        clicks: inside of the plane.
        network: the network.
        encode: returns the encoding of a part of the plane; called once, so that the caller can keep it.

    Raises:
        ValueError: when a click lies outside of the plane.
        WeightsError: when the network cannot be run.
    """
    clicks.check(shape)
    window = window_of(shape, clicks, network.card.image_px)
    inside = _inside(clicks.moved((-window.top, -window.left)), window.shape)
    logits = network.decode(encode(window), inside)
    probability = np.zeros(shape, np.float32)
    probability[window.slices] = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return Proposal((probability > 0.5).astype(np.uint8), probability)


def window_of(shape: Shape, clicks: Clicks, image_px: int) -> Region:
    """Return the part of a plane to look at: all of it, or a window that neighbouring clicks share."""
    if max(shape) <= WINDOW * image_px:
        return whole_plane(shape)
    corners = clicks.points_yx[clicks.positive]
    if clicks.box_yxyx is not None:
        corners = np.vstack([corners, np.array(clicks.box_yxyx).reshape(2, 2)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    side = int(max(WINDOW * image_px, 1.5 * (high - low).max()))
    step = side // 2  # windows overlap by half: what is clicked on lies in the middle half of one
    starts = np.rint(((low + high) / 2 - side / 2) / step).astype(int) * step
    top, left = (
        int(np.clip(start, 0, max(0, size - side))) for start, size in zip(starts, shape, strict=True)
    )
    return Region(top, left, min(shape[0], top + side), min(shape[1], left + side))


def _inside(clicks: Clicks, shape: Shape) -> Clicks:
    """Leave out clicks beyond the window; cut the box off at its border."""
    kept = ((clicks.points_yx >= 0) & (clicks.points_yx < np.array(shape))).all(axis=1)
    box = clicks.box_yxyx
    if box is not None:
        top, left, bottom, right = box
        box = (max(0, top), max(0, left), min(shape[0], bottom), min(shape[1], right))
    return Clicks(clicks.points_yx[kept], clicks.positive[kept], box)


def _open(content: bytes, kind: str, name: str) -> Any:
    """Return a session for an ONNX file; on a GPU where onnxruntime has one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [one for one in wanted if one in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # a foreign file: the library raises types of its own
        raise WeightsError(
            f"The {kind} of {name} is no ONNX network that can be run here; export it again."
        ) from error


def _run(session: Any, feed: dict[str, Array]) -> dict[str, Array]:
    names = [one.name for one in session.get_outputs()]
    try:
        return dict(zip(names, session.run(None, feed), strict=True))
    except Exception as error:  # a foreign network: the library raises types of its own
        raise WeightsError(
            "The promptable network cannot be run: what it was given does not fit it; export it again."
        ) from error


def _fixed(shape: Sequence[int | str], otherwise: Sequence[int]) -> list[int]:
    """Fill in what a file leaves open."""
    return [size if isinstance(size, int) else other for size, other in zip(shape, otherwise, strict=True)]


def _dtype(given: Any) -> type[np.generic] | npt.DTypeLike:
    try:
        return DTYPES[given.type]
    except KeyError as error:
        raise WeightsError(
            f"The network takes {given.name} as {given.type}, which is not supported."
        ) from error
