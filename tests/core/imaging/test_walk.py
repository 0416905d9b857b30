"""Folders with everything in them that is no plain file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from core.imaging.walk import MAX_DEPTH, Passed, files_below


def look(root: Path) -> tuple[list[str], dict[str, str]]:
    items = list(files_below(root))
    files = [item.relative_to(root).as_posix() for item in items if isinstance(item, Path)]
    return files, {
        item.path.relative_to(root).as_posix(): item.reason for item in items if isinstance(item, Passed)
    }


def test_files_before_folders_and_sorted(tmp_path: Path) -> None:
    for name in ("b/x", "b/a", "a", "c", ".hidden", "b/.git/config", "__MACOSX/y", "Thumbs.db", "b/c/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert look(tmp_path) == (["a", "c", "b/a", "b/x", "b/c/d"], {})


def test_what_is_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good").write_text("x")
    (tmp_path / "linked").symlink_to("good")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to("/does/not/exist")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket")
        files, passed = look(tmp_path)
    assert files == ["good", "linked"]
    assert sorted(passed) == ["circle", "device", "loop", "nowhere", "pipe", "socket"]
    assert all(reason.endswith(".") for reason in passed.values())
    assert "link to a folder" in passed["circle"]


def test_folders_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(300):
        Path("a folder in a folder").mkdir()  # in the end the path is longer than a path may be
        os.chdir("a folder in a folder")
    files, passed = look(tmp_path)
    assert files == []
    (reason,) = passed.values()
    assert f"{MAX_DEPTH} folders deep" in reason


def test_a_folder_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (passed,) = files_below(tmp_path / "file")
    assert isinstance(passed, Passed) and "cannot be opened" in passed.reason
