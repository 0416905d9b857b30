"""Volumes of every format against nibabel and SimpleITK: values, geometry, what becomes of a fourth axis."""

from __future__ import annotations

import bz2
import gzip
import itertools
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import FileRefused
from core.imaging.formats import kind_by_name
from core.imaging.found import Found
from core.imaging.geometry import ras_from_lps, side_marks
from core.imaging.volumes import VOLUMES, read_volume, read_volumes, volume_kind
from core.settings import Settings
from core.types import Image

SETTINGS = Settings()
RNG = np.random.default_rng(3)
FORMATS = (
    "a.mha",
    "b.mhd",
    "c.nrrd",
    "d.nhdr",
    "e.nii.gz",
)  # other stems: ITK finds e.nii.gz by the stem of e.nii
# File -> (number of images, layout), or a part of the sentence with which it is refused.
TABLE: dict[str, tuple[int, str] | str] = {
    "nifti_nibabel/analyze.hdr": "needs analyze.img beside it",
    "nifti_nibabel/anatomical.nii": (1, "zyx"),
    "nifti_nibabel/example4d.nii.gz": (2, "zyx"),
    "nifti_nibabel/example_nifti2.nii.gz": (2, "zyx"),
    "nifti_nibabel/functional.nii": (20, "zyx"),
    "nifti_nibabel/minc2_4d.mnc": (2, "zyx"),
    "nifti_nibabel/nifti1.hdr": "needs nifti1.img beside it",
    "nifti_nibabel/nifti2.hdr": "needs nifti2.img beside it",
    "nifti_nibabel/phantom_EPI_asc_CLEAR_2_1.PAR": (3, "zyx"),
    "nifti_nibabel/standard.nii.gz": (1, "zyx"),
    "nifti_nibabel/test.mgz": (1, "zyxc"),
    "nifti_nibabel/tiny.mnc": (1, "zyx"),
    "vol_mr_spine/dmri/dmri.nii.gz": (7, "zyx"),
}
NO_VOLUME = {"COPYING", "LICENSE", "README.md", "bvals.txt", "bvecs.txt", "dataset.json", "ATTRIBUTION.md"}


def images(path: Path) -> list[Found]:
    named = kind_by_name(path.name)
    kind = volume_kind(path) or next((known for known in VOLUMES if known == named), None)
    assert kind is not None
    return list(read_volumes(path, kind, SETTINGS))


def only(path: Path) -> Image:
    (found,) = images(path)
    return found.image


def refused(path: Path) -> str:
    with pytest.raises(FileRefused) as caught:
        images(path)
    message = str(caught.value)
    assert path.name in message and message.endswith(".") and "\n" not in message
    return message


def sample_files(shared_data: Path) -> dict[str, Path]:
    sets = ("nifti_nibabel", "vol_ct_totalseg", "vol_mr_spine", "vol_mr_hippocampus")
    files = [path for name in sets for path in sorted((shared_data / name).rglob("*")) if path.is_file()]
    return {path.relative_to(shared_data).as_posix(): path for path in files if path.name not in NO_VOLUME}


