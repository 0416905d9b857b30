"""Prediction: back on the image's own grid, without seams, whatever the size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import WeightsError
from core.learning.package import CARD_NAME, write_package
from core.learning.preprocessing import Preprocessing
from core.learning.sliding_window import Windows, blend_windows, gaussian_weights
from core.tasks.segmentation.networks import build_network
from core.tasks.segmentation.prediction import SegmentationPredictor, load_predictor
from core.tasks.segmentation.spec import NetworkSpec
from core.tasks.task import PredictOptions
from core.types import Image, ImageInfo

PLAIN = PredictOptions(flips=False)
SPEC = NetworkSpec(architecture="classic_unet", base_features=4, levels=3)


class PixelNetwork(nn.Module):
    """Sees single pixels only: bright is class 1. What surrounds a pixel cannot change its answer."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.classes = classes
        self.calls: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(images.shape))
        grey = images.mean(dim=1)
        return torch.stack(
            [grey * (3.0 if number == 1 else -number) for number in range(self.classes)], dim=1
        )


class LeftNetwork(nn.Module):
    """Answers by place, not by content: class 1 on the left half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        left = (torch.arange(width) < width // 2).float().expand(len(images), height, width)
        return torch.stack([torch.zeros_like(left), left * 2], dim=1)


def _image(shape: tuple[int, ...], layout: str = "yx", seed: int = 0, **facts: object) -> Image:
    array = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    return Image(array, ImageInfo(layout=layout, shape=shape, dtype="float32", **facts))  # type: ignore[arg-type]


def _predictor(network: nn.Module, **settings: object) -> SegmentationPredictor:
    values = {"input_height": 32, "input_width": 48, "normalisation": "range", "range_high": 1.0, **settings}
    return SegmentationPredictor(network, Preprocessing.model_validate(values), [1])


def _softmax_of(image: Image) -> np.ndarray:
    """P(class 1) of PixelNetwork at each pixel, for range 0..1."""
    return 1 / (1 + np.exp(-3.0 * np.clip(image.array, 0, 1)))


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (32, 48), (33, 48), (20, 200), (200, 20), (97, 130)])
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_windows_leave_no_seams(shape: tuple[int, int], flips: bool, overlap: float) -> None:
    image = _image(shape)
    options = PredictOptions(flips=flips, overlap=overlap)
    mask = _predictor(PixelNetwork(), fit="patch").predict(image, options)
    assert mask.array.shape == shape
    assert mask.probabilities is not None
    expected = np.rint(_softmax_of(image) * 255)
    assert np.abs(mask.probabilities[1].astype(int) - expected).max() <= 1
    assert np.array_equal(mask.array == 1, _softmax_of(image) > 0.5)


def test_a_real_network_by_windows_equals_the_whole_image_in_the_middle() -> None:
    """What a window sees wrongly at its border is outweighed by the windows that see it in their middle."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1)).eval()
    rows = np.random.default_rng(0).normal(0, 1, (96, 80, 1)).astype(np.float32)

    def look(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(inputs).permute(0, 3, 1, 2)).softmax(1).numpy()

    windows = Windows((96, 80), (48, 48), overlap=0.5, batch=3)
    blended = np.concatenate(
        [band for _, band in blend_windows(lambda a, b: rows[a:b], look, windows)], axis=1
    )
    whole = look(rows[None])[0]
    assert np.allclose(blended.sum(0), 1, atol=1e-5)
    assert np.abs(blended - whole).max() < 0.002  # along the plane's own edges as well


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 64), (48, 96), (80, 128)])
def test_the_blend_equals_monai(shape: tuple[int, int]) -> None:
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 7, padding=3)
    # The window's own place in it changes the answer: any other weights or places would show.
    slope = torch.linspace(0, 1, 32)[:, None] * torch.linspace(0, 2, 32)[None]
    rows = np.random.default_rng(1).normal(0, 1, (*shape, 1)).astype(np.float32)
    windows = Windows(shape, (32, 32), overlap=0.5)
    with torch.inference_mode():
        expected = sliding_window_inference(
            torch.from_numpy(rows).permute(2, 0, 1)[None],
            (32, 32),
            4,
            lambda seen: (network(seen) + slope).softmax(1),
            overlap=0.5,
            # MONAI bounds the weight of a pixel from below, we that of each axis (better along the plane's
            # edges, see the test above); with the same weights the blends are equal.
            roi_weight_map=torch.from_numpy(gaussian_weights((32, 32))),
        )[0].numpy()
        bands = list(
            blend_windows(
                lambda a, b: rows[a:b],
                lambda x: (network(torch.from_numpy(x).permute(0, 3, 1, 2)) + slope).softmax(1).numpy(),
                windows,
            )
        )
    blended = np.concatenate([band for _, band in bands], axis=1)
    assert np.abs(blended - expected).max() < 1e-5


