"""All numbers of one reader's boxes against another's: average precision, FROC, and what counts at the threshold.

Average precision ("map", "map50", "map75", by size and label) is faster-coco-eval's, over all boxes whatever their
score and plane by plane; no cap on boxes per image cuts it (COCO's cap of 100 would in crowded images). A reader
without scores (a person) gets score 1 everywhere, so that its precision-recall curve is a single point.

What clinicians count (FROC, sensitivity, precision, F1, counts) is pooled over all objects of all cases: boxes in
images and frames, from an overlap (IoU) of 0.5; in volumes findings in space, from 0.1 (see ``box_matching`` and
``core.readings.findings``). FROC takes all boxes; the others take those at the threshold. "froc@1" is the sensitivity
at one false positive per image (per scan in volumes), "froc" the mean over 1/8, 1/4, 1/2, 1, 2, 4 and 8.

Rules for nothing: a number over no true object is not defined (None), but for precision, which needs found ones; in
one case without objects on either side sensitivity, precision and F1 are 1.

Every number has a 95 % interval: patients are drawn with replacement, each with all their cases, and the whole set is
scored again from the matches, which do not depend on who was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from core.evaluation.box_curves import (
    FROC_RATES,
    RECALLS,
    Ranking,
    average_precision,
    best_f1,
    froc_curve,
    froc_sensitivities,
)
from core.evaluation.box_tables import BoxPair, Case, Tables, gather, hit_ranking, plane_rankings
from core.evaluation.coco_scorer import IOU_LIMITS, SIZES, Precision, Shape, coco_precision
from core.evaluation.intervals import LEVEL
from core.types import Array, Label

N_BOOT = 2000
PREFIX: dict[Shape, str] = {"bbox": "", "segm": "segm_"}
LIMITS = {"map": None, "map50": 0, "map75": 5}  # places in IOU_LIMITS; None: all
CURVE_POINTS = 300
SINGLE_SCORE = (
    "The reader gave no scores (a person): every box counts with score 1, so that average precision and FROC rest on "
    "one point of the curve."
)
IN_SPACE = (
    "In volumes FROC, sensitivity, precision, F1 and counts are of findings in space (boxes of neighbouring slices "
    "that belong together), average precision is of boxes slice by slice."
)

Weighted = Callable[[Array], Array]  # (b, patients) weights -> (b,) values


def score_boxes(
    pairs: Iterable[BoxPair],
    labels: tuple[Label, ...],
    threshold: float | None = None,
    n_boot: int = N_BOOT,
    seed: int = 0,
) -> dict[str, Any]:
    """Score one reader's boxes against another's in all cases.

    Args:
        pairs: the cases, read one after the other.
        labels: the project's label set.
        threshold: score from which the first reader's boxes count; None: the reader's own rule. Average
            precision and FROC do not depend on it.
        n_boot: number of resamples for the intervals; 0 gives none (for validation while training).
        seed: of the resampling.

    Returns:
        Plain JSON values in the shape of ``core.evaluation.compare.summarise`` ("metrics": {key: {"value",
        "ci95", "n", "n_undefined", "n_objects"}}, "per_case" worst first), and "curves" ("precision_recall",
        "froc", "f1", "counts", "confusion"), "notes".

    Raises:
        LabelError: when there is no label, or a reading does not fit its image.
    """
    tables = gather(pairs, labels, threshold)
    weights = _draws(len(tables.patients), n_boot, seed)
    metrics: dict[str, dict[str, Any]] = {}
    curves: dict[str, Any] = {}
    for kind in ("bbox", "segm") if tables.with_masks else ("bbox",):
        precision = coco_precision(tables.planes, tables.values, kind)
        metrics |= _precision_metrics(tables, precision, kind, weights)
        curves[f"{PREFIX[kind]}precision_recall"] = _precision_curve(tables, precision)
    metrics |= _froc_metrics(tables, weights) | _count_metrics(tables, weights)
    for name, entry in metrics.items():
        entry |= {"n": len(tables.cases), "n_undefined": 0, "n_objects": _objects(tables, name)}
    curves |= {
        "froc": _froc_curves(tables),
        "f1": _f1_curve(hit_ranking(tables)),
        "counts": _count_curves(tables),
        "confusion": _confusion(tables),
    }
    return {
        "n_cases": len(tables.cases),
        "n_patients": len(tables.patients),
        "metrics": metrics,
        "per_case": sorted((_row(case) for case in tables.cases), key=_badness),
        "curves": curves,
        "notes": [SINGLE_SCORE] * tables.without_scores + [IN_SPACE] * tables.in_space,
    }


def best_threshold(pairs: Iterable[BoxPair], labels: tuple[Label, ...]) -> tuple[float, float]:
    """Return (score threshold, F1) where the pooled F1 of all objects is best; (0, 0) without objects."""
    return best_f1(hit_ranking(gather(pairs, labels, None)))


def _draws(n_patients: int, n_boot: int, seed: int) -> Array:
    """Return how often each patient counts (b, patients) in each resample; no row below two patients."""
    if n_patients < 2 or not n_boot:
        return np.zeros((0, n_patients))
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_boot).astype(np.float64)


def _entry(value: float, drawn: Array) -> dict[str, Any]:
    """Return a metric with the interval of its resampled values."""
    known = drawn[np.isfinite(drawn)]
    interval = None
    if known.size and math.isfinite(value):
        interval = [float(end) for end in np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
    return {"value": _json(value), "ci95": interval}


def _json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _precision_metrics(
    tables: Tables, precision: Precision, kind: Shape, weights: Array
) -> dict[str, dict[str, Any]]:
    """Return average precision over all, by overlap, by size, by label; values by the kept scorer."""
    rankings = plane_rankings(tables, kind) if len(weights) else {}
    drawn = {
        key: [average_precision(one, weights) for one in per_limit] for key, per_limit in rankings.items()
    }
    prefix, result = PREFIX[kind], {}
    for name, limit in LIMITS.items():
        columns = [drawn.get((value, ""), []) for value in tables.values]
        result[prefix + name] = _entry(precision.mean("", limit), _mean_of(columns, limit, len(weights)))
        for place, value in enumerate(tables.values):
            entry = _entry(precision.mean("", limit, place), _mean_of([columns[place]], limit, len(weights)))
            result[f"{prefix}{name}/{_name(tables, value)}"] = entry
    for size in (size for size in SIZES if size):
        columns = [drawn.get((value, size), []) for value in tables.values]
        result[f"{prefix}map_{size}"] = _entry(precision.mean(size), _mean_of(columns, None, len(weights)))
    return result


def _mean_of(columns: list[list[Array]], limit: int | None, n_boot: int) -> Array:
    """Return the mean over labels and overlaps of resampled precisions; NaN entries (nothing to find) are left out."""
    parts = [
        column for per_limit in columns for column in (per_limit if limit is None else per_limit[limit:][:1])
    ]
    if not parts or not n_boot:
        return np.zeros(0)
    table = np.stack(parts)
    known = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, table, 0).sum(axis=0) / known.sum(axis=0))


def _froc_metrics(tables: Tables, weights: Array) -> dict[str, dict[str, Any]]:
    result = {}
    for value in (None, *tables.values):
        ranking, name = hit_ranking(tables, value), "" if value is None else f"/{_name(tables, value)}"
        exact = froc_sensitivities(ranking, np.ones((1, len(tables.patients))))[0]
        drawn = froc_sensitivities(ranking, weights)
        result[f"froc{name}"] = _entry(float(exact.mean()), drawn.mean(axis=1))
        for place, rate in enumerate(FROC_RATES if value is None else ()):
            result[f"froc@{rate:g}"] = _entry(float(exact[place]), drawn[:, place])
    return result


def _count_metrics(tables: Tables, weights: Array) -> dict[str, dict[str, Any]]:
    """Return sensitivity, precision, F1, counts and their errors at the threshold."""
    result: dict[str, dict[str, Any]] = {}
    sums: dict[str, float] = {}
    for value in (None, *tables.values):
        name = "" if value is None else f"/{_name(tables, value)}"
        columns = _patient_columns(tables, value)
        found, false, missed = columns["found"], columns["false"], columns["missed"]
        shares = {
            "sensitivity": (found, found + missed),
            "precision": (found, found + false),
            "f1": (2 * found, 2 * found + false + missed),
            "count_error": (columns["off"], columns["cases"]),
            "count_bias": (columns["more"], columns["cases"]),
        }
        for key, (part, whole) in shares.items():
            result[key + name] = _entry(
                _share(part.sum(), whole.sum()), _shares(weights @ part, weights @ whole)
            )
        sums |= {f"n_{key}{name}": float(columns[key].sum()) for key in ("found", "missed", "false")}
    sums["n_mixed"] = float(sum(len(case.mixed) for case in tables.cases))
    return result | {key: {"value": value, "ci95": None} for key, value in sums.items()}


def _patient_columns(tables: Tables, value: int | None) -> dict[str, Array]:
    """Return sums by patient over one label or all."""
    columns = {
        key: np.zeros(len(tables.patients)) for key in ("found", "false", "missed", "off", "more", "cases")
    }
    for case in tables.cases:
        patient = tables.patients[case.pair.patient]
        counts, (ours, theirs) = _counts_of(case, value), _totals_of(case, value)
        for key, count in zip(("found", "false", "missed"), counts, strict=True):
            columns[key][patient] += count
        columns["off"][patient] += abs(ours - theirs)
        columns["more"][patient] += ours - theirs
        columns["cases"][patient] += 1
    return columns


def _counts_of(case: Case, value: int | None) -> tuple[int, int, int]:
    chosen = case.counts.values() if value is None else [case.counts[value]]
    found, false, missed = (sum(column) for column in zip(*chosen, strict=True))
    return found, false, missed


def _totals_of(case: Case, value: int | None) -> tuple[int, int]:
    chosen = case.totals.values() if value is None else [case.totals[value]]
    ours, theirs = (sum(column) for column in zip(*chosen, strict=True))
    return ours, theirs


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _shares(part: Array, whole: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(part / whole)


def _objects(tables: Tables, name: str) -> int:
    """Return how many true objects a metric is about."""
    _, _, label_name = name.partition("/")
    value = next((label.value for label in tables.labels if label.name == label_name), None)
    return sum(_totals_of(case, value)[1] for case in tables.cases)


def _name(tables: Tables, value: int) -> str:
    return next(label.name for label in tables.labels if label.value == value)


def _row(case: Case) -> dict[str, Any]:
    """Return one line of the per-case table."""
    found, false, missed = _counts_of(case, None)
    nothing = not (found or false or missed)
    ours, theirs = _totals_of(case, None)
    scores = {
        "map50": case.precision50,
        "f1": 1.0 if nothing else 2 * found / (2 * found + false + missed),
        "sensitivity": 1.0 if nothing else _share(found, found + missed),
        "precision": 1.0 if nothing else _share(found, found + false),
        "n_found": found,
        "n_missed": missed,
        "n_false": false,
        "n_mixed": len(case.mixed),
        "count_error": abs(ours - theirs),
        "count_bias": ours - theirs,
    }
    line: dict[str, Any] = {"case": case.pair.case, "patient": case.pair.patient, "split": case.pair.split}
    if case.pair.case_id is not None:
        line["case_id"] = case.pair.case_id
    return line | {"scores": {key: _json(value) for key, value in scores.items()}}


def _badness(row: Mapping[str, Any]) -> tuple[float, float, str]:
    scores = row["scores"]
    return scores["f1"], -(scores["n_missed"] + scores["n_false"]), row["case"]


def _precision_curve(tables: Tables, precision: Precision) -> dict[str, Any]:
    """Return precision at COCO's recalls and an overlap of 0.5, by label."""
    table = precision.table[0, :, :, 0]
    named = {_name(tables, value): table[:, place].tolist() for place, value in enumerate(tables.values)}
    known = {name: values for name, values in named.items() if min(values) > -1}
    return {"iou": float(IOU_LIMITS[0]), "recall": RECALLS.tolist(), "precision": known}