def nibabel_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values with axes x, y, z, t, and the affine, by nibabel; MINC is turned, whose axes stand the slowest first."""
    theirs = nibabel.parrec.load(path) if path.suffix == ".PAR" else nibabel.load(path)
    values, affine = np.asarray(theirs.dataobj, dtype=np.float64), theirs.affine
    if path.suffix == ".mnc":
        values, affine = values.transpose(*range(values.ndim)[::-1]), affine[:, [2, 1, 0, 3]]
    return values.reshape(*values.shape[:3], -1), affine


def test_every_sample_file_equals_nibabel_or_is_refused_as_documented(shared_data: Path) -> None:
    files = sample_files(shared_data)
    assert len(files) > 220 and set(TABLE) <= set(files)
    for name, path in files.items():
        if path.suffix == ".REC":  # comes with its .PAR
            continue
        expected = TABLE.get(name, (1, "zyx"))
        if isinstance(expected, str):
            assert expected in refused(path)
            continue
        found = images(path)
        assert (len(found), found[0].image.info.layout) == expected, name
        values, affine = nibabel_values(path)
        ours = (
            np.stack([item.image.array for item in found], axis=-1)
            if len(found) > 1
            else found[0].image.array
        )
        ours = ours.reshape(*ours.shape[:3], -1).transpose(2, 1, 0, 3)
        assert np.allclose(ours, np.nan_to_num(values), rtol=1e-6, atol=1e-30), name
        info = found[-1].image.info
        assert info.affine_lps is not None and np.allclose(
            ras_from_lps(info.affine_lps), affine, atol=1e-9
        ), name


def test_real_nrrd_equals_simpleitk(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom_seg_dcmqi").glob("*.nrrd"))
    assert len(files) > 8
    for path in files:
        assert_same(only(path), sitk.ReadImage(str(path)))


def assert_same(image: Image, theirs: sitk.Image) -> None:
    """Same values, and the same place in the patient for the corners and the middle, to 1e-3 mm."""
    assert np.array_equal(image.array, sitk.GetArrayFromImage(theirs))
    affine = np.array(image.info.affine_lps)
    size = theirs.GetSize()
    for index in [(0, 0, 0), tuple(n - 1 for n in size), *np.eye(3, dtype=int).tolist()]:
        point = theirs.TransformContinuousIndexToPhysicalPoint([float(n) for n in index])
        assert np.allclose(affine @ [*index, 1], [*point, 1], atol=1e-3)


def directions() -> list[np.ndarray]:
    """All 48 ways to lay three axes along those of the patient."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[order, range(3)] = signs
            found.append(matrix)
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_all_48_orientations_equal_simpleitk(tmp_path: Path, name: str) -> None:
    for number, matrix in enumerate(directions()):
        theirs = sitk.GetImageFromArray(RNG.integers(-1000, 1000, (2, 3, 4), dtype=np.int16))
        theirs.SetDirection(matrix.ravel().tolist())
        theirs.SetSpacing((0.7, 1.1, 2.5))
        theirs.SetOrigin((-12.5, 30.25, 7))
        sitk.WriteImage(theirs, str(tmp_path / name), number % 2 == 1)
        image = only(tmp_path / name)
        assert_same(image, theirs)
        assert image.info.spacing_mm == pytest.approx((2.5, 1.1, 0.7), abs=1e-6)
        marks = side_marks(image.info)
        assert marks is not None and "LPH"[np.abs(matrix[:, 0]).argmax()] in (marks[0] + marks[1]).translate(
            str.maketrans("RAF", "LPH")
        )


@pytest.mark.parametrize("matrix", directions()[:8])
def test_nifti_orientations_equal_nibabel(tmp_path: Path, matrix: np.ndarray) -> None:
    affine = np.eye(4)
    affine[:3, :3] = matrix * [0.5, 2, 3]
    affine[:3, 3] = (1, -2, 3)
    array = RNG.integers(0, 99, (4, 3, 2), dtype=np.uint8)
    for kind, name in ((nibabel.Nifti1Image, "a.nii"), (nibabel.Nifti2Image, "b.nii.gz")):
        nibabel.save(kind(array, affine), tmp_path / name)
        image = only(tmp_path / name)
        assert np.array_equal(image.array.T, array)
        assert np.allclose(ras_from_lps(image.info.affine_lps), affine, atol=1e-6)
    nibabel.save(nibabel.MGHImage(array, affine), tmp_path / "c.mgz")
    assert np.allclose(ras_from_lps(only(tmp_path / "c.mgz").info.affine_lps), affine, atol=1e-5)


TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TYPES), st.tuples(*[st.integers(2, 6)] * 3), st.sampled_from(FORMATS), st.booleans())
def test_any_type_and_shape_comes_back(tmp_path_factory, dtype, shape, name, packed):
    array = RNG.integers(0, 120, shape).astype(dtype)
    array = array / 7 if dtype.startswith("float") else array
    theirs = sitk.GetImageFromArray(array.astype(dtype))
    path = tmp_path_factory.mktemp("volume") / name
    sitk.WriteImage(theirs, str(path), packed)
    image = only(path)
    assert image.array.shape == shape
    assert np.array_equal(image.array, array.astype(dtype).astype(image.array.dtype))


