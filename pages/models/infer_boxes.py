"""A model's boxes in one case: score slider, table of objects, one of them enlarged, counts, downloads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.readings.export import Exporter, ExportItem
from core.readings.exporters import BOX_EXPORTERS
from core.readings.reading import Boxes
from pages.shared.box_view import counts_by_label, detail, object_table, with_objects
from pages.shared.messages import show_errors
from pages.shared.pickers import pick_slice
from pages.shared.render import every_box, plane_display, plane_of_reading, start_plane, to_png
from pages.shared.viewer import label_legend, show_plane, window_controls

if TYPE_CHECKING:
    from core.types import Label
    from core.workspace.records import Case, Model, Project, ReadingVersion
    from core.workspace.workspace import Workspace

COUNTED_CASES = 500


def boxes_view(store: Workspace, project: Project, model: Model, case: Case, version: ReadingVersion) -> None:
    """Show one reading of boxes; called inside a fragment, so that sliding reruns only this."""
    every = every_box(store, version)
    picture, controls = st.columns([2, 1], gap="medium")
    with controls:
        threshold = _threshold(every, version)
        boxes = every.decided(threshold)
        _counts(boxes, project.labels)
        chosen = _objects(boxes, case, project.labels, version)
        start = start_plane(store, version, case.info) if chosen is None else int(boxes.planes[chosen])
        index = pick_slice(case.info, f"infer_slice_{case.id}_{chosen}", start)
        with st.expander("Window and legend"):
            window = window_controls(store, case, "infer")
            label_legend(project.labels)
    with picture:
        plain = plane_display(store, case, index, window)
        here = boxes.planes == index
        on_plane = plane_of_reading(boxes, index)
        place = None if chosen is None or not here[chosen] else int(here[:chosen].sum())
        if isinstance(on_plane, Boxes):
            shown = with_objects(plain, on_plane, project.labels, case.info, place)
            show_plane(shown, case.info, f"{case.name} read by {model.name}: {len(on_plane)} boxes")
    with controls:
        if place is not None and isinstance(on_plane, Boxes):
            part = detail(plain, on_plane, project.labels, case.info, place)
            st.image(
                to_png(part), output_format="PNG", caption="The chosen object, enlarged", width="stretch"
            )
        _downloads(case, version, model, (boxes, project.labels))
        _keep(store, case, version, model, (every, threshold))


def _threshold(every: Boxes, version: ReadingVersion) -> float | None:
    if every.scores is None:
        return None
    own = every.threshold if every.threshold is not None else 0.5
    return float(
        st.slider(
            "Score from which boxes count",
            0.01,
            0.99,
            float(min(max(own, 0.01), 0.99)),
            0.01,
            key=f"infer_score_{version.id}",
            help=f"The model's own rule is {own:.2f} (best F1 on its validation cases).",
        )
    )


def _counts(boxes: Boxes, labels: tuple[Label, ...]) -> None:
    counts = counts_by_label(boxes, labels)
    for column, (name, count) in zip(st.columns(len(counts) or 1), counts.items(), strict=False):
        column.metric(name, count)


def _objects(boxes: Boxes, case: Case, labels: tuple[Label, ...], version: ReadingVersion) -> int | None:
    """Show the table of objects, surest first; returns the number of the box that was clicked."""
    order = list(range(len(boxes)))
    if boxes.scores is not None:
        order.sort(key=lambda number: -float(boxes.scores[number]))  # type: ignore[index]
    table = object_table(boxes, case.info, labels)
    picked = st.dataframe(
        {title: [column[number] for number in order] for title, column in table.items()},
        hide_index=True,
        key=f"infer_objects_{version.id}_{len(boxes)}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(300, 38 + 35 * max(len(boxes), 1)),
        alt="Objects found, surest first",
        column_config={"score": st.column_config.NumberColumn(format="%.2f")},
    )
    rows = picked["selection"]["rows"]
    if not rows:
        st.caption("Click the box before a row to see that object enlarged.")
    return order[rows[0]] if rows and rows[0] < len(order) else None


def _downloads(
    case: Case, version: ReadingVersion, model: Model, content: tuple[Boxes, tuple[Label, ...]]
) -> None:
    boxes, labels = content
    item = ExportItem(case.name, case.info, boxes, model.name, case.source)
    with st.container(horizontal=True):
        for title, name, mime in (
            ("Boxes (CSV)", "csv", "text/csv"),
            ("Boxes (COCO)", "coco", "application/json"),
        ):
            st.download_button(
                title,
                _written(BOX_EXPORTERS[name], item, labels),
                f"case{case.id}-{version.version}.{'json' if name == 'coco' else 'csv'}",
                mime,
                key=f"infer_box_{name}",
                on_click="ignore",
            )


def _written(export: Exporter, item: ExportItem, labels: tuple[Label, ...]) -> Callable[[], bytes]:
    def content() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return export([item], labels, Path(folder))[0].read_bytes()

    return content


def _keep(
    store: Workspace,
    case: Case,
    version: ReadingVersion,
    model: Model,
    chosen: tuple[Boxes, float | None],
) -> None:
    every, threshold = chosen
    if threshold is None or every.threshold == threshold:
        return
    if st.button("Keep this threshold as a new version", key="infer_keep_boxes"):
        with show_errors():
            store.save_reading(
                case.id,
                model.name,
                replace(every, threshold=threshold),
                kind="model",
                note=f"threshold {threshold:.2f}",
                based_on=version.version,
                model_id=model.id,
            )
            st.rerun()


def counts_part(store: Workspace, project: Project, versions: dict[int, ReadingVersion]) -> None:
    """Show how many objects of each label every case has, by the model's own threshold."""
    panel = st.expander("Counts per case", key="infer_counts", on_change="rerun")
    if not panel.open:
        return
    with panel:
        cases = [case for case in store.list_cases(project.id) if case.id in versions][:COUNTED_CASES]
        columns: dict[str, list[object]] = {"case": [case.name for case in cases]}
        columns |= {label.name: [] for label in project.labels}
        for case in cases:
            reading = store.load_reading(versions[case.id], with_probabilities=False)
            counts = counts_by_label(reading.decided(), project.labels) if isinstance(reading, Boxes) else {}
            for name in (label.name for label in project.labels):
                columns[name].append(counts.get(name))
        st.dataframe(columns, hide_index=True, alt="Objects of each label in every case")
