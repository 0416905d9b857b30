"""Pixels by route: as stored, only with permission, once and for all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from starlette.testclient import TestClient

from core.imaging.frames import unpack_frames
from core.imaging.pyramid import halve
from core.types import Image, ImageInfo
from core.workspace.records import Case, NewCase, Project
from core.workspace.workspace import Workspace
from tests.pages.conftest import add_flat

Token = Callable[..., dict[str, str]]


def planes_of(content: bytes) -> dict[int, np.ndarray]:
    return {frame.index: frame.values for frame in unpack_frames(content)}


def test_slices_are_as_stored(client: TestClient, store: Workspace, case: Case, token: Token) -> None:
    array = store.load_image(case).array
    for asked, wanted in (("4", [4]), ("2-7", list(range(2, 8)))):
        for packed in ("", "?packed=1"):
            answer = client.get(f"/api/images/{case.image_id}/slices/{asked}{packed}", headers=token(case))
            assert answer.status_code == 200
            found = planes_of(answer.content)
            assert list(found) == wanted
            for index, plane in found.items():
                assert plane.dtype == np.int16
                np.testing.assert_array_equal(plane, array[index])


def test_planes_across(client: TestClient, store: Workspace, case: Case, token: Token) -> None:
    array = store.load_image(case).array
    for axis, index, wanted in (("y", 3, array[:, 3]), ("x", 39, array[:, :, 39])):
        answer = client.get(f"/api/images/{case.image_id}/planes/{axis}/{index}", headers=token(case))
        np.testing.assert_array_equal(planes_of(answer.content)[index], wanted)


def test_tiles_of_a_large_colour_image(
    client: TestClient, store: Workspace, project: Project, token: Token
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2100, 2100, 3)).astype(np.uint8)
    case = store.add_case(
        project.id, NewCase("big", Image(pixels, ImageInfo("yxc", pixels.shape, "uint8")), "b")
    )
    facts = client.get(f"/api/images/{case.image_id}/info", headers=token(case)).json()
    assert facts["levels"] == [[2100, 2100], [1050, 1050], [525, 525], [263, 263]]
    level = halve(pixels)
    answer = client.get(f"/api/images/{case.image_id}/tiles/1/2/1", headers=token(case))
    np.testing.assert_array_equal(planes_of(answer.content)[0], level[1024:, 512:1024])
    assert client.get(f"/api/images/{case.image_id}/tiles/9/0/0", headers=token(case)).status_code == 422
    assert store.pyramid_folder(case, 0).is_dir()


def test_what_never_changes_is_sent_once(client: TestClient, case: Case, token: Token) -> None:
    address = f"/api/images/{case.image_id}/slices/0-3"
    first = client.get(address, headers=token(case))
    assert "immutable" in first.headers["cache-control"] and "private" in first.headers["cache-control"]
    assert first.headers["content-encoding"] == "identity"
    again = client.get(address, headers={**token(case), "If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_info_says_what_the_viewer_needs(client: TestClient, case: Case, token: Token) -> None:
    facts = client.get(f"/api/images/{case.image_id}/info", headers=token(case)).json()
    assert (facts["rows"], facts["columns"], facts["slices"], facts["wire"]) == (20, 40, 9, "int16")
    assert facts["unit"] == "HU" and facts["spacing"] == [5.0, 1.0, 0.5]
    names = [window["name"] for window in facts["windows"]]
    assert names[:4] == ["fitted", "full range", "soft tissue", "lung"]


@pytest.mark.parametrize(
    "address",
    ["slices/9", "slices/-1", "slices/3-1", "slices/a", "slices/0-99999999999", "planes/z/0", "planes/y/20"],
)
def test_what_is_not_there_is_a_sentence(client: TestClient, case: Case, token: Token, address: str) -> None:
    answer = client.get(f"/api/images/{case.image_id}/{address}", headers=token(case))
    assert answer.status_code == 422
    assert answer.json()["error"].endswith(".")


def test_only_with_permission(
    client: TestClient, store: Workspace, project: Project, case: Case, token: Token
) -> None:
    address = f"/api/images/{case.image_id}/slices/0"
    other = add_flat(store, project, "other")
    good = token(case)
    refused: list[dict[str, str]] = [
        {},
        {"x-sightline-token": "nonsense"},
        token(other),
        token(case, expires=10),
        {**good, "Origin": "http://evil.example"},
        {**good, "Sec-Fetch-Site": "cross-site"},
        {**good, "Sec-Fetch-Site": "same-site"},
    ]
    for headers in refused:
        answer = client.get(address, headers=headers)
        assert answer.status_code == 403, headers
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
    assert client.get(address, headers={**good, "Origin": "http://127.0.0.1:8501"}).status_code == 200
    assert client.options(address, headers={"Origin": "http://evil.example"}).status_code == 405


def test_a_deleted_case_is_gone(client: TestClient, store: Workspace, case: Case, token: Token) -> None:
    store.delete_cases([case.id])
    answer = client.get(f"/api/images/{case.image_id}/slices/0", headers=token(case))
    assert answer.status_code == 404 and "case number" in answer.json()["error"]


def test_the_viewers_program_has_an_address_by_content(client: TestClient) -> None:
    from pages.shared.modules import module_digest

    found = client.get(f"/api/viewer/{module_digest()}/index.js")
    assert found.status_code == 200 and found.headers["content-type"].startswith("text/javascript")
    assert "immutable" in found.headers["cache-control"]
    assert client.get("/api/viewer/older/index.js").headers["cache-control"] == "no-store"
    for name in ("nothing.js", "..%2f..%2fapp.py", "index.py"):
        assert client.get(f"/api/viewer/{module_digest()}/{name}").status_code == 404
