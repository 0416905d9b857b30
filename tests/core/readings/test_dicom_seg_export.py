"""Masks as DICOM segmentations: read back by us and by highdicom bit for bit, checked by dciodvfy."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from core.errors import LabelError, StorageError
from core.imaging.dicom_sources import slice_positions
from core.imaging.found import Found
from core.imaging.geometry import to_rows
from core.imaging.headers import Headers
from core.imaging.phantom_dicom import write_dicom_series
from core.imaging.profiles import Profile
from core.imaging.scan import scan
from core.readings.dicom_seg import read_segmentation
from core.readings.dicom_seg_export import can_be_dicom_seg, export_dicom_seg
from core.readings.export import ExportItem
from core.readings.reading import Mask
from core.settings import Settings
from core.types import Array, Image, ImageInfo, Label, make_labels
from tests.core.imaging.dicom_files import build, place, save

LABELS = (Label(3, "liver", "#ff0000"), Label(7, "lésion 肝", "#00ff00"), Label(8, "never seen", "#0000ff"))
SHAPE, SPACING = (5, 6, 7), (2.5, 0.75, 0.5)
A, B = 0.6, 0.8
# Columns: direction of x (along a row), y (down a column) and of the next slice, in the patient.
DIRECTIONS = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "axial, slices downwards": ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "oblique": ((A, B, 0), (0, 0, -1), (-B, A, 0)),
    "tilted gantry": ((1, 0, 0), (0, 1, 0), (0, -0.28, 0.96)),
}


def grid(directions: Any) -> ImageInfo:
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions, float).T * SPACING[::-1]
    affine[:3, 3] = (-100.5, 20.25, 33)
    return ImageInfo("zyx", SHAPE, "int16", SPACING, to_rows(affine))


def marks(info: ImageInfo, values: tuple[int, ...] = (0, 3, 7), seed: int = 0) -> Array:
    """Random marks on some slices, none on others."""
    random = np.random.default_rng(seed)
    array = random.choice(np.array(values, np.uint8), info.spatial_shape)
    array.reshape(info.slices, -1)[1::3] = 0
    return array


def found_in(path: Path, work: Path, profile: Profile = "keep") -> Found:
    (one,) = [one for one in scan([path], work, "salt", Settings(), profile) if isinstance(one, Found)]
    return one


def write_series(info: ImageInfo, folder: Path) -> list[Path]:
    """A phantom series whose files' names say nothing about their order."""
    values = np.random.default_rng(1).integers(-900, 900, SHAPE).astype(np.int16)
    files = write_dicom_series(Image(values, info), folder, 4, "SECRET-ID")
    names = np.random.default_rng(2).permutation(len(files))
    return [path.rename(folder / f"{name}.dcm") for path, name in zip(files, names, strict=True)]


def export(
    info: ImageInfo,
    array: Array,
    out: Path,
    headers: Headers | None = None,
    labels: Any = LABELS,
    **more: Any,
) -> Path:
    item = ExportItem("case", info, Mask(array), "Dr. A^=\\B", load_headers=lambda: headers, **more)
    (path,) = export_dicom_seg([item], labels, out)
    assert [file.name for file in out.iterdir()] == ["case.dcm"]
    return path


def check(path: Path, info: ImageInfo, array: Array, labels: Any = LABELS) -> highdicom.seg.Segmentation:
    """Read it back with our own import and check it with dicom3tools; returns it as highdicom reads it."""
    mask, notes = read_segmentation(path, info, labels, None, Settings())
    assert np.array_equal(mask.array, array) and notes == ()
    if shutil.which("dciodvfy"):
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
        assert "Segmentation" in done.stderr + done.stdout
        assert [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")] == []
    segmentation = highdicom.seg.segread(path)
    assert segmentation.SegmentationType == "BINARY"
    assert [item.SegmentLabel for item in segmentation.SegmentSequence] == [label.name for label in labels]
    return segmentation


def numbered(array: Array, labels: Any = LABELS) -> Array:
    """The marks with segment numbers in place of label values."""
    result = np.zeros(array.shape, np.uint8)
    for number, label in enumerate(labels, start=1):
        result[array == label.value] = number
    return result


def by_instances(segmentation: highdicom.seg.Segmentation, uids: list[str]) -> Array:
    return segmentation.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_series_in_any_orientation(name: str, tmp_path: Path) -> None:
    files = write_series(grid(DIRECTIONS[name]), tmp_path / "in")
    found = found_in(tmp_path / "in", tmp_path / "work")
    info = found.image.info
    array = marks(info)
    segmentation = check(export(info, array, tmp_path / "out", found.headers), info, array)
    sources = {source.SOPInstanceUID: source for source in map(pydicom.dcmread, files)}
    order = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in found.files]
    assert np.array_equal(by_instances(segmentation, order), numbered(array))
    one = sources[order[0]]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert getattr(segmentation, keyword) == getattr(one, keyword), keyword
    assert segmentation.SeriesInstanceUID != one.SeriesInstanceUID
    assert {tuple(uids) for uids in segmentation.get_source_image_uids()} == {
        (one.StudyInstanceUID, one.SeriesInstanceUID, uid) for uid in sources
    }
    assert {str(item.ReferencedSOPClassUID) for item in segmentation.SourceImageSequence} == {one.SOPClassUID}
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        place_of_frame = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.allclose(place_of_frame, np.array(sources[uid].ImagePositionPatient, float), atol=1e-9)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    assert np.allclose(turn, np.array(one.ImageOrientationPatient, float), atol=1e-9)


