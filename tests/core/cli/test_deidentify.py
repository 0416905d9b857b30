"""Patient identity from the terminal: copies without it, and imports that do not keep it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, PngImagePlugin

from tests.core.cli.conftest import Run
from tests.core.imaging.dicom_files import build, place, save

CANARY = "ZEBRAFINK"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two patients in two series, a screen picture in a zip, a PNG, a cut file and a text."""
    folder = tmp_path / CANARY
    for patient, count in (("one", 3), ("two", 2)):
        (folder / patient).mkdir(parents=True)
        for number in range(count):
            dataset = place(build(np.full((6, 8), number, np.int16)), (0, 0, -number))
            dataset.PatientID, dataset.PatientName = patient, f"{CANARY}^{patient}"
            dataset.SeriesInstanceUID, dataset.StudyDate = f"1.2.{count}", "20240131"
            dataset.StudyInstanceUID = f"1.3.{count}"
            save(dataset, folder / patient / f"{CANARY}{number}.dcm")
    screen = build(np.zeros((6, 8), np.uint8), Modality="OT", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    screen.SeriesInstanceUID, memory = "1.2.9", io.BytesIO()
    screen.save_as(memory, enforce_file_format=True)
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.writestr(f"{CANARY}/screen", memory.getvalue())
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", CANARY)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / f"{CANARY}.png", pnginfo=text)
    (folder / f"{CANARY} cut.dcm").write_bytes((folder / "one" / f"{CANARY}0.dcm").read_bytes()[:200])
    (folder / "notes.txt").write_text("no image")
    return folder


def test_copies_without_identity(sightline: Run, mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = sightline("deidentify", mixed, "--out", out, "--profile", "basic_dates", "--json")
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert sorted(done.json["written"]) == written and len(written) == 7
    assert [name for name in written if name.startswith("pictures/")] == ["pictures/000001.png"]
    patients = {name.split("/")[0] for name in written if name.startswith("patient-")}
    assert len(patients) == 3
    assert {name.split("/")[1] for name in written if "patient-" in name} == {"series-001"}
    assert {Path(row["path"]).name for row in done.json["skipped"]} == {f"{CANARY} cut.dcm", "notes.txt"}
    [warning] = done.json["warnings"]
    assert warning["path"] in written and "Secondary captures" in warning["warning"]
    for name in written:
        assert CANARY.encode() not in (out / name).read_bytes()
    dates = {pydicom.dcmread(out / name).get("StudyDate") for name in written if name.endswith(".dcm")}
    assert "20240131" not in dates and len(dates - {None, ""}) == 2  # one move for each patient

    other = sightline("deidentify", mixed / "one", "--out", tmp_path / "more", "--retain", "uids", "--json")
    assert other.json["written"][0].split("/")[0] in patients  # the home's secret is the same
    assert pydicom.dcmread(tmp_path / "more" / other.json["written"][0]).SeriesInstanceUID == "1.2.3"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "full"), "not empty"),
        (("--out", "new", "--profile", "keep"), "basic_dates"),
        (("--out", "new", "--profile", "strict"), "strict"),
        (("--out", "new", "--retain", "names"), "names"),
        (("--out", "full/file"), "Cannot write"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    sightline: Run, mixed: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    where = [str(tmp_path / word) if word in ("full", "new", "full/file") else word for word in words]
    done = sightline("deidentify", mixed, *where)
    assert (done.code, len(done.err.strip().splitlines())) == (1, 1), done.err
    assert says in done.err
    assert not (tmp_path / "new").exists()


def test_nothing_to_copy(sightline: Run, mixed: Path, tmp_path: Path) -> None:
    done = sightline("deidentify", mixed / "notes.txt", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.code == 1 and "nowhere" in done.err
    done = sightline("deidentify", mixed / "notes.txt", "--out", tmp_path / "out", "--json")
    assert done.code == 1 and "Only DICOM" in done.err


def test_an_import_names_the_bad_file_here_but_keeps_no_name(sightline: Run, mixed: Path, home: Path) -> None:
    sightline("project", "create", "P", "--labels", "a")
    done = sightline("import", "P", mixed, "--json")
    assert done.code == 0, done.err
    assert (done.json["cases"], done.json["skipped_count"]) == (4, 2)
    skipped = {row["path"]: row["reason"] for row in done.json["skipped"]}
    assert set(skipped) == {f"{CANARY}/{CANARY} cut.dcm", f"{CANARY}/notes.txt"}
    assert CANARY not in skipped[f"{CANARY}/{CANARY} cut.dcm"]
    stored = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"cut.dcm" not in stored and f"{CANARY}0.dcm".encode() not in stored
    assert sightline("import", "P", mixed, "--deidentify", "strict").code == 1
    assert sightline("import", "P").code == 2
    masks = mixed.parent / "masks"
    masks.mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(masks / f"{CANARY}_mask.png")
    alone = sightline("import", "P", "--labels", masks, "--json")
    assert (alone.code, alone.json["readings"]) == (0, 1), alone.err
