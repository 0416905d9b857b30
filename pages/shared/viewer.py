"""The viewer: images with readings over them, looked at and marked in the browser (``assets/viewer``).

A page describes a scene; pixels, readings and marks travel by the routes of ``pages.api``, not through the page. What
the scene says may change between runs of the page only in its ``id``, its token and the readings to start from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.assist import TOOLS
from core.readings.reading import ReadingKind
from core.types import Label
from core.workspace.access import Access, expiry, sign
from pages.shared.facts import image_facts
from pages.shared.modules import VIEWER, module_digest
from pages.shared.state import user_name

if TYPE_CHECKING:
    from core.workspace.records import Case
    from core.workspace.workspace import Workspace

DOOR = VIEWER.parent / "viewer_door" / "door.js"
MAX_VIEWS = 4


@dataclass(frozen=True)
class Layer:
    """What lies over an image.

    Attributes:
        kind: "reading" as stored; "threshold" (a mask at any probability); "difference" of two readings in colours;
            "heat" (the probability of one label).
        version: id of the reading version.
        other: id of the version that a difference is measured against.
        label: label value of a heat map.
        threshold: True when a difference is that of the first reading at the chosen threshold.
    """

    kind: Literal["reading", "threshold", "difference", "heat"]
    version: int
    other: int | None = None
    label: int | None = None
    threshold: bool = False


@dataclass(frozen=True)
class View:
    """One picture: an image (None: the scene's own) with layers, perhaps with a second picture to swipe to."""

    title: str = ""
    layers: tuple[Layer, ...] = ()
    case: Case | None = None
    second: View | None = None


@dataclass(frozen=True)
class Other:
    """A reading to start from, or a model that may propose one: its id (of a version, of a model), and its name."""

    id: int
    title: str


@dataclass(frozen=True)
class Marking:
    """That the scene's first picture may be marked, under whose name, what one may start from, and what helps: models
    of the task, promptable networks by name.
    """

    reader: str
    kind: ReadingKind
    others: tuple[Other, ...] = ()
    models: tuple[Other, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What the viewer shows.

    Attributes:
        case: the case looked at.
        labels: of the project.
        views: one to four pictures side by side.
        start: plane to open with; None opens where the first reading has most.
        threshold: probability or score to begin with.
        scores: True offers the threshold for boxes with scores, too.
        names: of the two readers whose difference is shown.
        marking: None to look only.
    """

    case: Case
    labels: tuple[Label, ...]
    views: tuple[View, ...] = (View(),)
    start: int | None = None
    threshold: float = 0.5
    scores: bool = False
    names: tuple[str, str] | None = None
    marking: Marking | None = None


@dataclass(frozen=True)
class Seen:
    """What the page may want to know: the threshold chosen, the reader under whose name marks go on."""

    threshold: float | None = None
    forked: str | None = None


@lru_cache(maxsize=1)
def _sources() -> tuple[str, str]:
    return DOOR.read_text(encoding="utf-8"), (VIEWER / "style.css").read_text(encoding="utf-8")


def viewer(workspace: Workspace, scene: Scene, key: str, on_forked: Callable[[], None] | None = None) -> Seen:
    """Show a scene.

    Args:
        workspace: the open workspace.
        scene: what to show.
        key: of the component, one per place on a page.
        on_forked: called when marks go on as a reading of their own, before the page runs again.

    Returns:
        What was chosen in the viewer so far.
    """
    if not 1 <= len(scene.views) <= MAX_VIEWS:
        raise ValueError(f"a scene has 1 to {MAX_VIEWS} views, got {len(scene.views)}.")
    script, style = _sources()
    component = st.components.v2.component(
        "sightline_viewer", html='<div class="viewer-host">Loading the viewer …</div>', css=style, js=script
    )
    renewals = f"{key}_renewals"
    data = {
        "program": f"/api/viewer/{module_digest()}/index.js",
        "scene": scene_json(workspace, scene),
        # Whoever asks for a token must hear of it even when the page has no newer one.
        "renewals": st.session_state.get(renewals, 0),
    }
    result = component(
        data=data,
        key=key,
        default={"threshold": None},
        on_threshold_change=_nothing,
        on_renew_change=lambda: _count(renewals),
        on_forked_change=on_forked or _nothing,
    )
    threshold = result.get("threshold")
    return Seen(float(threshold) if isinstance(threshold, (int, float)) else None, forked_of(result))


def _nothing() -> None:
    """The page runs again; that is all that is wanted."""


def _count(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, 0) + 1


def forked_of(state: Any) -> str | None:
    """Return the reader that marks go on under, from the component's result or session state."""
    name = state.get("forked") if state is not None else None
    return name if isinstance(name, str) and name else None


def scene_json(workspace: Workspace, scene: Scene) -> dict[str, Any]:
    """Return a scene as the browser reads it, with tokens."""
    marking = scene.marking
    reader = marking.reader if marking else ""
    token = token_for(workspace, scene.case, reader, marking is not None)
    content: dict[str, Any] = {
        "image": image_facts(workspace, scene.case),
        "title": scene.case.name,
        "labels": [asdict(label) for label in scene.labels],
        "panes": [_view_json(workspace, view, scene.case) for view in scene.views],
        "start": scene.start,
        "threshold": scene.threshold,
        "scores": scene.scores,
        "names": scene.names,
    }
    if marking is not None:
        content["mark"] = {
            "case": scene.case.id,
            "reader": marking.reader,
            "kind": marking.kind,
            "assist": list(TOOLS),
        }
    content["id"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    content["token"] = token
    for pane, view in zip(content["panes"], scene.views, strict=True):
        _add_token(workspace, pane, view)
    if marking is not None:
        content["mark"] |= {
            "token": token,
            "others": [asdict(other) for other in marking.others],
            "models": [asdict(model) for model in marking.models],
            "networks": list(marking.networks),
        }
    return content


def _view_json(workspace: Workspace, view: View, own: Case) -> dict[str, Any]:
    other = view.case if view.case is not None and view.case.id != own.id else None
    return {
        "title": view.title,
        "layers": [asdict(layer) for layer in view.layers],
        "image": None if other is None else image_facts(workspace, other),
        "second": None if view.second is None else _view_json(workspace, view.second, own),
    }


def _add_token(workspace: Workspace, pane: dict[str, Any], view: View) -> None:
    """Images of other cases need a token of their own."""
    if pane["image"] is not None and view.case is not None:
        pane["image"]["token"] = token_for(workspace, view.case, "", False)
    if view.second is not None:
        _add_token(workspace, pane["second"], view.second)


def token_for(workspace: Workspace, case: Case, reader: str, can_mark: bool) -> str:
    """Return a token for a case, bound to this browser session."""
    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    access = Access(case.id, case.image_id, reader, session, can_mark, expiry(), user_name())
    return sign(workspace.token, access)
