"""Prediction: no seams, any size, agreement with the input, blends, marks; trials and close looks."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from core.errors import WeightsError
from core.imaging.computed import mark_computed
from core.imaging.resample import reduce
from core.imaging.stored import read_image
from core.tasks.super_resolution import SUPER_RESOLUTION, prediction
from core.tasks.super_resolution.networks import build_network
from core.tasks.super_resolution.prediction import Recipe, SuperResolver
from core.tasks.super_resolution.spec import Degradation, NetworkSpec, Scaling
from core.tasks.super_resolution.training import train
from core.tasks.task import ImageCase, PredictOptions, View
from core.types import Image, ImageInfo
from tests.core.tasks.super_resolution.samples import make_request, make_snapshot, texture

PLAIN = PredictOptions(flips=False)


def resolver(
    architecture: str = "edsr", *, stages: int = 1, recipe: dict[str, Any] | None = None, **spec: Any
) -> SuperResolver:
    """Return a small network whose residual is not zero."""
    torch.manual_seed(0)
    values = {"factors": (2, 2), "blocks": 2, "features": 8, "growth": 4, **spec}
    made = NetworkSpec(architecture=architecture, **values)
    sets = []
    for _ in range(stages):
        network = build_network(made)
        if architecture != "bicubic":
            torch.nn.init.normal_(network.last_layer.weight, std=0.02)
        sets.append(network.state_dict())
    told = Recipe(made, Scaling(), Degradation(), model="net (12345678)")
    return SuperResolver(replace(told, **(recipe or {})), *sets)


def grey(shape: tuple[int, ...] = (60, 75), seed: int = 0) -> Image:
    array = texture(seed, shape)
    layout = "yx" if len(shape) == 2 else "zyx"
    return Image(array, ImageInfo(layout, shape, "uint8"))


@pytest.mark.parametrize("architecture", ["edsr", "rrdb_compact", "rrdb", "bicubic"])
@pytest.mark.parametrize(("upsampling", "bands"), [("pixel_shuffle", True), ("nearest_conv", False)])
def test_tiles_leave_no_seams(
    architecture: str, upsampling: str, bands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to the whole image at once, to 1e-4 of the value scale."""
    monkeypatch.setattr(prediction, "autocast_for", lambda device: nullcontext())
    predictor = resolver(architecture, blocks=1, upsampling=upsampling, split_bands=bands)
    coarse = (texture(3, (190, 143)) / np.float32(255))[..., None]
    options = replace(PLAIN, consistent=False)
    whole = predictor.restore_plane(coarse, options)
    monkeypatch.setitem(prediction.TILE, "cpu", 96)
    tiled = predictor.restore_plane(coarse, options)
    assert whole.shape == (380, 286, 1)
    assert np.abs(tiled - whole).max() < 1e-4


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (7, 5), (33, 64)])
@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (4, 4)])
def test_any_size(shape: tuple[int, int], factors: tuple[int, int]) -> None:
    array = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    array.flat[0], array.flat[-1] = (0, 255) if array.size > 1 else (7, 7)
    image = Image(array, ImageInfo("yx", shape, "uint8"))
    if array.size == 1:
        with pytest.raises(WeightsError, match="nothing to make finer"):
            resolver(factors=factors).predict(image, PLAIN)
        return
    reading = resolver(factors=factors).predict(image, PredictOptions())
    assert reading.array.shape == (shape[0] * factors[0], shape[1] * factors[1])
    assert reading.array.dtype == np.uint8
    assert reading.misfit(image.info) is None


def test_bicubic_is_scipys_up_to_the_kernel_and_the_mean_stays() -> None:
    image = grey((64, 64))
    made = resolver("bicubic").predict(image, replace(PLAIN, consistent=False)).array
    other = zoom(image.array.astype(float), 2, order=3, mode="mirror", grid_mode=True)
    assert np.corrcoef(made.ravel(), other.ravel())[0, 1] > 0.995
    assert abs(made.mean() - image.array.mean()) < 0.2


def test_the_projection_makes_the_result_agree() -> None:
    image = grey()
    predictor = resolver()
    free = predictor.predict(image, replace(PLAIN, consistent=False))
    bound = predictor.predict(image, replace(PLAIN, consistent=True))
    assert bound.facts["consistency_rms"] < 0.2 * free.facts["consistency_rms"]
    again = reduce(bound.array.astype(np.float32), (2, 2), "bicubic")
    assert np.sqrt(np.mean((again - image.array) ** 2)) == pytest.approx(
        bound.facts["consistency_rms"], rel=0.05
    )
    noisy = resolver(recipe={"degradation": Degradation(noise="gaussian", noise_level=(0.0, 0.1))})
    assert np.array_equal(
        noisy.predict(image, PLAIN).array, free.array
    )  # with noise, agreement is not wanted


def test_looks_are_averaged_and_their_spread_is_kept() -> None:
    predictor, image = resolver(), grey()
    alone, averaged = predictor.predict(image, PLAIN), predictor.predict(image, PredictOptions())
    assert alone.spread is None
    assert averaged.spread is not None and averaged.spread.shape == averaged.array.shape
    assert float(averaged.spread.max()) > 0
    turned = Image(np.rot90(image.array).copy(), replace(image.info, shape=image.array.shape[::-1]))
    assert (
        np.abs(np.rot90(averaged.array).astype(int) - predictor.predict(turned, PredictOptions()).array).max()
        <= 1
    )


