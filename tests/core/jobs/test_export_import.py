"""Classes and DICOM segmentations from one project into another, through the jobs themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as PILImage

from core.imaging.phantom_dicom import write_dicom_series
from core.jobs import predicting
from core.jobs.context import JobContext
from core.jobs.exporting import run_export
from core.jobs.importing import run_import
from core.jobs.payloads import ExportPayload, ImportPayload
from core.jobs.queue import JobQueue
from core.jobs.submit import submit
from core.readings.class_table import note_name
from core.readings.exporters import MASK_EXPORTERS
from core.readings.notes import WHOLE_IMAGE, Note, notes_to_json
from core.readings.reading import Boxes, Mask, no_boxes
from core.types import Image, ImageInfo, make_labels
from core.workspace.workspace import Workspace

Job = Callable[..., dict[str, Any]]
NAMES = ["normal", "bleeding"]
AFFINE = ((0.5, 0.0, 0.0, -9.0), (0.0, 0.5, 0.0, 4.0), (0.0, 0.0, 2.0, 1.0), (0.0, 0.0, 0.0, 1.0))
VOLUME = ImageInfo("zyx", (4, 6, 7), "int16", (2.0, 0.5, 0.5), AFFINE)
LENGTH = {"l1": Note("length", ((0, 0, 0), (2, 2, 0)))}


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace.open(home) as opened:
        for name in ("one", "two"):
            opened.create_project(name, "segmentation", make_labels(NAMES))
        opened.create_project("boxes", "detection", make_labels(NAMES))
        yield opened


@pytest.fixture
def job(workspace: Workspace, tmp_path: Path) -> Job:
    """Run a job's handler in this process."""

    def run(payload: ImportPayload | ExportPayload) -> dict[str, Any]:
        queue = JobQueue(workspace)
        queued = submit(queue, payload, "work")
        work = tmp_path / f"work-{queued.id}"
        work.mkdir()
        context = JobContext(workspace, queue, queued, work, logging.getLogger("test"))
        return run_export(context) if isinstance(payload, ExportPayload) else run_import(context)

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two pictures, and two series in one and the same place."""
    folder = tmp_path / "in"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        PILImage.fromarray(random.integers(0, 255, (6, 7), dtype=np.uint8)).save(folder / f"{name}.png")
    for number in (1, 2):
        values = random.integers(-900, 900, VOLUME.shape).astype(np.int16)
        write_dicom_series(Image(values, VOLUME), folder / f"Doe^{number}", number, f"Doe-{number}")
    return folder


def class_notes(*classes: tuple[int, int]) -> dict[str, Note]:
    return {note_name(plane, label): Note("class", (), plane=plane, label=label) for plane, label in classes}


def notes_of(workspace: Workspace, project: int) -> dict[str, Any]:
    """What the reader noted in each case, by the case's name."""
    found = workspace.readings_of(project, "annotator")
    return {
        workspace.get_case(case).name: (version.notes or {}).get("notes") for case, version in found.items()
    }


def test_classes_go_into_another_project(workspace: Workspace, job: Job, files: Path, tmp_path: Path) -> None:
    first = job(ImportPayload(project=1, paths=[str(files)]))
    assert first["cases"] == 4, first
    cases = {case.name: case for case in workspace.list_cases(1)}
    given = {
        "a": class_notes((WHOLE_IMAGE, 1)),
        "b": {},
        "CT series 1 (4 slices)": class_notes((WHOLE_IMAGE, 2), (0, 1), (3, 2)),
        "CT series 2 (4 slices)": class_notes((2, 1)),
    }
    for name, notes in given.items():
        mask = Mask(np.zeros(cases[name].info.spatial_shape, np.uint8))
        workspace.save_reading(cases[name].id, "annotator", mask, notes=notes_to_json(notes, []))
    assert job(ExportPayload(project=1, format="classes", out=str(tmp_path / "out")))["files"] == 1
    labels = str(tmp_path / "out" / "classes.csv")
    done = job(ImportPayload(project=2, paths=[str(files)], labels=labels))
    assert (done["readings"], done["skipped"]) == (3, []), done
    expected = notes_of(workspace, 1)
    assert expected.pop("b") is None
    assert notes_of(workspace, 2) == expected
    again = job(ImportPayload(project=2, labels=labels, format="classes"))
    assert (again["readings"], again["skipped"]) == (3, [])
    assert all(len(workspace.list_versions(case.id)) < 2 for case in workspace.list_cases(2))
    assert "Doe" not in (tmp_path / "out" / "classes.csv").read_text()