def test_an_unevenly_spaced_series(tmp_path: Path) -> None:
    """Frames lie where the slices truly are, which the volume's geometry alone does not tell."""
    for height, path in enumerate(write_series(grid(DIRECTIONS["oblique"]), tmp_path / "in")):
        dataset = pydicom.dcmread(path)
        step = np.array([-B, A, 0]) * (0, 2, 3, 7.5, 8.5)[height]
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in np.array([-100.5, 20.25, 33]) + step]
        dataset.save_as(path)
    found = found_in(tmp_path / "in", tmp_path / "work")
    assert found.headers is not None and "not evenly spaced" in str(found.image.info.warnings)
    info, array = found.image.info, marks(found.image.info)
    path = export(info, array, tmp_path / "out", found.headers)
    with pytest.raises(LabelError, match="another grid"):
        read_segmentation(path, info, LABELS, None, Settings())
    mask, _ = read_segmentation(path, info, LABELS, None, Settings(), slice_positions(info, found.headers))
    assert np.array_equal(mask.array, array)


@pytest.mark.parametrize("profile", ["keep", "basic", "basic_dates"])
def test_a_real_series_by_every_profile(profile: Profile, shared_data: Path, tmp_path: Path) -> None:
    found = found_in(shared_data / "dicom_ct_series_torchio", tmp_path, profile)
    info, headers = found.image.info, found.headers
    array = marks(info)
    assert headers is not None and info.slices == 17
    segmentation = check(export(info, array, tmp_path / "out", headers), info, array)
    assert np.array_equal(by_instances(segmentation, headers.instance_uids), numbered(array))
    assert str(segmentation.PatientID) == headers.text("00100020")
    assert str(segmentation.StudyInstanceUID) == headers.text("0020000D")


