"""What a file is: content before name, parts of other files, files that are something else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PILImage

from core.errors import FileRefused
from core.imaging.formats import KINDS, SUFFIXES, is_companion, kind_by_name, recognise
from core.imaging.found import Found, Skipped
from core.imaging.readers import count_images, read_images
from core.imaging.scan import count_sources, scan
from core.settings import Settings
from tests.core.imaging.dicom_files import build, save

SETTINGS = Settings()
VOLUME = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))


def write_one_of_each(folder: Path) -> dict[str, Path]:
    """A file of each kind, under a name that says nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    nibabel.save(image, folder / "a.nii.gz")
    sitk.WriteImage(VOLUME, str(folder / "b.nrrd"))
    sitk.WriteImage(VOLUME, str(folder / "c.mha"))
    PILImage.fromarray(np.zeros((3, 4), np.uint8)).save(folder / "d.png")
    np.save(folder / "e.npy", np.zeros((3, 4)))
    save(build(np.zeros((3, 4), np.int16)), folder / "f.dcm")
    named = {"nifti": "a.nii.gz", "nrrd": "b.nrrd", "metaimage": "c.mha", "raster": "d.png", "arrays": "e.npy",
             "dicom": "f.dcm"}  # fmt: skip
    return {
        kind: (folder / name).rename(folder / f"file-{number}")
        for number, (kind, name) in enumerate(named.items())
    }


def test_content_comes_before_the_name(tmp_path: Path) -> None:
    for kind, path in write_one_of_each(tmp_path).items():
        assert recognise(path) == kind
        assert recognise(path.rename(path.with_name("wrong.png"))) == kind


def test_a_damaged_file_is_what_its_name_says(tmp_path: Path) -> None:
    for kind, endings in SUFFIXES.items():
        for ending in endings:
            (tmp_path / f"X{ending.upper()}").write_bytes(b"no image at all, but a name")
            assert recognise(tmp_path / f"X{ending.upper()}") == kind == kind_by_name(f"X{ending}")
    (tmp_path / "notes.txt").write_bytes(b"hello")
    assert recognise(tmp_path / "notes.txt") is None
    assert set(SUFFIXES) == set(KINDS)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c rest", "7z"), ("a.rar", b"Rar!\x1a\x07 rest", "RAR"),
        ("a.pdf", b"%PDF-1.7", "PDF"), ("a.doc", b"\xd0\xcf\x11\xe0 rest", "Office"),
        ("a.h5", b"\x89HDF\r\n\x1a\n rest", "HDF5"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd rest", "Zstandard"),
    ],
)  # fmt: skip
def test_files_that_are_something_else_get_a_sentence_of_their_own(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileRefused, match=words):
        recognise(tmp_path / name)


def test_office_documents_are_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "talk.pptx", "w") as file:
        file.writestr("ppt/media/image1.png", b"\x89PNG")
    (only,) = scan([tmp_path / "talk.pptx"], tmp_path / "work", "s", SETTINGS)
    assert isinstance(only, Skipped) and "document" in only.reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.hdr", "a.img"), ("a.hdr.gz", "a.img.gz"), ("a.PAR", "a.REC"), ("a.mhd", "a.raw"), ("a.mhd", "a.zraw"),
        ("a.nhdr", "a.raw.gz"), ("s.mrxs", "s/Data0001.dat"),
    ],
)  # fmt: skip
def test_second_files_come_with_the_first(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / second).parent.mkdir(exist_ok=True)
    (tmp_path / second).write_bytes(b"x")
    assert not is_companion(tmp_path / second)
    (tmp_path / first).write_bytes(b"x")
    assert is_companion(tmp_path / second) and not is_companion(tmp_path / first)


def test_a_folder_of_everything(tmp_path: Path) -> None:
    write_one_of_each(tmp_path / "in")
    sitk.WriteImage(VOLUME, str(tmp_path / "in" / "pair.mhd"))
    np.savez(
        tmp_path / "in" / "set.npz", train_images=np.zeros((3, 4, 5), np.uint8), train_labels=np.arange(3)
    )
    (tmp_path / "in" / "notes.txt").write_text("hello")
    found = {item.source: item for item in scan([tmp_path / "in"], tmp_path / "work", "s", SETTINGS)}
    assert sorted(name for name, item in found.items() if isinstance(item, Found)) == [
        "in/file-0", "in/file-1", "in/file-2", "in/file-3", "in/file-4", "in/file-5", "in/pair.mhd",
        "in/set.npz/train_000000", "in/set.npz/train_000001", "in/set.npz/train_000002",
    ]  # fmt: skip
    assert count_sources([tmp_path / "in"], tmp_path / "work", SETTINGS) == len(found) == 11
    assert isinstance(found["in/notes.txt"], Skipped) and "NRRD" in found["in/notes.txt"].reason


def test_dicom_is_read_as_series_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="series"):
        next(read_images(tmp_path / "a.dcm", "dicom", SETTINGS))
    assert count_images(tmp_path / "a.dcm", "dicom") == 1
