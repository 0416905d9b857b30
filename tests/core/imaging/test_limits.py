"""Files that ask for more than they may: refused from their header, fast and without the memory."""

from __future__ import annotations

import gzip
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from core.errors import FileRefused
from core.imaging.archives import unpack_archive
from core.imaging.caps import Caps
from core.imaging.dicom import read_dicom_series
from core.imaging.limits import check_declared_size, check_ratio, watch_declared
from core.imaging.nifti import read_nifti
from core.settings import Settings
from tests.core.imaging.dicom_files import build, save

SETTINGS = Settings()
SMALL = Settings(max_archive_bytes=10**6, max_archive_members=5)


@pytest.fixture(autouse=True)
def little_memory():
    """Fail when a refusal took much memory: the peak of the process may hardly grow."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def compressed(path: Path, syntax: str, data: bytes, **fields) -> Path:
    dataset = build(np.zeros((2, 2), np.uint16), **fields)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].is_undefined_length = True
    return save(dataset, path)


@pytest.mark.parametrize(
    ("shape", "itemsize"), [((0, 5), 1), ((5, -1), 1), ((65535, 65535), 1), ((2000, 2000, 2000), 2), ((), 1)]
)
def test_declared_sizes_out_of_bounds(shape, itemsize):
    with pytest.raises(FileRefused, match=r"a\.dcm"):
        check_declared_size(shape, itemsize, "a.dcm", SETTINGS)


def test_declared_sizes_within_bounds():
    check_declared_size((300, 512, 512), 2, "a", SETTINGS)
    check_declared_size((512, 512, 3), 1, "a", SETTINGS)
    check_ratio(10**6, 1, 64, "a")
    with pytest.raises(FileRefused, match="cannot be"):
        check_ratio(10**9, 10**6, 64, "a")


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (16000, 16000), (3000, 3000)])
def test_small_rle_file_with_a_huge_claim(tmp_path, rows, columns):
    path = compressed(tmp_path / "rle.dcm", RLELossless, b"\0" * 64, Rows=rows, Columns=columns)
    with pytest.raises(FileRefused):
        read_dicom_series([path], "s", SETTINGS)


def test_many_frames_in_a_small_file(tmp_path):
    fields = {"Rows": 512, "Columns": 512, "NumberOfFrames": 5000}
    with pytest.raises(FileRefused):
        read_dicom_series(
            [compressed(tmp_path / "a.dcm", JPEG2000Lossless, b"\0" * 90, **fields)], "s", SETTINGS
        )


def test_codestream_larger_than_its_header(tmp_path):
    siz = (
        b"\xff\x4f\xff\x51" + struct.pack(">HH8L", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0) + b"\0" * 40
    )
    jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 60000, 60000, 1) + b"\0" * 40
    for syntax, data in ((JPEG2000Lossless, siz), ("1.2.840.10008.1.2.4.50", jpeg)):
        with pytest.raises(FileRefused, match="60000 x 60000"):
            read_dicom_series([compressed(tmp_path / "a.dcm", syntax, data)], "s", SETTINGS)


def deflated(path: Path, body: bytes, zeros_mb: int = 0) -> Path:
    dataset = build(np.zeros((2, 2), np.uint16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(dataset, path)
    data = path.read_bytes()
    start = 144 + struct.unpack("<L", data[140:144])[0]
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = [
        deflater.compress(body),
        *(deflater.compress(b"\0" * 2**20) for _ in range(zeros_mb)),
        deflater.flush(),
    ]
    path.write_bytes(data[:start] + b"".join(packed))
    return path


def test_deflated_bombs(tmp_path):
    data = save(build(np.zeros((2, 2), np.uint16)), tmp_path / "plain.dcm").read_bytes()
    body = data[144 + struct.unpack("<L", data[140:144])[0] :]
    assert read_dicom_series([deflated(tmp_path / "ok.dcm", body)], "s", SETTINGS)[0].image.info.shape == (
        2,
        2,
    )
    for start in (b"", body, b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\x7f"):
        with pytest.raises(FileRefused):
            read_dicom_series([deflated(tmp_path / "bomb.dcm", start, zeros_mb=250)], "s", SETTINGS)


def test_endless_list_of_elements(tmp_path):
    path = save(build(np.zeros((2, 2), np.uint16)), tmp_path / "a.dcm")
    whole = path.read_bytes()
    elements, pixels = struct.pack("<HH2sH", 0x7FDF, 0x10, b"LO", 0) * 2**20, whole.index(b"\xe0\x7f\x10\0OW")
    path.write_bytes(whole[:pixels] + elements + whole[pixels:])
    with pytest.raises(FileRefused):
        read_dicom_series([path], "s", SETTINGS)
    path.write_bytes(whole + elements)  # nothing behind the pixels is looked at
    assert len(read_dicom_series([path], "s", SETTINGS)) == 1


def nifti_header(shape: tuple[int, ...], offset: float = 352) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["magic"] = b"n+1"
    header["vox_offset"] = offset
    return header.binaryblock + b"\0" * 4


@pytest.mark.parametrize(
    "shape", [(30000, 30000, 4), (1000, 1000, 1000), (32000, 32000, 100), (5, 5, 0), (5, -5, 5)]
)
@pytest.mark.parametrize("packed", [False, True])
def test_lying_nifti(tmp_path, shape, packed):
    header = bytearray(nifti_header((1, 1, 1)))
    struct.pack_into("<3h", header, 42, *shape)
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(bytes(header)) if packed else bytes(header))
    with pytest.raises(FileRefused):
        read_nifti(path, SETTINGS)


def test_gzip_bomb_is_only_read_as_far_as_its_header_says(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", 1) as file:  # piece by piece: the test must not need the memory itself
        file.write(nifti_header((4, 4, 4)))
        for _ in range(2**7):
            file.write(b"\0" * 2**20)
    assert read_nifti(path, SETTINGS).image.info.shape == (4, 4, 4)
    path.write_bytes(gzip.compress(nifti_header((4, 4, 4), offset=2e9) + b"\0" * 2**20))
    with pytest.raises(FileRefused, match="begin at byte"):
        read_nifti(path, SETTINGS)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "a/" * 50 + "b"]
)
def test_paths_that_lead_out_of_the_archive(tmp_path, name):
    path = archive(tmp_path / "a.zip", {"good.png": b"x", name: b"evil"})
    with pytest.raises(FileRefused):
        unpack_archive(path, tmp_path / "deep" / "into", SETTINGS)
    assert not list(tmp_path.rglob("*evil*"))
    assert not (tmp_path / "deep" / "into").exists()


def test_links_passwords_and_damage(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(FileRefused, match="link"):
        unpack_archive(tmp_path / "link.zip", tmp_path / "one", SETTINGS)
    locked = bytearray(archive(tmp_path / "locked.zip", {"a": b"1"}).read_bytes())
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(FileRefused, match="password"):
        unpack_archive(tmp_path / "locked.zip", tmp_path / "two", SETTINGS)
    (tmp_path / "cut.zip").write_bytes(archive(tmp_path / "c.zip", {"a": b"1" * 999}).read_bytes()[:-30])
    with pytest.raises(FileRefused, match="whole"):
        unpack_archive(tmp_path / "cut.zip", tmp_path / "three", SETTINGS)


def test_archive_limits(tmp_path):
    for name, members in {
        "many": {str(number): b"" for number in range(6)},
        "large": {"zeros": b"\0" * 2 * 10**6},
        "inner": {"in.zip": archive(tmp_path / "in.zip", {"zeros": b"\0" * 2 * 10**6}).read_bytes()},
    }.items():
        with pytest.raises(FileRefused, match="split it"):
            unpack_archive(archive(tmp_path / f"{name}.zip", members), tmp_path / name, SMALL)
        assert not (tmp_path / name).exists()


def test_ratio_of_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr("core.imaging.archive_members.ARCHIVE_HARMLESS_BYTES", 2**20)
    path = archive(tmp_path / "bomb.zip", {str(number): b"\0" * 2**20 for number in range(6)})
    with pytest.raises(FileRefused, match="cannot be"):
        unpack_archive(path, tmp_path / "into", SETTINGS)


def test_time_is_asked_for_what_an_archive_holds(tmp_path):
    path = archive(tmp_path / "a.zip", {f"{number}.bin": bytes(2**20) for number in range(5)})
    heard = []
    watch_declared(heard.append)
    try:
        unpack_archive(path, tmp_path / "into", SETTINGS)
    finally:
        watch_declared(None)
    assert heard == sorted(heard)
    assert 5 * 2**20 <= heard[-1] < 6 * 2**20


@pytest.mark.parametrize(
    ("declared", "stored", "seconds"),
    [
        (0, 10**9, 15),
        (2**26, 10**9, 15),
        (2**26 + 4 * 10**6, 10**9, 17),
        (10**9, 10**6, 15),
        (10**9, 2 * 10**6, 45),
    ],
)
def test_time_for_what_is_declared_and_believed(declared, stored, seconds):
    caps = Caps(memory_bytes=1, seconds=15, file_bytes=1, stored_bytes=stored)
    assert caps.seconds_for(declared) == pytest.approx(seconds, abs=1)


def test_nested_archive_and_one_damaged_member(tmp_path):
    inner = archive(tmp_path / "inner.zip", {"x/deep.txt": b"deep"}).read_bytes()
    path = archive(tmp_path / "a.zip", {"a.txt": b"first" * 50, "b.txt": b"second", "inner.zip": inner})
    data = bytearray(path.read_bytes())
    data[30 + len("a.txt")] ^= 0xFF  # the first byte of the first member's data
    path.write_bytes(data)
    unpacked = unpack_archive(path, tmp_path / "into", SETTINGS)
    assert (tmp_path / "into" / "b.txt").read_bytes() == b"second"
    assert (tmp_path / "into" / "inner.zip" / "x" / "deep.txt").read_bytes() == b"deep"
    assert [item.source for item in unpacked.skipped] == ["a.txt"]
    assert not (tmp_path / "into" / "a.txt").exists()
