"""The numbers of a comparison: headline, per label, per case, distribution, paired difference."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from core.jobs.payloads import EvaluatePayload
from core.readings.picture import label_rgb
from core.tasks.task import MetricInfo
from core.types import Label
from pages.shared.messages import escape
from pages.shared.progress import count_words, short_patient


def number(value: float | None) -> str:
    """Write a score with three digits; a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def with_interval(entry: dict[str, Any] | None) -> str:
    """Write a score with its 95 % interval."""
    if not entry or entry.get("value") is None:
        return "–"
    interval = entry.get("ci95")
    unit = f" {entry['unit']}" if entry.get("unit") in ("mm", "px") else ""
    text = number(entry["value"]) + unit
    return f"{text}  [{number(interval[0])}, {number(interval[1])}]" if interval else text


def headline(result: dict[str, Any], infos: tuple[MetricInfo, ...]) -> None:
    """Show the main scores with intervals and what they are means of."""
    metrics = result["metrics"]
    shown = [info for info in infos if info.key in metrics]
    for column, info in zip(st.columns(len(shown) or 1), shown, strict=False):
        entry = metrics[info.key]
        interval, unit = entry.get("ci95"), entry.get("unit") or ""
        short = unit if len(unit) <= 3 else ""  # "mm" stands in the title, "within 2 mm" in the explanation
        meaning = info.meaning if short or not unit else f"{info.meaning} {unit}."
        with column.container(border=True):
            st.metric(
                f"{info.title} ({short})" if short else info.title, number(entry.get("value")), help=meaning
            )
            st.caption(f"CI {number(interval[0])}–{number(interval[1])}" if interval else "no interval")
    cases = count_words(result["n_cases"], "case", "cases")
    patients = count_words(result["n_patients"], "patient", "patients")
    over = "All objects of" if "curves" in result else "Means over"
    words = f"{over} {cases} of {patients}; CI: 95 % interval by resampling patients."
    missed = metrics.get("n_missed", {}).get("value")
    if missed and "hd95" in metrics:
        what = count_words(int(missed), "structure was", "structures were")
        words += f" {what} missed entirely (no HD95 there)."
    st.caption(words)
    for info in shown:
        if metrics[info.key].get("note"):
            st.caption(f"{info.title}: {escape(metrics[info.key]['note'])}")


def per_label(result: dict[str, Any], labels: tuple[Label, ...], infos: tuple[MetricInfo, ...]) -> None:
    """Show a table with one row a label."""
    st.subheader("By label")
    metrics = result["metrics"]
    columns: dict[str, list[Any]] = {"label": [label.name for label in labels]}
    for info in infos:
        entries = [metrics.get(f"{info.key}/{label.name}") for label in labels]
        if any(entries):
            columns[info.title] = [with_interval(entry) for entry in entries]
    st.dataframe(columns, hide_index=True, alt="Scores by label with 95 percent intervals")


def distribution(result: dict[str, Any], info: MetricInfo) -> None:
    """Draw every case's score beside a box, so that the mean hides nothing."""
    import plotly.graph_objects as go

    st.subheader(f"Spread of {info.title}")
    rows = [row for row in result["per_case"] if row["scores"].get(info.key) is not None]
    if not rows:
        st.caption(f"No case has a {info.title}.")
        return
    color = "#4fb3bf" if st.context.theme.type != "light" else "#0b7285"
    figure = go.Figure(
        go.Box(
            x=[row["scores"][info.key] for row in rows],
            text=[row["case"] for row in rows],
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            name="",
            hovertemplate="%{text}: %{x:.3f}<extra></extra>",
            marker={"size": 6, "opacity": 0.75, "color": color},
            line={"color": f"rgba{(*label_rgb(color), 0.55)}"},
            fillcolor="rgba(0,0,0,0)",
        )
    )
    figure.update_layout(height=170, margin={"l": 10, "r": 10, "t": 10, "b": 40}, showlegend=False)
    figure.update_xaxes(title=info.title)
    if info.limits is not None:
        margin = 0.03 * (info.limits[1] - info.limits[0])
        figure.update_xaxes(range=[info.limits[0] - margin, info.limits[1] + margin])
    st.plotly_chart(figure, config={"displayModeBar": False}, alt=f"{info.title} of every case, with a box")


