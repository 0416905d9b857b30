"""Curves of a training: loss and scores against epochs, read from the job's events as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.tasks.task import Curve
from core.types import Label
from pages.shared.state import queue

COLORS = ("#4c9be8", "#e6820d", "#2ca6a4", "#8c6bb1", "#d4b106")
MAX_NOTES = 6
MAX_SAMPLES = 6


def events_of(job_id: int) -> list[dict[str, Any]]:
    """Return all events of a job; only those not seen yet are read from the store.

    A resumed job goes on from its checkpoint: of an epoch that was told twice, the later telling counts.
    """
    kept: dict[str, Any] = st.session_state.setdefault(f"events_{job_id}", {"last": 0, "data": []})
    for event in queue().events(job_id, after_id=kept["last"]):
        kept["last"] = event.id
        kept["data"].append(event.data)
    return list(kept["data"])


def epochs_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one event per epoch, in order."""
    by_epoch = {int(event["epoch"]): event for event in events if event.get("kind") == "epoch"}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def show_curves(job_id: int, curves: tuple[Curve, ...], labels: tuple[Label, ...]) -> None:
    """Draw a training so far: the task's charts, its last notes, where it stands."""
    events = events_of(job_id)
    epochs = epochs_of(events)
    for event in [event for event in events if event.get("kind") == "note"][-MAX_NOTES:]:
        st.caption(str(event.get("message", "")).replace("$", "\\$"))
    if not epochs:
        latest = next((event for event in reversed(events) if event.get("kind") == "step"), None)
        st.caption(
            "Preparing the images and building the network."
            if latest is None
            else f"First epoch: step {latest['step']}, loss {latest['loss']:.3f}."
        )
        return
    for column, (number, curve) in zip(st.columns(len(curves)), enumerate(curves), strict=True):
        column.plotly_chart(
            _chart(epochs, curve, lines_of(curve, labels, epochs)),
            key=f"curve_{number}_{job_id}",
            config={"displayModeBar": False},
        )
    _samples(events)
    last = epochs[-1]
    words = [f"Epoch {last['epoch']}", f"loss {last['train_loss']:.3f}"]
    st.caption(" · ".join([*words, *(text for curve in curves if (text := _best(curve, epochs)))]))


def _samples(events: list[dict[str, Any]]) -> None:
    """Show the latest sample predictions, where the task draws some."""
    told = next((event for event in reversed(events) if event.get("kind") == "samples"), None)
    files = [Path(str(file)) for file in (told or {}).get("files", [])]
    there = [file for file in files if file.is_file()][:MAX_SAMPLES]
    if not there:
        return
    st.markdown(f"**What the network sees in validation images** · epoch {(told or {}).get('epoch', '')}")
    for column, file in zip(st.columns(len(there)), there, strict=True):
        column.image(file.read_bytes(), output_format="PNG", width="stretch")


def lines_of(
    curve: Curve, labels: tuple[Label, ...], epochs: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """Return (name, key, colour) of each line.

    A key that ends in "/" stands for one line per label where there are several, or for every part that the events
    tell under it (such as the parts of a loss).
    """
    lines: list[tuple[str, str, str]] = []
    colors = {label.name: label.color for label in labels}
    for name, key in curve.lines:
        if not key.endswith("/"):
            lines.append((name, key, COLORS[len(lines) % len(COLORS)]))
            continue
        told = [part.removeprefix(key) for event in epochs for part in event if part.startswith(key)]
        parts = [part for part in dict.fromkeys(told) if part not in colors]
        if len(labels) > 1:
            lines += [(label, f"{key}{label}", color) for label, color in colors.items() if label in told]
        for part in parts:
            lines.append((part, f"{key}{part}", COLORS[len(lines) % len(COLORS)]))
    return lines


def _best(curve: Curve, epochs: list[dict[str, Any]]) -> str:
    """Say the best value of a curve's first line, where it has one."""
    values = [event[curve.lines[0][1]] for event in epochs if curve.lines[0][1] in event]
    if not curve.best or not values:
        return ""
    best = max(values) if curve.best == "max" else min(values)
    return f"best {curve.title} {best:.3f}"


def _chart(epochs: list[dict[str, Any]], curve: Curve, lines: list[tuple[str, str, str]]) -> go.Figure:
    figure = go.Figure()
    for name, key, color in lines:
        points = [(event["epoch"], event[key]) for event in epochs if key in event]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            name=name,
            mode="lines+markers" if len(points) < 40 else "lines",
            line={"color": color, "width": 2},
        )
    figure.update_layout(
        title=curve.title,
        height=300,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        xaxis_title="epoch",
        legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
    )
    if curve.limits is not None:
        figure.update_yaxes(range=list(curve.limits))
    return figure
