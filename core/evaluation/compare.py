"""Many cases at once: the summary with intervals, the table worst first, the map of agreement, the CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from core.evaluation.intervals import Interval, patient_bootstrap_cis
from core.evaluation.mask_scores import COUNT_KEYS
from core.readings.export import safe_cell
from core.types import Array

TRUE_NEGATIVE, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, WRONG_LABEL = range(5)


class CaseRow(TypedDict):
    """Scores of one case; ``case_id`` travels along, ``units`` (``score_units``) lets mixed units be seen."""

    case: str
    patient: str
    scores: Mapping[str, float | None]
    case_id: NotRequired[int]
    split: NotRequired[str | None]
    units: NotRequired[Mapping[str, str]]


def summarise(
    rows: Sequence[CaseRow], headline: str = "dice", higher_is_better: bool = True, seed: int = 0
) -> dict[str, Any]:
    """Return means with 95 % intervals by patient and the per-case table, worst first, as plain JSON values.

    Counts ("n_missed", "n_false" and theirs per label) are summed and have no interval. A score whose unit
    differs between cases (mm here, pixels there) has no value but a "note".

    Args:
        rows: one per case; NaN, infinity and None are "not defined" and left out of the means.
        headline: the score that orders the table; cases without it come last.
        higher_is_better: whether a low headline is bad.
        seed: of the resampling.

    Returns:
        {"n_cases", "n_patients", "metrics": {key: {"value", "ci95": [lo, hi] | None, "n", "n_undefined",
        "unit"?, "note"?}}, "per_case": [{"case", "case_id"?, "patient", "split", "scores"}]}.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row["scores"]))
    table = [_table_line(row, keys) for row in rows]

    def badness(line: dict[str, Any]) -> tuple[bool, float, str]:
        value = line["scores"].get(headline)
        return value is None, (value or 0.0) * (1 if higher_is_better else -1), line["case"]

    return {
        "n_cases": len(rows),
        "n_patients": len({row["patient"] for row in rows}),
        "metrics": _summarise_metrics(keys, rows, seed),
        "per_case": sorted(table, key=badness),
    }


def agreement_map(prediction: Array, reference: Array, label: int | None = None) -> Array:
    """Return where two label maps agree: 0 TN, 1 TP, 2 FP, 3 FN, 4 both marked but with different labels.

    Args:
        prediction: label map, any shape.
        reference: label map of the same shape.
        label: look at this value only (there is no 4 then); None looks at all.

    Raises:
        ValueError: when the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {reference.shape}.")
    if label is not None:
        prediction, reference = prediction == label, reference == label
    result = np.zeros(prediction.shape, np.uint8)
    in_prediction, in_reference = prediction != 0, reference != 0
    result[in_prediction & in_reference] = WRONG_LABEL
    result[in_prediction & (prediction == reference)] = TRUE_POSITIVE
    result[in_prediction & ~in_reference] = FALSE_POSITIVE
    result[~in_prediction & in_reference] = FALSE_NEGATIVE
    return result


def to_csv(summary: Mapping[str, Any]) -> str:
    """Return the per-case table of ``summarise`` as CSV; undefined scores are empty cells.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    lines: Iterable[Mapping[str, Any]] = summary["per_case"]
    keys = list(summary["metrics"])
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([safe_cell(name) for name in ("case", "patient", "split", *keys)])
    for line in lines:
        cells = [line["case"], line["patient"], line["split"], *(line["scores"].get(key) for key in keys)]
        writer.writerow(["" if cell is None else safe_cell(cell) for cell in cells])
    return out.getvalue()


def _table_line(row: CaseRow, keys: Sequence[str]) -> dict[str, Any]:
    """Return one line of the per-case table."""
    named: dict[str, Any] = {"case": row["case"], "patient": row["patient"], "split": row.get("split")}
    if "case_id" in row:
        named["case_id"] = row["case_id"]
    return named | {"scores": {key: _json_number(row["scores"].get(key)) for key in keys}}


def _summarise_metrics(keys: Sequence[str], rows: Sequence[CaseRow], seed: int) -> dict[str, dict[str, Any]]:
    """Return the summary's metrics."""
    columns = {key: [_number(row["scores"].get(key)) for row in rows] for key in keys}
    intervals = patient_bootstrap_cis(columns, [row["patient"] for row in rows], seed=seed)
    return {key: _summarise_metric(key, columns[key], intervals[key], rows) for key in keys}


def _summarise_metric(
    key: str, values: Sequence[float], interval: Interval, rows: Sequence[CaseRow]
) -> dict[str, Any]:
    """Return one entry of the summary's metrics."""
    base = key.split("/", 1)[0]
    n = interval.n_cases
    entry: dict[str, Any] = {"value": None, "ci95": None, "n": n, "n_undefined": len(values) - n}
    units = {unit for row in rows if (unit := row.get("units", {}).get(base)) is not None}
    if len(units) > 1:
        entry["note"] = f"The cases have different units ({', '.join(sorted(units))}): no mean is taken."
        return entry
    if units:
        entry["unit"] = units.pop()
    if base in COUNT_KEYS:
        entry["value"] = sum(value for value in values if math.isfinite(value))
        return entry
    entry["value"] = _json_number(interval.mean)
    if interval.lo is not None:
        entry["ci95"] = [interval.lo, interval.hi]
    return entry


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _json_number(value: float | None) -> float | None:
    """Return a finite number or None: JSON knows no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
