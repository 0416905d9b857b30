"""The words that name a patient: taken from a header's identifiers, looked for in whatever text is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.imaging.patient import plain

NAMES = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ReferringPhysicianName",
    "ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy",
    "OperatorsName", "RequestingPhysician", "ResponsiblePerson", "ScheduledPerformingPhysicianName",
    "ContentCreatorName", "OrderEnteredBy", "PatientAddress",
)  # fmt: skip
NUMBERS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "AdmissionID", "MedicalRecordLocator", "PatientTelephoneNumbers",
)  # fmt: skip
# Stand-ins for a name, and words that say nothing: a phantom called "Test^Patient" must not blank every "patient".
NOBODY = frozenset(
    (
        "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "DOCTOR", "FEMALE", "HEAD", "HOSPITAL", "MALE", "NAME", "NONE",
        "PATIENT", "PHANTOM", "PHYSICIAN", "REMOVED", "STREET", "STUDY", "TEST", "UNKNOWN",
    )
)  # fmt: skip
WORD, LONG_WORD, NUMBER = 4, 6, 6  # shortest word that counts; that counts inside another; shortest number


@dataclass(frozen=True)
class Identity:
    """What must not be seen: whole words, and longer ones also as parts of others. In plain upper case."""

    words: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()

    def is_in(self, text: str) -> bool:
        """True when the text holds one of the words."""
        if not self.words and not self.parts:
            return False
        seen = plain(text)
        return not self.words.isdisjoint(_split(seen)) or any(part in seen for part in self.parts)


def identity_of(dataset: Any) -> Identity:
    """Return the words of names and the numbers in a header's top level."""
    found: set[str] = set()
    for keyword in NAMES:
        found.update(
            word for value in _values(dataset.get(keyword)) for word in _split(value) if _counts(word)
        )
    for keyword in NUMBERS:
        found.update(value for value in _values(dataset.get(keyword)) if _counts(value))
    for item in dataset.get("OtherPatientIDsSequence") or ():
        found.update(value for value in _values(item.get("PatientID")) if _counts(value))
    found -= NOBODY
    parts = (word for word in found if len(word) >= LONG_WORD or not word.isascii() or not word.isalnum())
    return Identity(frozenset(found), tuple(sorted(parts)))


def _values(value: Any) -> Iterable[str]:
    if value is None:
        return []
    several = (
        not isinstance(value, str | bytes) and hasattr(value, "__iter__") and not hasattr(value, "components")
    )
    return [plain(str(part)) for part in (value if several else [value])]


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[^\w]+|_", text) if word]


def _counts(word: str) -> bool:
    if not word.isascii():
        return len(word) > 1
    return len(word) >= (NUMBER if word.isdigit() else WORD)
