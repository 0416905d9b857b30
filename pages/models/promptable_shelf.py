"""Networks that clicks on Annotate can follow: train a small one here, put one in as a file, remove one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from core.assist.promptables import (
    PromptCard,
    check_new,
    export_promptable,
    free_name,
    list_promptables,
    remove_promptable,
)
from core.errors import SightlineError
from core.jobs.payloads import PromptPayload
from core.jobs.submit import submit
from core.jobs.warm import Message, warm_process
from core.workspace.records import Project
from pages.shared.jobs_panel import ACTIVE, job_panel
from pages.shared.messages import escape, show_errors
from pages.shared.state import queue, workspace

store = workspace()
ADD_SECONDS = 120.0
SCORES = {"dice_1_click": "Dice, one click", "dice_box": "Dice, box", "dice_3_clicks": "Dice, three clicks"}


def promptable_shelf(project: Project) -> None:
    """List the networks and offer to train, add and remove one."""
    with st.expander("Click networks: clicks and boxes on Annotate can follow them", key="promptable_open"):
        st.caption(
            "A click network looks at an image once and answers each click or box at once. Train a small one on this "
            "project's marks, or put in a network your site has, such as an ONNX export of SAM or MobileSAM."
        )
        with show_errors():
            cards = list_promptables(store.home)
            if cards:
                _table(cards)
        with show_errors():
            _train(project)
        with show_errors():
            _add()


def _table(cards: list[PromptCard]) -> None:
    scores = [card.facts.get("metrics", {}) for card in cards]
    rows = {"name": [card.name for card in cards], "side (px)": [card.image_px for card in cards]}
    rows |= {title: [one.get(key) for one in scores] for key, title in SCORES.items()}
    columns = {title: st.column_config.NumberColumn(format="%.3f") for title in SCORES.values()}
    st.dataframe(rows, hide_index=True, column_config=columns, alt="Click networks")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Network", [card.name for card in cards], key="promptable_chosen", width=320)
        st.download_button(
            "Download (zip)", lambda: _package(name), file_name="click-network.zip", mime="application/zip",
            key="promptable_zip", on_click="ignore",
        )  # fmt: skip
        with st.popover("Remove"):
            st.write("The files are deleted; marks made with it stay.")
            st.button("Remove the network", key="promptable_remove", on_click=_remove, args=(name,))


def _train(project: Project) -> None:
    jobs = [job for job in queue().list(project_id=project.id, limit=20) if job.kind == "prompt"]
    with (
        st.form("promptable_train", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        name = st.text_input(
            "Name", free_name(store.home, f"{project.name[:50]} clicks"), max_chars=60, width=320
        )
        minutes = st.number_input("Minutes of training", 1.0, 240.0, 10.0, 1.0, width=140)
        busy = bool(jobs) and jobs[0].state in ACTIVE
        if st.form_submit_button("Train a click network", disabled=busy):
            payload = PromptPayload(project=project.id, name=name.strip(), minutes=float(minutes))
            check_new(store.home, payload.name)
            submit(queue(), payload, f"Train the click network {payload.name}")
            st.rerun()
    if jobs:
        job_panel(jobs[0].id)


def _add() -> None:
    upload = st.file_uploader("Zip with encoder.onnx and decoder.onnx", ["zip"], key="promptable_file")
    if upload is None:
        return
    name = st.text_input(
        "Call it", free_name(store.home, Path(upload.name).stem), key="promptable_name", width=320
    )
    if st.button("Add the network", key="promptable_add"):
        with tempfile.TemporaryDirectory() as folder, st.spinner("Trying the network on an empty picture …"):
            path = Path(folder) / "network.zip"
            path.write_bytes(upload.getbuffer())
            message = Message({"path": str(path), "name": name.strip()})
            warm_process(store.home).call("add_promptable", message, ADD_SECONDS)
        st.success(f"Clicks can follow {escape(name)} now.")
        st.rerun()


def _remove(name: str) -> None:
    with show_errors():
        remove_promptable(store.home, name)


def _package(name: str | None) -> bytes:
    if name is None:
        raise SightlineError("Choose a network first.")
    with tempfile.TemporaryDirectory() as folder:
        return export_promptable(store.home, name, Path(folder) / "network.zip").read_bytes()