def per_case(
    result: dict[str, Any], payload: EvaluatePayload, infos: tuple[MetricInfo, ...]
) -> dict[str, Any] | None:
    """Show one row a case, worst first; returns the row that was clicked, else the worst."""
    rows = result["per_case"]
    known = [info for info in infos if any(row["scores"].get(info.key) is not None for row in rows)]
    table: dict[str, list[Any]] = {
        "case": [row["case"] for row in rows],
        "patient": [short_patient(row["patient"]) for row in rows],
        "split": [row.get("split") or "" for row in rows],
        **{info.title: [row["scores"].get(info.key) for row in rows] for info in known},
    }
    if "curves" in result:
        table |= {title: [row["scores"].get(f"n_{title}") for row in rows] for title in ("missed", "false")}
    widget = f"compare_cases_{result['key'][:16]}"

    def _selected() -> None:
        chosen = st.session_state[widget].selection.rows
        if chosen and chosen[0] < len(rows):
            st.session_state["compare_row"] = (result["key"], chosen[0])

    st.caption("Click the box before a row to see that case below.")
    st.dataframe(
        table,
        hide_index=True,
        key=widget,
        on_select=_selected,
        selection_mode="single-row",
        height=min(360, 38 + 35 * len(rows)),
        alt="Scores by case, worst first",
        column_config={info.title: st.column_config.NumberColumn(format="%.3f") for info in known},
    )
    from core.evaluation.compare import to_csv

    st.download_button(
        "Table as CSV",
        lambda: to_csv(result).encode("utf-8-sig"),
        file_name=f"comparison_project{payload.project}.csv",
        mime="text/csv",
        key=f"compare_csv_{result['key'][:16]}",
        on_click="ignore",
    )
    kept = st.session_state.get("compare_row")
    position = kept[1] if kept and kept[0] == result["key"] else 0
    return rows[position] if position < len(rows) else None


def paired(
    names: tuple[str, str], result: dict[str, Any], other: dict[str, Any], infos: tuple[MetricInfo, ...]
) -> None:
    """Show the mean difference of two readers in the cases both have, with its interval by patient."""
    from core.evaluation.intervals import paired_difference_ci

    theirs = {(row["case"], row["patient"]): row for row in other["per_case"]}
    rows = [(row, theirs[row["case"], row["patient"]]) for row in result["per_case"]
            if (row["case"], row["patient"]) in theirs]  # fmt: skip
    if not rows:
        st.caption("The two readers have no case in common.")
        return
    lines: dict[str, list[str]] = {"score": [], "difference": [], "95 % interval": [], "p": []}
    patients = [row["patient"] for row, _ in rows]
    for info in infos:
        a, b = ([_nan(row["scores"].get(info.key)) for row in side] for side in zip(*rows, strict=True))
        difference = paired_difference_ci(a, b, patients)
        if not difference.n_cases:
            continue
        lines["score"].append(info.title)
        lines["difference"].append(f"{difference.mean:+.3f}")
        known = difference.lo is not None and difference.hi is not None
        lines["95 % interval"].append(f"{difference.lo:+.3f} to {difference.hi:+.3f}" if known else "–")
        lines["p"].append("–" if difference.p is None else f"{difference.p:.3g}")
    st.dataframe(lines, hide_index=True, alt="Paired differences of two readers")
    common = count_words(len(rows), "common case", "common cases")
    st.caption(
        f"{escape(names[0])} minus {escape(names[1])} in {common}; interval by resampling patients, p by "
        "Wilcoxon's signed-rank test over patients. Above 0 the first has the higher score."
    )


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
