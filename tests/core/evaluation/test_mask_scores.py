"""Scores of whole label maps: against MONAI, the table of empty rules, layouts, wrong input."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from core.errors import LabelError
from core.evaluation.mask_scores import SCORE_KEYS, score_masks, score_units
from core.evaluation.surface import hausdorff95, surface_dice
from core.readings.reading import Mask
from core.types import ImageInfo, Label, make_labels

NAN = float("nan")
ONE = make_labels(["nodule"])
# Values with a gap and not in order: a label's number is not its place in the list.
ODD = (Label(3, "three", "#ff0000"), Label(1, "one", "#00ff00"), Label(7, "seven", "#0000ff"))


def info_of(array: np.ndarray, layout: str = "", spacing: tuple[float, ...] | None = None) -> ImageInfo:
    return ImageInfo(layout or ("yx" if array.ndim == 2 else "zyx"), array.shape, "uint8", spacing)  # type: ignore[arg-type]


def label_maps(seed: int, shape: tuple[int, ...], values: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two label maps with all values, mostly alike."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(len(values) + 1, *shape)), (0, *[2.0] * len(shape)))
    noise = ndimage.gaussian_filter(rng.normal(size=fields.shape), (0, *[2.0] * len(shape)))
    table = np.array([0, *values], np.uint8)
    return table[(fields + 0.4 * noise).argmax(0)], table[fields.argmax(0)]


@pytest.fixture(scope="session")
def monai_scores():
    """MONAI's metric classes on one-hot tensors, per label value."""
    import torch
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, MeanIoU, SurfaceDiceMetric

    def scores(p: np.ndarray, r: np.ndarray, values, spacing, tolerance: float) -> dict[str, list[float]]:
        stack = [np.stack([m == v for v in values])[None] for m in (p, r)]
        a, b = (torch.from_numpy(s).float() for s in stack)
        metrics = {
            "dice": DiceMetric(include_background=True, reduction="none"),
            "iou": MeanIoU(include_background=True, reduction="none"),
            "hd95": HausdorffDistanceMetric(include_background=True, percentile=95, reduction="none"),
            "nsd": SurfaceDiceMetric([tolerance] * len(values), include_background=True, reduction="none"),
        }
        result = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for key, metric in metrics.items():
                if key in ("hd95", "nsd"):
                    metric(a, b, spacing=spacing)
                else:
                    metric(a, b)
                result[key] = metric.aggregate()[0].tolist()
        return result

    return scores


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((60, 70), (0.5, 0.5)), ((60, 70), (0.31, 1.7)), ((12, 30, 34), (4.0, 0.7, 0.9)), ((20, 20, 20), None)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_monai_per_label(monai_scores, shape, spacing, seed: int) -> None:
    p, r = label_maps(seed, shape, (1, 3, 7))
    ours = score_masks(p, r, info_of(r, spacing=spacing), ODD, nsd_tolerance_mm=1.5)
    peer = monai_scores(p, r, [label.value for label in ODD], spacing, 1.5)
    for key, values in peer.items():
        for label, value in zip(ODD, values, strict=True):
            assert ours[f"{key}/{label.name}"] == pytest.approx(value, rel=1e-5, abs=1e-5), (key, label)
        assert ours[key] == pytest.approx(np.mean(values), rel=1e-5, abs=1e-5)


def test_overlap_equals_scikit_learn() -> None:
    from sklearn.metrics import jaccard_score, precision_score, recall_score

    p, r = label_maps(2, (80, 80), (1, 3, 7))
    ours = score_masks(p, r, info_of(r), ODD)
    values = [label.value for label in ODD]
    for key, function in (
        ("iou", jaccard_score),
        ("sensitivity", recall_score),
        ("precision", precision_score),
    ):
        expected = function(r.ravel(), p.ravel(), labels=values, average=None)
        assert [ours[f"{key}/{label.name}"] for label in ODD] == pytest.approx(list(expected))