def test_frames_of_a_multi_frame_file(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "dicom_seg_dcmqi/24x38x3/multiframe/mf.dcm"
    found = found_in(path, tmp_path)
    info, array = found.image.info, marks(found.image.info)
    segmentation = check(export(info, array, tmp_path / "out", found.headers), info, array)
    source = pydicom.dcmread(path)
    places = [
        group.PlanePositionSequence[0].ImagePositionPatient
        for group in source.PerFrameFunctionalGroupsSequence
    ]
    up = np.argsort([(np.linalg.inv(info.affine_lps) @ [*map(float, place), 1])[2] for place in places])
    got = segmentation.get_pixels_by_source_frame(
        source.SOPInstanceUID, [int(frame) + 1 for frame in up], combine_segments=True,
        assert_missing_frames_are_empty=True,
    )  # fmt: skip
    assert np.array_equal(got, numbered(array))
    assert [item.ReferencedSOPInstanceUID for item in segmentation.SourceImageSequence] == [
        source.SOPInstanceUID
    ]


@pytest.mark.parametrize("labels", [LABELS, make_labels(["only"])], ids=["three labels", "one label"])
def test_nothing_marked(labels: tuple[Label, ...], tmp_path: Path) -> None:
    write_series(grid(DIRECTIONS["axial"]), tmp_path / "in")
    found = found_in(tmp_path / "in", tmp_path / "work")
    info, array = found.image.info, np.zeros(SHAPE, np.uint8)
    segmentation = check(export(info, array, tmp_path / "out", found.headers, labels), info, array, labels)
    assert len(segmentation.SourceImageSequence) == SHAPE[0]
    assert not segmentation.pixel_array.any()


def test_a_model_is_named_and_a_person_is_too(tmp_path: Path) -> None:
    info = grid(DIRECTIONS["coronal"])
    array = marks(info, (0, 1))
    labels = make_labels(["only"])
    by_person = check(export(info, array, tmp_path / "a", None, labels), info, array, labels)
    by_model = check(export(info, array, tmp_path / "b", None, labels, by_model=True), info, array, labels)
    assert by_person.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"
    assert by_model.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert by_model.SegmentSequence[0].SegmentAlgorithmName == "Dr. A^=/B"
    assert str(by_person.ContentCreatorName) == "Dr. A  /B" and not by_model.get("ContentCreatorName")


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("handed", [1, -1], ids=["as is", "mirrored"])
def test_a_volume_without_headers_keeps_its_place(name: str, handed: int, tmp_path: Path) -> None:
    across, down, onwards = DIRECTIONS[name]
    info = grid((across, down, tuple(handed * part for part in onwards)))
    array = marks(info)
    segmentation = check(export(info, array, tmp_path / "out"), info, array)
    assert segmentation.PatientID == "" and "SourceImageSequence" not in segmentation
    assert "ReferencedSeriesSequence" not in segmentation


def test_pictures_of_known_size(tmp_path: Path) -> None:
    flat = ImageInfo("yx", (6, 8), "uint8", (0.5, 0.25))
    check(export(flat, marks(flat), tmp_path / "flat"), flat, marks(flat))
    unplaced = replace(grid(DIRECTIONS["axial"]), affine_lps=None)
    path = export(unplaced, marks(unplaced), tmp_path / "volume")
    placed = replace(unplaced, affine_lps=to_rows(np.diag([*SPACING[::-1], 1])))
    check(path, placed, marks(unplaced))


def test_a_single_file_with_and_without_a_place(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture = np.random.default_rng(0).integers(0, 99, (6, 7)).astype(np.uint8)
    for number, dataset in enumerate((build(picture), place(build(picture), (1, 2, 3)))):
        dataset.StudyInstanceUID = "1.2.3"
        path = save(dataset, tmp_path / "in" / f"{number}.dcm")
        found = found_in(path, tmp_path / "work")
        array = marks(found.image.info)
        segmentation = check(
            export(found.image.info, array, tmp_path / f"{number}", found.headers), found.image.info, array
        )
        assert np.array_equal(by_instances(segmentation, [dataset.SOPInstanceUID])[0], numbered(array))


def test_old_and_odd_dates_are_written_as_they_should_be_or_not_at_all(tmp_path: Path) -> None:
    write_series(grid(DIRECTIONS["axial"]), tmp_path / "in")
    found = found_in(tmp_path / "in", tmp_path / "work")
    assert found.headers is not None
    odd = {
        "00080020": {"vr": "DA", "Value": ["1997.04.24"]},
        "00080030": {"vr": "TM", "Value": ["noon"]},
        "00100040": {"vr": "CS", "Value": ["X"]},
        "00120062": {"vr": "CS", "Value": ["YES"]},
    }
    headers = replace(found.headers, shared={**found.headers.shared, **odd})
    array = marks(found.image.info)
    segmentation = check(export(found.image.info, array, tmp_path / "out", headers), found.image.info, array)
    assert (str(segmentation.StudyDate), segmentation.StudyTime, segmentation.PatientSex) == (
        "19970424",
        "",
        "",
    )


def test_names_that_differ_little_stay_apart(tmp_path: Path) -> None:
    info, labels = grid(DIRECTIONS["axial"]), make_labels(["Vein", "vein", "background", "Tissue"])
    array = marks(info, (0, 1, 2, 3, 4))
    check(export(info, array, tmp_path / "out", None, labels), info, array, labels)


def test_nothing_of_the_patient_is_warned_about(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    write_series(grid(DIRECTIONS["axial"]), tmp_path / "in")
    found = found_in(tmp_path / "in", tmp_path / "work")
    assert found.headers is not None
    name = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Secret"}]}}
    odd = {"00102160": {"vr": "SH", "Value": ["Secret " * 9]}, "00101010": {"vr": "AS", "Value": ["Secret"]}}
    headers = replace(found.headers, shared={**found.headers.shared, **name, **odd})
    recwarn.clear()
    export(found.image.info, marks(found.image.info), tmp_path / "out", headers)
    assert not recwarn.list


SKEWED = replace(grid(((1, 0, 0), (0.1, 0.99, 0), (0, 0, 1))))


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (ImageInfo("tyx", (3, 6, 8), "uint8", (1.0, 1.0)), "clip of frames in time"),
        (ImageInfo("yx", (6, 8), "uint8"), "no known pixel size"),
        (SKEWED, "not perpendicular"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_a_sentence(info: ImageInfo, words: str, tmp_path: Path) -> None:
    item = ExportItem("odd", info, Mask(marks(info)))
    assert can_be_dicom_seg(info, False) == (info is SKEWED)
    with pytest.raises(LabelError, match=words):
        export_dicom_seg([item], LABELS, tmp_path)
    flat = ImageInfo("yx", (6, 8), "uint8", (0.5, 0.25))
    with pytest.raises(
        LabelError, match=r"1 of 2 readings could not be written, the others are there: .*odd"
    ):
        export_dicom_seg([item, ExportItem("good", flat, Mask(marks(flat)))], LABELS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["good.dcm"]


def test_headers_of_another_image_are_refused(tmp_path: Path) -> None:
    write_series(grid(DIRECTIONS["oblique"]), tmp_path / "in")
    found = found_in(tmp_path / "in", tmp_path / "work")
    info, headers = found.image.info, found.headers
    assert headers is not None
    other_size = replace(headers, shared={**headers.shared, "00280010": {"vr": "US", "Value": [9]}})
    for wrong in (replace(headers, own=headers.own[::-1]), replace(headers, own=headers.own[1:]), other_size):
        with pytest.raises(LabelError, match="do not fit"):
            export(info, marks(info), tmp_path / "out", wrong)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    info = grid(DIRECTIONS["axial"])
    with pytest.raises(StorageError, match="No space left"):
        export_dicom_seg([ExportItem("a", info, Mask(marks(info)))], LABELS, tmp_path)
    assert list(tmp_path.iterdir()) == []
