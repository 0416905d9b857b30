"""What an import is to read lies in a file of its own, and goes with it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from core.errors import NotFound, StorageError
from core.jobs.import_request import ImportRequest, new_staging, with_request, write_request
from core.jobs.payloads import ImportPayload


def test_there_and_back(tmp_path: Path) -> None:
    request = ImportRequest(paths=["/a/Döe.dcm"], labels="/b", table="/c", display_names={"i1": "Döe"})
    folder = new_staging(tmp_path)
    payload = ImportPayload(project=1, request=write_request(folder, request), hide_names=True)
    assert (folder.stat().st_mode & 0o777, Path(str(payload.request)).stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    found = with_request(payload)
    assert (found.paths, found.labels, found.table) == (["/a/Döe.dcm"], "/b", "/c")
    assert (found.display_names, found.hide_names) == ({"i1": "Döe"}, True)
    plain = ImportPayload(project=1, paths=["x"])
    assert with_request(plain) is plain


@pytest.mark.parametrize("content", ["", "[]", '{"paths": 5}', '{"other": 1}'])
def test_a_request_that_is_gone_or_damaged_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "request.json"
    payload = ImportPayload(project=1, request=str(path))
    with pytest.raises(NotFound, match="start it again"):
        with_request(payload)
    path.write_text(content)
    with pytest.raises(NotFound, match="start it again"):
        with_request(payload)


def test_folders_of_imports_given_up_go(tmp_path: Path) -> None:
    old, young = new_staging(tmp_path), new_staging(tmp_path)
    week_ago = time.time() - 8 * 86400
    os.utime(old, (week_ago, week_ago))
    newest = new_staging(tmp_path)
    assert sorted((tmp_path / "staging").iterdir()) == sorted([young, newest])
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        new_staging(tmp_path / "file")
