"""The import job on every format: names, splits, facts, masks, and slides with their files."""

from __future__ import annotations

import logging
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PILImage

from core.jobs.context import JobContext
from core.jobs.importing import run_import
from core.jobs.payloads import ImportPayload
from core.jobs.queue import JobQueue
from core.jobs.submit import submit
from core.workspace.records import Case
from core.workspace.workspace import Workspace
from tests.core.imaging.slide_files import CANARY, picture, write_svs
from tests.core.workspace import samples

RNG = np.random.default_rng(2)
Import = Callable[..., dict[str, Any]]


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("SIGHTLINE_MAX_SLIDE_PIXELS", "1000000")
    with Workspace.open(home) as opened:
        samples.project(opened)
        yield opened


@pytest.fixture
def bring_in(workspace: Workspace, tmp_path: Path) -> Import:
    """Run the import job's handler in this process."""

    def run(*paths: Path, **more: Any) -> dict[str, Any]:
        queue = JobQueue(workspace)
        payload = ImportPayload(project=1, paths=[str(path) for path in paths], **more)
        job = submit(queue, payload, "import")
        work = tmp_path / f"work-{job.id}"
        work.mkdir()
        return run_import(JobContext(workspace, queue, job, work, logging.getLogger("test")))

    return run


def by_name(workspace: Workspace) -> dict[str, Case]:
    return {case.name: case for case in workspace.list_cases(1)}


def write_fourth_axis(path: Path, volumes: int) -> np.ndarray:
    array = RNG.integers(0, 99, (5, 4, 3, volumes), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1.0])), path)
    return array


def test_a_tree_of_everything(workspace: Workspace, bring_in: Import, tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "deep").mkdir(parents=True)
    write_svs(root / f"{CANARY[:3]}.svs", picture())
    beat = write_fourth_axis(root / "heart.nii.gz", 12)
    np.savez(
        root / "set.npz",
        test_images=RNG.integers(0, 255, (3, 8, 9), dtype=np.uint8),
        test_labels=[[4], [5], [6]],
    )
    volume = sitk.GetImageFromArray(RNG.integers(0, 99, (2, 3, 4), dtype=np.int16))
    for name in ("a.mhd", "b.nrrd"):
        sitk.WriteImage(volume, str(root / "deep" / name))
    with tarfile.open(root / "more.tar.xz", "w:xz") as file:
        file.add(root / "deep" / "b.nrrd", "c.nrrd")
    (root / "clip.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    (root / "notes.txt").write_text("hello")
    result = bring_in(root)
    assert result["skipped_count"] == 2
    assert {row["path"] for row in result["skipped"]} == {"in/clip.7z", "in/notes.txt"}
    cases = by_name(workspace)
    assert result["cases"] == len(cases) == 12 + 3 + 3 + 1
    assert cases["heart volume 03"].source == "in/heart.nii.gz/volume 03"
    assert np.array_equal(workspace.load_image(cases["heart volume 03"]).array.T, beat[..., 2])
    assert (cases["test_000001"].split, cases["test_000001"].metadata) == ("test", {"label": "5"})
    assert cases["c"].source == "in/more.tar.xz/c.nrrd"
    slide = cases["DOE"]
    assert "10x instead of 40x" in slide.info.warnings[0]
    assert any("10x instead of 40x" in warning for warning in result["warnings"])
    assert workspace.original_path(slide.image_id) is not None
    again = bring_in(root)
    assert (again["cases"], again["already_there"]) == (19, 19)


def test_uploads_keep_their_own_names(workspace: Workspace, bring_in: Import, tmp_path: Path) -> None:
    uploads = tmp_path / "staging" / "images"
    uploads.mkdir(parents=True)
    write_fourth_axis(uploads / "i000001.nii.gz", 5)
    np.savez(uploads / "i000002.npz", images=np.zeros((1, 8, 9), np.uint8))
    PILImage.fromarray(np.ones((8, 9), np.uint8)).save(tmp_path / "inner.png")
    with zipfile.ZipFile(uploads / "i000003.zip", "w") as file:
        file.write(tmp_path / "inner.png", "inner.png")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.uint8)), str(uploads / "i000004.mhd"))
    names = {
        "i000001.nii.gz": "dwi.nii.gz", "i000002.npz": "medmnist.npz", "i000003.zip": "pictures.zip",
        "i000004.mhd": "brain.mhd", "i000004.raw": "brain.raw",
    }  # fmt: skip
    paths = [uploads / name for name in names]
    result = bring_in(*paths, display_names=names, staging=str(uploads.parent))
    assert result["skipped"] == []
    cases = by_name(workspace)
    assert sorted(cases) == [
        "brain", "dwi volume 1", "dwi volume 2", "dwi volume 3", "dwi volume 4", "dwi volume 5",
        "image_000000", "inner",
    ]  # fmt: skip
    assert cases["dwi volume 2"].source == "dwi.nii.gz/volume 2"
    assert cases["inner"].source == "pictures.zip/inner.png"
    assert not uploads.exists()


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nii.gz"])
def test_masks_of_any_volume_format(
    workspace: Workspace, bring_in: Import, tmp_path: Path, ending: str
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    image = sitk.GetImageFromArray(RNG.integers(0, 99, (2, 3, 4), dtype=np.int16))
    image.SetOrigin((5, 6, 7))
    sitk.WriteImage(image, str(tmp_path / "images" / "a.nii.gz"))
    mask = sitk.Cast(image > 50, sitk.sitkUInt8)
    sitk.WriteImage(sitk.Flip(mask, (True, False, False)), str(tmp_path / "masks" / f"a_seg{ending}"))
    result = bring_in(tmp_path / "images", labels=str(tmp_path / "masks"), reader="rater")
    assert (result["cases"], result["readings"], result["skipped"]) == (1, 1, [])
    (case,) = workspace.list_cases(1)
    (version,) = workspace.list_versions(case.id)
    reading = workspace.load_reading(version)
    assert np.array_equal(reading.array, sitk.GetArrayFromImage(mask))


def test_the_split_that_was_asked_for_wins(workspace: Workspace, bring_in: Import, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", train_images=np.zeros((2, 8, 9), np.uint8), train_labels=np.arange(2))
    (tmp_path / "table.csv").write_text("file,age,label\ntrain_000001,60,7\n")
    bring_in(tmp_path / "set.npz", split="val", table=str(tmp_path / "table.csv"))
    cases = by_name(workspace)
    assert {case.split for case in cases.values()} == {"val"}
    assert cases["train_000001"].metadata == {"age": "60", "label": "7"}
    assert cases["train_000000"].metadata == {"label": "0"}
