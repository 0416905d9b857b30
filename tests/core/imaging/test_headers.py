"""Kept headers: what each slice's file says, by the profile, without being stored once per slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from core.imaging.deidentify import Rules, deidentify
from core.imaging.found import Found
from core.imaging.headers import Headers, headers_from_bytes, headers_to_bytes
from core.imaging.profiles import Profile
from core.imaging.scan import scan
from core.settings import Settings
from tests.conftest import SHARED_DATA
from tests.core.imaging.dicom_files import build, place, save

SERIES = SHARED_DATA / "dicom_ct_series_torchio"
ENHANCED = SHARED_DATA / "dicom_seg_dcmqi/24x38x3/multiframe/mf.dcm"
SALT = "salt"
NOT_KEPT = {"00120063"}  # the method's check


def write_series(folder: Path, count: int = 4) -> list[Path]:
    """A series whose second slice lacks an element and whose third has one more; files in wrong order."""
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        dataset = place(build(np.full((3, 4), number, np.int16)), (0, 0, -2.5 * number))
        dataset.InstanceNumber, dataset.StudyInstanceUID = number + 1, "1.2.3.4"
        dataset.PatientName, dataset.SpecificCharacterSet = "Müller^Jörg", "ISO_IR 100"
        dataset.OperatorsName = f"Öztürk^{number}"
        if number != 1:
            dataset.SliceThickness = "2.5"
        if number == 2:
            dataset.ImageComments = "third"
        paths.append(save(dataset, folder / f"{9 - number}.dcm"))
    return paths


def found_in(path: Path, work: Path, profile: Profile | None) -> list[Found]:
    return [item for item in scan([path], work, SALT, Settings(), profile) if isinstance(item, Found)]


def plain_json(path: Path, profile: Profile) -> dict[str, object]:
    """The header of one file by pydicom's own JSON, cleaned as a whole."""
    dataset = deidentify(pydicom.dcmread(path, stop_before_pixels=True), Rules(SALT, profile))
    kept = Dataset()
    for element in dataset:
        if element.VR not in ("OB", "OW", "UN") and not element.tag.is_private and element.tag.element != 0:
            kept.add(element)
    return {tag: value for tag, value in kept.to_json_dict().items() if tag not in NOT_KEPT}


@pytest.mark.parametrize("profile", ["keep", "basic", "basic_dates"])
def test_each_slice_has_its_own_files_header_in_slice_order(profile: Profile, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in")
    [found] = found_in(tmp_path / "in", tmp_path / "work", profile)
    assert found.headers is not None and len(found.headers) == 4
    assert found.image.array[:, 0, 0].tolist() == [3, 2, 1, 0]  # from foot to head
    for index, path in enumerate(reversed(paths)):
        kept = {tag: value for tag, value in found.headers.dataset(index).items() if tag not in NOT_KEPT}
        assert kept == plain_json(path, profile)
    names = [found.headers.text("00081070", index) for index in range(4)]
    assert names == (["Öztürk^3", "Öztürk^2", "Öztürk^1", "Öztürk^0"] if profile == "keep" else [""] * 4)
    assert found.headers.names["00200013"] == "Instance Number"


@pytest.mark.skipif(not SERIES.is_dir(), reason="the development data are not here")
@pytest.mark.parametrize(("path", "slices"), [(SERIES, 17), (ENHANCED, 1)])
def test_real_series(path: Path, slices: int, tmp_path: Path) -> None:
    [found] = found_in(path, tmp_path / "work", "basic")
    assert found.headers is not None and len(found.headers) == slices
    packed = headers_to_bytes(found.headers)
    assert headers_from_bytes(packed) == found.headers
    assert len(packed) < 4000
    assert all(uid.startswith("2.25.") for uid in found.headers.instance_uids)
    assert len(set(found.headers.instance_uids)) == slices
    assert found.headers.text("00100020") == found.patient_key
    if slices > 1:
        assert len(found.headers.own[0]) < 10 < len(found.headers.shared)


def test_facts_names_and_warnings_lose_the_patient(tmp_path: Path) -> None:
    dataset = place(build(np.zeros((3, 4), np.int16)), (0, 0, 0))
    dataset.PatientName, dataset.Manufacturer = "Zebrafink^Ann", "Zebrafink Ltd"
    dataset.InstanceNumber, dataset.KVP = 7, "120"
    save(dataset, tmp_path / "Zebrafink.dcm")
    [found] = found_in(tmp_path / "Zebrafink.dcm", tmp_path / "work", "basic")
    assert found.name == "CT series 4 image 7"
    assert (found.image.info.metadata["Manufacturer"], found.image.info.metadata["KVP"]) == ("REMOVED", "120")
    [kept] = found_in(tmp_path / "Zebrafink.dcm", tmp_path / "work", "keep")
    assert (kept.name, kept.image.info.metadata["Manufacturer"]) == ("Zebrafink", "Zebrafink Ltd")
    [bare] = found_in(tmp_path / "Zebrafink.dcm", tmp_path / "work", None)
    assert (bare.headers, bare.image.info, bare.patient_key) == (None, kept.image.info, kept.patient_key)


def test_a_copy_without_identity_is_the_same_patient_and_series(tmp_path: Path) -> None:
    """What this installation has de-identified comes in as if the original had."""
    paths = write_series(tmp_path / "in")
    (tmp_path / "copies").mkdir()
    for number, path in enumerate(paths):
        deidentify(pydicom.dcmread(path), Rules(SALT, "basic")).save_as(
            tmp_path / "copies" / f"{number}.dcm", enforce_file_format=True
        )
    [original] = found_in(tmp_path / "in", tmp_path / "work", "basic")
    [copy] = found_in(tmp_path / "copies", tmp_path / "work", "basic")
    assert (copy.patient_key, copy.name) == (original.patient_key, original.name)
    assert copy.headers is not None and original.headers is not None
    for index in range(4):
        assert copy.headers.dataset(index) == original.headers.dataset(index)


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    dataset = place(build(np.zeros((3, 4), np.int16)), (0, 0, 0))
    dataset.CTDIvol, dataset.EffectiveEchoTime = float("nan"), float("inf")
    save(dataset, tmp_path / "x.dcm")
    [found] = found_in(tmp_path / "x.dcm", tmp_path / "work", "basic")
    assert found.headers is not None and found.headers.shared["00189345"] == {"vr": "FD", "Value": [None]}
    assert b"NaN" not in headers_to_bytes(found.headers) and found.headers.text("00189345") == ""


def test_foreign_bytes_are_no_headers() -> None:
    for wrong in (b"", b"x", headers_to_bytes(Headers("basic", {}, ({},)))[:-3]):
        with pytest.raises(ValueError, match="no kept headers"):
            headers_from_bytes(wrong)
    with pytest.raises(ValueError, match="at least one slice"):
        Headers("basic", {}, ())


def test_rows_for_people() -> None:
    headers = Headers(
        "keep",
        {
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]},
            "00081140": {"vr": "SQ", "Value": [{}, {}]},
            "00100010": {"vr": "PN", "Value": [{"Ideographic": "山田"}]},
            "00100030": {"vr": "DA"},
        },
        ({},),
        {"00080008": "Image Type"},
    )
    assert headers.rows() == [
        ("(0008,0008)", "Image Type", "ORIGINAL, PRIMARY"),
        ("(0008,1140)", "", "2 items"),
        ("(0010,0010)", "", "山田"),
        ("(0010,0030)", "", ""),
    ]
