"""Assistance in the warm process: what the browser sent about a case becomes proposals, plane by plane.

Kept between requests: features of tiles, samples of scribbles, loaded models. All of it is lost when the process ends,
and nothing but time is lost with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from core.assist.features import HALO_PX, pixel_features
from core.assist.grow import GrowOptions, grow_slices
from core.assist.levels import FloatArray, Levels, measure_levels, to_grey, to_rgb_bytes
from core.assist.marks import Clicks, Proposal, Scribbles, Stroke, draw_strokes
from core.assist.pixel_classifier import (
    ClassifierOptions,
    Samples,
    join_samples,
    propose_labels,
    take_samples,
    thin_samples,
    train_pixels,
)
from core.assist.promptables import checked_files, read_promptable
from core.assist.prompting import Encoding, PromptNetwork, propose_prompted
from core.assist.regions import propose_region
from core.assist.smoothing import SMOOTHINGS
from core.assist.tiles import Region, tiles_in_view
from core.errors import WeightsError
from core.imaging.regions import grow_region
from core.jobs.predicting import check_labels
from core.jobs.warm import Message
from core.learning.devices import pick_device
from core.readings.reading import Mask
from core.readings.runs import decode_runs
from core.settings import load_settings
from core.tasks import TASKS
from core.tasks.task import PredictOptions, Predictor
from core.types import Array, Image, ImageInfo, Layout
from core.workspace.records import Case
from core.workspace.workspace import Workspace

KEPT_TILES = 24
KEPT_CASES = 40  # whose scribbles are remembered
KEPT_MODELS = 2
KEPT_PRIORS = 8
KEPT_NETWORKS = 2
KEPT_ENCODINGS = 16
MOST_POINTS = 200_000
MOST_CLICKS = 200
MOST_SLICES = 400
OPTIONS = ClassifierOptions()


@dataclass
class Answer:
    """Proposals by plane: label maps, and how unsure they are (uint8, 255: no idea)."""

    planes: dict[int, Array] = field(default_factory=dict)
    unsure: dict[int, Array] = field(default_factory=dict)

    def message(self) -> Message:
        """Return it as it travels."""
        arrays = {f"plane {index}": plane for index, plane in self.planes.items() if plane.any()}
        return Message({}, arrays | {f"unsure {index}": plane for index, plane in self.unsure.items()})


@dataclass(frozen=True)
class Scene:
    """What is being marked, with the scale of its values."""

    store: Workspace
    case: Case
    image: Image
    levels: Levels


Tool = Callable[[Scene, dict[str, Any]], Answer]


@lru_cache(maxsize=1)
def open_store() -> Workspace:
    """Return the workspace of this process."""
    return Workspace.open(load_settings().home_path)


@lru_cache(maxsize=4)
def _scene(case_id: int, sha256: str) -> Scene:
    store = open_store()
    case = store.get_case(case_id)
    image = store.load_image(case)
    return Scene(store, case, image, measure_levels(image))


def assist(message: Message) -> Message:
    """Answer one request: ``case`` and what was ``asked`` (its "tool" says which of the rest is needed).

    Raises:
        NotFound: when the case is gone.
        ValueError: when the request does not hold what the tool needs.
    """
    asked = message.values["asked"]
    case = open_store().get_case(int(message.values["case"]))
    tool = ASSISTANTS.get(str(asked.get("tool")))
    if tool is None:
        raise ValueError(f"tool must be one of {', '.join(ASSISTANTS)}.")
    try:
        return tool(_scene(case.id, case.image_sha256), asked).message()
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError("The request does not say all that the tool needs.") from error


def _plane_number(info: ImageInfo, value: Any) -> int:
    index = int(value)
    if not 0 <= index < info.slices:
        raise ValueError(f"plane must lie between 0 and {info.slices - 1}, got {index}.")
    return index


def _shape(info: ImageInfo) -> tuple[int, int]:
    return info.spatial_shape[-2], info.spatial_shape[-1]


# --- region of similar values -------------------------------------------------------------------------------------


def _region(scene: Scene, asked: dict[str, Any]) -> Answer:
    """Everything of similar value that hangs together with the clicked pixel, on its slice or in the volume."""
    x, y, z = (int(value) for value in asked["point"])
    low, high = (float(value) for value in asked["range"])
    label, image = _label_in(asked), scene.image
    z = _plane_number(image.info, z)
    plane = _mean_of_channels(np.asarray(image.plane(z)), 2)
    if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]:
        # Of large images the browser may know only the mean of several pixels.
        shift = float(plane[y, x]) - (low + high) / 2
        low, high = low + shift, high + shift
    if asked.get("volume") and image.info.is_volume:
        found = grow_region(_mean_of_channels(np.asarray(image.array)), (z, y, x), (low, high))
        return Answer({int(at): _as(found[at], label) for at in np.flatnonzero(found.any(axis=(1, 2)))})
    return Answer({z: _as(grow_region(plane, (y, x), (low, high)), label)})


def _mean_of_channels(array: Array, spatial: int = 3) -> Array:
    return array if array.ndim == spatial else array[..., :3].mean(axis=-1)


def _label_in(asked: dict[str, Any]) -> int:
    label = int(asked.get("label", 1))
    if not 1 <= label <= 65535:
        raise ValueError("Choose a label first.")
    return label


def _as(mask: Array, label: int) -> Array:
    return np.where(mask, label, 0).astype(np.uint16)


# --- scribbles ----------------------------------------------------------------------------------------------------

_tiles: OrderedDict[tuple[str, int, Region], FloatArray] = OrderedDict()
_samples: OrderedDict[tuple[int, int], Samples] = OrderedDict()  # (project, case)


def _features(scene: Scene, index: int, tile: Region) -> FloatArray:
    """Return a tile's features, calculated once."""
    key = (scene.case.image_sha256, index, tile)
    if key not in _tiles:
        around = tile.grown(HALO_PX, _shape(scene.image.info))
        rows, columns = tile.within(around)
        _tiles[key] = pixel_features(scene.image.plane(index)[around.slices], scene.levels)[rows, columns]
        while len(_tiles) > KEPT_TILES:
            _tiles.popitem(last=False)
    _tiles.move_to_end(key)
    return _tiles[key]