@pytest.mark.parametrize("name", FORMATS[:4])
def test_colors_are_channels_and_planes_stay_planes(tmp_path: Path, name: str) -> None:
    colors = RNG.integers(0, 255, (2, 3, 4, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colors, isVector=True), str(tmp_path / name))
    image = only(tmp_path / name)
    assert image.info.layout == "zyxc" and np.array_equal(image.array, colors)
    plane = sitk.GetImageFromArray(RNG.integers(0, 255, (3, 5), dtype=np.uint8))
    plane.SetSpacing((0.5, 0.25))
    sitk.WriteImage(plane, str(tmp_path / name))
    image = only(tmp_path / name)
    assert (image.info.layout, image.info.spacing_mm) == ("yx", (0.25, 0.5))
    assert np.array_equal(image.array, sitk.GetArrayFromImage(plane))


@pytest.mark.parametrize("name", ["a.mha", "c.nrrd", "e.nii"])
@pytest.mark.parametrize(("volumes", "expected"), [(3, "channels"), (9, "one each"), (41, "the first")])
def test_a_fourth_axis(tmp_path: Path, name: str, volumes: int, expected: str) -> None:
    array = RNG.integers(0, 255, (volumes, 2, 3, 4), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / name))
    found = images(tmp_path / name)
    stem = name.split(".")[0]
    if expected == "channels":
        assert [item.image.info.layout for item in found] == ["zyxc"]
        assert np.array_equal(found[0].image.array, np.moveaxis(array, 0, -1))
    elif expected == "one each":
        assert [item.name for item in found] == [f"{stem} volume {number}" for number in range(1, 10)]
        assert all(np.array_equal(item.image.array, array[number]) for number, item in enumerate(found))
        assert {item.part for item in found} == {f"volume {number}" for number in range(1, 10)}
    else:
        assert [item.name for item in found] == [stem] and np.array_equal(found[0].image.array, array[0])
    assert str(volumes) in found[0].image.info.warnings[-1]
    if expected != "channels":
        with pytest.raises(FileRefused, match=f"{volumes} volumes where one is needed"):
            read_volume(tmp_path / name, SETTINGS)


def test_time_is_no_channel_and_one_slice_over_time_is_a_clip(tmp_path: Path) -> None:
    array = RNG.integers(0, 99, (4, 3, 2, 2), dtype=np.int16)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    nibabel.save(image, tmp_path / "fmri.nii")
    assert [item.name for item in images(tmp_path / "fmri.nii")] == ["fmri volume 1", "fmri volume 2"]
    with pytest.raises(FileRefused, match="2 volumes where one is needed"):
        read_volume(tmp_path / "fmri.nii", SETTINGS)
    nibabel.save(
        nibabel.Nifti1Image(RNG.integers(0, 9, (4, 3, 1, 7), dtype=np.int16), np.eye(4)), tmp_path / "c.nii"
    )
    clip = only(tmp_path / "c.nii")
    assert (clip.info.layout, clip.info.shape, clip.info.spacing_mm) == ("tyx", (7, 3, 4), (1, 1))


def test_many_values_per_voxel_are_looked_at_one_by_one(tmp_path: Path) -> None:
    tensor = RNG.integers(0, 99, (4, 3, 2, 1, 6), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(tensor, np.eye(4)), tmp_path / "dti.nii.gz")
    found = images(tmp_path / "dti.nii.gz")
    assert len(found) == 6
    assert np.array_equal(found[5].image.array.T, tensor[..., 0, 5])
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3, 6), np.int16), np.eye(4)), tmp_path / "odd.nii")
    assert "3 volumes with 6 values" in refused(tmp_path / "odd.nii")


