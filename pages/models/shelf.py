"""The models of a project: what they scored, their card, rename, download, delete."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from core.workspace.records import Model, Project
from pages.shared.messages import escape, show_errors
from pages.shared.models import headline_of, headline_title
from pages.shared.state import workspace

store = workspace()


def model_shelf(project: Project) -> None:
    """List the project's models and let one be looked into."""
    models = store.list_models(project_id=project.id)
    if not models:
        return
    st.subheader("Models of this project")
    score = f"validation {headline_title(project.task)}"
    rows = {
        "name": [model.name for model in models],
        "network": [str(model.card.get("name", "")) for model in models],
        score: [headline[1] if (headline := headline_of(model)) else None for model in models],
        "made (UTC)": [model.created_at.strftime("%Y-%m-%d %H:%M") for model in models],
    }
    picked = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"shelf_{project.id}",
        column_config={score: st.column_config.NumberColumn(format="%.3f")},
        alt="Models of this project",
    )
    chosen = picked["selection"]["rows"]
    if chosen and chosen[0] < len(models):
        _details(models[chosen[0]])


def _details(model: Model) -> None:
    with st.container(border=True):
        for limit in model.card.get("limits", []):
            st.caption(escape(limit))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.text_input("Name", model.name, key=f"shelf_name_{model.id}", max_chars=80, width=320)
            st.button("Rename", key=f"shelf_rename_{model.id}", on_click=_rename, args=(model.id, name))
            st.download_button(
                "Download (zip)",
                lambda: _package(model),
                file_name=f"model-{model.id}.zip",
                mime="application/zip",
                key=f"shelf_zip_{model.id}",
                on_click="ignore",
            )
            with st.popover("Delete"):
                st.write("The weights are removed; readings the model made stay.")
                st.button(
                    "Delete the model", key=f"shelf_delete_{model.id}", on_click=_delete, args=(model.id,)
                )
        with st.expander("Model card"):
            st.json(model.card, expanded=1)


def _rename(model_id: int, name: str) -> None:
    with show_errors():
        store.rename_model(model_id, name)


def _delete(model_id: int) -> None:
    with show_errors():
        store.delete_model(model_id)


def _package(model: Model) -> bytes:
    from core.learning.package import export_package

    with tempfile.TemporaryDirectory() as folder:
        return export_package(store.model_dir(model), Path(folder) / "model.zip").read_bytes()