def _froc_curves(tables: Tables) -> dict[str, Any]:
    lines = {}
    for value in (None, *tables.values):
        ranking = hit_ranking(tables, value)
        if not ranking.to_find.sum():
            continue
        rates, sensitivities, scores = (_thinned(column) for column in froc_curve(ranking))
        name = "all" if value is None else _name(tables, value)
        lines[name] = {"false_positives": rates, "sensitivity": sensitivities, "threshold": scores}
    return {"rates": list(FROC_RATES), "lines": lines}


def _f1_curve(ranking: Ranking) -> dict[str, Any]:
    rates, sensitivities, scores = froc_curve(ranking)
    total = float(ranking.to_find.sum())
    hits = sensitivities * total
    f1 = _shares(2 * hits, hits + rates * ranking.images.sum() + total) if total else np.zeros(len(scores))
    threshold, value = best_f1(ranking)
    return {
        "threshold": _thinned(scores), "f1": _thinned(f1), "best_threshold": threshold, "best_f1": value,
    }  # fmt: skip


def _thinned(column: Array) -> list[float]:
    """Return at most ``CURVE_POINTS`` numbers, ends kept: a chart shows no more."""
    places = np.unique(np.linspace(0, max(len(column) - 1, 0), CURVE_POINTS).round().astype(int))
    return np.asarray(column)[places[: len(column)]].tolist() if len(column) else []


