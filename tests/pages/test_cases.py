"""Cases page: search, the viewer's start slice, marks, splits by patient, delete."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.imaging.headers import Headers
from core.readings.picture import edges, overlay
from core.types import Label
from core.workspace.records import NewCase, Project
from core.workspace.workspace import Workspace
from pages.shared.render import (
    display_size,
    error_map_rgb,
    fit_to_pixels,
    fullest_plane,
    plane_display,
)
from pages.shared.still import scale_bar
from tests.pages.conftest import add_flat, add_volume, scene_of, square, texts

OpenPage = Callable[..., AppTest]
PAGE = "data/cases.py"


def test_table_and_search(open_page: OpenPage, store: Workspace, project: Project) -> None:
    for name in ("alpha", "beta", "gamma"):
        add_flat(store, project, name)
    app = open_page(PAGE, project=project.id)
    assert list(app.dataframe[0].value["name"]) == ["alpha", "beta", "gamma"]
    app.text_input(key="cases_search").set_value("et").run()
    assert list(app.dataframe[0].value["name"]) == ["beta"]
    app.text_input(key="cases_search").set_value("nothing").run()
    assert "No case fits" in texts(app)


def test_the_viewer_shows_the_case_with_the_reading_chosen(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    case = add_volume(store, project, "ct")
    first = store.save_reading(case.id, "Ann", square((9, 20, 40), 2, 12, 2), kind="person")
    second = store.save_reading(case.id, "Ann", square((9, 20, 40), 3, 9), kind="person")
    app = open_page(PAGE, project=project.id, case=case.id)
    assert app.selectbox(key=f"cases_reader_{project.id}").value == "Ann"
    scene = scene_of(app)
    assert scene["image"]["id"] == case.image_id
    assert [layer["version"] for layer in scene["panes"][0]["layers"]] == [second.id]
    assert [button.label for button in app.get("download_button")] == [
        "Mask as NIfTI",
        "Mask as DICOM segmentation",
    ]
    app.selectbox(key=f"cases_version_{case.id}_Ann_2").set_value(1).run()
    assert [layer["version"] for layer in scene_of(app)["panes"][0]["layers"]] == [first.id]
    app.selectbox(key=f"cases_reader_{project.id}").set_value("nobody").run()
    assert scene_of(app)["panes"][0]["layers"] == []


def test_the_kept_header_is_shown_on_request(open_page: OpenPage, store: Workspace, project: Project) -> None:
    case = add_volume(store, project, "ct")
    own = tuple({"00200013": {"vr": "IS", "Value": [number]}} for number in range(9))
    headers = Headers("basic", {"00080060": {"vr": "CS", "Value": ["CT"]}}, own, {"00080060": "Modality"})
    new = NewCase(case.name, store.load_image(case), case.source, headers=headers)
    assert store.add_case(project.id, new).existing
    app = open_page(PAGE, project=project.id, case=case.id)
    before = len(app.dataframe)
    app.toggle(key=f"header_{case.id}").set_value(True).run()
    assert "Patient identity on import: removed." in texts(app)
    assert len(app.dataframe) == before + 1
    app.number_input(key=f"header_slice_{case.id}").set_value(4).run()
    shown = app.dataframe[-1].value
    assert list(shown["value"]) == ["CT", "3"] and list(shown["name"]) == ["Modality", ""]


def test_windows_by_name(open_page: OpenPage, store: Workspace, project: Project) -> None:
    case = add_volume(store, project, "ct")
    scene = scene_of(open_page(PAGE, project=project.id, case=case.id))
    windows = {one["name"]: (one["center"], one["width"]) for one in scene["image"]["windows"]}
    assert windows["lung"] == (-600, 1500) and windows["bone"] == (400, 1800)
    assert list(windows)[1] == "full range" and {"soft tissue", "brain"} <= windows.keys()


def test_a_second_case_beside_it_or_laid_over_it(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    case, other = add_volume(store, project, "now"), add_volume(store, project, "before")
    app = open_page(PAGE, project=project.id, case=case.id)
    app.multiselect(key=f"cases_beside_{case.id}").set_value([other.id]).run()
    assert [pane["title"] for pane in scene_of(app)["panes"]] == ["now", "before"]
    app.toggle(key="cases_over").set_value(True).run()
    (pane,) = scene_of(app)["panes"]
    assert (pane["title"], pane["second"]["title"]) == ("now", "before")


def test_split_goes_to_the_whole_patient(open_page: OpenPage, store: Workspace, project: Project) -> None:
    first, second = (add_flat(store, project, name, "p1") for name in ("a", "b"))
    other = add_flat(store, project, "c", "p2")
    app = open_page(PAGE, project=project.id, case=first.id)
    app.segmented_control(key=f"case_split_{first.id}").set_value("test").run()
    assert not app.exception
    assert [store.get_case(case.id).split for case in (first, second, other)] == ["test", "test", None]


def test_delete(open_page: OpenPage, store: Workspace, project: Project) -> None:
    case = add_flat(store, project, "a")
    add_flat(store, project, "b")
    app = open_page(PAGE, project=project.id, case=case.id)
    app.button(key=f"delete_case_{case.id}").click().run()
    assert not app.exception
    assert [kept.name for kept in store.list_cases(project.id)] == ["b"]


def test_an_address_of_another_projects_case_is_not_followed(
    open_page: OpenPage, store: Workspace, project: Project
) -> None:
    from core.types import make_labels

    other = store.create_project("Other", "segmentation", make_labels(["x"]))
    foreign = add_flat(store, other, "foreign")
    add_flat(store, project, "own")
    app = open_page(PAGE, project=project.id, case=foreign.id)
    assert app.subheader[0].value == "own"


def test_square_millimetres_and_whole_steps() -> None:
    assert display_size((512, 512), (1.0, 1.0)) == (512, 512)
    assert display_size((20, 40), (1.0, 0.5)) == (520, 520)
    assert max(display_size((4000, 1000), None)) == 1400
    grid = np.arange(64, dtype=np.uint8).reshape(8, 8)
    large = fit_to_pixels(grid, smooth=False)
    assert large.shape == (512, 512)
    assert np.array_equal(large[::64, ::64], grid)


def test_overlay_opacity_and_outline() -> None:
    base = np.full((10, 10, 3), 100, np.uint8)
    mask = np.zeros((10, 10), np.uint8)
    mask[2:8, 2:8] = 3
    labels = (Label(3, "x", "#ff0000"),)
    assert np.array_equal(overlay(base, mask, labels, 0), base)
    full = overlay(base, mask, labels, 1.0)
    assert (full[mask == 3] == (255, 0, 0)).all()
    assert (full[mask == 0] == 100).all()
    outline = overlay(base, mask, labels, 0.5, contour=True)
    assert (outline[4, 4] == 100).all()
    assert (outline[2, 4] == (255, 0, 0)).all()
    assert edges(mask == 3).sum() == 20
    with pytest.raises(ValueError, match="shape"):
        overlay(base, mask[:5], labels, 1)


def test_agreement_is_counted_exactly() -> None:
    rng = np.random.default_rng(0)
    first, other = (rng.integers(0, 3, (30, 30)).astype(np.uint8) for _ in range(2))
    _, counts = error_map_rgb(np.zeros((30, 30, 3), np.uint8), first, other)
    assert counts.both == ((first == other) & (first > 0)).sum()
    assert counts.only_first == ((first > 0) & (other == 0)).sum()
    assert counts.only_reference == ((first == 0) & (other > 0)).sum()
    assert counts.other_label == ((first > 0) & (other > 0) & (first != other)).sum()


def test_fullest_plane_and_scale_bar(store: Workspace, project: Project) -> None:
    assert fullest_plane(np.zeros((9, 4, 4), np.uint8)) == 4
    assert fullest_plane(square((5, 5), 1, 2).array) == 0
    volume = add_volume(store, project, "ct")
    assert scale_bar(volume.info, 800) == (2.0, 80)
    assert scale_bar(add_flat(store, project, "flat").info, 800) is None


def test_a_replaced_case_never_shows_the_old_picture(store: Workspace, project: Project) -> None:
    first = add_flat(store, project, "a")
    before = plane_display(store, first, 0).copy()
    store.delete_cases([first.id])
    second = add_flat(store, project, "other")
    assert not np.array_equal(plane_display(store, second, 0), before)
