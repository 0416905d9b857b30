"""Folders of the server: only those that were allowed, whatever is typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import NotFound
from core.jobs.import_folders import find_server_path, list_folders
from core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two allowed folders beside a secret one; one of them has a link that leads out."""
    for name in ("one/study/series", "two", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "secret" / "names.txt").write_text("secret")
    (tmp_path / "one" / "way-out").symlink_to(tmp_path / "secret")
    folders = os.pathsep.join((str(tmp_path / "one"), str(tmp_path / "two")))
    return Settings(import_folders=folders)


@pytest.mark.parametrize("text", ["{}/one", "{}/one/study", "study/series", " {}/two ", "{}/one/../two"])
def test_allowed(settings: Settings, tmp_path: Path, text: str) -> None:
    found = find_server_path(text.format(tmp_path), settings)
    assert found.is_dir() and "secret" not in found.parts


@pytest.mark.parametrize(
    "text",
    ["{}/secret", "{}", "../secret", "{}/one/way-out", "way-out/names.txt", "/etc", "{}/one/none", "~", "/"],
)
def test_refused(settings: Settings, tmp_path: Path, text: str) -> None:
    with pytest.raises(NotFound, match="in the folders that may be imported from"):
        find_server_path(text.format(tmp_path), settings)


def test_none_is_allowed_unless_said() -> None:
    with pytest.raises(NotFound, match="administrator"):
        find_server_path("/", Settings(import_folders=""))


def test_what_is_offered(settings: Settings, tmp_path: Path) -> None:
    assert list_folders(settings) == [str(tmp_path / name) for name in ("one", "one/study", "two")]
