"""The routes without a server: a client that holds a token for a case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from core.workspace.access import Access, expiry, sign
from core.workspace.records import Case, Project
from core.workspace.workspace import Workspace
from pages.api.gate import TOKEN_HEADER
from pages.api.routes import ROUTES
from tests.pages.conftest import add_volume

BASE = "http://127.0.0.1:8501"


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Speaks to the routes; sends no token by itself."""
    with TestClient(Starlette(routes=list(ROUTES)), base_url=BASE) as opened:
        yield opened


@pytest.fixture
def case(store: Workspace, project: Project) -> Case:
    """A CT of 9 slices, 20 x 40."""
    return add_volume(store, project, "ct")


@pytest.fixture
def token(store: Workspace) -> Callable[..., dict[str, str]]:
    """Return headers with a token for a case."""

    def make(case: Case, reader: str = "Ada", **changes: Any) -> dict[str, str]:
        claims = {"session": "s", "can_mark": True, "expires": expiry(), **changes}
        return {TOKEN_HEADER: sign(store.token, Access(case.id, case.image_id, reader, **claims))}

    return make