# prediction marked, reference marked -> dice, iou, sensitivity, precision, nsd, hd95, n_missed, n_false
EMPTY_RULES = [
    (False, False, (1, 1, 1, 1, 1, 0, 0, 0)),
    (False, True, (0, 0, 0, NAN, 0, NAN, 1, 0)),
    (True, False, (0, 0, NAN, 0, 0, NAN, 0, 1)),
    (True, True, (1, 1, 1, 1, 1, 0, 0, 0)),
]


@pytest.mark.parametrize(("in_prediction", "in_reference", "expected"), EMPTY_RULES)
@pytest.mark.parametrize(("shape", "layout"), [((8, 8), "yx"), ((4, 8, 8), "zyx"), ((4, 8, 8), "tyx")])
def test_table_of_empty_rules(in_prediction: bool, in_reference: bool, expected, shape, layout: str) -> None:
    something = np.zeros(shape, np.uint8)
    something[..., 2:5, 3:6] = 1
    p, r = something * np.uint8(in_prediction), something * np.uint8(in_reference)
    scores = score_masks(p, r, info_of(r, layout), ONE)
    keys = ("dice", "iou", "sensitivity", "precision", "nsd", "hd95", "n_missed", "n_false")
    assert [scores[key] for key in keys] == pytest.approx(list(expected), nan_ok=True)
    assert [scores[f"{key}/nodule"] for key in keys] == pytest.approx(list(expected), nan_ok=True)


def test_mean_leaves_undefined_labels_out_and_counts_them() -> None:
    labels = make_labels(["found", "lost"])
    r = np.zeros((20, 20), np.uint8)
    r[2:8, 2:8], r[12:15, 12:15] = 1, 2
    p = np.where(r == 1, r, 0).astype(np.uint8)
    scores = score_masks(p, r, info_of(r, spacing=(1.0, 1.0)), labels)
    assert scores["dice"] == 0.5
    assert (scores["hd95"], scores["hd95/found"]) == (0.0, 0.0)
    assert math.isnan(scores["hd95/lost"])
    assert (scores["n_missed"], scores["n_false"]) == (1, 0)
    assert scores["precision"] == 1.0
    assert set(SCORE_KEYS) == {key for key in scores if "/" not in key}


def test_frames_are_images_of_their_own() -> None:
    """tyx: pixels pooled, surfaces per frame (no distance across time), frames without either left out."""
    rng = np.random.default_rng(4)
    p = (ndimage.gaussian_filter(rng.normal(size=(4, 30, 30)), (0, 2, 2)) > 0.05).astype(np.uint8)
    r = (ndimage.gaussian_filter(rng.normal(size=(4, 30, 30)), (0, 2, 2)) > 0.05).astype(np.uint8)
    p[1] = r[1] = 0  # nothing to find, nothing found
    p[2] = 0  # missed in this frame
    spacing = (0.5, 0.8)
    scores = score_masks(p, r, info_of(r, "tyx", spacing), ONE)
    both = [(p[i] == 1, r[i] == 1) for i in (0, 3)]
    assert scores["hd95"] == pytest.approx(np.mean([hausdorff95(a, b, spacing) for a, b in both]))
    nsd = [surface_dice(a, b, spacing) for a, b in both]
    assert scores["nsd"] == pytest.approx(sum(nsd) / 3)
    assert scores["dice"] == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))
    assert scores["n_missed"] == 0


def test_colour_layouts_and_single_slices() -> None:
    p, r = label_maps(0, (40, 40), (1,))
    flat = score_masks(p, r, info_of(r, spacing=(0.5, 0.7)), ONE)
    colour = score_masks(p, r, ImageInfo("yxc", (40, 40, 3), "uint8", (0.5, 0.7)), ONE)
    assert colour == flat
    single = score_masks(p[None], r[None], info_of(r[None], "zyx", (5.0, 0.5, 0.7)), ONE)
    for key in ("dice", "hd95", "nsd"):
        assert single[key] == flat[key]