def test_unknown_sizes_and_sides_stay_unknown(tmp_path: Path) -> None:
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "a.mha").write_bytes(header.encode() + bytes(8))
    info = only(tmp_path / "a.mha").info
    assert info.spacing_mm is None and info.affine_lps is None and "no size" in info.warnings[0]
    nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n"
    (tmp_path / "a.nrrd").write_bytes(nrrd.encode() + b"\n" + bytes(8))
    assert only(tmp_path / "a.nrrd").info.spacing_mm is None
    (tmp_path / "a.nrrd").write_bytes(nrrd.encode() + b"spacings: 1 2 3\n\n" + bytes(8))
    info = only(tmp_path / "a.nrrd").info
    assert info.spacing_mm == (3, 2, 1) and info.affine_lps is None and side_marks(info) is None
    image = nibabel.MGHImage(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    nibabel.save(image, tmp_path / "a.mgh")
    data = bytearray((tmp_path / "a.mgh").read_bytes())
    data[28:30] = b"\0\0"  # goodRASFlag
    (tmp_path / "a.mgh").write_bytes(data)
    assert only(tmp_path / "a.mgh").info.spacing_mm is None


def test_nrrd_encodings_units_and_order_of_axes(tmp_path: Path) -> None:
    array = RNG.integers(0, 3000, (2, 3, 4), dtype=np.int16)  # zyx
    base = (
        "NRRD0005\n# made by hand\ntype: short\ndimension: 3\nsizes: 4 3 2\nspace: right-anterior-superior\n"
    )
    place = 'space directions: (1000,0,0) (0,2000,0) (0,0,-3000)\nspace origin: (1,2,3)\nspace units: "um" "um" "um"\n'
    body = {
        "raw": array.astype(">i2").tobytes(),
        "gzip": gzip.compress(array.astype(">i2").tobytes()),
        "bzip2": bz2.compress(array.astype(">i2").tobytes()),
        "ascii": " ".join(map(str, array.ravel())).encode(),
    }
    for encoding, data in body.items():
        path = tmp_path / f"{encoding}.nrrd"
        path.write_bytes(
            f"{base}{place}endian: big\nencoding: {encoding}\nName:=Doe^Jane\n\n".encode() + data
        )
        image = only(path)
        assert np.array_equal(image.array, array), encoding
        assert np.allclose(np.array(image.info.affine_lps).diagonal(), [-1, -2, -3, 1])
        assert "Doe" not in str(image.info)
    channels_first = (
        "NRRD0004\ntype: uchar\ndimension: 4\nspace: LPS\nsizes: 3 4 3 2\nkinds: vector domain domain domain\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\n\n"
    )
    colors = RNG.integers(0, 255, (2, 3, 4, 3), dtype=np.uint8)
    (tmp_path / "c.nrrd").write_bytes(channels_first.encode() + colors.tobytes())
    assert np.array_equal(only(tmp_path / "c.nrrd").array, colors)
    timed = channels_first.replace("vector", "time")
    (tmp_path / "t.nrrd").write_bytes(timed.encode() + colors.tobytes())
    assert [np.array_equal(item.image.array, colors[..., n]) for n, item in enumerate(images(tmp_path / "t.nrrd"))] == [
        True, True, True,
    ]  # fmt: skip


def test_data_beside_the_header(tmp_path: Path) -> None:
    array = RNG.integers(0, 3000, (3, 2, 4), dtype=np.int16)
    for number, plane in enumerate(array, start=1):
        (tmp_path / f"s{number:02}.raw").write_bytes(plane.astype("<i2").tobytes())
    (tmp_path / "whole.raw").write_bytes(b"skipped\n" + array.astype("<i2").tobytes())
    nhdr = "NRRD0004\ntype: int16\ndimension: 3\nsizes: 4 2 3\nendian: little\nencoding: raw\n"
    mhd = "NDims = 3\nDimSize = 4 2 3\nElementType = MET_SHORT\nElementSpacing = 1 1 2\n"
    for name, text in {
        "pattern.nhdr": f"{nhdr}data file: s%02d.raw 1 3 1\n",
        "list.nhdr": f"{nhdr}data file: LIST\ns01.raw\ns02.raw\ns03.raw\n",
        "skip.nhdr": f"{nhdr}line skip: 1\ndata file: ./whole.raw\n\n",
        "end.nhdr": f"{nhdr}byte skip: -1\ndata file: whole.raw\n",
        "pattern.mhd": f"{mhd}ElementDataFile = s%02d.raw 1 3 1\n",
        "list.mhd": f"{mhd}ElementDataFile = LIST\ns01.raw\ns02.raw\ns03.raw\n",
        "end.mhd": f"{mhd}HeaderSize = -1\nElementDataFile = whole.raw\n",
        "skip.mhd": f"{mhd}HeaderSize = 8\nElementDataFile = whole.raw\n",
    }.items():
        (tmp_path / name).write_text(text)
        assert np.array_equal(only(tmp_path / name).array, array), name


@pytest.mark.parametrize(
    "named", ["../secret.raw", "/etc/passwd", "..\\secret.raw", "secret.raw\n", "gone.raw", ""]
)
def test_a_header_leads_to_no_file_of_another_folder(tmp_path: Path, named: str) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(8))
    inside = tmp_path / "inside"
    inside.mkdir()
    mhd = f"NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {named}\n"
    (inside / "a.mhd").write_text(mhd)
    assert "beside it" in refused(inside / "a.mhd")
    nhdr = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: {named or 'x'}\n"
    (inside / "a.nhdr").write_text(nhdr)
    assert "beside it" in refused(inside / "a.nhdr")


