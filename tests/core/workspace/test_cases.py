"""Cases: in, found again, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from core.errors import Conflict, NotFound, StorageError
from core.imaging.headers import Headers
from core.jobs.queue import JobQueue
from core.types import Image, ImageInfo, Window
from core.workspace.records import NewCase
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def test_a_case_comes_back_as_it_was(workspace: Workspace) -> None:
    project = samples.project(workspace)
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 12
    info = ImageInfo(
        "zyx", (2, 3, 4), "int16", (2.5, 0.7, 0.7), ((0.7, 0, 0, 1), (0, 0.7, 0, 2), (0, 0, 2.5, 3), (0, 0, 0, 1)),
        "CT", Window(40, 400), True, {"body_part": "CHEST"}, ("spacing was assumed",),
    )  # fmt: skip
    new = NewCase("scan", Image(array, info), "a/b.zip", "p1", "val", {"age": "50"}, series_key="series-1")
    added = workspace.add_case(project.id, new)
    case = workspace.get_case(added.id)
    assert case == added
    assert (case.info, case.source, case.patient_key, case.split) == (info, "a/b.zip", "p1", "val")
    assert case.metadata == {"age": "50"} and not case.existing and case.duplicate_of is None
    assert case.series_key == "series-1"
    image = workspace.load_image(case)
    assert isinstance(image.array, np.memmap) and not image.array.flags.writeable
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(workspace.load_image_by_id(case.image_id).array, array)
    assert workspace.image_path(case).is_file()
    alone = samples.case(workspace, project, 1)
    assert alone.patient_key == f"case:case 1-{alone.id}"


def test_a_finished_file_is_moved_in_and_the_same_as_written(workspace: Workspace, tmp_path: Path) -> None:
    project, image = samples.project(workspace), samples.image(1)
    written = samples.case(workspace, project, 1)
    workspace.delete_cases([written.id])
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", image.array)
        new = NewCase("case 1", image, "a.png", array_file=tmp_path / f"{number}.npy")
        case = workspace.add_case(project.id, new)
        assert (case.image_sha256, case.existing) == (written.image_sha256, number == 1)
        np.testing.assert_array_equal(workspace.load_image(case).array, image.array)
    assert [path.name for path in tmp_path.glob("*.npy")] == ["1.npy"]  # what is there already is left alone


def test_importing_again_adds_nothing(workspace: Workspace) -> None:
    project = samples.project(workspace)
    first = workspace.add_case(project.id, NewCase("a", samples.image(1), "a.png"))
    again = workspace.add_case(project.id, NewCase("a", samples.image(1), "a.png"))
    assert again.existing and again.id == first.id
    twin = workspace.add_case(project.id, NewCase("b", samples.image(1), "b.png"))
    assert not twin.existing and twin.duplicate_of == first.id and twin.image_sha256 == first.image_sha256
    other = workspace.add_case(project.id, NewCase("a", samples.image(2), "x/a.png"))
    assert other.name == "a (2)" and other.duplicate_of is None
    assert workspace.add_case(project.id, NewCase("a", samples.image(2), "x/a.png")).id == other.id
    assert workspace.add_case(project.id, NewCase("a", samples.image(3), "y/a.png")).name == "a (3)"
    spaced = workspace.add_case(project.id, NewCase("a", samples.image(1, (0.5, 0.5)), "a.png"))
    assert spaced.name == "a (4)" and spaced.duplicate_of == first.id
    assert workspace.count_cases(project.id) == 5
    elsewhere = samples.project(workspace, "elsewhere")
    assert not workspace.add_case(elsewhere.id, NewCase("a", samples.image(1), "a.png")).existing


def test_a_repeated_import_fills_gaps_only(workspace: Workspace) -> None:
    project = samples.project(workspace)
    new = NewCase("a", samples.image(1), "a.png", metadata={"sex": "F"})
    workspace.add_case(project.id, new)
    told = dataclasses.replace(new, patient_key="p1", split="test", metadata={"sex": "M", "age": "5"})
    case = workspace.add_case(project.id, told)
    assert (case.patient_key, case.split, case.metadata) == ("p1", "test", {"sex": "F", "age": "5"})
    workspace.add_case(project.id, dataclasses.replace(told, patient_key="p2", split="train"))
    assert workspace.get_case(case.id).patient_key == "p1" and workspace.get_case(case.id).split == "test"


def test_list_search_and_page(workspace: Workspace) -> None:
    project = samples.project(workspace)
    cases = [samples.case(workspace, project, seed) for seed in range(12)]
    workspace.set_split({cases[0].id: "train", cases[1].id: "train", cases[2].id: "val"})
    assert [case.id for case in workspace.list_cases(project.id, limit=5, offset=10)] == [
        cases[10].id,
        cases[11].id,
    ]
    assert len(workspace.list_cases(project.id, offset=3)) == 9
    assert {case.name for case in workspace.list_cases(project.id, search="CASE 1")} == {
        "case 1",
        "case 10",
        "case 11",
    }
    assert workspace.count_cases(project.id, search="%") == 0  # no pattern, a text
    assert workspace.count_cases(project.id, split="train") == 2
    assert workspace.count_cases(project.id, split="none") == 9
    assert workspace.count_cases(project.id, split="val", search="folder/") == 1
    with pytest.raises(ValueError, match="split must be"):
        workspace.list_cases(project.id, split="validation")


def test_metadata_and_delete(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case, twin = samples.case(workspace, project, 1), None
    twin = workspace.add_case(project.id, NewCase("twin", samples.image(1), "t.png"))
    assert workspace.set_case_metadata(case.id, {"a": "b"}).metadata == {"a": "b"}
    version = workspace.save_reading(case.id, "ada", samples.mask(1))
    queue = JobQueue(workspace)
    job = queue.enqueue("train", {}, project_id=project.id)
    with pytest.raises(Conflict):
        workspace.delete_cases([case.id])
    queue.cancel(job.id)
    assert workspace.delete_cases([case.id, 999]) == 1
    assert workspace.get_case(twin.id).duplicate_of is None
    assert workspace.load_image(twin).array.shape == samples.SIZE  # its file is shared, it stays
    with pytest.raises(NotFound):
        workspace.get_case(case.id)
    with pytest.raises(StorageError, match="missing"):
        workspace.load_reading(version)
    workspace.delete_cases([twin.id])
    assert list(workspace.store.files.walk()) == []
    assert samples.case(workspace, project, 5).id > twin.id  # numbers are never used again


HEADERS = Headers(
    "basic", {"00080060": {"vr": "CS", "Value": ["CT"]}}, ({"00080018": {"Value": ["1.2"]}},) * 2
)


def test_headers_lie_beside_the_pixels_as_long_as_a_case_needs_them(workspace: Workspace) -> None:
    project = samples.project(workspace)
    plain = workspace.add_case(project.id, NewCase("plain", samples.image(1), "a"))
    one = workspace.add_case(project.id, NewCase("one", samples.image(2), "b", headers=HEADERS))
    two = workspace.add_case(project.id, NewCase("two", samples.image(3), "c", headers=HEADERS))
    assert workspace.load_headers(plain) is None
    assert workspace.load_headers(workspace.get_case(one.id)) == HEADERS
    assert one.headers_sha256 == two.headers_sha256
    assert workspace.sweep(0) == 0
    workspace.delete_cases([one.id])
    assert workspace.load_headers(two) == HEADERS
    path = workspace.store.files.path_of(str(two.headers_sha256), ".headers")
    assert path.is_file()
    workspace.delete_project(project.id)
    assert not path.exists()


def test_a_repeated_import_brings_headers_that_were_missing(workspace: Workspace) -> None:
    project = samples.project(workspace)
    first = workspace.add_case(project.id, NewCase("one", samples.image(2), "b"))
    again = workspace.add_case(project.id, NewCase("one", samples.image(2), "b", headers=HEADERS))
    assert again.existing and again.id == first.id and workspace.load_headers(again) == HEADERS


def test_damaged_headers_are_told(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case = workspace.add_case(project.id, NewCase("one", samples.image(2), "b", headers=HEADERS))
    path = workspace.store.files.path_of(str(case.headers_sha256), ".headers")
    for damage in (lambda: path.write_bytes(path.read_bytes()[:-9]), path.unlink):
        damage()
        with pytest.raises(StorageError, match="missing or damaged"):
            workspace.load_headers(case)


def test_a_file_whose_name_is_not_kept_is_known_by_its_hash(workspace: Workspace) -> None:
    project = samples.project(workspace)
    new = NewCase("CT series 3", samples.image(1), "import 1, file 1", source_key="k1")
    first = workspace.add_case(project.id, new)
    assert workspace.get_case(first.id).source_key == "k1"
    again = workspace.add_case(project.id, dataclasses.replace(new, name="CT series 3 #2", source="import 2"))
    assert again.existing and again.id == first.id
    other = workspace.add_case(project.id, dataclasses.replace(new, name="x", source_key="k2"))
    assert other.duplicate_of == first.id


def test_damaged_and_missing_images_are_told(workspace: Workspace) -> None:
    project = samples.project(workspace)
    case = samples.case(workspace, project, 1)
    path: Path = workspace.image_path(case)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StorageError, match="damaged"):
        workspace.load_image(case)
    path.unlink()
    with pytest.raises(StorageError, match="missing"):
        workspace.load_image(case)


def test_the_case_must_have_a_project(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="project number 7"):
        workspace.add_case(7, NewCase("a", samples.image(1), "a.png"))


def test_ten_thousand_cases_cost_few_queries(workspace: Workspace) -> None:
    from core.types import info_to_json
    from core.workspace.database import now
    from core.workspace.tables import CaseRow, ImageRow

    project = samples.project(workspace)
    info = info_to_json(samples.image(1).info)
    with workspace.store.database.write() as session:
        for start in range(1, 10_001, 500):
            numbers = range(start, start + 500)
            session.add_all(ImageRow(id=n, sha256=f"{n:064x}", info=info) for n in numbers)
            session.flush()
            session.add_all(
                CaseRow(id=n, project_id=project.id, image_id=n, name=f"c{n}", source="s", patient_key=f"p{n // 3}",
                        split=None, case_metadata={}, created_at=now())
                for n in numbers
            )  # fmt: skip
            session.flush()
    asked: list[str] = []
    event.listen(
        workspace.store.database.engine,
        "before_cursor_execute",
        lambda *arguments: asked.append(arguments[2]),
    )

    def queries(work: Callable[[], object]) -> int:
        asked.clear()
        work()
        return len(asked)

    page = workspace.list_cases(project.id, limit=50, offset=9000)
    assert len(page) == 50 and page[0].name == "c9001"
    # As many questions as for a handful of cases: what is slow with many is asking once per case.
    assert queries(lambda: workspace.list_cases(project.id, limit=50, offset=9000)) <= 3
    assert queries(lambda: workspace.list_cases(project.id)) <= 3
    assert queries(lambda: workspace.assign_splits(project.id, 0.2, 0.1, seed=1)) < 60
    assert sum(workspace.count_splits(project.id).values()) == 10_000
    assert queries(lambda: workspace.add_case(project.id, NewCase("c500", samples.image(2), "x"))) < 20