def _count_curves(tables: Tables) -> dict[str, Any]:
    """Return counts of both readers by case and their limits of agreement.

    Source: Bland and Altman, Lancet 1986: mean difference, plus and minus 1.96 standard deviations.
    """
    by_label = {}
    for value in (None, *tables.values):
        pairs = np.array([_totals_of(case, value) for case in tables.cases], np.float64).reshape(-1, 2)
        difference = pairs[:, 0] - pairs[:, 1]
        bias = float(difference.mean()) if len(pairs) else 0.0
        spread = 1.96 * float(difference.std(ddof=1)) if len(pairs) > 1 else None
        by_label["all" if value is None else _name(tables, value)] = {
            "ours": pairs[:, 0].tolist(),
            "reference": pairs[:, 1].tolist(),
            "bias": bias,
            "limits": None if spread is None else [bias - spread, bias + spread],
        }
    return {"cases": [case.pair.case for case in tables.cases], "by_label": by_label}


def _confusion(tables: Tables) -> dict[str, Any]:
    """Return how often each label was taken for each; the last row and column stand for nothing."""
    values = tables.values
    place = {value: number for number, value in enumerate(values)}
    table = np.zeros((len(values) + 1, len(values) + 1), int)
    for case in tables.cases:
        for value, (found, false, missed) in case.counts.items():
            table[place[value], place[value]] += found
            table[-1, place[value]] += false
            table[place[value], -1] += missed
        for truth, taken in case.mixed:
            table[place[truth], place[taken]] += 1
            table[-1, place[taken]] -= 1
            table[place[truth], -1] -= 1
    return {"labels": [_name(tables, value) for value in values], "table": table.tolist()}
