"""What the warm process answers about stored cases: every tool, a model's word, the next case, bad requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.assist import TOOLS
from core.assist.prompting import add_promptable
from core.errors import NotFound, WeightsError
from core.jobs import assisting, suggesting
from core.jobs.warm import Message
from core.readings.reading import Mask
from core.readings.runs import encode_runs
from core.settings import load_settings
from core.tasks.task import PredictOptions
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from tests.core.assist.pictures import dice, disc, noisy
from tests.core.assist.test_promptables import foreign, two, zipped

SHAPE = (90, 100)
BODY = np.stack([disc(SHAPE, (45, 50), r) if r else np.zeros(SHAPE, bool) for r in (0, 14, 18, 14, 0)])


class Oracle:
    """A model that knows where the body is."""

    def predict(self, image: Image, options: PredictOptions) -> Mask:
        found = (image.array > 110).astype(np.uint8)
        foreground = np.where(found, 240, 15).astype(np.uint8)
        return Mask(found, np.stack([255 - foreground, foreground]))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    load_settings.cache_clear()
    for cache in (assisting.open_store, assisting._scene, assisting._predictor):
        cache.cache_clear()
    suggesting._known_signatures.clear()
    suggesting._unsureness.cache_clear()
    suggesting._disagreement.cache_clear()
    assisting._samples.clear()
    assisting._priors.clear()
    yield assisting.open_store()
    assisting.open_store().close()
    assisting.open_store.cache_clear()
    load_settings.cache_clear()


@pytest.fixture
def case(store: Workspace) -> Case:
    project = store.create_project("p", "segmentation", make_labels(["a", "b"]))
    array = np.stack([noisy(plane, seed=z) for z, plane in enumerate(BODY)])
    return store.add_case(
        project.id, NewCase("body", Image(array, ImageInfo("zyx", array.shape, "uint8")), "body")
    )


def ask(case: Case, tool: str, **asked: Any) -> dict[str, np.ndarray]:
    return dict(assisting.assist(Message({"case": case.id, "asked": {"tool": tool, **asked}})).arrays)


STROKES = [
    {"plane": 2, "label": 2, "size": 4, "points": [[45, 45], [55, 45]]},
    {"plane": 2, "label": 0, "size": 4, "points": [[8, 8], [90, 8], [90, 80]]},
]


def test_every_tool_answers(case: Case) -> None:
    assert set(assisting.ASSISTANTS) == set(TOOLS)
    found = ask(case, "scribble", plane=2, strokes=STROKES)
    assert set(found) == {"plane 2", "unsure 2"} and dice(found["plane 2"] == 2, BODY[2]) > 0.93
    other = ask(
        case, "scribble", plane=1, strokes=STROKES, view=[-50, 0, 500, 90]
    )  # another slice: learnt there, read here
    assert dice(other["plane 1"] == 2, BODY[1]) > 0.9
    found = ask(case, "click", plane=2, label=2, points=[[50.5, 45.5, True]])
    assert dice(found["plane 2"] == 2, BODY[2]) > 0.9
    found = ask(case, "click", plane=2, label=1, points=[], box=[25.2, 20.1, 75.7, 70.2])
    assert dice(found["plane 2"] == 1, BODY[2]) > 0.9
    runs = encode_runs(BODY[2].astype(np.uint8)).ravel().tolist()
    found = ask(case, "grow", plane=2, label=2, runs=runs)
    assert set(found) == {"plane 1", "plane 3"}


def test_earlier_cases_teach_when_wanted(store: Workspace, case: Case) -> None:
    ask(case, "scribble", plane=2, strokes=STROKES)
    array = noisy(BODY[2], seed=9)
    second = store.add_case(
        case.project_id, NewCase("second", Image(array, ImageInfo("yx", SHAPE, "uint8")), "s")
    )
    only_background = [{**STROKES[1], "plane": 0}]
    with pytest.raises(Exception, match="at least two kinds"):
        ask(second, "scribble", plane=0, strokes=only_background)
    found = ask(second, "scribble", plane=0, strokes=only_background, earlier=True, only_marked=False)
    assert dice(found["plane 0"] == 2, BODY[2]) > 0.9


def test_a_model_proposes_and_leads(store: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assisting, "_predictor", lambda model_id: Oracle())
    monkeypatch.setattr(assisting, "_check_model", lambda scene, model_id: None)
    found = ask(case, "model", plane=2, model=1)
    np.testing.assert_array_equal(found["plane 2"], BODY[2])
    assert found["unsure 2"].shape == SHAPE
    assert set(ask(case, "model", plane=2, model=1, all=True)) == {"plane 1", "plane 2", "plane 3"}
    found = ask(case, "click", plane=2, label=1, points=[[50.5, 45.5, True]], model=1)
    assert dice(found["plane 2"] == 1, BODY[2]) > 0.93
    assert "plane 2" in ask(
        case, "click", plane=2, label=2, points=[[50.5, 45.5, True]], model=1
    )  # it knows no b


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"tool": "magic"}, {"tool": "click", "plane": 99, "points": [[1, 1, True]]},
        {"tool": "click", "plane": 0, "points": [[999, 1, True]]}, {"tool": "click", "plane": 0, "points": [[1]]},
        {"tool": "click", "plane": 0, "points": [], "box": None},
        {"tool": "click", "plane": 0, "label": 0, "points": []},
        {"tool": "scribble", "plane": 0, "strokes": []}, {"tool": "scribble", "plane": 0, "strokes": [{"plane": 0}]},
        {"tool": "scribble", "plane": 0, "strokes": STROKES, "smoothing": "magic"},
        {"tool": "grow", "plane": 2, "runs": [0, 9000]}, {"tool": "grow", "plane": 2, "runs": [1, 3]},
        {"tool": "model", "plane": 0}, {"tool": "region", "point": [1, 1, 99], "range": [0, 1]},
        {"tool": "click", "plane": 0, "points": [[1e300, 1, True]]},
    ],
)  # fmt: skip
def test_bad_requests_are_sentences(case: Case, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        assisting.assist(Message({"case": case.id, "asked": asked}))


def test_what_is_not_there(case: Case) -> None:
    with pytest.raises(NotFound):
        assisting.assist(Message({"case": 999, "asked": {"tool": "click"}}))
    with pytest.raises((NotFound, WeightsError)):
        ask(case, "model", plane=0, model=77)


def test_the_next_case_is_the_one_the_model_is_unsure_of(store: Workspace, case: Case) -> None:
    cases = [case]
    for number in range(4):
        array = noisy(BODY[2], seed=1)  # all alike: only the model tells them apart
        name = f"c{number}"
        cases.append(
            store.add_case(
                case.project_id, NewCase(name, Image(array, ImageInfo("yx", SHAPE, "uint8")), name)
            )
        )
    for number, one in enumerate(cases[1:]):
        foreground = np.full(SHAPE, 128 if number == 2 else 10, np.uint8)
        reading = Mask(np.zeros(SHAPE, np.uint8), np.stack([255 - foreground, foreground]))
        store.save_reading(one.id, "net", reading, kind="model")
    store.save_reading(case.id, "Ada", Mask(BODY.astype(np.uint8)))
    values = {"project": case.project_id, "reader": "Ada", "current": case.id}
    answer = suggesting.suggest(Message(values)).values
    assert answer["suggestions"][0]["case"] == cases[3].id and "unsure" in answer["suggestions"][0]["reason"]
    assert answer["left"] == 4
    for one in cases[1:]:
        store.save_reading(one.id, "Ada", Mask(np.zeros(SHAPE, np.uint8)))
    assert suggesting.suggest(Message(values)).values == {"suggestions": [], "left": 0}


def test_clicks_follow_a_promptable_network(store: Workspace, case: Case, tmp_path: Path) -> None:
    name = "site's own".replace("'", "")
    add_promptable(zipped(tmp_path / "n.zip", two(*foreign())), store.home, name)
    for kept in (assisting._encodings, assisting._network):
        (kept.clear if isinstance(kept, dict) else kept.cache_clear)()
    for _ in range(2):
        found = ask(case, "click", plane=2, label=2, points=[[50.5, 45.5, True]], network=name)
        assert dice(found["plane 2"] == 2, BODY[2]) > 0.9
    assert len(assisting._encodings) == 1  # one look at the image for both clicks
    with pytest.raises(NotFound, match=name):
        ask(case, "click", plane=2, label=2, points=[[50.5, 45.5, True]], network="other")
