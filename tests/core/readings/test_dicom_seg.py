"""DICOM segmentations onto their image: real objects against their NRRD masks, written ones against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from core.errors import FileRefused, LabelError
from core.imaging.dicom import read_dicom_series
from core.imaging.found import series_key
from core.imaging.geometry import to_rows
from core.readings.dicom_seg import is_segmentation, marked_series
from core.readings.masks import read_mask_noting
from core.settings import Settings
from core.types import ImageInfo, make_labels
from tests.core.imaging.dicom_files import SERIES, build, place, save

SETTINGS = Settings()
SHAPE = (4, 5, 6)
SPACING = (2.0, 0.5, 0.8)


def grid(flips: tuple[int, int, int] = (1, 1, 1)) -> ImageInfo:
    """Return an image whose z, y, x run along the axes of the patient, perhaps backwards."""
    affine = np.diag([SPACING[2] * flips[2], SPACING[1] * flips[1], SPACING[0] * flips[0], 1])
    affine[:3, 3] = (10, 20, 30)
    return ImageInfo("zyx", SHAPE, "int16", SPACING, to_rows(affine))


def item(**fields: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def segment(number: int, label: str, meaning: str = "Tissue") -> Dataset:
    code = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=meaning)
    return item(SegmentNumber=number, SegmentLabel=label, SegmentedPropertyTypeCodeSequence=[code])


def write(
    path: Path,
    frames: list[tuple[int, int, np.ndarray]],
    segments: list[Dataset],
    info: ImageInfo | None = None,
    kind: str = "BINARY",
    **fields: Any,
) -> Path:
    """Write a segmentation of frames (segment number, slice of the image, pixels)."""
    affine = np.array((info or grid()).affine_lps)
    pixels = np.stack([pixels for _, _, pixels in frames]).astype(np.uint8)
    dataset = build(pixels, NumberOfFrames=len(frames), Modality="SEG", SegmentationType=kind, **fields)
    label_map = kind == "LABELMAP"
    dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.66.{7 if label_map else 4}"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    if kind == "BINARY":
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
        packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    dataset.SegmentSequence = segments
    dataset.ReferencedSeriesSequence = [item(SeriesInstanceUID=SERIES)]
    step = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    turn = item(ImageOrientationPatient=[f"{v:.6g}" for v in (*step[:, 0], *step[:, 1])])
    measures = item(PixelSpacing=list(SPACING[1:]), SliceThickness=99)
    dataset.SharedFunctionalGroupsSequence = [
        item(PlaneOrientationSequence=[turn], PixelMeasuresSequence=[measures])
    ]
    groups = []
    for number, index, _ in frames:
        position = item(ImagePositionPatient=[f"{v:.6g}" for v in (affine @ [0, 0, index, 1])[:3]])
        group = item(PlanePositionSequence=[position])
        if not label_map:
            group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=number)]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    return save(dataset, path)


def picture(seed: int, top: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top + 1, SHAPE[1:]).astype(np.uint8)


def read(path: Path, labels: list[str], info: ImageInfo | None = None, label_map: Any = None) -> Any:
    return read_mask_noting(path, info or grid(), make_labels(labels), label_map)


def case_of(folder: Path) -> ImageInfo:
    (found,) = read_dicom_series(sorted(folder.glob("*.dcm")), "salt", SETTINGS)
    return found.image.info


def nrrd(path: Path) -> np.ndarray:
    sitk = pytest.importorskip("SimpleITK")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize(
    ("images", "marks", "masks", "labels"),
    [
        ("ct-3slice", "liver.dcm", ["liver_seg.nrrd"], ["Liver"]),
        ("23x38x3/image", "23x38x3/seg/label.seg", ["23x38x3/nrrd/label.nrrd"], ["liver"]),
        ("24x38x3/image", "24x38x3/seg/label.seg", ["24x38x3/nrrd/label.nrrd"], ["LIVER"]),
        ("24x38x3/multiframe", "24x38x3/seg/label.seg", ["24x38x3/nrrd/label.nrrd"], ["liver"]),
        ("24x38x3/image", "sparse-labelmap-noppv.dcm", ["sparse_labelmap_noppv_seg.nrrd"], ["liver"]),
        (
            "ct-3slice",
            "partial_overlaps.dcm",
            [f"partial_overlaps-{number}.nrrd" for number in (1, 2, 3)],
            ["green", "orange", "purple", "light blue", "dark blue"],
        ),
    ],
)
def test_real_segmentations_equal_their_masks(shared_data, images, marks, masks, labels):
    folder = shared_data / "dicom_seg_dcmqi"
    mask, notes = read(folder / marks, labels, case_of(folder / images))
    expected = np.maximum.reduce([nrrd(folder / name) for name in masks])
    assert expected.any()
    assert np.array_equal(mask.array, expected)
    assert ("overlap in 3134 voxels" in " ".join(notes)) == (len(masks) > 1)


def test_missing_frames_are_background_whatever_the_padding_value(shared_data):
    folder = shared_data / "dicom_seg_dcmqi"
    mask, _ = read(folder / "sparse-labelmap-ppv5.dcm", ["liver"], case_of(folder / "24x38x3/image"))
    expected = nrrd(folder / "sparse_labelmap_ppv5_seg.nrrd")  # its writer fills missing frames with 5
    assert np.array_equal(mask.array, np.where(expected == 5, 0, expected))


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_frames_are_laid_where_they_belong_on_any_grid(tmp_path, flips):
    info = grid(flips)
    frames = [(1, 3, picture(1)), (1, 0, picture(2)), (2, 2, picture(3))]
    path = write(tmp_path / "a.dcm", frames, [segment(1, "one"), segment(2, "two")], info)
    mask, notes = read(path, ["one", "two"], info)
    expected = np.zeros(SHAPE, np.uint8)
    for number, index, pixels in frames:
        expected[index][pixels > 0] = number
    assert np.array_equal(mask.array, expected)
    assert notes == ()


def test_frames_may_be_turned_and_mirrored_against_the_image(tmp_path):
    info = grid()
    path = write(tmp_path / "a.dcm", [(1, 1, picture(1))], [segment(1, "one")], info)
    for axes in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        for signs in ((1, 1, 1), (-1, 1, -1)):
            affine = np.array(info.affine_lps)
            turned = affine.copy()
            sizes = np.array(SHAPE[::-1])  # x, y, z
            turned[:3, :3] = affine[:3, axes] * signs
            start = np.where(np.array(signs) < 0, sizes[axes] - 1, 0)
            corner = np.zeros(3)
            corner[axes] = start
            turned[:3, 3] = (affine @ [*corner, 1])[:3]
            shape = tuple(int(n) for n in sizes[axes][::-1])
            spacing = tuple(np.linalg.norm(turned[:3, :3], axis=0)[::-1])
            other = ImageInfo("zyx", shape, "int16", spacing, to_rows(turned))
            mask, _ = read(path, ["one"], other)
            points = np.argwhere(mask.array)[:, ::-1]
            there = np.c_[points, np.ones(len(points))] @ turned.T
            truth = np.argwhere(picture(1))[:, ::-1]
            wanted = np.c_[truth, np.ones(len(truth)), np.ones(len(truth))] @ affine.T
            assert sorted(map(tuple, there.round(6))) == sorted(map(tuple, wanted.round(6)))


def test_shares_count_from_a_half(tmp_path):
    shares = np.array([[0, 63, 64, 127, 128, 60]] * 5, np.uint8)
    path = write(
        tmp_path / "a.dcm", [(1, 2, shares)], [segment(1, "one")], kind="FRACTIONAL",
        SegmentationFractionalType="PROBABILITY", MaximumFractionalValue=128,
    )  # fmt: skip
    mask, notes = read(path, ["one"])
    assert np.array_equal(mask.array[2], shares >= 64)
    assert "shares" in notes[0]


@pytest.mark.parametrize("compressed", [False, True])
def test_label_map(tmp_path, compressed):
    frames = [(0, 0, picture(1, 3)), (0, 3, picture(2, 3))]
    segments = [segment(0, "Background"), segment(1, "one"), segment(2, "two"), segment(3, "three")]
    path = write(tmp_path / "a.dcm", frames, segments, kind="LABELMAP")
    if compressed:
        import pydicom

        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, encoding_plugin="pydicom")
        save(dataset, path)
    mask, notes = read(path, ["three", "one"])
    expected = np.zeros(SHAPE, np.uint8)
    for _, index, pixels in frames:
        expected[index] = np.array([0, 2, 0, 1])[pixels]
    assert np.array_equal(mask.array, expected)
    assert notes == ("a.dcm: no label is called 2 two; left out.",)


def test_later_segments_win_whatever_the_order_of_frames(tmp_path):
    full = np.ones(SHAPE[1:], np.uint8)
    frames = [(2, 1, full), (1, 1, full), (3, 1, picture(1))]
    path = write(tmp_path / "a.dcm", frames, [segment(n, f"s{n}") for n in (3, 1, 2)])
    mask, notes = read(path, ["s1", "s2", "s3"])
    assert np.array_equal(mask.array[1], np.where(picture(1) > 0, 3, 2))
    assert "overlap" in notes[0]


def test_segments_are_matched_by_label_code_or_map(tmp_path):
    frames = [(1, 0, picture(1)), (2, 1, picture(2))]
    path = write(tmp_path / "a.dcm", frames, [segment(1, "Left_Lung", "Lung"), segment(2, "x", "Liver")])
    assert read(path, ["left lung", "liver"])[0].array.max() == 2
    mapped, _ = read(path, ["a", "b"], label_map={1: "b", "any": "a"})
    assert np.array_equal(mapped.array[0], picture(1) * 2) and np.array_equal(mapped.array[1], picture(2))
    partly, notes = read(path, ["liver"])
    assert not partly.array[0].any() and "left out" in notes[0]
    ignored, _ = read(path, ["liver"], label_map={1: "ignore"})
    assert np.array_equal(ignored.array[1], picture(2))
    with pytest.raises(
        LabelError, match="the segments 1 Left_Lung, 2 x, and the project the labels bone, skin"
    ):
        read(path, ["bone", "skin"])
    with pytest.raises(LabelError, match="'wrong', which is not a label"):
        read(path, ["liver"], label_map={1: "wrong"})
    alone = write(tmp_path / "b.dcm", frames[:1], [segment(1, "Left_Lung", "Lung")])
    mask, notes = read(alone, ["nodule"])
    assert np.array_equal(mask.array[0], picture(1)) and "the only label, nodule" in notes[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spacing_mm": (2.0, 0.5, 0.9), "scale": (0.9 / 0.8, 1, 1)}, "another grid"),
        ({"move": (0.3, 0, 0)}, "another grid"),
        ({"move": (8, 0, 0)}, "outside its image"),
        ({"affine_lps": None}, "do not both say where"),
        ({"layout": "tyx", "spacing_mm": SPACING[1:]}, "which frames of its image"),
    ],
)
def test_another_grid_is_refused(tmp_path, change, says):
    info = grid()
    affine = np.array(info.affine_lps)
    affine[:3, :3] *= change.pop("scale", (1, 1, 1))
    affine[:3, 3] += change.pop("move", (0, 0, 0))
    fields = {"affine_lps": to_rows(affine), **change}
    other = ImageInfo(
        **{**{"layout": "zyx", "shape": SHAPE, "dtype": "int16", "spacing_mm": SPACING}, **fields}
    )
    path = write(tmp_path / "a.dcm", [(1, 0, np.ones(SHAPE[1:]))], [segment(1, "one")], info)
    with pytest.raises(LabelError, match=says):
        read(path, ["one"], other)


def test_a_little_rounding_is_the_same_grid(tmp_path):
    affine = np.array(grid().affine_lps)
    affine[:3, 3] += 0.01
    near = ImageInfo("zyx", SHAPE, "int16", SPACING, to_rows(affine))
    path = write(tmp_path / "a.dcm", [(1, 2, picture(1))], [segment(1, "one")])
    assert np.array_equal(read(path, ["one"], near)[0].array[2], picture(1))


def test_a_flat_picture_without_a_place(tmp_path):
    path = write(tmp_path / "a.dcm", [(1, 0, picture(1))], [segment(1, "one")])
    flat = ImageInfo("yx", SHAPE[1:], "uint8")
    assert np.array_equal(read(path, ["one"], flat)[0].array, picture(1))
    with pytest.raises(LabelError, match="must have the size"):
        read(path, ["one"], ImageInfo("yx", (9, 9), "uint8"))


def test_frames_of_a_clip_are_named_by_number(tmp_path):
    import pydicom

    path = write(tmp_path / "a.dcm", [(1, 0, picture(1)), (1, 0, picture(2))], [segment(1, "one")])
    dataset = pydicom.dcmread(path)
    for group, number in zip(dataset.PerFrameFunctionalGroupsSequence, (3, 1), strict=True):
        group.DerivationImageSequence = [item(SourceImageSequence=[item(ReferencedFrameNumber=number)])]
    save(dataset, path)
    mask, _ = read(path, ["one"], ImageInfo("tyx", SHAPE, "uint8"))
    assert np.array_equal(mask.array[2], picture(1)) and np.array_equal(mask.array[0], picture(2))


def test_what_is_a_segmentation_and_what_it_marks(tmp_path):
    path = write(tmp_path / "a.dcm", [(1, 0, picture(1))], [segment(1, "one")])
    image = save(place(build(picture(1)), (0, 0, 0)), tmp_path / "image.dcm")
    (tmp_path / "text.png").write_bytes(b"\x89PNG")
    (tmp_path / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    assert is_segmentation(path)
    assert not any(is_segmentation(tmp_path / name) for name in ("image.dcm", "text.png", "bad.dcm"))
    assert marked_series(path, "salt", SETTINGS) == (series_key(SERIES, "salt"),)
    with pytest.raises(FileRefused, match="no DICOM segmentation"):
        marked_series(image, "salt", SETTINGS)


def test_highdicoms_segmentations(tmp_path, shared_data):
    """A writer of its own: several segments, only frames that are not empty, every type."""
    highdicom = pytest.importorskip("highdicom")
    import pydicom

    sources = [
        pydicom.dcmread(p) for p in sorted((shared_data / "dicom_seg_dcmqi/24x38x3/image").glob("*.dcm"))
    ]
    sources.sort(key=lambda source: float(source.ImagePositionPatient[2]))
    truth = np.zeros((3, 38, 24), np.uint8)
    truth[0, 5:9, 3:7], truth[2, 20:30, 10:20] = 1, 2
    code = pydicom.sr.codedict.codes.SCT.Organ
    descriptions = [
        highdicom.seg.SegmentDescription(
            number, label, code, code, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, label in ((1, "one"), (2, "two"))
    ]
    for kind in ("BINARY", "FRACTIONAL", "LABELMAP"):
        pixels = truth if kind != "FRACTIONAL" else np.stack([truth == 1, truth == 2], -1).astype(np.float32)
        seg = highdicom.seg.Segmentation(
            sources, pixels, kind, descriptions, pydicom.uid.generate_uid(), 1, pydicom.uid.generate_uid(), 1,
            "x", "x", "1", "1",
        )  # fmt: skip
        path = tmp_path / f"{kind}.dcm"
        seg.save_as(path)
        mask, _ = read(path, ["one", "two"], case_of(shared_data / "dicom_seg_dcmqi/24x38x3/image"))
        assert np.array_equal(mask.array, truth), kind
