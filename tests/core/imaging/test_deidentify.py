"""De-identification: nothing of the patient is left, everything else is, and the object stays valid DICOM."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import warnings
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import validate_value

from core.errors import FileRefused
from core.imaging.deidentify import Rules, deidentify
from core.imaging.deidentify_table import actions
from core.imaging.deidentify_values import replace_uid, shift_date, shift_datetime, shift_days
from core.imaging.dicom_header import read_object
from core.imaging.patient import patient_key
from tests.conftest import SHARED_DATA
from tests.core.imaging.dicom_files import CT, build

DATA = SHARED_DATA
SALT = "salt"
BASIC, DATES = Rules(SALT, "basic"), Rules(SALT, "basic_dates")
CANARY = "ZEBRAFINK"


def written(dataset: Dataset) -> bytes:
    """The file that a data set makes."""
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def ct(**fields: object) -> Dataset:
    """A small CT of somebody, with a history."""
    known = {
        "StudyInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5", "StudyDate": "20240131",
        "SeriesDate": "20240201", "AcquisitionDateTime": "20240201120000.5+0100", "StudyTime": "101112.25",
        "PatientBirthDate": "19600229", "PatientSex": "F", "PatientAge": "063Y", "AccessionNumber": "A-77123",
        "InstitutionName": "General", "OperatorsName": "Smith^Ann", "DeviceSerialNumber": "SN1",
        "Manufacturer": "ACME", "SliceThickness": "2.5",
    }  # fmt: skip
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    return build(array, **{**known, **fields})


def test_what_the_table_says_is_done() -> None:
    out = deidentify(ct(), BASIC)
    assert out.PatientID == out.PatientName == patient_key("SECRET-ID", SALT)
    gone = ("PatientAge", "SeriesDescription", "InstitutionName")
    assert [keyword for keyword in gone if keyword in out] == []
    assert [out.get(word) for word in ("PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber")] == [
        None
    ] * 4
    assert (out.DeviceSerialNumber, out.SeriesDate) == ("REMOVED", "19000101")
    assert (out.Manufacturer, out.SliceThickness, out.Modality) == ("ACME", 2.5, "CT")
    assert (out.PatientIdentityRemoved, out.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
    assert [item.CodeValue for item in out.DeidentificationMethodCodeSequence] == ["113100"]
    assert out.DeidentificationMethodCodeSequence[0].CodingSchemeDesignator == "DCM"
    np.testing.assert_array_equal(out.pixel_array, np.arange(12).reshape(3, 4))


def test_the_input_stays_as_it_was_and_keep_keeps() -> None:
    dataset = ct()
    before = written(dataset)
    deidentify(dataset, DATES)
    assert written(dataset) == before
    assert deidentify(dataset, Rules(SALT, "keep")) is dataset


@pytest.mark.parametrize(
    ("retained", "code", "keyword", "value"),
    [
        ("patient", "113108", "PatientAge", "063Y"),
        ("patient", "113108", "PatientSex", "F"),
        ("device", "113109", "DeviceSerialNumber", "SN1"),
        ("uids", "113110", "StudyInstanceUID", "1.2.3.4"),
    ],
)
def test_options_retain_what_they_say(retained: str, code: str, keyword: str, value: str) -> None:
    out = deidentify(ct(), Rules(SALT, "basic", frozenset([retained])))  # type: ignore[list-item]
    assert out.get(keyword) == value
    assert code in [item.CodeValue for item in out.DeidentificationMethodCodeSequence]


def test_uids_are_replaced_alike_everywhere_and_well_known_ones_stay() -> None:
    dataset = ct()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, dataset.SOPInstanceUID
    inner = Dataset()
    inner.SeriesInstanceUID, inner.ReferencedSOPSequence = dataset.SeriesInstanceUID, Sequence([item])
    dataset.ReferencedSeriesSequence = Sequence([inner])
    dataset.SourceImageSequence = Sequence([item])
    out = deidentify(dataset, BASIC)
    other = deidentify(ct(), Rules("other salt"))
    assert (
        out.SOPInstanceUID.startswith("2.25.")
        and len(out.SOPInstanceUID) <= 64
        and out.SOPInstanceUID.is_valid
    )
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID
    reference = out.ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == out.SeriesInstanceUID
    assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == out.SOPInstanceUID
    assert out.SourceImageSequence[0].ReferencedSOPInstanceUID == out.SOPInstanceUID
    assert out.SOPClassUID == reference.ReferencedSOPSequence[0].ReferencedSOPClassUID == CT
    assert other.StudyInstanceUID != out.StudyInstanceUID
    assert deidentify(ct(), BASIC).StudyInstanceUID == out.StudyInstanceUID


@given(st.from_regex(r"[1-9][0-9]{0,8}(\.[1-9][0-9]{0,8}){1,5}", fullmatch=True))
def test_a_replaced_uid_is_valid_unlike_and_final(uid: str) -> None:
    other = replace_uid(uid, SALT)
    assert other != uid and UID(other).is_valid and other.startswith("2.25.")
    assert replace_uid(other, SALT) == other != replace_uid(other, "another installation")


def test_dates_move_together_and_stay_dates() -> None:
    first = deidentify(ct(), DATES)
    days = (date.fromisoformat(first.StudyDate) - date(2024, 1, 31)).days
    assert -3652 <= days <= -366
    assert (date.fromisoformat(first.SeriesDate) - date.fromisoformat(first.StudyDate)).days == 1
    assert first.AcquisitionDateTime[8:] == "120000.5+0100" and first.StudyTime == "101112.25"
    assert first.AcquisitionDateTime[:8] == first.SeriesDate
    assert first.get("PatientBirthDate") is None
    assert first.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in first.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]
    later = deidentify(ct(StudyDate="20250131", StudyInstanceUID="1.2.9"), DATES)
    assert (date.fromisoformat(later.StudyDate) - date.fromisoformat(first.StudyDate)).days == 366
    somebody = deidentify(ct(PatientID="Q"), DATES)
    assert somebody.StudyDate != first.StudyDate


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20240301", "20240229"), ("2024.03.01", "20240229"), ("", ""), ("20241301", ""), ("nonsense", ""),
        ("00010101", ""),
    ],
)  # fmt: skip
def test_one_date(text: str, moved: str) -> None:
    assert shift_date(text, -1) == moved


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20240301101112.123456+0100", "20240229101112.123456+0100"), ("2024030110", "2024022910"),
        ("20240301", "20240229"), ("202403", "202402"), ("2024", "2023"), ("2024030110.5.5", ""), ("x", ""),
    ],
)  # fmt: skip
def test_one_datetime(text: str, moved: str) -> None:
    assert shift_datetime(text, -1) == moved


@given(st.dates(date(1880, 1, 1), date(2100, 1, 1)), st.text(max_size=20))
def test_moved_dates_are_valid_by_pydicom(day: date, patient: str) -> None:
    text = shift_date(day.strftime("%Y%m%d"), shift_days(patient, SALT))
    validate_value("DA", text, pydicom.config.RAISE)
    assert date.fromisoformat(text) < day


@pytest.mark.parametrize("rules", [BASIC, DATES], ids=["basic", "dates"])
def test_a_second_pass_changes_nothing(rules: Rules) -> None:
    once = written(deidentify(ct(), rules))
    assert written(deidentify(read(once), rules)) == once
    again = deidentify(read(once), Rules("another installation", rules.profile))
    assert again.PatientID != read(once).PatientID  # its keys are its own


def test_only_this_installation_can_say_that_it_was_done() -> None:
    lied = ct(PatientIdentityRemoved="YES", DeidentificationMethod="Sightline 0123456789abcdef")
    assert deidentify(lied, BASIC).PatientID == patient_key("SECRET-ID", SALT)
    dates_first = read(written(deidentify(ct(), DATES)))
    without = deidentify(dates_first, BASIC)
    assert without.get("StudyDate") is None and without.PatientID == dates_first.PatientID


def test_private_unknown_curves_overlays_and_file_header_go() -> None:
    dataset = ct()
    block = dataset.private_block(0x0009, CANARY, create=True)
    block.add_new(0x01, "LO", CANARY)
    nested = Dataset()
    nested.private_block(0x0011, CANARY, create=True).add_new(0x02, "SH", CANARY)
    nested.PatientName = CANARY
    dataset.AnatomicRegionSequence = Sequence([nested])
    dataset.add(DataElement(0x00081FF0, "LO", CANARY))  # not in the dictionary
    dataset.add(DataElement(0x50003000, "OW", CANARY.encode() + b" "))
    dataset.add(DataElement(0x60023000, "OW", CANARY.encode() + b" "))
    dataset.add(DataElement(0x60020022, "LO", CANARY))
    dataset.file_meta.SourceApplicationEntityTitle = CANARY
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = CANARY.encode() + b" "
    dataset.preamble = (CANARY.encode() * 20)[:128]
    out = written(deidentify(dataset, DATES))
    assert CANARY.encode() not in out and out[:128] == b"\0" * 128
    assert not any(element.tag.is_private for element in read(out).iterall())


def test_a_report_keeps_its_structure_and_references_but_not_its_words() -> None:
    dataset = ct()
    text, image, name, reference = Dataset(), Dataset(), Dataset(), Dataset()
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121071", "DCM", "Finding"
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, dataset.SOPInstanceUID
    text.RelationshipType, text.ValueType, text.ConceptNameCodeSequence = "CONTAINS", "TEXT", Sequence([code])
    text.TextValue = f"{CANARY} came on 1 March"
    image.RelationshipType, image.ValueType, image.ReferencedSOPSequence = (
        "CONTAINS",
        "IMAGE",
        Sequence([reference]),
    )
    name.RelationshipType, name.ValueType, name.PersonName = "HAS OBS CONTEXT", "PNAME", CANARY
    text.ContentSequence = Sequence([name])
    dataset.ContentSequence = Sequence([text, image])
    out = read(written(deidentify(dataset, BASIC)))
    assert CANARY.encode() not in written(out)
    assert (out.ContentSequence[0].TextValue, out.ContentSequence[0].ValueType) == ("REMOVED", "TEXT")
    assert out.ContentSequence[0].ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert out.ContentSequence[1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == out.SOPInstanceUID
    assert out.ContentSequence[0].ContentSequence[0].PersonName == "REMOVED"


def test_kept_text_loses_names_and_numbers() -> None:
    dataset = ct(PatientName="Zebrafink^Ann", PatientID="77-4711-X", Manufacturer="ACME for ZEBRAFINK")
    dataset.ManufacturerModelName = "unit 77-4711-X"
    dataset.ConvolutionKernel = "STANDARD"
    dataset.SoftwareVersions = ["1.0", "zebrafink"]
    dataset.BodyPartExamined = "ZEBRAFINK"
    out = deidentify(dataset, BASIC)
    assert (out.Manufacturer, out.ManufacturerModelName, out.BodyPartExamined) == ("REMOVED",) * 3
    assert (list(out.SoftwareVersions), out.ConvolutionKernel) == (["1.0", "REMOVED"], "STANDARD")


def test_a_series_numbered_by_its_patient_loses_the_number() -> None:
    out = deidentify(ct(PatientID="123456", SeriesNumber="123456", InstanceNumber="12"), BASIC)
    assert (out.SeriesNumber, out.InstanceNumber) == (None, 12)


def test_overlays_hidden_in_pixels_are_cleared() -> None:
    picture = np.array([[5, 0x0FFF], [7, 9]], np.uint16)
    drawn = picture | np.array([[0x8000, 0], [0, 0x8000]], np.uint16)
    dataset = build(drawn, BitsStored=12, HighBit=11)
    dataset.add(DataElement(0x60000102, "US", 15))
    dataset.add(DataElement(0x60000010, "US", 2))
    np.testing.assert_array_equal(deidentify(dataset, BASIC).pixel_array, picture)


TEXT_VRS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
DAMAGED_VRS = ("AS", "DA", "DS", "DT", "IS", "TM", "UI")  # the canary is no valid value of these
BYTE_VRS = ("OB", "UN")
TAGS_BY_VR = {
    vr: [
        tag
        for tag, entry in DicomDictionary.items()
        if entry[0] == vr and tag >> 16 > 8 and tag >> 16 != 0xFFFE
    ]
    for vr in (*TEXT_VRS, *DAMAGED_VRS, "OB")
}
TAGS_BY_VR["UN"] = [0x00091001, 0x00111001, 0x00290010]
BULK = [
    tag for tag, entry in DicomDictionary.items() if entry[0] in ("OW", "OF", "OD", "OL", "OV", "OB or OW")
]
# Pixels, tables of colours, waveforms and surfaces stay: without them the object is none. Text is not looked for there.
KEPT_BYTES = {0x00282000, 0x54000110, 0x54001010, 0x7FE00010, 0x54000112, *BULK}


@st.composite
def canaries(draw: st.DrawFn, depth: int = 2) -> Dataset:
    """A data set with the canary in elements of any kind, at any depth."""
    dataset = Dataset()
    for vr in draw(st.lists(st.sampled_from((*TEXT_VRS, *DAMAGED_VRS, *BYTE_VRS)), max_size=8)):
        tag = draw(st.sampled_from(TAGS_BY_VR[vr]))
        if tag in KEPT_BYTES:
            continue
        words = draw(
            st.sampled_from((CANARY, f"{CANARY}^Ann", f"the {CANARY.lower()} of 1.1.60", f"x{CANARY}x"))
        )
        content = words.encode() + b" " * (len(words) % 2)
        dataset[tag] = RawDataElement(BaseTag(tag), vr, len(content), content, 0, False, True)
    if depth:
        for tag in draw(st.lists(st.sampled_from(SEQUENCES), max_size=2)):
            dataset.add(DataElement(tag, "SQ", Sequence([draw(canaries(depth - 1))])))
    return dataset


SEQUENCES = [tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ" and tag >> 16 > 8]


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"]
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(extra=canaries(), profile=st.sampled_from(("basic", "basic_dates")))
def test_no_canary_survives(
    syntax: UID, extra: Dataset, profile: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        dataset = ct()
        for tag in extra.keys():  # noqa: SIM118 - iterating would read the values
            dataset[tag] = extra.get_item(tag)
        dataset.PatientName = f"{CANARY}^Ann"
        dataset.file_meta.TransferSyntaxUID = syntax
        path = tmp_path_factory.mktemp("canary") / "file.dcm"
        dataset.save_as(path, enforce_file_format=True)
        assert CANARY.encode() in path.read_bytes()
        out = written(deidentify(read_object(path, with_pixels=True), Rules(SALT, profile)))  # type: ignore[arg-type]
        assert CANARY.lower().encode() not in out.lower(), read(out)
    assert read(out).PixelData == ct().PixelData


def test_every_listed_element_is_handled() -> None:
    """One object with every element of the table: none that must go stays, none that must change is the same."""
    dataset = ct()
    values = {"DA": "20240101", "TM": "101010", "DT": "20240101101010", "UI": "1.2.3", "AS": "050Y", "DS": "7",
              "IS": "7", "OB": b"77", "UN": b"77"}  # fmt: skip
    listed = {tag: action for tag, action in actions().items() if tag >> 16 > 4 and tag in DicomDictionary}
    for tag in listed:
        vr = DicomDictionary[tag][0]
        value = (
            Sequence([Dataset()])
            if vr == "SQ"
            else values.get(vr, 7 if vr in ("US", "FD", "FL", "UL") else "SEEN")
        )
        dataset.add(DataElement(tag, vr, value))
    out = deidentify(dataset, BASIC)
    for tag, action in listed.items():
        name = DicomDictionary[tag][4]
        if action == "X":
            assert tag not in out, name
        elif action == "Z" and name not in ("PatientName",):
            assert out[tag].is_empty, name
        elif DicomDictionary[tag][0] != "SQ":
            assert out[tag].value not in ("SEEN", "1.2.3", 7, "7", b"77", "20240101", "101010"), name


# real files


def real_files() -> list[Path]:
    """DICOM objects of the development data that pydicom opens."""
    found = []
    for path in sorted(DATA.glob("dicom_*/**/*")):
        if path.is_file() and path.suffix not in (".nrrd", ".json", ".txt", ".dump", ".icc", ".gz"):
            found.append(path)
    return found


def opened(path: Path) -> Dataset | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = read_object(path, with_pixels=True)
        except FileRefused:
            return None
    return (
        dataset
        if "SOPInstanceUID" in dataset and not str(dataset.SOPClassUID).startswith("1.2.840.10008.1.3")
        else None
    )


def dciodvfy(path: Path) -> Counter[str]:
    """Errors that dicom3tools finds, without what differs from file to file."""
    done = subprocess.run(
        ["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", timeout=60
    )
    lines = [
        line.split("Error", 1)[1] for line in (done.stdout + done.stderr).splitlines() if "Error" in line
    ]
    return Counter(re.sub(r"<2\.25[^>]*>|<1\.[\d.]+>|InstanceUID [\d.]+", "UID", line) for line in lines)


def check_real_file(path: Path, folder: Path) -> None:
    dataset = opened(path)
    if dataset is None:
        return
    for rules in (BASIC, DATES):
        cleaned = deidentify(dataset, rules)
        copy, again = folder / "copy.dcm", folder / "again.dcm"
        cleaned.save_as(copy, enforce_file_format=True)
        back = read_object(copy, with_pixels=True)
        deidentify(back, rules).save_as(again, enforce_file_format=True)
        assert again.read_bytes() == copy.read_bytes(), path.name
        assert "PixelData" not in dataset or back["PixelData"].value == dataset["PixelData"].value, path.name
        names = {str(value) for value in (dataset.get("PatientName"), dataset.get("PatientID")) if value}
        assert not any(len(name) > 4 and name.encode() in copy.read_bytes() for name in names), path.name
        deflated = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", "")).endswith("1.2.1.99")
        if shutil.which("dciodvfy") and not deflated:  # dciodvfy does not inflate
            new = dciodvfy(copy) - dciodvfy(path)
            new.pop(" - StudyInstanceUID has same value as FrameOfReferenceUID UID", None)
            assert not new, (path.name, rules.profile, new)


TRUNCATED = (
    "MR_truncated.dcm",
    "rtplan_truncated.dcm",
)  # broken off; what is written behind the break is new


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data are not here")
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "examples_overlay.dcm", "rtstruct.dcm", "test-SR.dcm",
        "ExplVR_BigEnd.dcm", "waveform_ecg.dcm", "examples_ybr_color.dcm", "liver_1frame.dcm", "image_dfl.dcm",
    ],
)  # fmt: skip
def test_a_real_object_stays_valid(name: str, tmp_path: Path) -> None:
    check_real_file(DATA / "dicom_pydicom" / name, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the development data are not here")
@pytest.mark.parametrize(
    "path", [path for path in real_files() if path.name not in TRUNCATED], ids=lambda path: path.name
)
def test_every_real_object_stays_valid(path: Path, tmp_path: Path) -> None:
    check_real_file(path, tmp_path)
