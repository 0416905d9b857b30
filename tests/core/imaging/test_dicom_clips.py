"""Multi-frame files: several stacks, time points, ultrasound volumes, nuclear medicine, and video."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from core.errors import FileRefused
from core.imaging.dicom import iter_dicom_images, read_dicom_series
from core.imaging.found import Found
from core.settings import Settings
from tests.core.imaging.dicom_files import build, save

AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def item(**fields: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def frame(position: list[float], orientation: list[float] = AXIAL, **content: Any) -> Dataset:
    """Return one frame's functional groups."""
    groups = item(
        PlanePositionSequence=[item(ImagePositionPatient=position)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=orientation)],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.8], SliceThickness=9)],
    )
    window = content.pop("window", None)
    if window is not None:
        groups.FrameVOILUTSequence = [item(WindowCenter=window[0], WindowWidth=window[1])]
    if content:
        groups.FrameContentSequence = [item(**content)]
    return groups


def enhanced(frames: list[Dataset], folder: Path, dtype: type = np.int16) -> Path:
    """Write a file whose frame n has the value n everywhere."""
    array = np.stack([np.full((3, 4), number, dtype) for number in range(len(frames))])
    dataset = build(array, NumberOfFrames=len(frames), Modality="MR")
    dataset.PerFrameFunctionalGroupsSequence = frames
    return save(dataset, folder / "enhanced.dcm")


def read(path: Path, **options: Any) -> list[Found]:
    found = list(iter_dicom_images([path], "salt", Settings(), **options))
    assert all(isinstance(image, Found) for image in found), found
    return found  # type: ignore[return-value]


def values(found: Found) -> list[int]:
    return found.image.array[:, 0, 0].tolist()


def test_stacks_of_different_angles_become_volumes_of_their_own(tmp_path):
    frames = [
        frame([0, 0, 4]),
        frame([0, 0, 0]),
        frame([0, 3, 0], CORONAL),
        frame([0, 0, 2]),
        frame([0, 1, 0], CORONAL),
    ]
    axial, coronal = read(enhanced(frames, tmp_path))
    assert values(axial) == [1, 3, 0]
    assert values(coronal) == [4, 2]
    for number, found in enumerate((axial, coronal), start=1):
        assert (
            "holds 2 stacks of frames that differ in angle, spacing or purpose"
            in found.image.info.warnings[0]
        )
        assert f"this is number {number}" in found.image.info.warnings[0]
        assert found.name == f"enhanced, part {number}"
    assert axial.image.info.spacing_mm == coronal.image.info.spacing_mm == (2, 0.5, 0.8)


def test_parallel_stacks_with_numbers_of_their_own_are_not_joined(tmp_path):
    low = [frame([0, 0, z], StackID="1") for z in (0, 2, 4)]
    high = [frame([0, 0, z], StackID="2") for z in (50, 52, 54)]
    first, second = read(enhanced(low + high, tmp_path))
    assert (values(first), values(second)) == ([0, 1, 2], [3, 4, 5])


def test_time_points_are_split_by_their_number_whatever_the_order_of_frames(tmp_path):
    frames = [frame([0, 0, z], StackID="1", TemporalPositionIndex=t) for z in (4, 0, 2) for t in (2, 1)]
    found = read(enhanced(frames, tmp_path))
    assert sorted(values(volume) for volume in found) == [[2, 4, 0], [3, 5, 1]]
    assert "shows the same places 2 times" in found[0].image.info.warnings[0]


def test_facts_of_a_split_file_are_of_its_own_frames_in_file_order(tmp_path):
    frames = [frame([0, 0, 4]), frame([0, 0, 0]), frame([0, 3, 0], CORONAL), frame([0, 1, 0], CORONAL)]
    axial, coronal = read(enhanced(frames, tmp_path), with_facts=True)
    assert (axial.stored.low, axial.stored.high, axial.stored.shape) == (0, 1, (2, 3, 4))
    assert (coronal.stored.low, coronal.stored.high) == (2, 3)


def test_the_window_is_the_first_frames_own(tmp_path):
    frames = [frame([0, 0, 2], window=(10, 20)), frame([0, 0, 0], window=(30, 40))]
    (found,) = read(enhanced(frames, tmp_path))
    assert values(found) == [1, 0]
    assert (found.image.info.window.center, found.image.info.window.width) == (30, 40)