def _scribble(scene: Scene, asked: dict[str, Any]) -> Answer:
    """Scribbles of several slices teach a forest that reads the slice in view."""
    info = scene.image.info
    shape, index = _shape(info), _plane_number(info, asked["plane"])
    scribbles = {plane: draw_strokes(strokes, shape) for plane, strokes in _strokes(info, asked).items()}
    options = ClassifierOptions(
        smoothing=asked.get("smoothing", OPTIONS.smoothing), only_marked=bool(asked.get("only_marked", True))
    )
    if options.smoothing not in SMOOTHINGS:
        raise ValueError(f"smoothing must be one of {', '.join(SMOOTHINGS)}.")
    parts = [_samples_on(scene, plane, one) for plane, one in scribbles.items()]
    samples = thin_samples(join_samples(parts), options.most_samples, options.seed)
    key = (scene.case.project_id, scene.case.id)
    _remember(key, samples)
    if asked.get("earlier"):
        earlier = [one for (project, case), one in _samples.items() if project == key[0] and case != key[1]]
        alike = [one for one in earlier if one.features.shape[1] == samples.features.shape[1]]
        samples = join_samples([samples, *alike])
    classifier = train_pixels(samples, options)
    here = scribbles.get(index) or draw_strokes([], shape)
    # On slices without a scribble nothing could be marked: all of it counts.
    if index not in scribbles:
        options = ClassifierOptions(smoothing=options.smoothing, only_marked=False)
    labels, unsure = np.zeros(shape, np.uint16), np.zeros(shape, np.uint8)
    for tile in tiles_in_view(shape, _view(asked, shape)):
        grey = to_grey(scene.image.plane(index)[tile.slices], scene.levels)
        found = propose_labels(
            classifier,
            _features(scene, index, tile),
            grey,
            here.on(tile.shape, (tile.top, tile.left)),
            options,
        )
        labels[tile.slices] = found.labels
        if found.uncertainty is not None:
            unsure[tile.slices] = np.rint(found.uncertainty * 255)
    return Answer({index: labels}, {index: unsure})


