"""NIfTI against nibabel, and there and back."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import FileRefused
from core.imaging.geometry import to_rows
from core.imaging.nifti import is_nifti, read_nifti, stem_of, write_nifti
from core.settings import Settings
from core.types import ImageInfo

SETTINGS = Settings()
SEVERAL_IMAGES = {"functional.nii", "dmri.nii.gz", "example4d.nii.gz", "example_nifti2.nii.gz"}


def write(folder: Path, array: np.ndarray, affine: np.ndarray | None = None, name: str = "a.nii.gz") -> Path:
    path = folder / name
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def sample_files(shared_data: Path) -> list[Path]:
    patterns = (
        "nifti_nibabel/*.nii*",
        "nifti_nibabel/*.mgz",
        "vol_ct_totalseg/*.nii.gz",
        "vol_mr_spine/*/*.nii.gz",
    )
    return [path for pattern in patterns for path in sorted(shared_data.glob(pattern))]


def test_written_volume_is_read_back_the_same(shared_data, tmp_path):
    for path in sample_files(shared_data)[:12]:
        if path.name in SEVERAL_IMAGES:
            continue
        image = read_nifti(path, SETTINGS).image
        write_nifti(image.array, image.info, tmp_path / "b.nii.gz")
        again = read_nifti(tmp_path / "b.nii.gz", SETTINGS).image
        theirs = nibabel.load(tmp_path / "b.nii.gz")
        assert np.array_equal(again.array, image.array)
        assert again.info.affine_lps == image.info.affine_lps or np.allclose(
            again.info.affine_lps, image.info.affine_lps, rtol=1e-6, atol=1e-5
        )
        assert np.allclose(theirs.affine, nibabel.load(path).affine, rtol=1e-6, atol=1e-5)
        assert not list(tmp_path.glob(".*"))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-400, 400), min_size=12, max_size=12))
def test_any_affine_comes_back_exactly(tmp_path_factory, numbers):
    matrix = np.array(numbers).reshape(3, 4) / 8  # exact in the file's 32-bit floats
    if abs(np.linalg.det(matrix[:, :3])) < 1:
        matrix[:, :3] += np.eye(3) * 200
    affine = np.vstack([matrix, [0, 0, 0, 1]])
    info = ImageInfo("zyx", (2, 3, 4), "int16", None, to_rows(affine))
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path_factory.mktemp("affine") / "a.nii"
    write_nifti(array, info, path)
    again = read_nifti(path, SETTINGS).image
    assert np.array_equal(again.array, array)
    assert again.info.affine_lps == info.affine_lps


def test_values_are_scaled_and_whole_numbers_stay_whole(tmp_path):
    for slope, inter, kind in ((2.0, -3.0, "int16"), (0.5, 0.0, "float32")):
        image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
        image.header.set_slope_inter(slope, inter)
        path = tmp_path / "scaled.nii"
        nibabel.save(image, path)
        ours = read_nifti(path, SETTINGS).image
        assert ours.info.dtype == kind
        assert np.allclose(ours.array.transpose(2, 1, 0), np.asarray(nibabel.load(path).dataobj))


@pytest.mark.parametrize(
    ("shape", "layout", "ours"),
    [
        ((5, 4), "yx", (4, 5)),
        ((5, 4, 3), "zyx", (3, 4, 5)),
        ((5, 4, 3, 1), "zyx", (3, 4, 5)),
        ((5, 4, 3, 2), "zyxc", (3, 4, 5, 2)),
        ((5, 4, 3, 1, 3), "zyxc", (3, 4, 5, 3)),
    ],
)
def test_axes(tmp_path, shape, layout, ours):
    found = read_nifti(write(tmp_path, np.ones(shape, np.int16)), SETTINGS)
    assert (found.image.info.layout, found.image.info.shape, found.name) == (layout, ours, "a")


def test_color_voxels_become_channels(tmp_path):
    colors = np.zeros((4, 3, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colors["G"] = 9
    image = read_nifti(write(tmp_path, colors), SETTINGS).image
    assert image.info.layout == "zyxc"
    assert image.array[0, 0, 0].tolist() == [0, 9, 0]


def test_pair_of_files_and_analyze(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for name, kind in (("pair", nibabel.Nifti1Pair), ("old", nibabel.Spm2AnalyzeImage)):
        nibabel.save(kind(array, np.diag([2, 2, 3, 1.0])), tmp_path / f"{name}.img")
        image = read_nifti(tmp_path / f"{name}.hdr", SETTINGS).image
        assert np.array_equal(image.array.transpose(2, 1, 0), array)
        assert image.info.spacing_mm == (3, 2, 2)
    assert "left" in image.info.warnings[0]
    (tmp_path / "pair.img").unlink()
    with pytest.raises(FileRefused, match=r"needs pair\.img beside it"):
        read_nifti(tmp_path / "pair.hdr", SETTINGS)


def test_microns_become_millimetres_and_missing_numbers_zero(tmp_path):
    image = nibabel.Nifti1Image(np.array([[[np.nan, 2.0]]], np.float32), np.diag([50, 50, 100, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "m.nii")
    ours = read_nifti(tmp_path / "m.nii", SETTINGS).image
    assert ours.info.spacing_mm == pytest.approx((0.1, 0.05, 0.05))
    assert ours.array.ravel().tolist() == [0, 2]
    assert "not numbers" in ours.info.warnings[0]


def test_masks_and_frames_are_written_on_the_image_grid(tmp_path):
    info = ImageInfo("zyxc", (2, 3, 4, 2), "int16", (3, 2, 1), None)
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 2, 3] = True
    write_nifti(mask, info, tmp_path / "mask.nii.gz")
    theirs = nibabel.load(tmp_path / "mask.nii.gz")
    assert theirs.shape == (4, 3, 2)
    assert theirs.header.get_zooms() == (1, 2, 3)
    assert np.asarray(theirs.dataobj)[3, 2, 1] == 1
    clip = ImageInfo("tyx", (5, 3, 4), "uint8")
    write_nifti(np.zeros((5, 3, 4), np.uint8), clip, tmp_path / "clip.nii")
    assert nibabel.load(tmp_path / "clip.nii").shape == (4, 3, 1, 5)
    with pytest.raises(ValueError, match="must have shape"):
        write_nifti(np.zeros((9, 9)), info, tmp_path / "no.nii")


def test_bad_files_are_refused(tmp_path):
    good = write(tmp_path, np.zeros((20, 20, 20), np.int16), name="good.nii")
    data = good.read_bytes()
    nan = bytearray(data)
    nan[280:284] = np.float32(np.nan).tobytes()  # srow_x[0]
    zero = bytearray(data)
    zero[44:46] = b"\0\0"  # dim[2]
    for name, content in {
        "short.nii": data[:-100],
        "short.nii.gz": gzip.compress(data)[:-20],
        "cut.nii.gz": gzip.compress(data[:-100]),
        "text.nii": b"hello",
        "empty.nii": b"",
        "nan.nii": bytes(nan),
        "zero.nii": bytes(zero),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FileRefused) as refusal:
            read_nifti(path, SETTINGS)
        assert str(refusal.value).endswith("."), name
    with pytest.raises(FileRefused):
        read_nifti(write(tmp_path, np.ones((2, 2, 2), np.complex64), name="complex.nii"), SETTINGS)


def test_content_and_name(tmp_path):
    good = write(tmp_path, np.zeros((2, 2, 2), np.int16))
    odd = good.rename(tmp_path / "no-ending")
    assert is_nifti(odd)
    assert read_nifti(odd, SETTINGS).image.info.shape == (2, 2, 2)
    assert stem_of(Path("x/case_01.nii.gz")) == "case_01"
    assert stem_of(Path("a.b.nii")) == "a.b"