def test_data_renamed_along_with_its_header_is_found(tmp_path: Path) -> None:
    theirs = sitk.GetImageFromArray(RNG.integers(0, 99, (2, 3, 4), dtype=np.uint8))
    for packed, ending in ((False, ".raw"), (True, ".zraw")):
        sitk.WriteImage(theirs, str(tmp_path / "brain.mhd"), packed)
        (tmp_path / "brain.mhd").rename(tmp_path / "i000001.mhd")
        (tmp_path / f"brain{ending}").rename(tmp_path / f"i000001{ending}")
        assert_same(only(tmp_path / "i000001.mhd"), theirs)


LIES = {
    "large.mha": "NDims = 3\nDimSize = 30000 30000 30000\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "short.mha": "NDims = 3\nDimSize = 20 20 20\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "zero.mha": "NDims = 3\nDimSize = 2 0 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "minus.mha": "NDims = 3\nDimSize = 2 -2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "type.mha": "NDims = 3\nDimSize = 2 2 2\nElementType = MET_STRING\nElementDataFile = LOCAL\n",
    "axes.mha": "NDims = 3\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "place.mha": "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementSpacing = 1 nan\nElementDataFile = LOCAL\n",
    "words.mha": "NDims = x\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "end.mha": "NDims = 3\nDimSize = 2 2 2\n",
    "many.mhd": "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = s%09d.raw 1 999999999 1\n",
    "wide.mhd": "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = s%0999999999d.raw 1 2 1\n",
    "zip.mha": "NDims = 3\nDimSize = 900 900 900\nElementType = MET_UCHAR\nCompressedData = True\n"
    "ElementDataFile = LOCAL\n",
    "large.nrrd": "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30000 30000 30000\nencoding: raw\n\n",
    "short.nrrd": "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30 30 30\nencoding: gzip\n\n",
    "text.nrrd": "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30 30 30\nencoding: ascii\n\n1 2 3",
    "axes.nrrd": "NRRD0004\ntype: uchar\ndimension: 17\nsizes: 1\nencoding: raw\n\n",
    "steps.nrrd": "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nspacings: 1\nencoding: raw\n\n12345678",
    "endian.nrrd": "NRRD0004\ntype: short\ndimension: 2\nsizes: 2 2\nencoding: raw\n\n12345678",
    "block.nrrd": "NRRD0004\ntype: block\ndimension: 2\nsizes: 2 2\nencoding: raw\n\n12345678",
    "hex.nrrd": "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 2 2\nencoding: hex\n\n12345678",
    "open.nrrd": "NRRD0004\ntype: uchar\n",
    "a.PAR": "# === DATA DESCRIPTION FILE ===\n",
}


@pytest.mark.parametrize("name", LIES)
def test_damaged_and_lying_headers_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(LIES[name])
    refused(tmp_path / name)


