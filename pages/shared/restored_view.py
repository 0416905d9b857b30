"""A finer image on the page: beside bicubic enlargement, with what it is worth and the mark that it was computed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.imaging.computed import STAMP
from core.imaging.resample import enlarge
from core.readings.export import Exporter, ExportItem
from core.readings.picture import draw_difference, draw_error, to_rgb
from core.readings.reading import RestoredImage
from core.types import Array, Image, Window
from pages.shared.messages import escape
from pages.shared.pickers import pick_slice
from pages.shared.render import fit_to_pixels, start_window, to_png, whole_reading
from pages.shared.still import has_window, window_controls
from pages.shared.swipe import Side, swipe

if TYPE_CHECKING:
    from core.workspace.records import Case, ReadingVersion
    from core.workspace.workspace import Workspace

BICUBIC, RESTORED, DIFFERENCE, SPREAD = "bicubic", "restored", "difference", "spread"
SCALE_PERCENTILE = 99.5


def restored_of(workspace: Workspace, version: ReadingVersion) -> RestoredImage:
    """Return a version's finer image.

    Raises:
        ValueError: when the version holds something else.
    """
    reading = whole_reading(workspace, version)
    if not isinstance(reading, RestoredImage):
        raise ValueError(f"This reading holds {reading.kind}, a finer image is needed here.")
    return reading


def computed_banner(reading: RestoredImage) -> None:
    """Say that an image was computed, by what, and that it is no basis for measuring."""
    if reading.computed:
        st.warning(
            f"**Computed, not acquired**: {escape(reading.computed)}. Fine detail may be invented; measure on the "
            "acquired image.",
            icon=":material/warning:",
        )
    else:
        st.caption("An acquired finer image, imported as the truth of this case.")


def restored_view(workspace: Workspace, case: Case, version: ReadingVersion, key: str) -> None:
    """Show a finer image beside bicubic enlargement with a bar to drag; called inside a fragment."""
    reading = restored_of(workspace, version)
    computed_banner(reading)
    picture, controls = st.columns([2, 1], gap="medium")
    with controls:
        index = pick_slice(reading.info, f"{key}_fine_slice_{version.id}", reading.info.slices // 2)
        window = (
            window_controls(workspace, case, key) if has_window(case.info) else start_window(workspace, case)
        )
        shown = [BICUBIC, DIFFERENCE] + ([SPREAD] if version_has_spread(workspace, version) else [])
        other = st.segmented_control(
            "Left of the bar", shown, default=BICUBIC, key=f"{key}_other_{version.id}", required=True
        )
        facts(reading)
        downloads(reading, case, version, key)
    with picture:
        coarse = _coarse_plane(workspace, case, reading, index)
        fine = np.asarray(Image(reading.array, reading.info).plane(index))
        spacing = reading.info.in_plane_spacing_mm
        after = fit_to_pixels(_display(fine, window, reading), spacing)
        before = fit_to_pixels(_other(str(other), coarse, fine, (workspace, version, window, index)), spacing)
        mark = STAMP if reading.computed else ""
        swipe(
            Side(str(other), to_png(before)),
            Side(RESTORED if reading.computed else "acquired", to_png(after)),
            after.shape[:2],
            mark,
            f"{key}_swipe_{version.id}",
        )
        st.caption(_legend(str(other)))


def facts(reading: RestoredImage) -> None:
    """Show the size, and how well the image agrees with its input."""
    rows, columns = reading.info.spatial_shape[-2:]
    size = f"{columns} × {rows}" + (f" × {reading.info.slices}" if reading.info.is_volume else "")
    st.metric("Finer image", f"{size} px")
    agreement = reading.facts.get("consistency_db")
    if agreement is not None:
        st.metric(
            "Consistency with the input",
            f"{agreement:.1f} dB",
            help="The finer image made coarse again, against the image it came from: above 45 dB the difference is "
            "below what can be seen. It does not say that the added detail is true.",
        )
    if reading.facts.get("blend"):
        st.caption(f"{reading.facts['blend']:.0%} of the adversarial stage: sharper, less true.")


def downloads(reading: RestoredImage, case: Case, version: ReadingVersion, key: str) -> None:
    """Offer the finer image as files; each says inside that it was computed."""
    from core.tasks import TASKS

    exporters = next(task.exporters for task in TASKS if task.reading_kind == "restored")
    formats = [("NIfTI", "nifti")] if reading.info.is_volume else [("Image", "images"), ("DICOM", "dicom")]
    item = ExportItem(case.name, case.info, reading, version.reader_name, case.source)
    with st.container(horizontal=True):
        for title, name in formats:
            if name == "dicom" and not reading.computed:
                continue
            st.download_button(
                f"{title} (computed)" if reading.computed else title,
                _written(exporters[name], item),
                f"case{case.id}_computed{ENDINGS[name]}",
                key=f"{key}_{name}_{version.id}",
                on_click="ignore",
            )


ENDINGS = {"images": ".png", "nifti": ".nii.gz", "dicom": ".dcm"}


def _written(export: Exporter, item: ExportItem) -> Callable[[], bytes]:
    def content() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return export([item], (), Path(folder))[0].read_bytes()

    return content


def version_has_spread(workspace: Workspace, version: ReadingVersion) -> bool:
    """Tell whether it is known where mirrored looks disagree."""
    return _spread(workspace, version.id, version.sha256, version) is not None


@st.cache_resource(max_entries=4, show_spinner=False)
def _spread(_workspace: Workspace, version_id: int, sha256: str, _version: ReadingVersion) -> Array | None:
    reading = _workspace.load_reading(_version, with_probabilities=True)
    spread = reading.spread if isinstance(reading, RestoredImage) else None
    if spread is not None:
        spread.flags.writeable = False  # shared by all sessions
    return spread


def _coarse_plane(workspace: Workspace, case: Case, reading: RestoredImage, index: int) -> Array:
    """Return the plane of the case's own image that belongs to a fine plane, enlarged by bicubic interpolation."""
    image = workspace.load_image(case)
    factors = reading.factors(case.info) or (1, 1)
    through = factors[0] if len(factors) == 3 else 1
    plane = np.asarray(image.plane(index // through), np.float32)
    return enlarge(plane, (factors[-2], factors[-1]))


def _display(plane: Array, window: Window, reading: RestoredImage) -> Array:
    from core.imaging.windows import to_display

    return to_rgb(to_display(plane, window, reading.info.inverted))


def _other(
    name: str, coarse: Array, fine: Array, view: tuple[Workspace, ReadingVersion, Window, int]
) -> Array:
    workspace, version, window, index = view
    reading = restored_of(workspace, version)
    if name == BICUBIC:
        kept = fine.dtype
        if kept.kind in "iu":
            limits = np.iinfo(kept)
            coarse = np.clip(np.rint(coarse), limits.min, limits.max)
        return _display(coarse.astype(kept), window, reading)
    if name == SPREAD:
        spread = _spread(workspace, version.id, version.sha256, version)
        if spread is not None:
            values = np.asarray(spread if spread.ndim == 2 else spread[index], np.float32)
            return draw_error(values, _scale(values))
    difference = _grey(fine) - _grey(coarse)
    return draw_difference(difference, _scale(difference))


def _grey(plane: Array) -> Array:
    values = np.asarray(plane, np.float32)
    return values if values.ndim == 2 else values.mean(axis=2)


def _scale(values: Array) -> float:
    return float(np.percentile(np.abs(values), SCALE_PERCENTILE)) or 1.0


def _legend(name: str) -> str:
    if name == DIFFERENCE:
        return "What the model added to bicubic enlargement: orange brighter, blue darker."
    if name == SPREAD:
        return "Where mirrored and turned looks disagree (bright): there the model invents most."
    return "Drag the bar: left bicubic enlargement, right the finer image."
