"""The summary, the map of agreement and the CSV."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.evaluation.compare import agreement_map, summarise, to_csv
from core.evaluation.intervals import patient_bootstrap_ci
from core.evaluation.overlap import count

ROWS = [
    {"case": "a", "patient": "p1", "split": "test", "scores": {"dice": 0.9, "hd95": 2.0, "n_missed": 0.0}},
    {
        "case": "b",
        "patient": "p2",
        "split": "test",
        "scores": {"dice": 0.0, "hd95": math.nan, "n_missed": 1.0},
    },
    {"case": "c", "patient": "p1", "scores": {"dice": 0.6, "hd95": 4.0, "n_missed": 0.0}},
    {"case": "d", "patient": "p3", "split": None, "scores": {"dice": None, "hd95": 1.0, "n_missed": 2.0}},
]


def test_summary_is_the_contract_of_the_terminal() -> None:
    summary = summarise(ROWS)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["n_cases"], summary["n_patients"]) == (4, 3)
    assert [line["case"] for line in summary["per_case"]] == ["b", "c", "a", "d"]
    assert summary["per_case"][0] == {
        "case": "b", "patient": "p2", "split": "test", "scores": {"dice": 0.0, "hd95": None, "n_missed": 1.0},
    }  # fmt: skip
    dice = summary["metrics"]["dice"]
    alone = patient_bootstrap_ci([0.9, 0.0, 0.6], ["p1", "p2", "p1"])
    assert dice["value"] == pytest.approx(0.5)
    assert dice["ci95"] == pytest.approx([alone.lo, alone.hi])
    assert (dice["n"], dice["n_undefined"]) == (3, 1)
    assert summary["metrics"]["hd95"]["value"] == pytest.approx(7 / 3)
    assert summary["metrics"]["hd95"]["n_undefined"] == 1
    assert summary["metrics"]["n_missed"] == {"value": 3.0, "ci95": None, "n": 4, "n_undefined": 0}


def test_order_by_another_score() -> None:
    worst_first = summarise(ROWS, headline="hd95", higher_is_better=False)["per_case"]
    assert [line["case"] for line in worst_first] == ["c", "a", "d", "b"]


def test_one_patient_and_nothing() -> None:
    one = summarise(ROWS[:1])
    assert one["metrics"]["dice"] == {"value": 0.9, "ci95": None, "n": 1, "n_undefined": 0}
    assert summarise([]) == {"n_cases": 0, "n_patients": 0, "metrics": {}, "per_case": []}
    undefined = summarise([{"case": "x", "patient": "p", "scores": {"hd95": math.nan}}])["metrics"]["hd95"]
    assert undefined == {"value": None, "ci95": None, "n": 0, "n_undefined": 1}


def test_mm_and_pixels_are_never_averaged() -> None:
    rows = [
        {"case": "a", "patient": "1", "scores": {"dice": 1.0, "hd95/x": 2.0}, "units": {"hd95": "mm"}},
        {"case": "b", "patient": "2", "scores": {"dice": 0.5, "hd95/x": 9.0}, "units": {"hd95": "px"}},
    ]
    metrics = summarise(rows)["metrics"]
    assert metrics["hd95/x"]["value"] is None
    assert "mm, px" in metrics["hd95/x"]["note"]
    assert metrics["dice"]["value"] == 0.75
    assert (
        summarise(rows[:1])["metrics"]["hd95/x"] | {"unit": "mm"} == summarise(rows[:1])["metrics"]["hd95/x"]
    )


def test_a_label_of_some_cases_only() -> None:
    rows = [
        {"case": "a", "patient": "1", "scores": {"dice": 1.0}},
        {"case": "b", "patient": "2", "scores": {"dice": 0.5, "dice/new": 0.5}},
    ]
    summary = summarise(rows)
    assert summary["metrics"]["dice/new"]["n"] == 1
    assert summary["per_case"][1]["scores"] == {"dice": 1.0, "dice/new": None}


def test_agreement_map_planted() -> None:
    p = np.array([[0, 1, 2, 0, 2]], np.uint8)
    r = np.array([[0, 1, 0, 3, 1]], np.uint16)
    assert agreement_map(p, r).tolist() == [[0, 1, 2, 3, 4]]
    assert agreement_map(p, r, label=1).tolist() == [[0, 1, 0, 0, 3]]
    assert agreement_map(p, r, label=2).tolist() == [[0, 0, 2, 0, 2]]
    assert agreement_map(p, r).dtype == np.uint8
    with pytest.raises(ValueError, match="one shape"):
        agreement_map(p, r[0])


def test_agreement_map_counts_as_overlap_does() -> None:
    rng = np.random.default_rng(0)
    p, r = rng.integers(0, 4, (2, 9, 20, 20)).astype(np.uint8)
    for label in (1, 2, 3):
        tn, tp, fp, fn = np.bincount(agreement_map(p, r, label).ravel(), minlength=4)
        counts = count(p == label, r == label)
        assert (tp, fp, fn, tn) == (counts.tp, counts.fp, counts.fn, counts.tn)


def test_csv_has_no_formulas_and_keeps_numbers() -> None:
    rows = [
        {
            "case": "=HYPERLINK(1)",
            "patient": "+49",
            "split": "@x",
            "scores": {"volume_error": -2.5, "hd95": None},
        },
        {"case": 'Größe, "x"', "patient": "\tp", "scores": {"volume_error": 1.0, "hd95": 3.0}},
    ]
    header, *lines = csv.reader(io.StringIO(to_csv(summarise(rows, headline="volume_error"))))
    assert header == ["case", "patient", "split", "volume_error", "hd95"]
    assert lines[0] == ["'=HYPERLINK(1)", "'+49", "'@x", "-2.5", ""]
    assert lines[1] == ['Größe, "x"', "'\tp", "", "1.0", "3.0"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_becomes_a_formula(text: str) -> None:
    rows = [{"case": text, "patient": text, "scores": {"dice": 0.5}}]
    cells = next(csv.reader(io.StringIO(to_csv(summarise(rows)).split("\r\n", 1)[1], newline="")), [])
    for cell in cells:
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))


def test_case_ids_travel_along() -> None:
    rows = [{"case": "a", "case_id": 7, "patient": "1", "scores": {"dice": 1.0}}]
    assert summarise(rows)["per_case"][0]["case_id"] == 7
