"""Files kept beside an image that holds less than they do: stored once, cleaned of what names a patient, swept."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from alembic import command

from core.errors import NotFound, StorageError
from core.imaging.found import Original
from core.imaging.originals import write_original
from core.imaging.slides import open_slide, read_slide
from core.settings import Settings
from core.workspace.migrations.upgrade import alembic_config
from core.workspace.records import Case, NewCase, Project
from core.workspace.workspace import Workspace
from tests.core.imaging.slide_files import CANARY, picture, write_svs
from tests.core.workspace import samples


def slide_case(workspace: Workspace, project: Project, path: Path, name: str = "slide") -> Case:
    found = read_slide(path, Settings(max_slide_pixels=10**6))
    assert found.original is not None
    return workspace.add_case(project.id, NewCase(name, found.image, path.name, original=found.original))


def files_of(workspace: Workspace) -> set[str]:
    return {path.suffix for path in workspace.store.files.walk()}


@pytest.mark.parametrize("chunk", [7, 64, 2**22])
def test_the_copy_has_zeros_and_texts_where_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("core.imaging.originals.CHUNK", chunk)
    data = np.random.default_rng(1).integers(1, 255, 1000, dtype=np.uint8).tobytes()
    (tmp_path / "a").write_bytes(data)
    blanked = ((900, 500), (10, 30), (35, 2), (36, 20), (100, 0))
    texts = ((200, "hello"), (6, "ab"))
    digest = write_original(Original(tmp_path / "a", blanked, texts), tmp_path / "b")
    expected = bytearray(data)
    for start, count in blanked:
        expected[start : start + count] = bytes(max(0, min(count, 1000 - start)))
    for start, text in texts:
        expected[start : start + len(text)] = text.encode()
    assert (tmp_path / "b").read_bytes() == expected
    assert digest == hashlib.sha256(expected).hexdigest()


def test_a_slide_is_kept_with_its_case_and_goes_with_it(workspace: Workspace, tmp_path: Path) -> None:
    write_svs(tmp_path / "a.svs", picture())
    project = samples.project(workspace)
    case = slide_case(workspace, project, tmp_path / "a.svs")
    kept = workspace.original_path(case.image_id)
    assert kept is not None and kept.is_file() and kept.suffix == ".svs"
    assert CANARY.encode() not in kept.read_bytes()
    with open_slide(kept) as slide, open_slide(tmp_path / "a.svs") as before:
        assert np.array_equal(
            slide.read_region(0, 500, 400, 300, 200), before.read_region(0, 500, 400, 300, 200)
        )
    again = slide_case(workspace, project, tmp_path / "a.svs")
    twin = slide_case(workspace, project, tmp_path / "a.svs", name="under another name")
    assert again.id == case.id and again.existing and twin.id != case.id
    assert workspace.original_path(twin.image_id) == kept
    assert workspace.sweep(0) == 0 and kept.is_file()
    workspace.delete_cases([case.id])
    assert kept.is_file(), "the twin still needs it"
    workspace.delete_cases([twin.id])
    assert not kept.exists() and files_of(workspace) == set()
    with pytest.raises(NotFound):
        workspace.original_path(case.image_id)


def test_other_images_have_none_and_a_later_import_adds_it(workspace: Workspace, tmp_path: Path) -> None:
    write_svs(tmp_path / "a.svs", picture())
    project = samples.project(workspace)
    found = read_slide(tmp_path / "a.svs", Settings(max_slide_pixels=10**6))
    case = workspace.add_case(project.id, NewCase("slide", found.image, "a.svs"))
    assert workspace.original_path(case.image_id) is None
    again = slide_case(workspace, project, tmp_path / "a.svs")
    assert again.id == case.id
    assert workspace.original_path(case.image_id) is not None


def test_a_sweep_takes_what_no_case_points_to(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.ndpi").write_bytes(b"a slide")
    (tmp_path / "b.exe").write_bytes(b"another")
    names = [workspace.store.files.put_original(Original(tmp_path / name)) for name in ("a.ndpi", "b.exe")]
    assert [Path(name).suffix for name in names] == [".ndpi", ".slide"]
    half = workspace.store.files.root / "00" / ".original-1.part"
    half.write_bytes(b"half")
    assert workspace.sweep(0) == 3 and list(workspace.store.files.walk()) == []


def test_a_slide_that_is_gone_leaves_nothing_half_written(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be kept"):
        workspace.store.files.put_original(Original(tmp_path / "gone.svs"))
    assert list(workspace.store.files.walk()) == []


def test_a_home_of_before_opens_and_keeps_its_images(home: Path) -> None:
    with Workspace.open(home) as workspace:
        case = samples.case(workspace, samples.project(workspace), seed=1)
        with workspace.store.database.engine.begin() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.downgrade(config, "0001")
    with sqlite3.connect(home / "sightline.db") as plain:
        assert "original" not in {row[1] for row in plain.execute("PRAGMA table_info(images)")}
    with Workspace.open(home) as workspace:
        assert workspace.get_case(case.id) == case
        assert workspace.original_path(case.image_id) is None
