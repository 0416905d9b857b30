"""Scribbles teach: textures and colours are told apart, the same seed gives the same, bad scribbles are sentences."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import hessian_matrix, hessian_matrix_eigvals

from core.assist.features import feature_count, pixel_features
from core.assist.levels import Levels, measure_levels, to_grey
from core.assist.marks import Scribbles, Stroke, draw_strokes
from core.assist.pixel_classifier import (
    ClassifierOptions,
    Samples,
    join_samples,
    propose_labels,
    take_samples,
    train_pixels,
)
from core.errors import LabelError
from core.readings.outlines import rasterise_stroke
from tests.core.assist.pictures import dice, disc, image_of, noisy

SHAPE = (140, 180)
THING = disc(SHAPE, (70, 70), 30)


def learn(plane: np.ndarray, scribbles: Scribbles, options: ClassifierOptions) -> object:
    image = image_of(plane, "yx" if plane.ndim == 2 else "yxc")
    levels = measure_levels(image)
    features = pixel_features(plane, levels)
    shape = (plane.shape[0], plane.shape[1])
    samples = take_samples(scribbles, lambda tile: features[tile.slices], shape)
    classifier = train_pixels(samples, options)
    return propose_labels(classifier, features, to_grey(plane, levels), scribbles.on(shape), options)


LINES = (
    Stroke(1, 5, ((60.0, 70.0), (80.0, 70.0))),
    Stroke(0, 5, ((20.0, 20.0), (20.0, 120.0), (160.0, 120.0))),
)


@pytest.mark.parametrize("smoothing", ["none", "guided", "cut"])
def test_two_kinds_are_told_apart(smoothing: str) -> None:
    options = ClassifierOptions(smoothing=smoothing)
    found = learn(noisy(THING), draw_strokes(LINES, SHAPE), options)
    assert dice(found.labels == 1, THING) > 0.95
    again = learn(noisy(THING), draw_strokes(LINES, SHAPE), options)
    np.testing.assert_array_equal(found.labels, again.labels)
    assert found.uncertainty.min() >= 0 and found.uncertainty.max() <= 1
    sure, doubt = disc(SHAPE, (70, 70), 20), THING ^ disc(SHAPE, (70, 70), 28)
    assert found.uncertainty[doubt].mean() > found.uncertainty[sure].mean()


def test_texture_and_colour_count() -> None:
    rng = np.random.default_rng(1)
    texture = np.where(THING, rng.normal(100, 30, SHAPE), 100).clip(0, 255).astype(np.uint8)
    found = learn(texture, draw_strokes(LINES, SHAPE), ClassifierOptions())
    assert dice(found.labels == 1, THING) > 0.85
    colour = np.zeros((*SHAPE, 3), np.uint8)
    colour[..., 0], colour[..., 2] = np.where(THING, 120, 80), np.where(THING, 80, 183)
    found = learn(colour, draw_strokes(LINES, SHAPE), ClassifierOptions())
    assert dice(found.labels == 1, THING) > 0.95


def test_only_marked_parts() -> None:
    both = THING | disc(SHAPE, (70, 150), 15)
    for only, wanted in ((True, THING), (False, both)):
        found = learn(noisy(both), draw_strokes(LINES, SHAPE), ClassifierOptions(only_marked=only))
        assert dice(found.labels == 1, wanted) > 0.93


def test_three_hundred_labels() -> None:
    plane = np.repeat(np.arange(301, dtype=np.uint16) * 100, 4)[None].repeat(40, axis=0)
    strokes = [Stroke(n, 2, ((4 * n + 2.0, 3.0), (4 * n + 2.0, 36.0))) for n in range(301)]
    found = learn(
        plane, draw_strokes(strokes, plane.shape), ClassifierOptions(smoothing="none", only_marked=False)
    )
    truth = np.repeat(np.arange(301), 4)[None].repeat(40, axis=0)
    assert (found.labels == truth).mean() > 0.6 and found.labels.max() > 255


def test_strokes_are_drawn_as_the_brush_draws() -> None:
    points = ((20.3, 30.2), (70.6, 30.2), (70.6, 80.7))
    drawn = draw_strokes([Stroke(2, 7, points)], SHAPE).on(SHAPE) == 2
    np.testing.assert_array_equal(drawn, rasterise_stroke([list(point) for point in points], 7, SHAPE))
    erased = draw_strokes([Stroke(2, 7, points), Stroke(-1, 90, ((50.0, 50.0),))], SHAPE)
    assert len(erased) < int(drawn.sum())
    assert len(draw_strokes([Stroke(1, 5, ((-500.0, 9e9),))], SHAPE)) == 0  # outside: nothing


def test_features_equal_scikit_image_on_a_smooth_field() -> None:
    y, x = np.mgrid[0:96, 0:96].astype(np.float32)
    plane = (np.sin(x / 9) + np.cos(y / 7)).astype(np.float32)
    features = pixel_features(plane, Levels(-2, 2))
    assert features.shape[2] == feature_count(1) and feature_count(3) > feature_count(1)
    grey = to_grey(plane, Levels(-2, 2))
    matrix = hessian_matrix(grey, sigma=2.0, order="rc", use_gaussian_derivatives=False, mode="reflect")
    high, low = hessian_matrix_eigvals(matrix) * 4
    inner = np.s_[20:-20, 20:-20]
    ours_low, ours_high = features[..., 1 + 5 + 3], features[..., 1 + 5 + 4]
    np.testing.assert_allclose(ours_low[inner], low[inner], atol=0.004)
    np.testing.assert_allclose(ours_high[inner], high[inner], atol=0.004)


def test_tiny_and_flat_pictures() -> None:
    for shape in ((1, 1), (2, 3), (64, 64)):
        plane = np.full(shape, 5, np.uint8)
        features = pixel_features(plane, measure_levels(image_of(plane)))
        assert features.shape == (*shape, feature_count(1)) and np.isfinite(features).all()
    found = learn(np.full(SHAPE, 9, np.uint8), draw_strokes(LINES, SHAPE), ClassifierOptions())
    assert found.labels[70, 70] == 1 and found.labels[120, 90] == 0  # what was scribbled stays


def test_bad_scribbles_are_sentences() -> None:
    one = Samples(np.zeros((5, 3), np.float32), np.ones(5, np.uint16))
    with pytest.raises(LabelError, match="at least two kinds"):
        train_pixels(one, ClassifierOptions())
    with pytest.raises(ValueError, match="Scribble on the image first"):
        join_samples([])
    other = Samples(np.zeros((5, 4), np.float32), np.zeros(5, np.uint16))
    with pytest.raises(ValueError, match="grey and of colour"):
        join_samples([one, other])
    for stroke in ({"label": -2}, {"label": 70000}, {"size": 0}, {"size": 1e9}, {"points_xy": ()}):
        with pytest.raises(ValueError, match="stroke"):
            Stroke(**{"label": 1, "size": 3.0, "points_xy": ((1.0, 1.0),), **stroke})
    with pytest.raises(ValueError, match="finite"):
        Stroke(1, 3, ((float("nan"), 1.0),))
