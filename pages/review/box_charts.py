"""Charts of a comparison of boxes: precision-recall, FROC, agreement of counts, which label was taken for which."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.types import Label
from pages.shared.messages import escape

ALL_COLOR = "#8a8f98"
CONFIG = {"displayModeBar": False}
HEIGHT = 320


def box_charts(result: dict[str, Any], labels: tuple[Label, ...]) -> None:
    """Show the curves that come with a comparison of boxes; nothing for other comparisons."""
    curves = result.get("curves")
    if not curves:
        return
    for note in result.get("notes", []):
        st.caption(escape(note))
    colors = {label.name: label.color for label in labels}
    st.subheader("Curves")
    left, right = st.columns(2)
    with left:
        _precision_recall(curves["precision_recall"], colors)
    with right:
        _froc(curves["froc"], colors)
    st.subheader("Counts and labels")
    left, right = st.columns(2)
    with left:
        _bland_altman(curves["counts"])
    with right:
        _confusion(curves["confusion"])


def _layout(figure: Any, title: str, x: str, y: str) -> None:
    figure.update_layout(
        title=title, height=HEIGHT, margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "y": -0.28}, xaxis_title=x, yaxis_title=y,
    )  # fmt: skip


def _precision_recall(curve: dict[str, Any], colors: dict[str, str]) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, precision in curve["precision"].items():
        figure.add_scatter(
            x=curve["recall"],
            y=precision,
            name=name,
            mode="lines",
            line={"color": colors.get(name, ALL_COLOR)},
        )
    _layout(figure, f"Precision and recall at IoU {curve['iou']:g}", "recall", "precision")
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(range=[0, 1.05])
    st.plotly_chart(figure, config=CONFIG, key="compare_pr", alt="Precision against recall by label")


def _froc(curve: dict[str, Any], colors: dict[str, str]) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, line in curve["lines"].items():
        figure.add_scatter(
            x=line["false_positives"], y=line["sensitivity"], name=name, mode="lines", line_shape="hv",
            line={"color": colors.get(name, ALL_COLOR), "width": 3 if name == "all" else 1.5},
            text=[f"score {score:.2f}" for score in line["threshold"]],
            hovertemplate="%{y:.3f} at %{x:.3g} (%{text})",
        )  # fmt: skip
    _layout(figure, "FROC: found against false ones", "false ones per image", "sensitivity")
    rates = curve["rates"]
    figure.update_xaxes(
        type="log", tickvals=rates, ticktext=[f"{rate:g}" for rate in rates], range=[-1.2, 1.2]
    )
    figure.update_yaxes(range=[0, 1.05])
    st.plotly_chart(figure, config=CONFIG, key="compare_froc", alt="Sensitivity against false ones per image")


def _bland_altman(counts: dict[str, Any]) -> None:
    import plotly.graph_objects as go

    names = list(counts["by_label"])
    chosen = st.selectbox("Objects counted", names, key="compare_counts", width=240)
    one = counts["by_label"][chosen or names[0]]
    means = [(a + b) / 2 for a, b in zip(one["ours"], one["reference"], strict=True)]
    differences = [a - b for a, b in zip(one["ours"], one["reference"], strict=True)]
    figure = go.Figure(
        go.Scatter(
            x=means, y=differences, mode="markers", text=counts["cases"], name="",
            hovertemplate="%{text}: %{y:+.0f} of %{x:.0f}<extra></extra>", marker={"opacity": 0.6},
        )
    )  # fmt: skip
    figure.add_hline(y=one["bias"], line_width=2, line_color=ALL_COLOR)
    for limit in one["limits"] or []:
        figure.add_hline(y=limit, line_dash="dash", line_width=1, line_color=ALL_COLOR)
    _layout(figure, "Agreement of counts (Bland-Altman)", "mean of both counts", "reader minus reference")
    figure.update_layout(showlegend=False)
    st.plotly_chart(figure, config=CONFIG, key="compare_ba", alt="Difference of counts against their mean")
    words = f"Mean difference {one['bias']:+.2f} objects a case"
    if one["limits"]:
        words += f"; 95 % of cases between {one['limits'][0]:+.1f} and {one['limits'][1]:+.1f}"
    st.caption(f"{words}.")


def _confusion(confusion: dict[str, Any]) -> None:
    names = [*confusion["labels"], "nothing"]
    st.markdown("**Which label was taken for which**")
    st.dataframe(
        {"reference is": names}
        | {f"read as {name}": [row[place] for row in confusion["table"]] for place, name in enumerate(names)},
        hide_index=True,
        alt="Counts of reference labels against labels given",
    )
    st.caption(
        'The row "nothing" holds false objects, the column "nothing" missed ones; at the threshold, IoU from 0.5.'
    )
