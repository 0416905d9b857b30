"""Curves of a training: loss and scores against epochs, read from the job's events as they come."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.types import Label
from pages.shared.state import queue

SCORE = "val_dice"
TRAIN_COLOR, VAL_COLOR = "#4c9be8", "#e6820d"
MAX_NOTES = 6


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


def show_curves(job_id: int, labels: tuple[Label, ...]) -> None:
    """Draw the loss and the Dice of a training so far."""
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
    left, right = st.columns(2)
    loss = [("training", "train_loss", TRAIN_COLOR), ("validation", "val_loss", VAL_COLOR)]
    score = [("mean", SCORE, VAL_COLOR)]
    if len(labels) > 1:
        score += [(label.name, f"{SCORE}/{label.name}", label.color) for label in labels]
    left.plotly_chart(_chart(epochs, loss, "Loss"), key=f"loss_{job_id}", config={"displayModeBar": False})
    chart = _chart(epochs, score, "Dice on validation")
    chart.update_yaxes(range=[0, 1])
    right.plotly_chart(chart, key=f"dice_{job_id}", config={"displayModeBar": False})
    last = epochs[-1]
    words = [f"Epoch {last['epoch']}", f"loss {last['train_loss']:.3f}"]
    best = max((event[SCORE] for event in epochs if SCORE in event), default=None)
    if best is not None:
        words.append(f"best validation Dice {best:.3f}")
    st.caption(" · ".join(words))


def _chart(epochs: list[dict[str, Any]], lines: list[tuple[str, str, str]], title: str) -> go.Figure:
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
        title=title,
        height=300,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        xaxis_title="epoch",
        legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
    )
    return figure
