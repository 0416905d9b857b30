"""Readings by route: runs, probabilities at any threshold, boxes, PNG."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PilImage
from starlette.testclient import TestClient

from core.imaging.frames import unpack_frames
from core.readings.reading import Boxes, Mask
from core.readings.runs import decode_runs
from core.types import make_labels
from core.workspace.records import Case, Project
from core.workspace.workspace import Workspace
from pages.api.shelf import Shelf
from tests.pages.conftest import add_flat, square

Token = Callable[..., dict[str, str]]


@pytest.fixture
def mask(case: Case) -> Mask:
    rng = np.random.default_rng(0)
    probabilities = rng.integers(0, 256, (3, *case.info.spatial_shape)).astype(np.uint8)
    return Mask(rng.integers(0, 3, case.info.spatial_shape).astype(np.uint8), probabilities)


def test_label_maps_as_runs(
    client: TestClient, store: Workspace, case: Case, mask: Mask, token: Token
) -> None:
    version = store.save_reading(case.id, "net", mask, kind="model")
    answer = client.get(f"/api/readings/{version.id}/slices/0-8", headers=token(case))
    frames = list(unpack_frames(answer.content))
    assert [frame.index for frame in frames] == list(range(9))
    for frame in frames:
        np.testing.assert_array_equal(decode_runs(frame.values, frame.shape), mask.array[frame.index])
    summary = client.get(f"/api/readings/{version.id}/summary", headers=token(case)).json()
    assert summary["planes"] == [int((plane > 0).sum()) for plane in mask.array]
    assert summary["kind"] == "mask" and summary["probabilities"] is True


def test_probabilities_give_the_map_at_any_threshold(
    client: TestClient, store: Workspace, case: Case, mask: Mask, token: Token
) -> None:
    version = store.save_reading(case.id, "net", mask, kind="model")
    answer = client.get(f"/api/readings/{version.id}/probabilities/2-4", headers=token(case))
    for frame in unpack_frames(answer.content):
        foreground, likeliest = frame.values[..., 0], frame.values[..., 1]
        for threshold in (0.1, 0.5, 0.77):
            found = np.where(foreground >= threshold * 255, likeliest, 0)
            np.testing.assert_array_equal(found, mask.at_threshold(threshold)[frame.index])
    [frame] = unpack_frames(
        client.get(f"/api/readings/{version.id}/probabilities/3?label=2", headers=token(case)).content
    )
    np.testing.assert_array_equal(frame.values, mask.probabilities[2, 3])
    person = store.save_reading(case.id, "Ada", square(case.info.spatial_shape, 1, 3))
    assert client.get(f"/api/readings/{person.id}/probabilities/0", headers=token(case)).status_code == 404


def test_boxes_have_names(client: TestClient, store: Workspace, token: Token) -> None:
    project = store.create_project(
        "Cells", "detection" if "detection" in _tasks() else "segmentation", make_labels(["c"])
    )
    case = add_flat(store, project, "a")
    boxes = Boxes(np.array([[1, 2, 3, 4.5]], np.float32), np.array([1], np.uint16), np.zeros(1, np.int32))
    version = store.save_reading(case.id, "Ada", boxes)
    items = client.get(f"/api/readings/{version.id}/boxes", headers=token(case)).json()["items"]
    assert items == {"b0": {"kind": "box", "label": 1, "plane": 0, "box": [1.0, 2.0, 3.0, 4.5]}}
    assert client.get(f"/api/readings/{version.id}/summary", headers=token(case)).json()["planes"] == [1]
    assert client.get(f"/api/readings/{version.id}/slices/0", headers=token(case)).status_code == 422


def _tasks() -> tuple[str, ...]:
    from core.tasks import TASKS

    return tuple(TASKS.names())


def test_a_slice_as_png(client: TestClient, store: Workspace, case: Case, mask: Mask, token: Token) -> None:
    version = store.save_reading(case.id, "Ada", Mask(mask.array))
    answer = client.get(f"/api/readings/{version.id}/slices/5.png", headers=token(case))
    np.testing.assert_array_equal(np.asarray(PilImage.open(io.BytesIO(answer.content))), mask.array[5])
    assert client.get(f"/api/readings/{version.id}/slices/9.png", headers=token(case)).status_code == 422


def test_readings_of_another_case_are_refused(
    client: TestClient, store: Workspace, project: Project, case: Case, token: Token
) -> None:
    other = add_flat(store, project, "other")
    version = store.save_reading(other.id, "Ada", square((48, 64), 1, 5))
    for what in ("summary", "slices/0", "probabilities/0", "slices/0.png"):
        assert client.get(f"/api/readings/{version.id}/{what}", headers=token(case)).status_code == 403
    assert client.get("/api/readings/99/summary", headers=token(case)).status_code == 404


def test_the_shelf_keeps_what_fits(store: Workspace, case: Case) -> None:
    shelf = Shelf(max_bytes=2 * case.info.spatial_shape[0] * 20 * 40)
    versions = [
        store.save_reading(case.id, "Ada", square(case.info.spatial_shape, 1, 3 + n)) for n in range(4)
    ]
    first = shelf.load(store, versions[0])
    assert shelf.load(store, versions[0]) is first and not first.array.flags.writeable
    for version in versions:
        shelf.load(store, version)
    assert shelf.load(store, versions[0]) is not first


def test_blind_readers_are_refused_until_they_have_read(
    client: TestClient, store: Workspace, case: Case, token: Token
) -> None:
    store.set_blind(case.project_id, True)
    bob = store.save_reading(case.id, "Bob", square(case.info.spatial_shape, 1, 3))
    net = store.save_reading(case.id, "net", square(case.info.spatial_shape, 1, 4), kind="model")
    looking = token(case, "", can_mark=False, person="Ada")
    routes = [f"/api/readings/{bob.id}/{part}" for part in ("summary", "slices/0", "slices/0.png", "boxes")]
    for headers in (looking, token(case), token(case, "", can_mark=False)):
        answers = [client.get(route, headers=headers) for route in routes]
        assert {answer.status_code for answer in answers} <= {403, 404} and answers[0].status_code == 403
        assert "blind" in answers[0].json()["error"]
    assert client.get(f"/api/readings/{net.id}/summary", headers=looking).status_code == 200
    assert client.get(routes[0], headers=token(case, "Bob")).status_code == 200
    assert client.get(routes[0], headers=token(case, "Bob (2)", person="Bob")).status_code == 200
    store.save_reading(case.id, "Ada", square(case.info.spatial_shape, 2, 3))
    assert client.get(routes[0], headers=looking).status_code == 200
