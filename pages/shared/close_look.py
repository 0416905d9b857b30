"""A part of a case seen closely: input, bicubic and restored beside each other, with the blend of a model's stages.

The pictures of all blends are made once by a job, so that the slider moves without waiting.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image as PilImage

from core.imaging.computed import STAMP
from core.jobs.payloads import LookPayload
from core.jobs.submit import submit
from core.tasks import TASKS
from core.types import Array
from pages.shared.jobs_panel import job_panel
from pages.shared.pickers import pick_slice
from pages.shared.render import fit_to_pixels, plane_display, start_window, to_png
from pages.shared.state import queue
from pages.shared.swipe import Side, swipe

if TYPE_CHECKING:
    from core.workspace.records import Case, Model
    from core.workspace.workspace import Workspace

SIDES = (32, 64, 128, 256)
NAMES = {"input": "Input (its pixels)", "bicubic": "Bicubic", "restored": "Restored", "truth": "Truth"}


def close_look(workspace: Workspace, model: Model, case: Case, key: str, degrade: bool | None = None) -> None:
    """Choose a part of a case, restore it, and show it; called inside a fragment.

    Args:
        workspace: the open workspace.
        model: one that makes images finer.
        case: what to look at.
        key: prefix of the widgets' keys.
        degrade: make the image coarse first, so that the truth is known; None lets the user choose.
    """
    left, right = st.columns([1, 2], gap="medium")
    with left:
        if degrade is None:
            degrade = st.toggle(
                "Against the truth",
                key=f"{key}_degrade",
                help="Makes the image coarse as the model's card says, restores it, and shows the error.",
            )
        payload = _part(workspace, model, case, key, degrade)
        pressed = st.button("Look closely", type="primary", key=f"{key}_look")
    if pressed:
        st.session_state[f"{key}_job"] = submit(queue(), payload, f"Look at {case.name}").id
    job_id = st.session_state.get(f"{key}_job")
    with right:
        if job_id is None:
            st.caption("Choose a part of the image and press the button.")
            return
        job = queue().get(job_id)
        if job.payload.get("case_id") != case.id or job.payload.get("model") != model.id:
            st.caption("Choose a part of the image and press the button.")
            return
        if job.state != "done" or not job.result:
            job_panel(job_id)
            return
        _parts(model, job.result, f"{key}_{job_id}")


def _part(workspace: Workspace, model: Model, case: Case, key: str, degrade: bool) -> LookPayload:
    """Ask for the part and show where it lies."""
    info = case.info
    height, width = info.spatial_shape[-2:]
    fitting = [side for side in SIDES if side <= max(SIDES[0], min(height, width))]
    start = next((side for side in fitting[::-1] if side <= (256 if degrade else 64)), fitting[0])
    side = int(
        st.select_slider("Size of the part (px)", fitting, start, key=f"{key}_side_{case.id}_{degrade}")
    )
    index = pick_slice(info, f"{key}_plane_{case.id}", info.slices // 2)
    top = _place("From the top (px)", height - side, f"{key}_top_{case.id}_{side}")
    left = _place("From the left (px)", width - side, f"{key}_left_{case.id}_{side}")
    window = start_window(workspace, case)
    shown = np.array(plane_display(workspace, case, index, window))
    line = max(1, round(max(height, width) / 200))
    box = np.zeros((height, width), bool)
    box[top : top + side, left : left + side] = True
    box[
        top + line : max(top + line, top + side - line), left + line : max(left + line, left + side - line)
    ] = False
    shown[box] = (255, 200, 0)
    st.image(to_png(fit_to_pixels(shown, info.in_plane_spacing_mm)), output_format="PNG", width=260,
             alt="Where the part lies")  # fmt: skip
    return LookPayload(
        project=case.project_id, model=model.id, case_id=case.id, plane=index, top=top, left=left, side=side,
        degrade=degrade, window=(window.center, window.width),
    )  # fmt: skip


def _place(title: str, most: int, key: str) -> int:
    return 0 if most <= 0 else int(st.slider(title, 0, most, most // 2, key=key))


def _parts(model: Model, result: dict[str, Any], key: str) -> None:
    """Show the pictures; the slider chooses among the blends."""
    parts = result["parts"]
    restored = [part for part in parts if part["name"] == "restored"]
    chosen = restored[0]
    truth = TASKS[model.task].image_truth
    if len(restored) > 1 and truth is not None:
        first, second = truth.stages
        share = st.select_slider(
            f"Blend: 0 {first}, 1 {second}",
            [part["blend"] for part in restored],
            key=f"{key}_blend",
            help="The weights of the two training stages, mixed: sharper to the right, truer to the left.",
        )
        chosen = next(part for part in restored if part["blend"] == share)
    else:
        st.caption("This model has one stage only; train with adversarial on to have two to blend.")
    one = {part["name"]: part for part in parts if part["name"] != "restored"} | {"restored": chosen}
    before, after = (_open(one[name]["file"]) for name in ("bicubic", "restored"))
    swipe(
        Side("bicubic", to_png(before)), Side("restored", to_png(after)), after.shape[:2], STAMP, f"{key}_swipe", 560
    )  # fmt: skip
    order = [name for name in ("input", "bicubic", "restored", "truth") if name in one]
    for column, name in zip(st.columns(len(order)), order, strict=True):
        with column:
            st.markdown(f"**{NAMES[name]}**")
            st.image(to_png(_open(one[name]["file"])), output_format="PNG", width="stretch", alt=NAMES[name])
            st.caption(_facts(one[name]["facts"]))
            if one[name]["map"]:
                st.image(to_png(_open(one[name]["map"])), output_format="PNG", width="stretch", alt="Map")
    what = "Error: black none, white" if result["has_truth"] else "Difference from bicubic: full colour"
    st.caption(f"{what} at {result['scale']:.3g} in the image's units and beyond.")


def _facts(facts: dict[str, float]) -> str:
    words = []
    if "psnr" in facts:
        words.append(f"PSNR {facts['psnr']:.2f} dB")
    if "consistency_db" in facts:
        words.append(f"consistency {facts['consistency_db']:.0f} dB")
    return " · ".join(words)


def _open(file: str) -> Array:
    with PilImage.open(Path(file)) as picture:
        return fit_to_pixels(np.asarray(picture.convert("RGB")))