def test_stages_blend_from_one_end_to_the_other() -> None:
    predictor, image = resolver(stages=2), grey()
    ends = [
        predictor.predict(image, replace(PLAIN, blend=blend)).array.astype(int) for blend in (0.0, 0.5, 1.0)
    ]
    assert np.abs(ends[1] - ends[0]).mean() < np.abs(ends[2] - ends[0]).mean()
    reading = predictor.predict(image, replace(PLAIN, blend=0.5))
    assert "50% of its adversarial stage" in reading.computed
    with pytest.raises(WeightsError, match="no second stage"):
        resolver().predict(image, replace(PLAIN, blend=0.5))
    with pytest.raises(WeightsError, match="between 0 and 1"):
        predictor.predict(image, replace(PLAIN, blend=1.5))


def test_volumes_in_plane_and_through_plane_keep_their_place() -> None:
    affine = ((0.5, 0, 0, 10.0), (0, 0.5, 0, 20.0), (0, 0, 3.0, 30.0), (0, 0, 0, 1))
    image = grey((6, 20, 24))
    image = Image(image.array, replace(image.info, spacing_mm=(3.0, 0.5, 0.5), affine_lps=affine))
    flat = resolver().predict(image, PLAIN)
    assert flat.info.spacing_mm == (3.0, 0.25, 0.25)
    thin = resolver(factors=(3, 1), recipe={"axes": "through_plane"}).predict(image, PLAIN)
    assert thin.array.shape == (18, 20, 24)
    assert thin.info.spacing_mm == (1.0, 0.5, 0.5)
    assert thin.info.affine_lps[2][3] == pytest.approx(29.0)  # the first thin slice lies a third outwards
    with pytest.raises(WeightsError, match="this image is none"):
        resolver(factors=(3, 1), recipe={"axes": "through_plane"}).predict(grey(), PLAIN)


def test_what_cannot_be_made_finer_is_a_sentence() -> None:
    image = grey()
    colour = Image(np.stack([image.array] * 3, -1), ImageInfo("yxc", (*image.array.shape, 3), "uint8"))
    black = Image(np.zeros((20, 20), np.uint8), ImageInfo("yx", (20, 20), "uint8"))
    holes = Image(np.full((20, 20), np.nan, np.float32), ImageInfo("yx", (20, 20), "float32"))
    known = Image(image.array, mark_computed(image.info, "super-resolution x2 by net"))
    for given, says in (
        (colour, "makes grey images finer, this one has 3 channels"),
        (black, "all of its values are 0"),
        (holes, "no numbers"),
        (known, "was computed already"),
    ):
        with pytest.raises(WeightsError, match=says):
            resolver().predict(given, PLAIN)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ImageCase]]:
    """A small trained model of two stages, and validation cases."""
    folder = tmp_path_factory.mktemp("trained")
    snapshot = make_snapshot(folder / "data")
    request = make_request(
        snapshot, folder, epochs=4, adversarial=True, adversarial_share=0.25, discriminator_features=4,
        perceptual="none",
    )  # fmt: skip
    train(request, lambda event: None, lambda: False)
    cases = [
        ImageCase(item.case_name, item.case_id, item.patient_key, item.split, item.image_sha256, item.info,
                  lambda item=item: read_image(item.image_path, item.info))
        for item in snapshot.of_split("val")
    ]  # fmt: skip
    return request.out_dir, cases


def test_trials_score_against_the_image_itself(package: tuple[Path, list[ImageCase]]) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    folder, cases = package
    found = list(SUPER_RESOLUTION.image_truth.try_on(folder, cases, PredictOptions()))
    assert [case.case for case, _ in found] == [case.case for case in cases]
    for _, trial in found:
        inner = np.s_[4:-4, 4:-4]
        for name, image in (("psnr", trial.restored), ("psnr_bicubic", trial.baseline)):
            expected = peak_signal_noise_ratio(
                trial.truth.array[inner].astype(float), image.array[inner].astype(float), data_range=255
            )
            assert trial.scores[name] == pytest.approx(expected, abs=1e-3)
        assert trial.coarse.array.shape == (24, 24)
        assert trial.restored.info.metadata["computed"]
    again = list(SUPER_RESOLUTION.image_truth.try_on(folder, cases, PredictOptions()))
    assert again[0][1].scores["psnr"] == found[0][1].scores["psnr"]


def test_a_trial_needs_an_image_large_enough(package: tuple[Path, list[ImageCase]]) -> None:
    folder, cases = package
    tiny = Image(np.array([[1, 2], [3, 9]], np.uint8), ImageInfo("yx", (2, 2), "uint8"))
    case = replace(cases[0], case="tiny", info=tiny.info, load=lambda: tiny)
    with pytest.raises(WeightsError, match="tiny: an image of 2 x 2 pixels is too small"):
        list(SUPER_RESOLUTION.image_truth.try_on(folder, [case], PLAIN))


@pytest.mark.parametrize("degrade", [False, True])
def test_a_close_look_shows_every_blend(package: tuple[Path, list[ImageCase]], degrade: bool) -> None:
    folder, cases = package
    image = cases[0].load()
    truth = SUPER_RESOLUTION.image_truth
    shown = truth.look(folder, image, View(0, 8, 12, 16), PLAIN, degrade)
    assert [part.blend for part in shown if part.name == "restored"] == list(truth.blends)
    side = 16 if degrade else 32
    assert {part.plane.shape for part in shown} == {(side, side)}
    names = [part.name for part in shown]
    assert ("truth" in names) == degrade
    if degrade:
        assert np.array_equal(shown[-1].plane, image.array[8:24, 12:28])
        assert all("psnr" in part.facts for part in shown[:-1])
    else:
        whole = SUPER_RESOLUTION.load(folder, "cpu").predict(image, PLAIN).array
        first = next(part for part in shown if part.name == "restored")
        assert np.abs(first.plane.astype(int) - whole[16:48, 24:56]).max() <= 2
    with pytest.raises(WeightsError, match="outside the image"):
        truth.look(folder, image, View(0, 900, 900, 16), PLAIN, degrade)