@pytest.mark.parametrize(("project", "reading"), [(1, Mask(np.eye(6, 7, dtype=np.uint8))), (3, no_boxes())])
def test_classes_come_beside_what_is_marked(
    workspace: Workspace, job: Job, files: Path, tmp_path: Path, project: int, reading: Mask | Boxes
) -> None:
    job(ImportPayload(project=project, paths=[str(files / "a.png"), str(files / "b.png")]))
    a = next(case for case in workspace.list_cases(project) if case.name == "a")
    before = {**LENGTH, **class_notes((WHOLE_IMAGE, 2))}
    workspace.save_reading(a.id, "annotator", reading, notes=notes_to_json(before, []))
    table = tmp_path / "t.csv"
    table.write_text("image;class\na.png;normal\nb;Bleeding\nb;1\nb;oedema\nc;normal\n")
    done = job(ImportPayload(project=project, labels=str(table), label_map={"1": "normal"}))
    assert done["readings"] == 1
    reasons = {row["path"]: row["reason"] for row in done["skipped"]}
    assert "no label called oedema, so 1 of its images were left out" in reasons["t.csv"]
    assert "No image of this import is called c" in reasons["t.csv, c"]
    version = workspace.latest_reading(a.id, "annotator")
    kept = workspace.load_reading(version)
    assert type(kept) is type(reading)
    assert not isinstance(reading, Mask) or np.array_equal(kept.array, reading.array)
    assert version.notes == notes_to_json({**LENGTH, **class_notes((WHOLE_IMAGE, 1))}, [])
    assert set(notes_of(workspace, project)) == {
        "a"
    }  # b has an unknown class: not even the known ones came in


def test_finer_images_hold_no_classes(workspace: Workspace, job: Job, files: Path, tmp_path: Path) -> None:
    project = workspace.create_project("finer", "super-resolution", ()).id
    (tmp_path / "t.csv").write_text("file,label\na,normal\n")
    with pytest.raises(Exception, match="holds no classes"):
        job(
            ImportPayload(
                project=project,
                paths=[str(files / "a.png")],
                labels=str(tmp_path / "t.csv"),
                format="classes",
            )
        )


@pytest.mark.parametrize("lacking", [False, True], ids=["evenly spaced", "a slice is missing"])
@pytest.mark.parametrize("profile", ["keep", "basic"])
def test_segmentations_find_their_series_again(
    workspace: Workspace, job: Job, files: Path, tmp_path: Path, profile: Any, lacking: bool
) -> None:
    """Both series have the same place and size: only what the file names tells them apart."""
    folders = [str(files / f"Doe^{number}") for number in (1, 2)]
    for folder in folders if lacking else []:
        heights = {pydicom.dcmread(path).ImagePositionPatient[2]: path for path in Path(folder).iterdir()}
        heights[sorted(heights)[1]].unlink()
    job(ImportPayload(project=1, paths=folders, deidentify=profile))
    random = np.random.default_rng(3)
    truth = {}
    for case in workspace.list_cases(1):
        truth[case.id] = random.integers(0, 3, case.info.shape).astype(np.uint8)
        workspace.save_reading(case.id, "truth", Mask(truth[case.id]))
    out = tmp_path / "out"
    done = job(ExportPayload(project=1, format="dicom-seg", reader="truth", out=str(out)))
    assert (done["files"], len(list(out.iterdir()))) == (2, 2)
    back = job(ImportPayload(project=1, labels=str(out), reader="back", deidentify=profile))
    assert (back["readings"], back["skipped"], back["warnings"]) == (2, [], [])
    for case_id, version in workspace.readings_of(1, "back").items():
        assert np.array_equal(workspace.load_reading(version).array, truth[case_id])
    named = any(b"Doe" in path.read_bytes() or "Doe" in path.name for path in out.iterdir())
    assert named == (profile == "keep")


def test_predicted_segmentations_refer_to_the_files(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that marks everything, so that only what is written counts."""
    everything = SimpleNamespace(
        predict=lambda image, options: Mask(np.ones(image.info.spatial_shape, np.uint8))
    )
    task = SimpleNamespace(load=lambda folder, device: everything, exporters=MASK_EXPORTERS)
    labels = [{"value": 1, "name": "body", "color": "#ff0000"}]
    monkeypatch.setattr(predicting, "TASKS", {"toy": task})
    monkeypatch.setattr(predicting, "read_card", lambda _: {"task": "toy", "name": "net", "labels": labels})
    monkeypatch.setattr(predicting, "pick_device", lambda wanted: "cpu")
    request = predicting.FileRequest([files / "Doe^1"], tmp_path / "out", "dicom-seg")
    done = predicting.predict_files(tmp_path, request, tmp_path / "work", lambda name: None)
    assert (len(done.files), done.skipped) == (1, [])
    written = pydicom.dcmread(done.files[0])
    sources = [pydicom.dcmread(path, stop_before_pixels=True) for path in (files / "Doe^1").iterdir()]
    [series] = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        source.SOPInstanceUID for source in sources
    }
    assert (written.PatientID, written.SegmentSequence[0].SegmentAlgorithmType) == ("Doe-1", "AUTOMATIC")