def test_ultrasound_volume_has_spacing_but_no_place_in_the_patient(tmp_path):
    frames = []
    for z in (0.0, 0.3, 0.6):
        groups = item(
            PlanePositionVolumeSequence=[item(ImagePositionVolume=[0, 0, z])],
            PlaneOrientationVolumeSequence=[item(ImageOrientationVolume=AXIAL)],
            PixelMeasuresSequence=[item(PixelSpacing=[0.2, 0.25])],
        )
        frames.append(groups)
    (found,) = read(enhanced(frames, tmp_path, np.uint8))
    info = found.image.info
    assert (info.layout, info.affine_lps) == ("zyx", None)
    assert info.spacing_mm == pytest.approx((0.3, 0.2, 0.25))


@pytest.mark.parametrize("step", [4.0, -4.0])
def test_nuclear_medicine_slices_follow_the_sign_of_their_spacing(tmp_path, step):
    array = np.stack([np.full((3, 4), number, np.uint16) for number in range(3)])
    dataset = build(array, NumberOfFrames=3, Modality="NM", PixelSpacing=[2, 2], SpacingBetweenSlices=step)
    dataset.SliceThickness, dataset.SliceVector = 99, [1, 2, 3]
    place = {"ImagePositionPatient": [1, 2, 30], "ImageOrientationPatient": AXIAL}
    dataset.DetectorInformationSequence = [item(**place)]
    (found,) = read(save(dataset, tmp_path / "nm.dcm"))
    assert found.image.info.spacing_mm == (4, 2, 2)
    assert values(found) == ([0, 1, 2] if step > 0 else [2, 1, 0])
    affine = np.array(found.image.info.affine_lps)
    first = values(found).index(0)
    assert affine @ [0, 0, first, 1] == pytest.approx([1, 2, 30, 1])


def test_a_cine_clip_keeps_its_frame_time(tmp_path):
    array = np.zeros((4, 3, 4), np.uint8)
    dataset = build(array, NumberOfFrames=4, Modality="US", FrameTime="33.3")
    (found,) = read(save(dataset, tmp_path / "us.dcm"))
    assert found.image.info.layout == "tyx"
    assert found.image.info.metadata["FrameTime"] == "33.3"
    del dataset.FrameTime
    dataset.FrameTimeVector = [0, 30, 40, 50]
    (found,) = read(save(dataset, tmp_path / "us.dcm"))
    assert found.image.info.metadata["FrameTime"] == "40"


# Eight frames of 64 x 48 pixels, written by x264 and x265: column by column dark grey gives way to violet.
AVC = """
AAAAAWdkAAqs2UR6EAAAAwAQAAADAUDxIllgAAAAAWjr4bLIsAAAAQYF//+c3EXpvebZSLeWLNgg2SPu73gyNjQgLSBjb3JlIDE2NSAtIEgu
MjY0L01QRUctNCBBVkMgY29kZWMgLSBDb3B5bGVmdCAyMDAzLTIwMjUgLSBodHRwOi8vd3d3LnZpZGVvbGFuLm9yZy94MjY0Lmh0bWwgLSBv
cHRpb25zOiBjYWJhYz0xIHJlZj0zIGRlYmxvY2s9MTowOjAgYW5hbHlzZT0weDM6MHgxMTMgbWU9aGV4IHN1Ym1lPTcgcHN5PTEgcHN5X3Jk
PTEuMDA6MC4wMCBtaXhlZF9yZWY9MSBtZV9yYW5nZT0xNiBjaHJvbWFfbWU9MSB0cmVsbGlzPTEgOHg4ZGN0PTEgY3FtPTAgZGVhZHpvbmU9
MjEsMTEgZmFzdF9wc2tpcD0xIGNocm9tYV9xcF9vZmZzZXQ9LTIgdGhyZWFkcz0xIGxvb2thaGVhZF90aHJlYWRzPTEgc2xpY2VkX3RocmVh
ZHM9MCBucj0wIGRlY2ltYXRlPTEgaW50ZXJsYWNlZD0wIGJsdXJheV9jb21wYXQ9MCBjb25zdHJhaW5lZF9pbnRyYT0wIGJmcmFtZXM9MyBi
X3B5cmFtaWQ9MiBiX2FkYXB0PTEgYl9iaWFzPTAgZGlyZWN0PTEgd2VpZ2h0Yj0xIG9wZW5fZ29wPTAgd2VpZ2h0cD0yIGtleWludD0yNTAg
a2V5aW50X21pbj0xMCBzY2VuZWN1dD00MCBpbnRyYV9yZWZyZXNoPTAgcmNfbG9va2FoZWFkPTQwIHJjPWNyZiBtYnRyZWU9MSBjcmY9MjAu
MCBxY29tcD0wLjYwIHFwbWluPTAgcXBtYXg9NjkgcXBzdGVwPTQgaXBfcmF0aW89MS40MCBhcT0xOjEuMDAAgAAAAWWIhADf8GAkZ+/wVaP5
SFiufLmr05XcDiefo6QPkKPPGwbIYmqxKV531N9dEF65y4EAAAABQZokbEO/rRYsN2gT5ISzDTd1KEVNLoMdIwNmPLL5+XmeKW8XeAAAAAFB
nkJ4hv/oC/SzbDWtBoEAAAABAZ5hdEV/41NmP5kHAAAAAQGeY2pDf3oobLAXRJdBAAAAAUGaZUmoQWiZTAhv//UpW4KKMbQPpYN7SqV3AAAA
AUGahknhClJlMCG/+oIy8Z1PQKMKfq+5wpUvAAAAAUGap0nhDomUwIb//GL8d14YaPQN4Q==
"""
HEVC = """
AAAAAUABDAH//wFgAAADAJAAAAMAAAMAHpWYCQAAAAFCAQEBYAAAAwCQAAADAAADAB6gIIMWWVmuTK5oCAAAAwAIAAADAFBAAAAAAUQBwXPQ
iQAAASgBrxOAeNExLS/9/tzsFIJIZyrb9LQMoIUrQQUPdjcMmyL6BLceAAAAAQIB0BFXhDGJQP07fePppiKmngq3eUImy1N2sgAAAAEAAeAk
v4ZcmB6wAAAAAQIB0DnLX1EQYlDCy63oAbqpTS/gAAAAAQIB4KadV9RnQJaUEAAAAAEAAeBm9VX0iyqYHrAAAAABAAHghtV19IsumB6wAAAA
AQAB4MIt1/cZcJgesA==
"""
VIOLET, GREY = (200, 40, 90), (40, 40, 40)