def _samples_on(scene: Scene, plane: int, scribbles: Scribbles) -> Samples:
    return take_samples(scribbles, lambda tile: _features(scene, plane, tile), _shape(scene.image.info))


def _remember(key: tuple[int, int], samples: Samples) -> None:
    _samples[key] = samples
    _samples.move_to_end(key)
    while len(_samples) > KEPT_CASES:
        _samples.popitem(last=False)


def _strokes(info: ImageInfo, asked: dict[str, Any]) -> dict[int, list[Stroke]]:
    strokes: dict[int, list[Stroke]] = {}
    points = 0
    for row in asked["strokes"]:
        points += len(row["points"])
        if points > MOST_POINTS:
            raise ValueError("There are too many scribbles; remove some.")
        line = tuple((float(point[0]), float(point[1])) for point in row["points"])
        stroke = Stroke(int(row["label"]), float(row["size"]), line)
        strokes.setdefault(_plane_number(info, row["plane"]), []).append(stroke)
    return strokes


def _view(asked: dict[str, Any], shape: tuple[int, int]) -> Region | None:
    if not asked.get("view"):
        return None
    left, top, right, bottom = (float(value) for value in asked["view"])
    region = Region(
        int(np.clip(top, 0, shape[0] - 1)), int(np.clip(left, 0, shape[1] - 1)),
        int(np.clip(np.ceil(bottom), 1, shape[0])), int(np.clip(np.ceil(right), 1, shape[1])),
    )  # fmt: skip
    return region if region.bottom > region.top and region.right > region.left else None


# --- clicks and boxes, growing ------------------------------------------------------------------------------------


def _click(scene: Scene, asked: dict[str, Any]) -> Answer:
    """The thing that is clicked on, or framed; a promptable network or a model's probability may lead."""
    index, label = _plane_number(scene.image.info, asked["plane"]), _label_in(asked)
    rows = [(float(row[0]), float(row[1]), bool(row[2])) for row in asked.get("points", [])[:MOST_CLICKS]]
    points = np.array([[int(np.floor(y)), int(np.floor(x))] for x, y, _ in rows], np.int32)
    positive = np.array([sign for _, _, sign in rows], np.bool_)
    box = None
    if asked.get("box"):
        left, top, right, bottom = (float(value) for value in asked["box"])
        height, width = _shape(scene.image.info)
        box = (
            max(0, int(np.floor(top))), max(0, int(np.floor(left))),
            min(height, int(np.ceil(bottom))), min(width, int(np.ceil(right))),
        )  # fmt: skip
    clicks = Clicks(points.reshape(-1, 2), positive, box)
    if asked.get("network"):
        found = _prompted(scene, str(asked["network"]), index, clicks)
        return Answer({index: _as(found.labels, label)})
    prior = None if asked.get("model") is None else _prior(scene, int(asked["model"]), index, label)
    found = propose_region(scene.image.plane(index), scene.levels, clicks, prior)
    return Answer({index: _as(found.labels, label)})


_encodings: OrderedDict[tuple[str, str, int, Region], Encoding] = OrderedDict()


@lru_cache(maxsize=KEPT_NETWORKS)
def _network(name: str, sha256: str) -> PromptNetwork:
    return PromptNetwork(*checked_files(open_store().home, name))


def _prompted(scene: Scene, name: str, index: int, clicks: Clicks) -> Proposal:
    """Ask a promptable network; its look at the image is kept, so that the next click is quick."""
    sha256 = read_promptable(open_store().home, name).encoder_sha256
    network = _network(name, sha256)

    def encode(region: Region) -> Encoding:
        key = (sha256, scene.case.image_sha256, index, region)
        if key not in _encodings:
            part = scene.image.plane(index)[region.slices]
            _encodings[key] = network.encode(to_rgb_bytes(part, scene.levels))
            while len(_encodings) > KEPT_ENCODINGS:
                _encodings.popitem(last=False)
        _encodings.move_to_end(key)
        return _encodings[key]

    return propose_prompted(_shape(scene.image.info), clicks, network, encode)


