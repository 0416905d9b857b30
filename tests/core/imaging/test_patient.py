"""One patient, many ways to write who it is; many patients, never one key."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from core.imaging.patient import dataset_key, patient_key

SALT = "salt"


def header(**fields: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientID": "abc 12"}, {"PatientID": "  ABC  12 "}),
        ({"PatientID": "AB-12"}, {"PatientID": "AB-12^^^"}),
        ({"PatientID": "AB-12^^^HOSP"}, {"PatientID": "ab-12", "IssuerOfPatientID": "hosp "}),
        ({"PatientID": "12", "PatientName": "DOE^JANE"}, {"PatientID": "12", "PatientName": "ROE^JANE"}),
        ({"PatientName": "DOE^JANE"}, {"PatientName": "Doe^Jane^^^"}),
        ({"PatientName": "DOE^JANE"}, {"PatientName": "Doe, Jane"}),
        ({"PatientName": "Yamada^Tarou=山田^太郎"}, {"PatientName": "YAMADA^TAROU", "PatientID": " "}),
        ({"PatientName": "Buc^J\u0065\u0301ro\u0302me"}, {"PatientName": "BUC^JÉRÔME"}),
    ],
)
def test_the_same_patient_has_the_same_key(one: dict[str, str], other: dict[str, str]) -> None:
    assert dataset_key(header(**one), SALT) == dataset_key(header(**other), SALT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientID": "12"}, {"PatientID": "13"}),
        ({"PatientID": "012"}, {"PatientID": "12"}),
        ({"PatientID": "A^B"}, {"PatientID": "A^C"}),
        ({"PatientID": "12", "IssuerOfPatientID": "A"}, {"PatientID": "12", "IssuerOfPatientID": "B"}),
        ({"PatientID": "12^^^A"}, {"PatientID": "12^^^B"}),
        ({"PatientName": "DOE^JANE"}, {"PatientName": "JANE^DOE"}),
    ],
)
def test_others_have_another(one: dict[str, str], other: dict[str, str]) -> None:
    assert dataset_key(header(**one), SALT) != dataset_key(header(**other), SALT)


def test_no_patient_no_key_and_no_salt_no_name() -> None:
    assert dataset_key(header(PatientName="^^=^", PatientID=""), SALT) is None
    assert dataset_key(header(), SALT) is None
    assert patient_key("12", SALT) != patient_key("12", "other")
    assert patient_key("P-1", SALT) == dataset_key(
        header(PatientID="p-1"), SALT
    )  # a table's column and a header
    assert patient_key("DOE", SALT).startswith("patient-") and "DOE" not in patient_key("DOE", SALT)
