"""Scores of boxes equal pycocotools and FROC by its definition; rules for nothing, intervals, volumes, charts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LabelError
from core.evaluation.box_curves import FROC_RATES, average_precision
from core.evaluation.box_scores import best_threshold, score_boxes
from core.evaluation.box_tables import BoxPair, gather, plane_rankings
from core.readings.reading import no_boxes
from core.types import ImageInfo
from tests.core.evaluation.box_samples import (
    INFO,
    LABELS,
    boxes,
    by_pycocotools,
    froc_by_definition,
    mean_precision,
    random_pair,
)

A, B, C = (10, 10, 50, 50), (60, 60, 110, 110), (120, 20, 150, 60)
SIZES = ("map", "map_small", "map_medium", "map_large")


def pair(ours, theirs, number: int = 0) -> BoxPair:
    return BoxPair(f"c{number}", f"p{number}", INFO, ours, theirs)


PLANTED = {
    "all right": [pair(boxes([(*A, 1), (*B, 2)], [0.9, 0.8]), boxes([(*A, 1), (*B, 2)]))],
    "duplicates": [pair(boxes([(*A, 1), (*A, 1), (*A, 1)], [0.9, 0.9, 0.5]), boxes([(*A, 1)]))],
    "ties": [
        pair(boxes([(*A, 1), (*B, 1)], [0.5, 0.5]), boxes([(*B, 1)])),
        pair(boxes([(*C, 1), (*A, 1)], [0.5, 0.5]), boxes([(*A, 1)]), 1),
    ],
    "a crowd": [
        pair(
            boxes([(*A, 1), (12, 12, 40, 40, 1), (*B, 1)], [0.9, 0.8, 0.7]),
            boxes([(5, 5, 55, 55, 1), (*B, 1)], crowds=np.array([True, False])),
        )
    ],
    "only a crowd": [pair(boxes([(*A, 1)], [0.9]), boxes([(*A, 1)], crowds=np.array([True])))],
    "nothing to find": [pair(boxes([(*A, 1)], [0.9]), no_boxes())],
    "nothing found": [pair(no_boxes(), boxes([(*A, 1), (*B, 3)]))],
    "nothing at all": [pair(no_boxes(), no_boxes())],
    "one label missing": [
        pair(boxes([(*A, 1), (*B, 3)], [0.9, 0.8]), boxes([(*A, 1), (*B, 2)])),
        pair(no_boxes(), boxes([(*C, 2)]), 1),
    ],
}


def assert_equal_to_pycocotools(
    pairs: list[BoxPair], scores: dict, kind: str = "bbox", prefix: str = ""
) -> None:
    table = by_pycocotools(pairs, kind)
    metrics = scores["metrics"]
    for place, key in enumerate(SIZES):
        expected = mean_precision(table[..., place])
        assert metrics[prefix + key]["value"] == (
            None if expected is None else pytest.approx(expected, abs=1e-9)
        )
    for place, key in ((0, "map50"), (5, "map75")):
        expected = mean_precision(table[place, ..., 0])
        assert metrics[prefix + key]["value"] == (
            None if expected is None else pytest.approx(expected, abs=1e-9)
        )
    for number, label in enumerate(LABELS):
        expected = mean_precision(table[:, :, number, 0])
        value = metrics[f"{prefix}map/{label.name}"]["value"]
        assert value == (None if expected is None else pytest.approx(expected, abs=1e-9))


def assert_froc_by_definition(pairs: list[BoxPair], scores: dict) -> None:
    scored = [one if one.ours.scores is not None else replace(one, ours=boxes([], [])) for one in pairs]
    expected = froc_by_definition(scored, FROC_RATES)
    found = [scores["metrics"][f"froc@{rate:g}"]["value"] for rate in FROC_RATES]
    if expected is None:
        assert found == [None] * len(FROC_RATES)
        return
    assert found == pytest.approx(expected, abs=1e-12)
    assert scores["metrics"]["froc"]["value"] == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_cases_equal_other_scorers(name: str) -> None:
    pairs = PLANTED[name]
    scores = score_boxes(pairs, LABELS, n_boot=0)
    assert_equal_to_pycocotools(pairs, scores)
    assert_froc_by_definition(pairs, scores)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.booleans())
def test_random_cases_equal_other_scorers(seed: int, count: int, crops: bool) -> None:
    random = np.random.default_rng(seed)
    pairs = [random_pair(random, number, crops) for number in range(count)]
    scores = score_boxes(pairs, LABELS, n_boot=0)
    assert_equal_to_pycocotools(pairs, scores)
    assert_froc_by_definition(pairs, scores)
    assert ("segm_map" in scores["metrics"]) == (crops and any(len(one.theirs) for one in pairs))
    if "segm_map" in scores["metrics"]:
        for one in pairs:  # areas of masks decide over their size classes in pycocotools' results
            assert one.ours.crops is not None
        expected = mean_precision(by_pycocotools(pairs, "segm")[..., 0])
        assert scores["metrics"]["segm_map"]["value"] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_weighted_precision_with_weights_of_one_is_the_scorers(seed: int, crops: bool) -> None:
    random = np.random.default_rng(seed)
    pairs = [random_pair(random, number, crops) for number in range(6)]
    tables = gather(pairs, LABELS, None)
    ones = np.ones((1, len(tables.patients)))
    for kind in ("bbox", "segm") if tables.with_masks else ("bbox",):
        table = by_pycocotools(pairs, kind)
        for (value, size), rankings in plane_rankings(tables, kind).items():
            if kind == "segm" and size:
                continue
            for limit, ranking in enumerate(rankings):
                place = ("", "small", "medium", "large").index(size)
                expected = mean_precision(table[limit, :, value - 1, place])
                found = float(average_precision(ranking, ones)[0])
                assert (math.isnan(found) and expected is None) or found == pytest.approx(expected, abs=1e-9)


def test_weights_are_copies_of_patients() -> None:
    random = np.random.default_rng(5)
    pairs = [random_pair(random, 2 * number) for number in range(5)]
    copies = [2, 0, 1, 3, 1]
    step = iter(np.linspace(0.9, 0.1, 500).tolist())
    distinct = [np.array([next(step) for _ in range(len(one.ours))], np.float32) for one in pairs]
    pairs = [
        replace(one, ours=replace(one.ours, scores=scores))
        for one, scores in zip(pairs, distinct, strict=True)
    ]  # fmt: skip
    drawn = [
        replace(one, case=f"{one.case}-{copy}", patient=f"{one.patient}-{copy}")
        for one, times in zip(pairs, copies, strict=True) for copy in range(times)
    ]  # fmt: skip
    tables = gather(pairs, LABELS, None)
    expected = score_boxes(drawn, LABELS, n_boot=0)["metrics"]
    weights = np.array([copies], float)
    parts = [
        average_precision(ranking, weights)[0]
        for (_, size), rankings in plane_rankings(tables, "bbox").items() if size == "" for ranking in rankings
    ]  # fmt: skip
    assert np.nanmean(parts) == pytest.approx(expected["map"]["value"], abs=1e-9)


def test_intervals_hold_the_value_and_repeat() -> None:
    random = np.random.default_rng(1)
    pairs = [random_pair(random, number) for number in range(20)]
    scores = score_boxes(pairs, LABELS, threshold=0.5, n_boot=400)
    assert (scores["n_cases"], scores["n_patients"]) == (20, 10)
    for key in ("map", "map50", "map75", "froc", "froc@1", "sensitivity", "precision", "f1", "map50/red"):
        entry = scores["metrics"][key]
        low, high = entry["ci95"]
        assert low - 0.05 <= entry["value"] <= high + 0.05, key
        assert low < high, key
        assert entry["n"] == 20
        assert entry["n_objects"] > 0
    again = score_boxes(pairs, LABELS, threshold=0.5, n_boot=400)
    assert again == scores
    one = score_boxes(pairs[:2], LABELS, n_boot=400)  # a single patient gives no interval
    assert one["metrics"]["map"]["ci95"] is None


def test_counts_confusion_and_charts_agree() -> None:
    pairs = [
        pair(boxes([(*A, 1), (*B, 1), (*C, 3)], [0.9, 0.8, 0.2]), boxes([(*A, 1), (*B, 2)]), 0),
        pair(no_boxes(), no_boxes(), 1),
        pair(boxes([(*A, 1)], [0.9]), no_boxes(), 2),
    ]
    scores = score_boxes(pairs, LABELS, threshold=0.5)
    values = {key: entry["value"] for key, entry in scores["metrics"].items()}
    assert (values["n_found"], values["n_missed"], values["n_false"], values["n_mixed"]) == (1, 1, 2, 1)
    assert (values["sensitivity"], values["precision"]) == (0.5, pytest.approx(1 / 3))
    assert values["count_error"] == pytest.approx(1 / 3)
    assert values["count_bias"] == pytest.approx(1 / 3)
    assert scores["curves"]["confusion"] == {
        "labels": ["red", "white", "plate"],
        "table": [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
    }
    assert [row["case"] for row in scores["per_case"]] == ["c2", "c0", "c1"]
    rows = {row["case"]: row["scores"] for row in scores["per_case"]}
    assert rows["c1"]["f1"] == rows["c1"]["sensitivity"] == 1.0
    assert rows["c2"]["sensitivity"] is None
    counts = scores["curves"]["counts"]["by_label"]["all"]
    assert (counts["ours"], counts["reference"]) == ([2, 0, 1], [2, 0, 0])
    assert counts["limits"][0] < counts["bias"] < counts["limits"][1]
    every = score_boxes(pairs, LABELS, threshold=0.0)["metrics"]
    assert every["n_false"]["value"] == 3
    assert every["map"] == scores["metrics"]["map"]  # precision knows no threshold


def test_the_readers_own_threshold_counts_unless_another_is_given() -> None:
    ours = replace(boxes([(*A, 1), (*B, 1)], [0.9, 0.3]), threshold=0.5)
    pairs = [pair(ours, boxes([(*A, 1), (*B, 1)]))]
    assert score_boxes(pairs, LABELS)["metrics"]["sensitivity"]["value"] == 0.5
    assert score_boxes(pairs, LABELS, 0.2)["metrics"]["sensitivity"]["value"] == 1.0
    assert best_threshold(pairs, LABELS) == (pytest.approx(0.3), 1.0)


def test_a_person_has_score_one_and_it_is_said() -> None:
    scores = score_boxes([pair(boxes([(*A, 1)]), boxes([(*A, 1), (*B, 1)]))], LABELS)
    assert scores["metrics"]["map50"]["value"] == pytest.approx(51 / 101)
    assert "score 1" in scores["notes"][0]


def test_findings_in_space_are_counted_once() -> None:
    info = ImageInfo("zyx", (12, 200, 240), "int16")
    true = boxes([(*A, 1, plane) for plane in range(2, 8)] + [(*B, 1, 9)])
    found = boxes([(*A, 1, plane) for plane in range(3, 7)], [0.5, 0.9, 0.6, 0.6])
    scores = score_boxes([BoxPair("ct", "p", info, found, true)], LABELS)
    values = {key: entry["value"] for key, entry in scores["metrics"].items()}
    assert (values["n_found"], values["n_missed"], values["n_false"]) == (1, 1, 0)
    assert values["froc@1"] == 0.5
    assert values["map50"] == pytest.approx(58 / 101)  # 4 of 7 boxes, slice by slice
    assert "findings in space" in scores["notes"][-1]


def test_frames_are_images_of_their_own() -> None:
    info = ImageInfo("tyx", (4, 200, 240), "uint8")
    true = boxes([(*A, 1, 0), (*A, 1, 1)])
    found = boxes([(*A, 1, 0), (*B, 1, 2)], [0.9, 0.95])
    metrics = score_boxes([BoxPair("cine", "p", info, found, true)], LABELS)["metrics"]
    assert metrics["n_false"]["value"] == 1
    assert metrics["froc@0.25"]["value"] == 0.5  # one false in four frames
    assert metrics["froc@0.125"]["value"] == 0.0


def test_crowded_images_are_not_cut() -> None:
    places = [(x, y, x + 4, y + 4, 1) for x in range(0, 240, 6) for y in range(0, 196, 6)]
    scores = score_boxes([pair(boxes(places, [0.5] * len(places)), boxes(places))], LABELS, n_boot=0)
    assert len(places) > 1000
    assert scores["metrics"]["map50"]["value"] == 1.0


@pytest.mark.parametrize(
    ("one", "labels", "words"),
    [
        (pair(no_boxes(), no_boxes()), (), "add a label"),
        (pair(boxes([(10, 10, 500, 50, 1)], [0.5]), no_boxes()), LABELS, "c0: A box reaches out"),
    ],
)
def test_bad_input_is_one_sentence(one: BoxPair, labels: tuple, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        score_boxes([one], labels)


def test_boxes_of_unknown_labels_do_not_count() -> None:
    scores = score_boxes([pair(boxes([(*A, 1), (*B, 9)], [0.9, 0.9]), boxes([(*A, 1)]))], LABELS)
    assert scores["metrics"]["n_false"]["value"] == 0