def test_volume_error_and_units() -> None:
    p, r = np.zeros((10, 10, 10), np.uint8), np.zeros((10, 10, 10), np.uint8)
    p[:6], r[:4] = 1, 1  # 200 voxels too many
    scaled = info_of(r, spacing=(5.0, 2.0, 1.0))
    assert score_masks(p, r, scaled, ONE)["volume_error"] == pytest.approx(200 * 10 / 1000)
    assert score_masks(r, p, scaled, ONE)["volume_error"] == pytest.approx(-2.0)
    assert score_masks(p, r, info_of(r), ONE)["volume_error"] == 200
    assert score_units(scaled) == {"hd95": "mm", "nsd": "within 2 mm", "volume_error": "ml"}
    assert score_units(info_of(r))["hd95"] == "px"
    assert score_units(info_of(r[0], spacing=(1.0, 1.0)), 0.5)["nsd"] == "within 0.5 mm"
    assert score_units(info_of(r, "tyx", (1.0, 1.0)))["volume_error"] == "mm2"


def test_takes_masks_wide_types_and_read_only_arrays() -> None:
    p, r = label_maps(1, (30, 30), (1, 3, 7))
    expected = score_masks(p, r, info_of(r), ODD)
    p16, r16 = p.astype(np.uint16), r.astype(np.uint16)
    p16.setflags(write=False)
    assert score_masks(Mask(p16), Mask(r16), info_of(r), ODD) == expected
    high = (Label(40_000, "high", "#ffffff"),)
    wide = np.where(r == 3, 40_000, 0).astype(np.uint16)
    assert score_masks(wide, wide, info_of(r), high)["dice"] == 1.0
    assert score_masks(p == 3, p == 3, info_of(r), ONE)["dice"] == 1.0


def test_values_outside_the_label_set_are_background() -> None:
    r = np.full((6, 6), 9, np.uint8)
    p = np.zeros((6, 6), np.uint8)
    assert score_masks(p, r, info_of(r), ONE)["dice"] == 1.0


def test_wrong_input_is_one_sentence() -> None:
    r = np.zeros((6, 7), np.uint8)
    with pytest.raises(LabelError, match=r"predicted mask has size 6 x 8, its image has 6 x 7"):
        score_masks(np.zeros((6, 8), np.uint8), r, info_of(r), ONE)
    with pytest.raises(LabelError, match="reference mask has size"):
        score_masks(r, r[None], info_of(r), ONE)
    with pytest.raises(LabelError, match="whole numbers"):
        score_masks(r.astype(float), r, info_of(r), ONE)
    with pytest.raises(LabelError, match="no label"):
        score_masks(r, r, info_of(r), ())
    with pytest.raises(LabelError, match="1 or more"):
        score_masks(r, r, info_of(r), (Label(0, "background", "#000000"),))
    with pytest.raises(ValueError, match="tolerance"):
        score_masks(r, r, info_of(r), ONE, nsd_tolerance_mm=-1)


def test_real_volume_equals_monai(shared_data: Path, monai_scores) -> None:
    """A hippocampus label map against itself, moved by a voxel and worn off by one."""
    nibabel = pytest.importorskip("nibabel")
    path = sorted((shared_data / "vol_mr_hippocampus").rglob("*label*/*.nii.gz"))[0]
    image = nibabel.load(path)
    r = np.asarray(image.dataobj).astype(np.uint8).T
    spacing = tuple(float(s) for s in image.header.get_zooms()[:3][::-1])
    p = np.roll(r, 1, axis=2)
    p[ndimage.binary_dilation(r == 0)] = 0
    labels = make_labels(["anterior", "posterior"])
    ours = score_masks(p, r, info_of(r, spacing=spacing), labels)
    peer = monai_scores(p, r, [1, 2], spacing, 2.0)
    for key, values in peer.items():
        assert [ours[f"{key}/{label.name}"] for label in labels] == pytest.approx(values, abs=1e-5)
