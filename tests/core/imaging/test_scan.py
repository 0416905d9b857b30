"""Looking through folders and archives: all that is good arrives, all that is not is named."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image as PILImage

from core.imaging.found import Found, Skipped
from core.imaging.scan import count_sources, scan
from core.settings import Settings
from tests.core.imaging import odd_readers
from tests.core.imaging.dicom_files import build, place, save

SETTINGS = Settings()


def look(folder: Path, *paths: Path) -> tuple[list[Found], list[Skipped]]:
    items = list(scan(paths, folder / "work", "salt", SETTINGS))
    found = [item for item in items if isinstance(item, Found)]
    return found, [item for item in items if isinstance(item, Skipped)]


def write_png(path: Path, value: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(np.full((3, 4), value, np.uint8)).save(path)
    return path


def write_series(folder: Path, count: int, patient: str = "one") -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        dataset = place(build(np.full((3, 4), number, np.int16), PatientID=patient), (0, 0, -number))
        save(dataset, folder / f"IM{number:04}")


def test_one_bad_file_among_many_is_named(tmp_path):
    for number in range(99):
        write_png(tmp_path / "in" / f"{number:03}.png")
    (tmp_path / "in" / "050b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    found, skipped = look(tmp_path, tmp_path / "in")
    assert len(found) == 99
    assert [item.source for item in skipped] == ["in/050b.png"]
    assert skipped[0].reason.endswith(".")
    assert found[0].source == "in/000.png"
    assert count_sources([tmp_path / "in"], tmp_path / "work", SETTINGS) == 100


def test_mixed_folder_by_content(tmp_path):
    root = tmp_path / "in"
    write_png(root / "picture.png")
    write_png(root / "named.png").rename(root / "named.dcm")
    write_series(root / "ct" / "a", 3)
    write_series(root / "ct" / "b", 2, patient="two")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), root / "vol.nii.gz")
    (root / "notes.txt").write_text("hello")
    (root / "empty.png").write_bytes(b"")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    write_png(root / "__MACOSX" / "._picture.png")
    found, skipped = look(tmp_path, root, root / "picture.png")
    by_source = {item.source: item for item in found}
    assert sorted(by_source) == ["in/ct/a", "in/ct/b", "in/named.dcm", "in/picture.png", "in/vol.nii.gz"]
    assert by_source["in/ct/a"].image.info.shape == (3, 3, 4)
    assert by_source["in/ct/a"].image.array[:, 0, 0].tolist() == [2, 1, 0]
    assert by_source["in/ct/a"].patient_key != by_source["in/ct/b"].patient_key
    assert by_source["in/vol.nii.gz"].name == "vol"
    assert sorted(item.source for item in skipped) == ["in/empty.png", "in/notes.txt"]
    assert len({item.name for item in found}) == 5


def test_series_in_an_archive_and_over_several_folders(tmp_path):
    write_series(tmp_path / "disc" / "DICOM", 4)
    (tmp_path / "disc" / "more").mkdir()
    (tmp_path / "disc" / "DICOM" / "IM0001").rename(tmp_path / "disc" / "more" / "IM0001")
    whole = Path(shutil.make_archive(str(tmp_path / "disc"), "zip", tmp_path / "disc"))
    assert count_sources([whole], tmp_path / "work", SETTINGS) == 1
    found, skipped = look(tmp_path, whole)
    assert skipped == []
    assert found[0].image.array[:, 0, 0].tolist() == [3, 2, 1, 0]
    assert found[0].source == "disc.zip/DICOM"
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(whole, "inner/disc.zip")
    found, _ = look(tmp_path, tmp_path / "outer.zip")
    assert found[0].source == "outer.zip/inner/disc.zip/DICOM"


def test_hostile_archive_and_missing_path_do_not_stop_the_rest(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr("../evil.png", b"x")
    good = write_png(tmp_path / "good.png")
    found, skipped = look(tmp_path, tmp_path / "evil.zip", tmp_path / "gone", good)
    assert [item.name for item in found] == ["good"]
    assert [item.source for item in skipped] == ["evil.zip", "gone"]
    assert not (tmp_path / "evil.png").exists()


def test_damaged_dicom_beside_a_series(tmp_path):
    write_series(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    found, skipped = look(tmp_path, tmp_path / "in")
    assert found[0].image.info.shape == (3, 3, 4)
    assert [item.source for item in skipped] == ["in/bad.dcm"]


def test_a_slice_that_crashes_its_codec_does_not_take_the_series_along(tmp_path, monkeypatch):
    monkeypatch.setattr("core.imaging.scan.decode", odd_readers.decode_or_die)
    write_series(tmp_path / "in" / "ct", 4)
    write_png(tmp_path / "in" / "picture.png")
    killer = place(build(np.zeros((666, 4), np.int16), PatientID="one"), (0, 0, 9))
    save(killer, tmp_path / "in" / "ct" / "IM0002b")
    (tmp_path / "in" / "ct" / "IM0003b").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    found, skipped = look(tmp_path, tmp_path / "in")
    assert [item.source for item in found] == ["in/picture.png", "in/ct"]
    assert found[1].image.array[:, 0, 0].tolist() == [3, 2, 1, 0]
    assert sorted(item.source for item in skipped) == ["in/ct/IM0002b", "in/ct/IM0003b"]
    assert "made its decoder break off" in {item.source: item.reason for item in skipped}["in/ct/IM0002b"]
    for number in range(4):
        save(killer, tmp_path / "in" / "ct" / f"IM{number}c")
    found, skipped = look(tmp_path, tmp_path / "in" / "ct")
    assert found == [] and len(skipped) == 2


def test_real_disc(shared_data, tmp_path):
    found, skipped = look(tmp_path, shared_data / "dicom_pydicom" / "dicomdirtests" / "98892001")
    assert sorted(item.image.info.shape for item in found) == [(5, 16, 16), (16, 16), (16, 16)]
    assert skipped == []
    assert len({item.patient_key for item in found}) == 1