def _grow(scene: Scene, asked: dict[str, Any]) -> Answer:
    """From the label on one slice (its runs) to the neighbours."""
    info = scene.image.info
    index, label = _plane_number(info, asked["plane"]), _label_in(asked)
    if info.slices < 2:
        raise ValueError("This image has one slice only; there is nowhere to grow to.")
    runs = np.asarray(asked["runs"], np.uint32).reshape(-1, 2)
    mask = decode_runs(runs, _shape(info), np.uint8).astype(np.bool_)
    most = min(max(1, int(asked.get("most", 10))), MOST_SLICES)
    found = grow_slices(scene.image, index, mask, GrowOptions(most))
    return Answer({at: _as(one, label) for at, one in found.items()})


# --- models -------------------------------------------------------------------------------------------------------

_priors: OrderedDict[tuple[int, str, int], Mask] = OrderedDict()


@lru_cache(maxsize=KEPT_MODELS)
def _predictor(model_id: int) -> Predictor:
    store = open_store()
    model = store.get_model(model_id)
    return TASKS[model.task].load(store.model_dir(model), pick_device(load_settings().device))


def _read_plane(scene: Scene, model_id: int, index: int) -> Mask:
    """Run a model on one plane; the same plane is read once."""
    key = (model_id, scene.case.image_sha256, index)
    if key not in _priors:
        _check_model(scene, model_id)
        reading = _predictor(model_id).predict(_only_plane(scene.image, index), PredictOptions(flips=False))
        if not isinstance(reading, Mask):
            raise WeightsError("This model reads no masks; choose another one.")
        _priors[key] = reading
        while len(_priors) > KEPT_PRIORS:
            _priors.popitem(last=False)
    _priors.move_to_end(key)
    return _priors[key]


def _check_model(scene: Scene, model_id: int) -> None:
    model = scene.store.get_model(model_id)
    project = scene.store.get_project(scene.case.project_id)
    if model.task != project.task:
        raise WeightsError(f"The model {model.name} does {model.task}; this project asks for {project.task}.")
    check_labels(model, project.labels)


def _only_plane(image: Image, index: int) -> Image:
    info = image.info
    if info.slices == 1 and info.layout[0] == "y":
        return image
    plane = image.plane(index)
    layout: Layout = "yxc" if plane.ndim == 3 else "yx"
    spacing = info.in_plane_spacing_mm
    kept = ImageInfo(
        layout, plane.shape, info.dtype, spacing, None, info.modality, info.window, info.inverted
    )
    return Image(plane, kept)


def _prior(scene: Scene, model_id: int, index: int, label: int) -> FloatArray | None:
    reading = _read_plane(scene, model_id, index)
    labels = scene.store.get_project(scene.case.project_id).labels
    number = 1 + next((at for at, one in enumerate(labels) if one.value == label), len(labels))
    if reading.probabilities is None or number >= len(reading.probabilities):
        return None  # a label the model does not know
    prior: FloatArray = reading.probabilities[number].astype(np.float32) / np.float32(255)
    return prior


def _model(scene: Scene, asked: dict[str, Any]) -> Answer:
    """What a model sees: on the slice in view, or on all of them."""
    model_id = int(asked["model"])
    index = _plane_number(scene.image.info, asked["plane"])
    planes: Iterable[int] = range(scene.image.info.slices) if asked.get("all") else [index]
    answer = Answer()
    for at in planes:
        reading = _read_plane(scene, model_id, at)
        answer.planes[at] = reading.array
        if reading.probabilities is not None and not asked.get("all"):
            two = np.partition(reading.probabilities, -2, axis=0)[-2:].astype(np.int16)
            answer.unsure[at] = (255 - (two[1] - two[0])).astype(np.uint8)
    return answer


ASSISTANTS: dict[str, Tool] = {
    "region": _region,
    "scribble": _scribble,
    "click": _click,
    "grow": _grow,
    "model": _model,
}