def test_cut_files_are_refused(tmp_path: Path, shared_data: Path) -> None:
    theirs = sitk.GetImageFromArray(RNG.integers(0, 3000, (6, 7, 8), dtype=np.int16))
    for name in FORMATS:
        for packed in (False, True):
            sitk.WriteImage(theirs, str(tmp_path / name), packed)
            beside = {"b.mhd": ("b.raw", "b.zraw"), "d.nhdr": ("d.raw", "d.raw.gz")}.get(name, (name, name))
            path = tmp_path / beside[packed]
            data = path.read_bytes()
            for cut in np.linspace(len(data) // 3, len(data) - 12, 8).astype(int):
                path.write_bytes(data[:cut])
                refused(tmp_path / name)
    for name in ("tiny.mnc", "minc2_4d.mnc"):
        data = (shared_data / "nifti_nibabel" / name).read_bytes()
        for cut in np.linspace(8, len(data) * 0.6, 12).astype(int):
            (tmp_path / name).write_bytes(data[:cut])
            refused(tmp_path / name)
    for ending in ("PAR", "REC"):
        source = shared_data / "nifti_nibabel" / f"phantom_EPI_asc_CLEAR_2_1.{ending}"
        (tmp_path / f"p.{ending}").write_bytes(source.read_bytes()[: -9999 if ending == "REC" else None])
    assert "cut short" in refused_pair(tmp_path / "p.PAR")
    (tmp_path / "p.REC").unlink()
    assert "needs p.REC beside it" in refused(tmp_path / "p.PAR")


def refused_pair(path: Path) -> str:
    with pytest.raises(FileRefused) as caught:
        images(path)
    return str(caught.value)


def test_a_scan_that_broke_off_gives_its_whole_volumes(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "nifti_nibabel" / "phantom_EPI_asc_CLEAR_2_1"
    lines = source.with_suffix(".PAR").read_text().splitlines(keepends=True)
    (tmp_path / "p.PAR").write_text("".join(line for line in lines if not line.startswith("  9   1    3")))
    (tmp_path / "p.rec").write_bytes(source.with_suffix(".REC").read_bytes())
    found = images(tmp_path / "p.PAR")
    assert len(found) == 2 and "broke off" in found[0].image.info.warnings[0]
    values, _ = nibabel_values(source.with_suffix(".PAR"))
    assert np.allclose(found[1].image.array.T, values[..., 1], rtol=1e-6)


def test_surfaces_are_no_images(tmp_path: Path) -> None:
    image = nibabel.Nifti2Image(np.zeros((1, 1, 1, 1, 5, 9), np.float32), np.eye(4))
    image.header["intent_code"] = 3002
    nibabel.save(image, tmp_path / "a.dscalar.nii")
    assert "surface" in refused(tmp_path / "a.dscalar.nii")


def test_lying_minc_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.mnc", "w") as file:
        values = file.create_dataset("minc-2.0/image/0/image", (60, 9000, 9000), "u1", chunks=(1, 64, 64))
        values.attrs["dimorder"] = np.bytes_("zspace,yspace,xspace")
        for name in ("image-min", "image-max"):
            file.create_dataset(f"minc-2.0/image/0/{name}", data=1.0)
        for axis in "xyz":
            file.create_dataset(f"minc-2.0/dimensions/{axis}space", data=0).attrs["step"] = 1.0
    assert "limit" in refused(tmp_path / "a.mnc")
    classic = b"CDF\x01" + struct.pack(">7I", 0, 10, 2**31 - 1, 4, 0x78, 5, 0)
    (tmp_path / "b.mnc").write_bytes(classic)
    refused(tmp_path / "b.mnc")


def test_any_volume_may_be_a_mask(tmp_path: Path) -> None:
    array = RNG.integers(0, 2, (2, 3, 4), dtype=np.uint8)
    for name in FORMATS:
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name))
        assert np.array_equal(read_volume(tmp_path / name, SETTINGS).image.array, array)
    (tmp_path / "x.nrrd").write_bytes(b"hello")
    with pytest.raises(FileRefused, match=r"x\.nrrd is not a NRRD"):
        read_volume(tmp_path / "x.nrrd", SETTINGS)
    (tmp_path / "x.txt").write_bytes(b"hello")
    with pytest.raises(FileRefused, match="no volume"):
        read_volume(tmp_path / "x.txt", SETTINGS)
    assert set(VOLUMES) == {"nifti", "nrrd", "metaimage", "minc", "parrec"}