def mpeg2(folder: Path) -> bytes:
    """Encode the same picture as MPEG-2, which OpenCV can write."""
    import cv2

    path = folder / "stream.m2v"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MPG2"), 25, (64, 48))
    for number in range(8):
        picture = np.full((48, 64, 3), GREY, np.uint8)
        picture[:, : (number + 1) * 6] = VIOLET[::-1]
        writer.write(picture)
    writer.release()
    return path.read_bytes()


def video(folder: Path, syntax: str, stream: bytes, **fields: Any) -> Path:
    dataset = build(
        np.zeros((48, 64, 3), np.uint8), PhotometricInterpretation="RGB", NumberOfFrames=8, Modality="ES"
    )
    dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = encapsulate([stream], has_bot=False)
    dataset["PixelData"].is_undefined_length = True
    return save(dataset, folder / "video.dcm")


def stream_of(kind: str, folder: Path) -> bytes:
    return mpeg2(folder) if kind == "mpeg2" else base64.b64decode({"avc": AVC, "hevc": HEVC}[kind])


@pytest.mark.parametrize(("kind", "syntax"), [("mpeg2", "100"), ("avc", "102"), ("hevc", "107")])
def test_video(tmp_path, kind, syntax):
    (found,) = read(video(tmp_path, syntax, stream_of(kind, tmp_path)))
    array = found.image.array.astype(int)
    assert found.image.info.layout == "tyxc"
    assert array.shape == (8, 48, 64, 3)
    for number in range(8):
        assert np.abs(array[number, 20, (number + 1) * 6 - 4] - VIOLET).max() <= 8
        assert np.abs(array[number, 20, 63] - GREY).max() <= 8
    assert found.image.info.warnings == ("Stored with loss: fine values were changed by the compression.",)


def test_video_that_is_shorter_than_its_header_says(tmp_path):
    (found,) = read(video(tmp_path, "102", stream_of("avc", tmp_path), NumberOfFrames=10))
    assert found.image.info.shape == (8, 48, 64, 3)
    assert "The video has 8 frames, its header says 10." in found.image.info.warnings


@pytest.mark.parametrize(
    ("stream", "fields", "says"),
    [
        (b"#EXTM3U\nhttp://localhost/secret\n", {}, "what it holds is none"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", {}, "what it holds is none"),
        (b"\0\0\1\xb3" + bytes(200), {}, "cannot be decoded here"),
        ("avc", {"Rows": 24, "Columns": 32}, "48 x 64 pixels"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, stream, fields, says):
    data = stream_of(stream, tmp_path) if isinstance(stream, str) else stream
    with pytest.raises(FileRefused, match=says):
        read_dicom_series([video(tmp_path, "102", data, **fields)], "salt", Settings())
