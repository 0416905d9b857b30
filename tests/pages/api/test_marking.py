"""Marks by route: kept before the answer, refused on older ground, a copy of one's own; presence; assistance."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from scipy.ndimage import label as components
from starlette.testclient import TestClient

from core.imaging.frames import unpack_frames
from core.readings.runs import decode_runs
from core.readings.steps import MaskPatch, Step, pack_steps, unpack_steps
from core.workspace.access import check
from core.workspace.records import Case
from core.workspace.workspace import Workspace
from pages.api.presence import FORGET_SECONDS, Presence

Token = Callable[..., dict[str, str]]


def packed(number: int, x: int, client: str = "tab", value: int = 1) -> bytes:
    runs = np.array([[0, 1]], np.uint32), np.array([[value, 1]], np.uint32)
    return pack_steps([Step(client, number, "do", "brush", (MaskPatch(2, 0, x, 1, 1, *runs),))])


def test_marks_are_kept_and_seen(client: TestClient, store: Workspace, case: Case, token: Token) -> None:
    address = f"/api/cases/{case.id}/reading"
    start = client.get(address, params={"client": "tab"}, headers=token(case)).json()
    assert start == {
        "reader": "Ada", "version": 0, "names": ["v0"], "received": 0, "others": 0, "version_id": None,
    }  # fmt: skip
    first = client.put(address, params={"based_on": "v0"}, content=packed(1, 3), headers=token(case))
    assert first.status_code == 200 and first.json()["received"] == 1
    steps = unpack_steps(client.get(f"/api/cases/{case.id}/steps", headers=token(case)).content)
    assert [step.number for step in steps] == [1]
    looked = client.get(address, params={"client": "tab"}, headers=token(case)).json()
    assert looked["names"] == first.json()["names"] and looked["version"] == 0
    opened = client.get(address, params={"client": "tab", "open": "1"}, headers=token(case)).json()
    assert opened["names"] == [*looked["names"], "v1"]
    assert store.load_reading(store.get_version(opened["version_id"])).array[2, 0, 3] == 1


def test_older_ground_is_a_conflict_then_a_copy(
    client: TestClient, store: Workspace, case: Case, token: Token
) -> None:
    address = f"/api/cases/{case.id}/reading"
    client.put(address, params={"based_on": "v0"}, content=packed(1, 3), headers=token(case))
    late = {"params": {"based_on": "v0"}, "content": packed(1, 5, "late"), "headers": token(case)}
    refused = client.put(address, **late)
    assert refused.status_code == 409 and "reading of your own" in refused.json()["error"]
    own = client.put(address, **{**late, "params": {"based_on": "v0", "fork": "1"}}).json()
    assert own["reader"] == "Ada (2)"
    assert check(store.token, own["token"]).reader == "Ada (2)"
    assert store.load_reading(store.latest_reading(case.id, "Ada (2)")).array[2, 0, 3:6].tolist() == [0, 0, 1]
    more = client.put(
        address, params={"based_on": own["names"][0]}, content=packed(2, 6, "late"),
        headers={"x-sightline-token": own["token"]},
    )  # fmt: skip
    assert more.status_code in (200, 409)  # a version was made by looking; the names say so
    newest = client.get(address, headers={"x-sightline-token": own["token"]}).json()
    assert newest["reader"] == "Ada (2)"


def test_who_may_only_look_cannot_mark(client: TestClient, case: Case, token: Token) -> None:
    address = f"/api/cases/{case.id}/reading"
    looking = token(case, can_mark=False)
    assert (
        client.put(address, params={"based_on": "v0"}, content=packed(1, 3), headers=looking).status_code
        == 403
    )
    assert client.get(address, headers=looking).status_code == 200
    body = json.dumps({"tool": "region", "point": [1, 1, 1], "range": [0, 1]})
    assert client.post(f"/api/cases/{case.id}/assist", content=body, headers=looking).status_code == 403


def test_bad_marks_are_sentences(client: TestClient, store: Workspace, case: Case, token: Token) -> None:
    address = f"/api/cases/{case.id}/reading"
    for body in (b"", b"nonsense", packed(1, 99), packed(1, 3, value=7)):
        answer = client.put(address, params={"based_on": "v0"}, content=body, headers=token(case))
        assert answer.status_code == 422, body
        assert answer.json()["error"].endswith(".")
    store.delete_cases([case.id])
    answer = client.put(address, params={"based_on": "v0"}, content=packed(1, 3), headers=token(case))
    assert answer.status_code == 404


def test_others_with_the_reading_open_are_counted() -> None:
    presence = Presence()
    assert presence.beat(1, "Ada", "a", now=0) == 0
    assert presence.beat(1, "Ada", "b", now=1) == 1
    assert presence.beat(2, "Ada", "a", now=1) == 0
    assert presence.beat(1, "Ada", "a", now=2) == 1
    presence.leave(1, "Ada", "b")
    assert presence.beat(1, "Ada", "a", now=3) == 0
    presence.beat(1, "Ada", "b", now=4)
    assert presence.beat(1, "Ada", "a", now=5 + FORGET_SECONDS) == 0


def test_the_region_assistant_equals_scipy(
    client: TestClient, store: Workspace, case: Case, token: Token
) -> None:
    array = store.load_image(case).array
    z, y, x = 4, 10, 20
    limits = (int(array[z, y, x]) - 900, int(array[z, y, x]) + 900)
    for volume in (False, True):
        body = json.dumps({"tool": "region", "point": [x, y, z], "range": limits, "volume": volume})
        answer = client.post(f"/api/cases/{case.id}/assist", content=body, headers=token(case))
        assert answer.status_code == 200
        found = np.zeros(array.shape, bool)
        for frame in unpack_frames(answer.content):
            found[frame.index] = decode_runs(frame.values, frame.shape)
        within = (array >= limits[0]) & (array <= limits[1])
        if not volume:
            within[[n for n in range(9) if n != z]] = False
        parts, _ = components(within)
        np.testing.assert_array_equal(found, parts == parts[z, y, x])
    for body in (
        b"",
        b"[]",
        b'{"tool": "magic"}',
        json.dumps({"tool": "region", "point": [99, 1, 1], "range": [0, 1]}),
    ):
        assert (
            client.post(f"/api/cases/{case.id}/assist", content=body, headers=token(case)).status_code == 422
        )