def test_windows_cover_the_plane_and_end_with_it() -> None:
    for length in (32, 33, 47, 48, 64, 100, 1000):
        windows = Windows((length, 32), (32, 32))
        starts = windows.starts(0)
        assert starts[0] == 0
        assert starts[-1] == length - 32
        assert max(np.diff(starts), default=0) <= 16
        assert len(set(starts)) == len(starts)
    with pytest.raises(ValueError, match="overlap"):
        Windows((64, 64), (32, 32), overlap=1.0)
    with pytest.raises(ValueError, match="at least as large"):
        Windows((16, 64), (32, 32))
    weights = gaussian_weights((32, 48))
    assert weights.shape == (32, 48)
    offset = (np.arange(48) - 23.5) / 6  # a deviation of an eighth of the window
    assert np.allclose(weights[16] / weights[16].max(), np.maximum(np.exp(-0.5 * offset**2), 1e-3), rtol=0.01)
    assert weights.min() > 0
    assert np.allclose(weights, weights[::-1, ::-1])


def test_a_large_plane_is_read_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only bands of rows are prepared, so that a huge image never lies in memory as floats."""
    from core.tasks.segmentation import prediction

    heights = []
    real = prediction.prepare_plane

    def prepare(plane: np.ndarray, *rest: object) -> np.ndarray:
        heights.append(plane.shape[0])
        return real(plane, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prediction, "prepare_plane", prepare)
    _predictor(PixelNetwork(), fit="patch").predict(_image((500, 60)), PLAIN)
    assert max(heights) == 32


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (300, 20), (32, 48)])
def test_whole_planes_come_back_at_their_size(shape: tuple[int, int]) -> None:
    network = PixelNetwork()
    mask = _predictor(network).predict(_image(shape), PLAIN)
    assert network.calls == [(1, 1, 32, 48)]
    assert mask.array.shape == shape
    assert mask.array.dtype == np.uint8
    assert mask.probabilities is not None
    assert mask.probabilities.shape == (2, *shape)
    assert np.abs(mask.probabilities.sum(axis=0, dtype=int) - 255).max() <= 1


def test_bands_of_a_resized_plane_join(monkeypatch: pytest.MonkeyPatch) -> None:
    image = _image((300, 40))
    whole = _predictor(PixelNetwork()).predict(image, PLAIN)
    monkeypatch.setattr("core.tasks.segmentation.prediction._BAND_PIXELS", 40 * 2 * 7)
    banded = _predictor(PixelNetwork()).predict(image, PLAIN)
    assert np.array_equal(whole.array, banded.array)
    assert np.array_equal(whole.probabilities, banded.probabilities)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("zyx", (5, 40, 30)),
        ("tyx", (3, 32, 48)),
        ("zyxc", (4, 20, 30, 3)),
        ("tyxc", (2, 33, 49, 3)),
        ("yxc", (9, 7, 3)),
    ],
)
@pytest.mark.parametrize("fit", ["resize", "patch"])
def test_volumes_frames_and_colour_keep_their_shape(layout: str, shape: tuple[int, ...], fit: str) -> None:
    channels = 3 if layout.endswith("c") else 1
    image = _image(shape, layout)
    mask = _predictor(PixelNetwork(), fit=fit, channels=channels).predict(image, PLAIN)
    assert mask.array.shape == image.info.spatial_shape
    assert mask.probabilities is not None
    assert mask.probabilities.shape == (2, *image.info.spatial_shape)


def test_planes_of_a_volume_are_not_mixed_up() -> None:
    array = np.zeros((9, 32, 48), dtype=np.float32)
    array[[1, 4, 8]] = 1
    image = Image(array, ImageInfo(layout="zyx", shape=array.shape, dtype="float32"))
    for fit in ("resize", "patch"):
        mask = _predictor(PixelNetwork(), fit=fit).predict(image, PLAIN)
        assert np.array_equal(mask.array, array)


def test_planes_go_through_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.tasks.segmentation.prediction._BATCH_PIXELS", {"cpu": 4 * 32 * 48})
    network = PixelNetwork()
    _predictor(network).predict(_image((10, 50, 50), "zyx"), PLAIN)
    assert [call[0] for call in network.calls] == [4, 4, 2]


def test_the_mean_over_flips_is_the_mean() -> None:
    """A network that answers by place: its mirror images average to one half each."""
    image = _image((32, 48))
    once = _predictor(LeftNetwork()).predict(image, PLAIN)
    assert once.array[:, :24].all()
    assert not once.array[:, 24:].any()
    predictor = _predictor(LeftNetwork())
    inputs = np.zeros((1, 32, 48, 1), dtype=np.float32)
    plain, flipped = predictor.probabilities(inputs, False), predictor.probabilities(inputs, True)
    assert np.allclose(flipped, (plain + plain[..., ::-1]) / 2, atol=1e-6)
    # Looking at a mirrored image with flips gives the mirrored answer.
    torch.manual_seed(0)
    real = _predictor(build_network(SPEC).eval())
    rows = np.random.default_rng(0).normal(0, 1, (1, 32, 48, 1)).astype(np.float32)
    straight = real.probabilities(rows, True)
    for axes in ((2,), (1,), (1, 2)):
        mirrored = real.probabilities(np.ascontiguousarray(np.flip(rows, axes)), True)
        assert np.allclose(np.flip(mirrored, [axis + 1 for axis in axes]), straight, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("fit", ["resize", "patch"])
def test_a_threshold_acts_as_on_the_stored_reading(threshold: float, fit: str) -> None:
    image = _image((40, 60))
    predictor = _predictor(PixelNetwork(3), fit=fit)
    predictor.values = np.array([0, 1, 2], dtype=np.uint8)
    stored = predictor.predict(image, PLAIN)
    direct = predictor.predict(image, PredictOptions(threshold=threshold, flips=False))
    assert np.array_equal(direct.array, stored.at_threshold(threshold))
    bare = predictor.predict(
        image, PredictOptions(threshold=threshold, flips=False, keep_probabilities=False)
    )
    assert bare.probabilities is None
    assert np.array_equal(bare.array, direct.array)


def test_a_wrong_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        _predictor(PixelNetwork()).predict(_image((8, 8)), PredictOptions(threshold=1.5))


def test_label_values_are_those_of_the_card() -> None:
    preprocessing = Preprocessing(input_height=32, input_width=48, normalisation="range", range_high=1.0)
    mask = SegmentationPredictor(PixelNetwork(), preprocessing, [3]).predict(_image((20, 20)), PLAIN)
    assert set(np.unique(mask.array)) == {0, 3}
    mask = SegmentationPredictor(PixelNetwork(), preprocessing, [300]).predict(_image((20, 20)), PLAIN)
    assert mask.array.dtype == np.uint16


def test_spacing_is_brought_to_the_models_and_back() -> None:
    network = PixelNetwork()
    predictor = _predictor(network, fit="patch", target_spacing_mm=(1.0, 1.0))
    image = _image((100, 120), spacing_mm=(0.5, 0.25))  # 50 x 30 mm
    mask = predictor.predict(image, PLAIN)
    assert mask.array.shape == (100, 120)
    assert sum(call[0] for call in network.calls) == 3  # 50 rows in windows of 32, 30 columns in one of 48
    fine = _image((10, 12), spacing_mm=(4.0, 4.0))
    assert predictor.predict(fine, PLAIN).array.shape == (10, 12)


def test_colour_for_a_grey_model_and_the_other_way() -> None:
    assert _predictor(PixelNetwork()).predict(_image((9, 8, 3), "yxc"), PLAIN).array.shape == (9, 8)
    assert _predictor(PixelNetwork(), channels=3).predict(_image((9, 8)), PLAIN).array.shape == (9, 8)
    with pytest.raises(WeightsError, match="3 channels, this one has 4"):
        _predictor(PixelNetwork(), channels=3).predict(_image((9, 8, 4), "yxc"), PLAIN)


def test_the_networks_mode_is_given_back() -> None:
    network = build_network(SPEC).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    _predictor(network).predict(_image((40, 40)), PLAIN)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.fixture
def package(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    card = {
        "task": "segmentation",
        "name": "small",
        "labels": [{"value": 1, "name": "nucleus", "color": "#ffffff"}],
        "spec": SPEC.model_dump(mode="json"),
        "preprocessing": Preprocessing(input_height=32, input_width=48).model_dump(mode="json"),
        "inference": {"mirror_axes": ["x", "y"]},
    }
    write_package(tmp_path / "small", build_network(SPEC).state_dict(), card)
    return tmp_path / "small"


def test_a_package_predicts_as_the_network_in_memory(package: Path) -> None:
    torch.manual_seed(0)
    network = build_network(SPEC)
    image = _image((70, 50))
    memory = SegmentationPredictor(network, Preprocessing(input_height=32, input_width=48), [1])
    expected = memory.predict(image, PredictOptions())
    read = load_predictor(package).predict(image, PredictOptions())
    assert np.array_equal(read.array, expected.array)
    assert expected.probabilities is not None
    assert read.probabilities is not None
    assert np.abs(read.probabilities.astype(int) - expected.probabilities).max() <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"architecture": "Unet"}},
        {"spec": {"architecture": "nonsense"}},
        {"spec": {**SPEC.model_dump(), "classes": 3}},
        {"spec": {**SPEC.model_dump(), "in_channels": 3}},
        {"preprocessing": {"fit": "none"}},
        {"preprocessing": {"input_height": 33}},
        {"labels": []},
        {"labels": ["nucleus"]},
    ],
)
def test_a_card_that_does_not_fit_is_refused(package: Path, change: dict) -> None:
    card = json.loads((package / CARD_NAME).read_text())
    (package / CARD_NAME).write_text(json.dumps({**card, **change}))
    with pytest.raises(WeightsError, match="does not fit its weights"):
        load_predictor(package)


def test_other_tasks_are_refused(package: Path) -> None:
    card = json.loads((package / CARD_NAME).read_text())
    (package / CARD_NAME).write_text(json.dumps({**card, "task": "detection"}))
    with pytest.raises(WeightsError, match="for detection, not for segmentation"):
        load_predictor(package)


def test_a_network_is_only_shown_mirrored_what_it_was_trained_on_mirrored() -> None:
    """A network that knows left from right must not be averaged over a mirrored look."""
    slope = nn.Conv2d(1, 2, 1)

    class LeftIsOne(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            place = torch.linspace(8, -8, images.shape[3]).expand(images.shape[0], *images.shape[2:])
            return torch.stack([-place, place], dim=1) + 0 * slope(images)

    preprocessing = Preprocessing(input_height=32, input_width=32)
    image = _image((32, 32))
    seen = {}
    for axes in ((), ("y",), ("x", "y")):
        predictor = SegmentationPredictor(LeftIsOne(), preprocessing, [1], mirror_axes=axes)
        seen[axes] = predictor.predict(image, PredictOptions(flips=True)).probabilities
    assert np.array_equal(seen[()], seen[("y",)])
    assert seen[()][1, 0, 0] > 250
    assert seen[("x", "y")][1, 0, 0] == pytest.approx(128, abs=2)
